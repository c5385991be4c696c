"""DP3: from a cloud of 512 points to the actions of the next frames.

After Ze et al., "3D Diffusion Policy: Generalizable Visuomotor Policy Learning via Simple 3D Representations" (RSS
2024). It needs depth and the extrinsics of both cameras, which carry the cloud into the world.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from geo4d_lite.data.states import STATE_NUMBERS, StateRange
from geo4d_lite.geometry import RGBD
from geo4d_lite.models.action_diffusion import ActionDiffusion
from geo4d_lite.models.demonstrations import OBSERVED_FRAMES, ActionBatch
from geo4d_lite.models.point_cloud import Workspace, observed_clouds

FEATURES = 64
PRESETS = {
    "lite": {"unet_widths": (128, 256), "step_dim": 64},
    "paper": {"unet_widths": (512, 1024, 2048), "step_dim": 128},
}


class PointEncoder(nn.Module):
    """Every point through one small network, the largest value of each feature, and a projection."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256), features: int = FEATURES):
        super().__init__()
        layers = []
        for a, b in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU()]
        self.of_point = nn.Sequential(*layers)
        self.project = nn.Sequential(nn.Linear(widths[-1], features), nn.LayerNorm(features))

    def forward(self, points: Tensor) -> Tensor:
        """Clouds (..., N, 3) in [-1, 1] -> (..., 64), whatever the order of the points."""
        if torch.is_grad_enabled():  # the largest value of a feature is one point's, and no other has a gradient
            points = self._of_largest(points)
        return self.project(self.of_point(points).amax(dim=-2))

    @torch.no_grad()
    def _of_largest(self, points: Tensor) -> Tensor:
        """The points (..., M, 3) that have the largest value of some feature, and others up to the same M a cloud."""
        winners = self.of_point(points).argmax(dim=-2)
        has_won = torch.zeros(points.shape[:-1], device=points.device).scatter(-1, winners, 1.0)
        kept = has_won.topk(int(has_won.sum(dim=-1).max()), dim=-1).indices
        return points.gather(-2, kept[..., None].expand(*kept.shape, 3))


class DP3(ActionDiffusion):
    """Args: see `ActionUNet` and `ActionDiffusion`.

    low, high: of the `StateRange` of the training data, 20 numbers each. step_s: seconds from action to action.
    """

    presets = PRESETS

    @register_to_config
    def __init__(
        self,
        low: tuple[float, ...],
        high: tuple[float, ...],
        step_s: float,
        unet_widths: tuple[int, ...],
        step_dim: int,
        sampling_steps: int = 10,
    ):
        super().__init__()
        self.step_s, self.workspace = step_s, Workspace()
        self.of_points = PointEncoder()
        self.of_state = nn.Sequential(nn.Linear(STATE_NUMBERS, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES))
        state_range = StateRange(tuple(low), tuple(high))
        dim = OBSERVED_FRAMES * 2 * FEATURES
        self._set_up(dim, unet_widths, step_dim, state_range, "sample", "ddim", sampling_steps)

    def observe(self, batch: ActionBatch) -> Tensor:
        """Features of clouds and states of both moments, (B, 256)."""
        of_points = self.of_points(self.workspace.encode(batch.seen))
        return torch.cat([of_points, self.of_state(self.normalised(batch.states))], dim=-1).flatten(1)

    def predict(
        self, views: Sequence[Sequence[RGBD]], X_WC: np.ndarray, states: np.ndarray, generator: torch.Generator
    ) -> np.ndarray:
        """Actions (16, 20) given views[moment][view], extrinsics (2, 4, 4) and states (2, 20).

        Raises ValueError where no pixel lies in the workspace.
        """
        depth_m = np.stack([[view.depth_m for view in pair] for pair in views])
        clouds = observed_clouds(depth_m, np.stack([view.K for view in views[-1]]), X_WC, self.workspace)
        batch = ActionBatch(clouds[None], torch.from_numpy(states[None]).float())
        return self.sample(batch, generator)[0].double().cpu().numpy()
