"""How well a tracker follows the grippers of recorded episodes, where the truth is known."""

import time
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import rankdata

from geo4d_lite.data import Episode, decode_depth
from geo4d_lite.geometry.labels import FINGERS, gripper_labels
from geo4d_lite.perception import PerceptionError, Segmenter, Tracker, gripper_width
from geo4d_lite.perception.observation import organised_points


@dataclass(frozen=True)
class TrackedFrame:
    """One frame of one arm in one view. Errors against the simulation; `pixels` of the gripper in the true labels.

    `width_m` is the tracker's, `centroid_width_m` the distance of the visible finger centroids (None: not both seen).
    """

    frame: int
    arm: int
    position_m: float
    rotation_deg: float
    score: float
    width_m: float | None
    centroid_width_m: float | None
    true_width_m: float
    pixels: int
    seconds: float


def track_episode(
    episode: Episode, camera: int, arm: int, tracker: Tracker, segmenter: Segmenter
) -> list[TrackedFrame]:
    """Register on the first frame that shows the gripper of `arm` and track to the end; frames before are left out."""
    rgb, depth, label = episode.read_camera(camera)
    depth_m, K, X_WC = decode_depth(depth), episode.K[camera], episode.X_WC[camera]
    rows: list[TrackedFrame] = []
    for t in range(len(rgb)):
        start = time.process_time()
        try:
            if rows:
                estimate = tracker.track(rgb[t], depth_m[t], K)
            else:
                mask = np.isin(segmenter.segment(rgb[t]), gripper_labels(arm))
                estimate = tracker.register(rgb[t], depth_m[t], mask, K)
        except PerceptionError:
            continue
        seconds = time.process_time() - start
        position_m, rotation_deg = pose_error(X_WC @ estimate.X_CG, episode.X_WG[t, arm])
        parts = segmenter.segment(rgb[t])
        points, valid = organised_points(depth_m[t], K)
        left, right = (points[(parts == finger) & valid] for finger in FINGERS[arm])
        rows.append(
            TrackedFrame(
                t,
                arm,
                position_m,
                rotation_deg,
                estimate.score,
                estimate.width_m,
                gripper_width(left, right),
                float(episode.width_m[t, arm]),
                int(np.isin(label[t], gripper_labels(arm)).sum()),
                seconds,
            )
        )
    return rows


def pose_error(X_estimated: np.ndarray, X_true: np.ndarray) -> tuple[float, float]:
    """Distance in metres and rotation angle in degrees between two poses (4, 4)."""
    turn = Rotation.from_matrix(X_estimated[:3, :3].T @ X_true[:3, :3]).magnitude()
    return float(np.linalg.norm(X_estimated[:3, 3] - X_true[:3, 3])), float(np.rad2deg(turn))


def auroc(scores: np.ndarray, is_good: np.ndarray) -> float | None:
    """Chance that a good estimate scores higher than a bad one, ties counting half; None if one kind is missing.

    The area under the ROC curve, from ranks (Mann and Whitney 1947).
    """
    good, bad = int(np.count_nonzero(is_good)), int(np.count_nonzero(~is_good))
    if good == 0 or bad == 0:
        return None
    return float((rankdata(scores)[is_good].sum() - good * (good + 1) / 2) / (good * bad))


def summarise_tracking(rows: list[TrackedFrame], lost_m: float = 0.02) -> dict[str, float | None]:
    """Median and 95% errors, speed, and how well the score tells errors above `lost_m` from the rest."""
    position, rotation, score, seconds = (
        np.array([getattr(row, name) for row in rows]) for name in ("position_m", "rotation_deg", "score", "seconds")
    )
    return {
        "n": len(rows),
        "median_mm": 1000 * float(np.median(position)),
        "p95_mm": 1000 * float(np.quantile(position, 0.95)),
        "median_deg": float(np.median(rotation)),
        "p95_deg": float(np.quantile(rotation, 0.95)),
        "lost": float(np.mean(position > lost_m)),
        "auroc": auroc(score, position <= lost_m),
        "hz": 1.0 / float(np.median(seconds)),
    }
