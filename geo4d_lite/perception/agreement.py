"""Render and compare: how well does a gripper at this pose explain the image? The tracker's confidence."""

import numpy as np

from geo4d_lite.perception.gripper_surface import NO_PART, GripperSurface
from geo4d_lite.perception.observation import GripperObservation
from geo4d_lite.perception.refinement import pixel_of

DEPTH_TOLERANCE_M = 0.03
FEW_PIXELS = 25.0  # with as many explained pixels even a perfect fit earns only half the score


def agreement(
    X_CG: np.ndarray, width_m: float, seen: GripperObservation, surface: GripperSurface, stride: int = 1
) -> float:
    """Score in [0, 1] of the pose X_CG (4, 4) and finger distance `width_m`, from every `stride`-th row and column.

    Each part's pixels are explained (rendered as this part, depth within 3 cm, counted by how near) or contradict: seen
    as this part but not rendered so, or rendered where the image looks behind it, into free space. Where the image
    shows something nearer, the part is hidden: no contradiction. The score is the mean share explained of the three
    parts, as a finger says more about the pose than its few pixels beside the hand's; and it is lowered where little is
    explained at all, as a handful of pixels fits many poses.
    """
    window = _window(X_CG, width_m, seen, surface, stride)
    part, valid, z = (array[window].ravel() for array in (seen.part, seen.valid, seen.points[..., 2]))
    v, u = (index.ravel() for index in np.mgrid[window])
    K = seen.K
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(u.size)], axis=1)
    depth, rendered = surface.render(X_CG, width_m, rays)
    is_rendered, is_seen = rendered != NO_PART, (part != NO_PART) & valid
    gap = np.abs(np.where(is_rendered, depth, 0.0) - z)
    same = is_seen & (rendered == part) & (gap < DEPTH_TOLERANCE_M)
    free = is_rendered & ~is_seen & (~valid | (z > depth + DEPTH_TOLERANCE_M))
    parts = len(seen.part_points)
    explained = np.bincount(part[same], 1.0 - (gap[same] / DEPTH_TOLERANCE_M) ** 2, parts)
    involved = np.bincount(part[is_seen], minlength=parts) + np.bincount(rendered[free], minlength=parts)
    weight = involved / (involved + FEW_PIXELS / stride**2)
    share = weight @ (explained / np.maximum(involved, 1)) / max(weight.sum(), 1e-9)
    return float(share * explained.sum() / (explained.sum() + FEW_PIXELS / stride**2))


def _window(X_CG, width_m, seen, surface, stride) -> tuple[slice, slice]:
    """Rows and columns around all pixels where the gripper is seen or rendered."""
    outline_G, _ = surface.outline_points(np.array([width_m]))
    u, v, _ = pixel_of(outline_G[0] @ X_CG[:3, :3].T + X_CG[:3, 3], seen)
    rows, columns = seen.extent
    return (
        slice(min(v.min(), rows[0]), max(v.max(), rows[1]) + 1, stride),
        slice(min(u.min(), columns[0]), max(u.max(), columns[1]) + 1, stride),
    )
