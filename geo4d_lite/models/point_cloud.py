"""What DP3 sees: 512 points of the scene, in the world, spread as far apart as they can be.

After Ze et al., "3D Diffusion Policy" (RSS 2024): the depth of all views as one cloud, cropped to the workspace,
without colour, thinned by farthest point sampling.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geo4d_lite.geometry import transform, unproject

CLOUD_POINTS = 512
CANDIDATES = 2048  # farthest point sampling chooses among so many, evenly taken from what lies in the workspace


@dataclass(frozen=True)
class Workspace:
    """The box of the world that is looked at, in metres: over the table's top, without it, around what hands reach."""

    low: tuple[float, float, float] = (-0.30, -0.42, 0.005)
    high: tuple[float, float, float] = (0.42, 0.42, 0.50)

    def contains(self, p_W: Tensor) -> Tensor:
        """Which points (..., 3) lie inside, (...)."""
        low, high = p_W.new_tensor(self.low), p_W.new_tensor(self.high)
        return ((p_W >= low) & (p_W <= high)).all(dim=-1)

    def encode(self, p_W: Tensor) -> Tensor:
        """Points (..., 3) in metres -> (..., 3) in [-1, 1]."""
        low, high = p_W.new_tensor(self.low), p_W.new_tensor(self.high)
        return 2 * (p_W - low) / (high - low) - 1


def observed_clouds(depth_m: np.ndarray, K: np.ndarray, X_WC: np.ndarray, workspace: Workspace = Workspace()) -> Tensor:
    """Clouds (T, 512, 3) in the world, of T moments seen by V cameras.

    depth_m (T, V, H, W) metres, 0 where nothing was measured; K (V, 3, 3); X_WC (V, 4, 4).
    Raises ValueError where a moment shows no point in the workspace.
    """
    points, valid = unproject(torch.from_numpy(np.ascontiguousarray(depth_m, np.float32)), K)  # (T, V, H, W, 3)
    points = transform(torch.from_numpy(X_WC).expand(len(depth_m), -1, -1, -1), points)
    candidates = []
    for p_W, inside in zip(points, valid & workspace.contains(points), strict=True):
        found = p_W[inside]
        if not len(found):
            raise ValueError(f"no depth pixel lies in the workspace {workspace.low} to {workspace.high} metres")
        candidates.append(found[torch.linspace(0, len(found) - 1, CANDIDATES).long()])
    candidates = torch.stack(candidates)
    chosen = farthest_points(candidates, CLOUD_POINTS)
    return candidates.gather(1, chosen[..., None].expand(-1, -1, 3))


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices (B, count) into points (B, N, 3): the first point, then always the one farthest from those chosen."""
    chosen = torch.zeros(len(points), count, dtype=torch.long, device=points.device)
    nearest = torch.full(points.shape[:2], torch.inf, device=points.device)  # squared distance to the chosen ones
    coordinates = points.permute(2, 0, 1).contiguous()  # (3, B, N): several times faster than (B, N, 3)
    for i in range(1, count):
        last = chosen[:, i - 1 : i].expand(3, -1, -1)
        x, y, z = (coordinates - coordinates.gather(2, last)).square_()
        torch.minimum(nearest, x + y + z, out=nearest)
        chosen[:, i] = nearest.argmax(dim=1)
    return chosen
