"""The 4D Gaussian baseline as a video model: two RGB-D images and the cameras' poses to ten frames of both views."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from geo4d_lite.data import FUTURE_FRAMES, WindowDataset
from geo4d_lite.geometry import RGBD, invert, relative_pose, transform, unproject
from geo4d_lite.models.frames import integer
from geo4d_lite.models.gaussians4d import DeformationField, Gaussians, from_observation, splat
from geo4d_lite.models.pipeline import Video4D

SEEN = 0.5  # opacity from which a pixel shows something
SPACE_WEIGHT, TIME_WEIGHT = 2e-4, 1e-3
DEPTH_WEIGHT = 1.0  # of metres, beside colours in [0, 1]


def canonical(views: list[RGBD], X_WC: np.ndarray, every: int = 1) -> Gaussians:
    """The pixels of both views as Gaussians in the world; `every` second, third, ... row and column, as much wider."""
    parts = []
    for view, X in zip(views, X_WC, strict=True):
        points, valid = unproject(view.depth_m, view.K)
        points, valid, rgb, depth_m = (
            torch.from_numpy(np.ascontiguousarray(x[::every, ::every]))
            for x in (transform(X, points), valid, view.rgb, view.depth_m)
        )
        focal_px = float(view.K[0, 0]) / every
        parts.append(from_observation(points.float(), valid, rgb.float() / 255, depth_m.float(), focal_px))
    fields = ("mean", "log_scale", "rotation", "colour", "opacity")
    return Gaussians(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))


class GaussianVideo:
    """A trained field as a model of videos.

    Unlike `Geo4DPipeline` it is called with the extrinsics of both cameras, X_WC (2, 4, 4).
    """

    def __init__(self, field: DeformationField):
        self.field = field.eval()

    @torch.no_grad()
    def __call__(self, view_n: RGBD, view_m: RGBD, X_WC: np.ndarray) -> Video4D:
        """Ten frames; both pointmaps in the camera frame of n. A pixel that nothing covers is black and invalid."""
        height, width = view_n.rgb.shape[:2]
        gaussians = canonical([view_n, view_m], X_WC)
        rgb = np.zeros((2, FUTURE_FRAMES, height, width, 3), np.uint8)
        points, valid = np.zeros(rgb.shape, np.float32), np.zeros(rgb.shape[:4], bool)
        for t in range(FUTURE_FRAMES):
            moved = self.field(gaussians, t + 1)
            for view, (X, K) in enumerate(zip(X_WC, (view_n.K, view_m.K), strict=True)):
                colour, depth, opacity = render(moved, X, K, height, width)
                seen = (opacity > SEEN).numpy()
                p_C, measured = unproject(np.where(seen, depth.numpy(), 0.0), K)
                valid[view, t] = seen & measured
                points[view, t] = transform(relative_pose(X_WC[0], X), p_C) * valid[view, t, ..., None]
                rgb[view, t] = (colour.clamp(0, 1) * 255).round().byte().numpy()
        return Video4D(rgb, points, valid)


def render(gaussians: Gaussians, X_WC: np.ndarray, K: np.ndarray, height: int, width: int) -> tuple[Tensor, ...]:
    """`splat` for a camera at X_WC (4, 4)."""
    return splat(gaussians, torch.from_numpy(invert(X_WC)).float(), torch.from_numpy(K).float(), height, width)


def field_loss(
    windows: WindowDataset, every: int = 2
) -> Callable[[DeformationField, torch.Generator], dict[str, Tensor]]:
    """A loss function for `Trainer`: one random window, one of its ten frames, one of its views a step.

    L1 of colours and of depth where both are known, and the smoothness of the planes (the terms of 4D Gaussians).
    """

    def loss(field: DeformationField, generator: torch.Generator) -> dict[str, Tensor]:
        item = windows[integer(len(windows), generator)]
        t, view = 1 + integer(FUTURE_FRAMES, generator), integer(2, generator)
        views = [RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1)]
        moved = field(canonical(views, item["X_WC"], every), t)
        height, width = item["rgb"].shape[2:4]
        colour, depth, opacity = render(moved, item["X_WC"][view], item["K"][view], height, width)
        true_colour = torch.from_numpy(item["rgb"][view, t]).float() / 255
        true_depth = torch.from_numpy(item["depth_m"][view, t]).float()
        known = torch.from_numpy(item["valid"][view, t]) & (opacity.detach() > SEEN)
        of_colour = (colour - true_colour).abs().mean()
        of_depth = ((depth - true_depth).abs() * known).sum() / known.sum().clamp(min=1)
        space, time = field.smoothness()
        total = of_colour + DEPTH_WEIGHT * of_depth + SPACE_WEIGHT * space + TIME_WEIGHT * time
        return {"loss": total, "colour": of_colour.detach(), "depth": of_depth.detach()}

    return loss
