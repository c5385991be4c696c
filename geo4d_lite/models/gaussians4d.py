"""4D Gaussians, a baseline: a cloud of Gaussians that a learned field of deformations moves through time.

After Wu et al., "4D Gaussian Splatting" (CVPR 2024): canonical Gaussians, a HexPlane of features over space and time,
an MLP that reads from them how far each Gaussian has moved, turned and grown, and differentiable splatting. That method
fits one recorded scene; it does not forecast, and how the paper made it do so is not known. Our choice: the canonical
Gaussians are the pixels of the latest observation, and *one* field for all scenes of a task is trained to move them ten
frames ahead, in the frame of the world. It is given the extrinsics of both cameras, which our own model never sees.
What it can learn is the mean motion at a place; it cannot know how far the task has come.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from geo4d_lite.data import FUTURE_FRAMES

RADIUS_PX = 3  # a Gaussian's footprint is cut off here
FAINT = 1 / 255  # fragments fainter than this are left out: no 8-bit colour would show them
BLUR_PX2 = 0.3  # added to every footprint's variance, so that none falls between pixels
NEAR_M = 0.05
GROWTH = 2.0  # most that a field may add to the log of a scale: beyond its cut-off a footprint could grow for ever
PLANES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # pairs of (x, y, z, t)


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N Gaussians in one frame: means (N, 3) in metres, log of the three standard deviations (N, 3), unit quaternions
    (N, 4) as (w, x, y, z), colours (N, 3) and opacities (N,) in [0, 1]."""

    mean: Tensor
    log_scale: Tensor
    rotation: Tensor
    colour: Tensor
    opacity: Tensor


