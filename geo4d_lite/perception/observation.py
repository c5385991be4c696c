"""What one RGB-D image says about one gripper: its points by part, and how far every pixel is from each part."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from geo4d_lite.geometry import unproject
from geo4d_lite.geometry.labels import gripper_labels
from geo4d_lite.perception.gripper_surface import NO_PART

DEPTH_GATE_M = 0.2  # a pixel labelled as a part but this far behind or before its median fell on something else


@dataclass(frozen=True, eq=False)
class GripperObservation:
    """part (H, W): index into PARTS or NO_PART; points (H, W, 3) in the camera frame, valid (H, W); K (3, 3).

    part_points: for each part its points (N_k, 3), at most `max_points` of them, evenly drawn from the image.
    off_mask_px (3, H, W): distance in pixels from each part's mask; zero everywhere for a part that is not seen.
    off_mask_slope (3, H, W, 2): its slope along u and v.
    """

    part: np.ndarray
    points: np.ndarray
    valid: np.ndarray
    K: np.ndarray
    part_points: tuple[np.ndarray, ...]
    off_mask_px: np.ndarray
    off_mask_slope: np.ndarray

    @cached_property
    def extent(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and last row, first and last column in which the gripper is seen; it must be seen somewhere."""
        rows, columns = (np.flatnonzero((self.part != NO_PART).any(axis=axis)) for axis in (1, 0))
        return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))

    @property
    def count(self) -> int:
        return sum(len(points) for points in self.part_points)


def organised_points(depth_m: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (H, W, 3) in the camera frame and valid (H, W), from depth (H, W) or from such points themselves.

    A generated video brings pointmaps (H, W, 3): pixels without a point hold zeros or NaN. Raises ValueError for other
    shapes and for depth that is not floating metres.
    """
    depth_m = np.asarray(depth_m)
    if depth_m.ndim == 3 and depth_m.shape[2] == 3:
        valid = np.isfinite(depth_m).all(axis=2) & (depth_m[..., 2] > 0)
        return np.where(valid[..., None], depth_m, 0.0).astype(np.float64), valid
    if depth_m.ndim != 2:
        raise ValueError(f"depth has shape {depth_m.shape}; expected (H, W) metres or an organised pointmap (H, W, 3)")
    points, valid = unproject(depth_m, K)
    return points.astype(np.float64), valid


def observe(
    labels: np.ndarray, depth_m: np.ndarray, K: np.ndarray, arm: int, max_points: int = 80
) -> GripperObservation:
    """The observation of the gripper of `arm` (0 left, 1 right), from part labels (H, W) and depth or pointmap."""
    points, valid = organised_points(depth_m, K)
    part = np.full(labels.shape, NO_PART)
    part_points, off_mask, slope = [], np.zeros((3, *labels.shape)), np.zeros((3, *labels.shape, 2))
    for index, label in enumerate(gripper_labels(arm)):
        mask = labels == label
        mask[mask & valid] = _near_median(points[mask & valid, 2])
        part[mask] = index
        seen = points[mask & valid]
        part_points.append(seen[:: max(1, -(-len(seen) // max_points))])
        if len(seen):
            off_mask[index] = ndimage.distance_transform_edt(~mask)
            slope[index, ..., 1], slope[index, ..., 0] = np.gradient(off_mask[index])
    return GripperObservation(part, points, valid, np.asarray(K), tuple(part_points), off_mask, slope)


def _near_median(z: np.ndarray) -> np.ndarray:
    return np.abs(z - np.median(z)) < DEPTH_GATE_M if len(z) else np.zeros(0, dtype=bool)
