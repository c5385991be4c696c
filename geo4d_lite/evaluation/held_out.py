"""A generated video against what really happened, on held-out windows, beside "repeat the last frame"."""

from types import SimpleNamespace

import numpy as np

from geo4d_lite.evaluation.metrics import abs_rel, cross_view_iou, delta1
from geo4d_lite.evaluation.statistics import bootstrap_interval
from geo4d_lite.geometry import invert
from geo4d_lite.geometry.labels import FINGERS, GRIPPER, gripper_labels
from geo4d_lite.perception import Segmenter
from geo4d_lite.perception.gripper_width import MIN_FINGER_POINTS, robust_centroid

VIEWS = ("n", "m")
NEAREST_M = 0.05  # a point of view m may lie beside or behind camera n, where a relative depth error has no meaning
MIN_MASK_PIXELS = 20


def repeat_last_frame(item: dict[str, np.ndarray]) -> SimpleNamespace:
    """The video in which nothing moves: the condition frame of a window, ten times. It is given the true X_nm."""
    T = item["rgb"].shape[1] - 1
    return SimpleNamespace(
        **{name: np.repeat(item[name][:, :1], T, axis=1) for name in ("rgb", "pointmap", "valid")},
    )


def true_future(item: dict[str, np.ndarray]) -> SimpleNamespace:
    """The ten frames that really followed, in the form of a video."""
    return SimpleNamespace(**{name: item[name][:, 1:] for name in ("rgb", "pointmap", "valid")})


def compare(video, item: dict[str, np.ndarray], segmenter: Segmenter) -> dict[str, float]:
    """Metrics of a video (`Video4D`) of the window `item` (see `WindowDataset`); NaN where there is nothing to show.

    abs_rel and delta1 for each view over the pixels that are valid in truth: a point the video leaves invalid counts as
    depth 0. gripper_abs_rel and gripper_cm (distance of centroids) inside the *true future* mask of the arm that moves,
    whatever the video shows there, so that all videos are read with one mask. fingers_cm: the midpoint of that arm's
    fingers found by the segmenter in the video, against the same from the true images; fingers_found: the share of
    frames with both fingers in the true images in which the video shows them as well. cross_view_iou: see the function.
    """
    truth, labels = true_future(item), item["label"][:, 1:]
    arm = moving_arm(item["X_WG"])
    result = {}
    for view, name in enumerate(VIEWS):
        true_z, z = truth.pointmap[view, ..., 2], video.pointmap[view, ..., 2]
        valid = truth.valid[view] & (true_z > NEAREST_M)
        gripper = valid & np.isin(labels[view], gripper_labels(arm))
        result[f"abs_rel_{name}"] = abs_rel(z, true_z, valid)
        result[f"delta1_{name}"] = delta1(z, true_z, valid)
        result[f"gripper_abs_rel_{name}"] = abs_rel(z, true_z, gripper) if gripper.any() else np.nan
        result[f"gripper_cm_{name}"] = 100 * _centroid_error(video.pointmap[view], truth.pointmap[view], gripper)
        found, error = _finger_midpoints(video, truth, view, arm, segmenter)
        result[f"fingers_found_{name}"], result[f"fingers_cm_{name}"] = found, 100 * error
    result["cross_view_iou"] = _agreement_of_views(video, item, segmenter)
    return result


def moving_arm(X_WG: np.ndarray) -> int:
    """The arm (0 left, 1 right) whose gripper travels farther in X_WG (T, 2, 4, 4)."""
    travelled = np.linalg.norm(np.diff(X_WG[:, :, :3, 3], axis=0), axis=-1).sum(axis=0)
    return int(travelled.argmax())


def _centroid_error(points: np.ndarray, true_points: np.ndarray, mask: np.ndarray) -> float:
    """Mean over frames of the distance between centroids inside the mask (T, H, W), metres; NaN if it is nowhere."""
    errors = [
        np.linalg.norm(np.nan_to_num(points[t][mask[t]]).mean(axis=0) - true_points[t][mask[t]].mean(axis=0))
        for t in range(len(mask))
        if np.count_nonzero(mask[t]) >= MIN_MASK_PIXELS
    ]
    return float(np.mean(errors)) if errors else float("nan")


def _finger_midpoints(video, truth, view: int, arm: int, segmenter: Segmenter) -> tuple[float, float]:
    """Share of the frames found, and mean error in metres of the finger midpoint; NaN if the truth never shows it."""
    true_midpoints = [_midpoint(truth, view, t, arm, segmenter) for t in range(truth.rgb.shape[1])]
    seen = [t for t, midpoint in enumerate(true_midpoints) if midpoint is not None]
    if not seen:
        return float("nan"), float("nan")
    found = {t: _midpoint(video, view, t, arm, segmenter) for t in seen}
    errors = [np.linalg.norm(found[t] - true_midpoints[t]) for t in seen if found[t] is not None]
    return len(errors) / len(seen), float(np.mean(errors)) if errors else float("nan")


def _midpoint(video, view: int, t: int, arm: int, segmenter: Segmenter) -> np.ndarray | None:
    labels = segmenter.segment(video.rgb[view, t])
    fingers = [video.pointmap[view, t][(labels == finger) & video.valid[view, t]] for finger in FINGERS[arm]]
    centroids = [robust_centroid(points, MIN_FINGER_POINTS) for points in fingers]
    return None if centroids[0] is None or centroids[1] is None else (centroids[0] + centroids[1]) / 2


def _agreement_of_views(video, item: dict[str, np.ndarray], segmenter: Segmenter) -> float:
    """Mean over frames of `cross_view_iou` of the grippers' masks that the segmenter finds in the video itself."""
    X_mn, values = invert(item["X_nm"]), []
    for t in range(video.rgb.shape[1]):
        mask_n, mask_m = (np.isin(segmenter.segment(video.rgb[view, t]), GRIPPER) for view in (0, 1))
        points_n = np.where(video.valid[0, t, ..., None], video.pointmap[0, t], np.nan)
        values.append(cross_view_iou(mask_n, points_n, mask_m, X_mn, item["K"][1]))
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def summarise(rows: list[dict[str, float]], episodes: list[str]) -> dict[str, dict]:
    """Mean, 95% bootstrap interval over episodes and number of windows of each metric in `rows`, one dict a window."""
    summary = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        known = values[np.isfinite(values)]
        summary[name] = {
            "value": float(known.mean()) if len(known) else None,
            "interval": list(bootstrap_interval(values, np.array(episodes))),
            "n": len(known),
        }
    return summary