def from_observation(points: Tensor, valid: Tensor, rgb: Tensor, depth_m: Tensor, focal_px: float) -> Gaussians:
    """One round Gaussian a valid pixel, as wide as the pixel's footprint: points (..., 3), rgb (..., 3) in [0, 1]."""
    mean, colour = points[valid], rgb[valid]
    width = 0.6 * depth_m[valid] / focal_px
    upright = mean.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(mean), 4)
    opaque = mean.new_full((len(mean),), 0.95)
    return Gaussians(mean, width.log()[:, None].expand(-1, 3), upright, colour, opaque)


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """(N, 4) as (w, x, y, z), of any length -> (N, 3, 3)."""
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def splat(gaussians: Gaussians, X_CW: Tensor, K: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Render what a camera sees: colour (H, W, 3), depth (H, W) in metres and opacity (H, W) in [0, 1].

    X_CW (4, 4) takes the Gaussians' frame to the camera's; K (3, 3). Every Gaussian is projected to an ellipse (EWA
    splatting, Zwicker et al. 2001), cut off at `RADIUS_PX`; per pixel the ellipses are blended from near to far. Depth
    is the blended depth, divided by the opacity.
    """
    in_view = _in_view(gaussians, X_CW, K, height, width)
    gaussians = Gaussians(*(getattr(gaussians, field.name)[in_view] for field in fields(Gaussians)))
    p_C = gaussians.mean @ X_CW[:3, :3].T + X_CW[:3, 3]
    z = p_C[:, 2]
    u, v = (p_C @ K.T / z[:, None]).unbind(-1)[:2]
    inverse = _footprints(gaussians, X_CW, p_C, K)

    offsets = torch.arange(-RADIUS_PX, RADIUS_PX + 1)
    columns = u.detach().round().long()[:, None] + offsets  # (N, k)
    rows = v.detach().round().long()[:, None] + offsets
    du, dv = (columns - u[:, None])[:, None, :], (rows - v[:, None])[:, :, None]
    a, b, c = (x[:, None, None] for x in inverse.unbind(-1))
    distance = a * du * du + 2 * b * du * dv + c * dv * dv  # squared, in standard deviations, (N, k, k)
    alpha = gaussians.opacity[:, None, None] * torch.exp(-0.5 * distance)
    of_columns, of_rows = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    seen = (of_rows[:, :, None] & of_columns[:, None, :] & (alpha.detach() > FAINT)).flatten().nonzero()[:, 0]  # (M,)
    which = seen // len(offsets) ** 2  # Gaussian of each fragment
    pixel = (rows[:, :, None] * width + columns[:, None, :]).flatten()[seen]
    alpha = alpha.flatten()[seen]

    order = torch.argsort(pixel.double() * 1e3 + z.detach()[which].double())  # by pixel, within it from near to far
    which, pixel, alpha = which[order], pixel[order], alpha[order].clamp(max=0.99)
    weight = alpha * _transmittance(alpha, pixel)
    values = torch.cat([gaussians.colour, z[:, None], torch.ones_like(z)[:, None]], dim=1)[which]
    blended = values.new_zeros(height * width, 5).index_add(0, pixel, weight[:, None] * values)
    colour, depth, total = blended.split([3, 1, 1], dim=1)
    image = (height, width)
    return colour.view(*image, 3), (depth / total.clamp(min=1e-6)).view(image), total.view(image)


@torch.no_grad()
def _in_view(gaussians: Gaussians, X_CW: Tensor, K: Tensor, height: int, width: int) -> Tensor:
    """Which footprints may touch the image, (N,): projections beside it, or behind the camera, grow without bounds."""
    p_C = gaussians.mean @ X_CW[:3, :3].T + X_CW[:3, 3]
    u, v = (p_C @ K.T / p_C[:, 2:].clamp(min=NEAR_M)).unbind(-1)[:2]
    across, down = (u > -RADIUS_PX) & (u < width + RADIUS_PX), (v > -RADIUS_PX) & (v < height + RADIUS_PX)
    return (p_C[:, 2] > NEAR_M) & across & down


def _footprints(gaussians: Gaussians, X_CW: Tensor, p_C: Tensor, K: Tensor) -> Tensor:
    """Inverse covariances of the ellipses in the image, (N, 3) as (a, b, c) of [[a, b], [b, c]]."""
    axes = X_CW[:3, :3] @ rotation_matrices(gaussians.rotation) * gaussians.log_scale.exp()[:, None, :]  # (N, 3, 3)
    z = p_C[:, 2:]
    zero = torch.zeros_like(z)
    of_u = K[0, 0] / z * torch.cat([torch.ones_like(z), zero, -p_C[:, :1] / z], dim=1)
    of_v = K[1, 1] / z * torch.cat([zero, torch.ones_like(z), -p_C[:, 1:2] / z], dim=1)
    half = torch.stack([of_u, of_v], dim=1) @ axes  # (N, 2, 3)
    covariance = half @ half.transpose(1, 2)
    a, b, c = covariance[:, 0, 0] + BLUR_PX2, covariance[:, 0, 1], covariance[:, 1, 1] + BLUR_PX2
    return torch.stack([c, -b, a], dim=-1) / (a * c - b * b)[:, None]


def _transmittance(alpha: Tensor, pixel: Tensor) -> Tensor:
    """Light that reaches each fragment past the nearer ones of its pixel; fragments sorted by pixel, then depth."""
    log_passed = torch.log1p(-alpha.double())  # a sum over the fragments of a whole image, of which differences matter
    before = log_passed.cumsum(0) - log_passed  # past all earlier fragments, of whatever pixel
    first = torch.ones_like(pixel, dtype=torch.bool)
    first[1:] = pixel[1:] != pixel[:-1]
    segment = first.cumsum(0) - 1
    return (before - before[first][segment]).exp().to(alpha.dtype)


class DeformationField(ModelMixin, ConfigMixin):
    """Where a Gaussian has gone t frames later: a HexPlane over (x, y, z, t) and a small network that reads it.

    Args:
        box_m: corners (low, high) of the space that the planes cover, in metres of the world.
        resolution: of the coarser spatial planes; there is a second set, twice as fine.
        channels: of each plane. width: of the network.
    """

    @register_to_config
    def __init__(
        self,
        box_m: tuple = ((-0.7, -0.8, -0.1), (0.9, 0.8, 1.1)),
        resolution: int = 32,
        channels: int = 16,
        width: int = 128,
    ):
        super().__init__()
        self.register_buffer("low", torch.tensor(box_m[0]))
        self.register_buffer("high", torch.tensor(box_m[1]))
        self.levels = nn.ModuleList()
        for factor in (1, 2):
            sizes = (factor * resolution,) * 3 + (FUTURE_FRAMES + 1,)
            planes = [nn.Parameter(torch.empty(1, channels, sizes[b], sizes[a])) for a, b in PLANES]
            for (_, b), plane in zip(PLANES, planes, strict=True):
                if b == 3:
                    nn.init.ones_(plane)  # at first nothing depends on time
                else:
                    nn.init.uniform_(plane, 0.1, 0.5)
            self.levels.append(nn.ParameterList(planes))
        self.network = nn.Sequential(nn.Linear(2 * channels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in (("p", 3), ("s", 3), ("r", 4))})
        for head in self.heads.values():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def features(self, p_W: Tensor, t: float) -> Tensor:
        """Points (N, 3) in the world and a time in frames -> features (N, 2 channels)."""
        where = 2 * (p_W - self.low) / (self.high - self.low) - 1
        when = torch.full_like(where[:, :1], 2 * t / FUTURE_FRAMES - 1)
        coordinates = torch.cat([where, when], dim=1)
        found = []
        for planes in self.levels:
            product = 1.0
            for pair, plane in zip(PLANES, planes, strict=True):
                grid = coordinates[:, list(pair)].view(1, 1, -1, 2)
                product = product * F.grid_sample(plane, grid, align_corners=True, padding_mode="border")[0, :, 0].T
            found.append(product)
        return torch.cat(found, dim=1)

    def forward(self, gaussians: Gaussians, t: float) -> Gaussians:
        """The Gaussians (in the world) t frames later."""
        hidden = self.network(self.features(gaussians.mean, t))
        return Gaussians(
            gaussians.mean + self.heads["p"](hidden),
            gaussians.log_scale + GROWTH * torch.tanh(self.heads["s"](hidden) / GROWTH),
            gaussians.rotation + self.heads["r"](hidden),
            gaussians.colour,
            gaussians.opacity,
        )

    def smoothness(self) -> tuple[Tensor, Tensor]:
        """Total variation of the planes of space, and of the planes of time along it (both squared)."""
        space, time = [], []
        for planes in self.levels:
            for (_, b), plane in zip(PLANES, planes, strict=True):
                along_rows = (plane[:, :, 1:] - plane[:, :, :-1]).square().mean()  # of a plane of time: along time
                along_columns = (plane[..., 1:] - plane[..., :-1]).square().mean()
                (time if b == 3 else space).append(along_rows)
                space.append(along_columns)
        return torch.stack(space).mean(), torch.stack(time).mean()
