"""Numbers with intervals: depth, agreement between views, closed-loop success. It may import every other room."""

from geo4d_lite.evaluation.metrics import abs_rel, box_iou, cross_view_iou, delta1, mask_iou
from geo4d_lite.evaluation.statistics import (
    bootstrap_interval,
    frechet_distance,
    mean_rate_interval,
    wilson_interval,
)

__all__ = [
    "abs_rel",
    "bootstrap_interval",
    "box_iou",
    "cross_view_iou",
    "delta1",
    "frechet_distance",
    "mask_iou",
    "mean_rate_interval",
    "wilson_interval",
]
