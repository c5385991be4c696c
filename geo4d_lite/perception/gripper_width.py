"""Is the gripper open? The distance of the two finger centroids against a threshold, as in the paper."""

from collections.abc import Sequence

import numpy as np

MIN_FINGER_POINTS = 5


def gripper_width(
    points_left: np.ndarray, points_right: np.ndarray, min_points: int = MIN_FINGER_POINTS
) -> float | None:
    """Distance in metres between the centroids of the visible points (N, 3) and (M, 3) of the two fingers.

    The centroid is the mean of the points within 6 cm of the median, so a few pixels that fell on the background do
    not pull it away. None if either finger shows fewer than `min_points` finite points: a width cannot be read then.
    """
    centroids = [robust_centroid(points, min_points) for points in (points_left, points_right)]
    if centroids[0] is None or centroids[1] is None:
        return None
    return float(np.linalg.norm(centroids[0] - centroids[1]))


def robust_centroid(points: np.ndarray, min_points: int, reach_m: float = 0.06) -> np.ndarray | None:
    """Mean (3,) of the points within `reach_m` of their median; None with fewer than `min_points` of them."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < min_points:
        return None
    near = np.linalg.norm(points - np.median(points, axis=0), axis=1) < reach_m
    return points[near].mean(axis=0) if near.sum() >= min_points else None


class GripperState:
    """Open or closed, decided by a threshold with hysteresis and remembered while the fingers are hidden."""

    def __init__(self, threshold_m: float, is_open: bool = True, margin_m: float = 0.005):
        if not threshold_m > 0:
            raise ValueError(f"threshold_m is {threshold_m}; expected a positive distance of finger centres in metres")
        self.threshold_m, self.margin_m, self.is_open = threshold_m, margin_m, is_open

    def update(self, width_m: float | None) -> bool:
        """Take one reading (None or NaN: nothing seen) and return whether the gripper is open."""
        if width_m is not None and np.isfinite(width_m):
            if width_m > self.threshold_m + self.margin_m:
                self.is_open = True
            elif width_m < self.threshold_m - self.margin_m:
                self.is_open = False
        return self.is_open


SWITCH_FRAMES = 1.5  # a change costs as much as so many frames that contradict


def settled_openings(
    widths_m: Sequence[float | None], threshold_m: float, is_open: bool, margin_m: float = 0.005
) -> np.ndarray:
    """Open or closed in every frame of a film, (T,) bool, decided for all of it at once.

    In a generated film a gripper that holds something may look half open for a frame or two, and a robot that believes
    it drops what it holds. So the course with the fewest contradictions is taken (Viterbi): a reading on the wrong side
    of the threshold counts as one, within `margin_m` of it as a part of one, None as none; and each change, from the
    present `is_open` on, as one and a half. So up to three frames are ignored (three are a tie, which
    keeps the state), and four, or two at the end, are believed.
    """
    cost, from_other = np.array([np.inf, 0.0] if is_open else [0.0, np.inf]), []  # of being closed, of being open
    for width_m in widths_m:
        over = 0.0 if width_m is None or not np.isfinite(width_m) else (float(width_m) - threshold_m) / margin_m
        changed = cost[::-1] + SWITCH_FRAMES
        from_other.append(changed < cost)
        cost = np.minimum(cost, changed) + np.clip([over, -over], 0.0, 1.0)
    state, openings = int(is_open) if cost[0] == cost[1] else int(np.argmin(cost)), []
    for other in reversed(from_other):
        openings.append(bool(state))
        state = 1 - state if other[state] else state
    return np.array(openings[::-1], dtype=bool)
