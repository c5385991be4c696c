"""Depth and mask metrics of the paper's Table 1, each over valid pixels only."""

import numpy as np

from geo4d_lite.geometry import reproject_mask


def abs_rel(predicted_z: np.ndarray, true_z: np.ndarray, valid: np.ndarray) -> float:
    """Mean of |predicted - true| / true over the valid pixels; z is the third channel of a pointmap, metres.

    All arrays have one shape; `valid` is bool. A prediction that is not finite counts as zero depth, an error of 1.
    Raises ValueError for unequal shapes, no valid pixel, or a valid pixel whose true z is not positive.
    """
    predicted, true = _valid_pairs(predicted_z, true_z, valid)
    return float(np.mean(np.abs(predicted - true) / true))


def delta1(predicted_z: np.ndarray, true_z: np.ndarray, valid: np.ndarray, ratio: float = 1.25) -> float:
    """Share of valid pixels with max(predicted / true, true / predicted) < 1.25. See `abs_rel` for the rest."""
    predicted, true = _valid_pairs(predicted_z, true_z, valid)
    return float(np.mean((predicted < ratio * true) & (true < ratio * predicted)))


def _valid_pairs(predicted_z: np.ndarray, true_z: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not predicted_z.shape == true_z.shape == valid.shape:
        raise ValueError(
            f"predicted_z, true_z and valid have shapes {predicted_z.shape}, {true_z.shape}, {valid.shape}; "
            "expected one shape"
        )
    if not valid.any():
        raise ValueError("no valid pixel to compare; leave this image out")
    true = true_z[valid].astype(np.float64)
    if not (true > 0).all():
        raise ValueError("a valid pixel has true z <= 0; give the mask that comes with the pointmap")
    predicted = predicted_z[valid].astype(np.float64)
    return np.where(np.isfinite(predicted), predicted, 0.0), true


def mask_iou(mask_a: np.ndarray, mask_b: np.ndarray) -> float | None:
    """Pixels in both masks over pixels in either, bool (H, W); None if both are empty: there is nothing to compare."""
    union = np.count_nonzero(mask_a | mask_b)
    return None if union == 0 else float(np.count_nonzero(mask_a & mask_b) / union)


def box_iou(mask_a: np.ndarray, mask_b: np.ndarray) -> float | None:
    """IoU of the two masks' bounding boxes; 0 if one mask is empty, None if both are."""
    if not (mask_a.any() and mask_b.any()):
        return None if mask_a.any() == mask_b.any() else 0.0
    (top_a, left_a), (bottom_a, right_a) = _box(mask_a)
    (top_b, left_b), (bottom_b, right_b) = _box(mask_b)
    height = max(0, min(bottom_a, bottom_b) - max(top_a, top_b))
    width = max(0, min(right_a, right_b) - max(left_a, left_b))
    area_a, area_b = (bottom_a - top_a) * (right_a - left_a), (bottom_b - top_b) * (right_b - left_b)
    return float(height * width / (area_a + area_b - height * width))


def _box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and column, and one past the last."""
    where = np.argwhere(mask)
    return where.min(axis=0), where.max(axis=0) + 1


def cross_view_iou(
    mask_n: np.ndarray, p_n: np.ndarray, mask_m: np.ndarray, X_mn: np.ndarray, K_m: np.ndarray, splat: int = 3
) -> float | None:
    """Do two views agree on where a thing is? The mask of n, lifted by its pointmap and seen from m, against m's own.

    mask_n, mask_m (H, W) bool; p_n (H, W, 3) metres in n; X_mn (4, 4) takes n to m; K_m (3, 3). None if both masks are
    empty. The paper's mIoU is the mean of this over frames. Nothing is known of what only m sees, so it is below 1 even
    for true images: always give the value of the true images beside it.
    """
    return mask_iou(reproject_mask(mask_n, p_n, X_mn, K_m, mask_m.shape, splat), mask_m)
