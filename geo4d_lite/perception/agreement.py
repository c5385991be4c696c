"""Render and compare: how well does a gripper at this pose explain the image? The tracker's confidence."""

import numpy as np

from geo4d_lite.perception.gripper_surface import NO_PART, GripperSurface
from geo4d_lite.perception.observation import GripperObservation
from geo4d_lite.perception.refinement import pixel_of

DEPTH_TOLERANCE_M = 0.02
FEW_PIXELS = 25.0  # as many explained pixels halve the confidence that a perfect fit would earn


def agreement(X_CG: np.ndarray, width_m: float, seen: GripperObservation, surface: GripperSurface) -> float:
    """Score in [0, 1] of the pose X_CG (4, 4) and finger distance `width_m`.

    Over the pixels where the gripper is seen or rendered: explained ones (same part, depth within 2 cm, counted by how
    near) against those that contradict: seen but not rendered so, or rendered where the image looks behind (free
    space). Where the image shows something nearer, the gripper is hidden: no contradiction. Few explained pixels lower
    the score, as a handful fits many poses.
    """
    v0, v1, u0, u1 = _window(X_CG, width_m, seen, surface)
    part, valid = seen.part[v0:v1, u0:u1].ravel(), seen.valid[v0:v1, u0:u1].ravel()
    z = seen.points[v0:v1, u0:u1, 2].ravel()
    u, v = np.meshgrid(np.arange(u0, u1), np.arange(v0, v1))
    rays = np.stack(
        [(u.ravel() - seen.K[0, 2]) / seen.K[0, 0], (v.ravel() - seen.K[1, 2]) / seen.K[1, 1], np.ones(u.size)], axis=1
    )
    depth, rendered = surface.render(X_CG, width_m, rays)
    is_rendered, is_seen = rendered != NO_PART, (part != NO_PART) & valid
    gap = np.abs(np.where(is_rendered, depth, 0.0) - z)
    same = is_seen & (rendered == part) & (gap < DEPTH_TOLERANCE_M)
    explained = (1.0 - (gap[same] / DEPTH_TOLERANCE_M) ** 2).sum()
    free = is_rendered & ~is_seen & (~valid | (z > depth + DEPTH_TOLERANCE_M))
    contradicting = (is_seen & ~same).sum() + free.sum()
    if explained == 0.0:
        return 0.0
    return float(explained / (same.sum() + contradicting) * explained / (explained + FEW_PIXELS))


def _window(X_CG, width_m, seen, surface) -> tuple[int, int, int, int]:
    """Rows and columns (v0, v1, u0, u1) of a window around all pixels where the gripper is seen or rendered."""
    outline_G, _ = surface.outline_points(np.array([width_m]))
    u, v, _ = pixel_of(outline_G[0] @ X_CG[:3, :3].T + X_CG[:3, 3], seen)
    rows, columns = np.flatnonzero((seen.part != NO_PART).any(axis=1)), np.flatnonzero((seen.part != NO_PART).any(axis=0))
    v0, v1 = min(v.min(), rows.min(initial=v.min())), max(v.max(), rows.max(initial=v.max()))
    u0, u1 = min(u.min(), columns.min(initial=u.min())), max(u.max(), columns.max(initial=u.max()))
    return v0, v1 + 1, u0, u1 + 1
