"""How much of a gripper an image shows: its labelled pixels against the silhouette it would have alone."""

import numpy as np
from scipy.spatial import ConvexHull

from geo4d_lite.geometry import Intrinsics, invert, load_gripper, project, transform
from geo4d_lite.geometry.labels import FINGERS, gripper_labels

CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def silhouette_pixels(X_CG: np.ndarray, width_m: float, K: Intrinsics) -> int:
    """Pixels the whole gripper at `X_CG` (4, 4) would cover alone on an image without borders.

    A convex box shows as the convex hull of its eight projected corners; the silhouette is the union of the hulls.
    """
    boxes = load_gripper().boxes(width_m)
    hulls = [project(transform(X_CG, box.center_G + CORNERS * box.size_m), K.matrix)[0] for box in boxes]
    low = np.floor(np.min([hull.min(axis=0) for hull in hulls], axis=0))
    high = np.ceil(np.max([hull.max(axis=0) for hull in hulls], axis=0))
    u, v = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    covered = np.zeros(u.shape, bool)
    for hull in hulls:
        planes = ConvexHull(hull).equations  # rows a, b, c: inside where a u + b v + c <= 0
        inside = planes[:, :2] @ np.stack([u.ravel(), v.ravel()]) + planes[:, 2:] <= 0
        covered |= inside.all(axis=0).reshape(u.shape)
    return int(covered.sum())


def visible_share(
    label: np.ndarray, arm: int, X_WG: np.ndarray, width_m: float, X_WC: np.ndarray, K: Intrinsics
) -> float:
    """Share of the gripper's silhouette that a label image (H, W) of the camera at `X_WC` shows; 0 where it sees none.

    What lies outside the image or behind something counts as hidden.
    """
    seen = np.isin(label, gripper_labels(arm)).sum()
    return float(seen / max(silhouette_pixels(invert(X_WC) @ X_WG, width_m, K), 1))


def finger_pixels(label: np.ndarray, arm: int) -> tuple[int, int]:
    """Pixels of the left and the right finger of an arm in a label image (H, W)."""
    return tuple(int((label == finger).sum()) for finger in FINGERS[arm])
