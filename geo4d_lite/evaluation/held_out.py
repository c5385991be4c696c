"""A generated video against what really happened, on held-out windows, beside "repeat the last frame"."""

from types import SimpleNamespace

import numpy as np

from geo4d_lite.evaluation.metrics import abs_rel, box_iou, delta1, mask_iou
from geo4d_lite.evaluation.statistics import bootstrap_interval
from geo4d_lite.geometry import invert, reproject_mask, transform
from geo4d_lite.geometry.labels import FINGERS, Label, gripper_labels
from geo4d_lite.perception import Segmenter
from geo4d_lite.perception.gripper_width import MIN_FINGER_POINTS, robust_centroid

VIEWS = ("n", "m")
NEAREST_M = 0.05  # a point of view m may lie beside or behind camera n, where a relative depth error has no meaning
MIN_MASK_PIXELS = 20
MOVED_M = 0.02
SHOWN_FRAMES = (1, 3, 5, 10)


def repeat_last_frame(item: dict[str, np.ndarray], X_nm: np.ndarray | None = None) -> SimpleNamespace:
    """The video in which nothing moves: the condition frame of a window, ten times.

    View m's points are moved into the frame of n by X_nm (4, 4): the true one by default, or an estimate.
    """
    T = item["rgb"].shape[1] - 1
    frame = {name: item[name][:, :1] for name in ("rgb", "pointmap", "valid")}
    if X_nm is not None:
        correction = X_nm @ invert(item["X_nm"])
        points_m = transform(correction, frame["pointmap"][1]) * frame["valid"][1, ..., None]
        frame["pointmap"] = np.stack([frame["pointmap"][0], points_m])
    return SimpleNamespace(**{name: np.repeat(value, T, axis=1) for name, value in frame.items()})


def true_future(item: dict[str, np.ndarray]) -> SimpleNamespace:
    """The ten frames that really followed, in the form of a video."""
    return SimpleNamespace(**{name: item[name][:, 1:] for name in ("rgb", "pointmap", "valid")})


class Truth:
    """What the videos of one window are compared with; masks and finger midpoints are found once for all of them.

    item: see `WindowDataset`. arm: the one that moves. moved (T,): its gripper is 2 cm or more from where the condition
    frame shows it. masks: bool (2, T, H, W) of the arm's gripper and of the object, from the true labels.
    midpoints: of the arm's fingers, for each view and frame, read from the true images; None where one is hidden.
    """

    def __init__(self, item: dict[str, np.ndarray], segmenter: Segmenter):
        self.item, self.segmenter = item, segmenter
        X_WG, labels = item["X_WG"], item["label"][:, 1:]
        self.arm = moving_arm(X_WG)
        self.moved = np.linalg.norm(X_WG[1:, self.arm, :3, 3] - X_WG[0, self.arm, :3, 3], axis=-1) > MOVED_M
        self.masks = {"gripper": np.isin(labels, gripper_labels(self.arm)), "object": labels == Label.OBJECT}
        video = true_future(item)
        self.midpoints = [
            [_midpoint(video, view, t, segmenter.segment(image), self.arm) for t, image in enumerate(images)]
            for view, images in enumerate(video.rgb)
        ]


def compare(video, truth: Truth) -> dict[str, np.ndarray]:
    """Metrics of a video (`Video4D`) at each frame, (T,) each; NaN where there is nothing to show.

    A video without any valid point is one of colours alone: NaN everywhere.

    abs_rel, delta1: for each view over the pixels that are valid in truth; a point that the video leaves invalid counts
    as depth 0. points_cm: median distance of a point from the true one. gripper_… and object_…: the same inside the
    *true* mask of that frame, whatever the video shows there, so that all videos are read with one mask; gripper_cm and
    object_cm are distances of centroids. fingers_cm: the midpoint of the moving arm's fingers found by the segmenter in
    the video, against the same from the true images; fingers_found: of the frames with both fingers in the true images,
    1 where the video shows them as well. cross_view_iou, true_mask_iou: the gripper's mask found in view n of the
    video, lifted by its pointmap, against the mask found in view m and against m's true mask, over the frames in which
    the gripper has moved; 0 where the video shows no gripper and the truth does. cross_view_box_iou, true_box_iou: the
    same with the masks' bounding boxes. with_fakes_abs_rel_m: the error of view m as the release computes it, with the
    other camera's position standing for a point wherever there is none.
    """
    found = [[truth.segmenter.segment(image) for image in images] for images in video.rgb]
    frames = range(len(truth.moved))
    rows = {}
    for view, name in enumerate(VIEWS):
        depths = [_depth_errors(video, truth, view, t) for t in frames]
        fingers = [_finger_error(video, truth, view, t, found[view][t]) for t in frames]
        by_metric = {key: [errors[key] for errors in depths] for key in depths[0]}
        by_metric |= dict(zip(("fingers_found", "fingers_cm"), zip(*fingers, strict=True), strict=True))
        rows |= {f"{key}_{name}": np.array(values) for key, values in by_metric.items()}
    rows["with_fakes_abs_rel_m"] = np.array([_with_fakes(video, truth, t) for t in frames])
    agreement = [_agreement(video, truth, t, found[0][t], found[1][t]) for t in frames]
    names = ("cross_view_iou", "cross_view_box_iou", "true_mask_iou", "true_box_iou")
    rows |= dict(zip(names, np.array(agreement).T, strict=True))
    return rows if video.valid.any() else {name: np.full_like(x, np.nan) for name, x in rows.items()}


def moving_arm(X_WG: np.ndarray) -> int:
    """The arm (0 left, 1 right) whose gripper travels farther in X_WG (T, 2, 4, 4); one not recorded (NaN) stands."""
    travelled = np.nansum(np.linalg.norm(np.diff(X_WG[:, :, :3, 3], axis=0), axis=-1), axis=0)
    return int(travelled.argmax())


def _depth_errors(video, truth: Truth, view: int, t: int) -> dict[str, float]:
    points, true = video.pointmap[view, t], truth.item["pointmap"][view, 1 + t]
    valid = truth.item["valid"][view, 1 + t] & (true[..., 2] > NEAREST_M)
    points = np.where(np.isfinite(points), points, 0.0)
    distance_cm = 100 * np.linalg.norm(points - true, axis=-1)
    errors = {}
    for region, mask in {
        "": valid,
        **{f"{name}_": valid & mask[view, t] for name, mask in truth.masks.items()},
    }.items():
        enough = np.count_nonzero(mask) >= MIN_MASK_PIXELS
        errors[f"{region}abs_rel"] = abs_rel(points[..., 2], true[..., 2], mask) if enough else np.nan
        errors[f"{region}points_cm"] = np.median(distance_cm[mask]) if enough else np.nan
        if region:
            centroids = (points[mask].mean(axis=0), true[mask].mean(axis=0)) if enough else (np.full(3, np.nan),) * 2
            errors[f"{region}cm"] = 100 * np.linalg.norm(centroids[0] - centroids[1])
        else:
            errors["delta1"] = delta1(points[..., 2], true[..., 2], mask) if enough else np.nan
    return errors


def _finger_error(video, truth: Truth, view: int, t: int, labels: np.ndarray) -> tuple[float, float]:
    """Whether the video shows both fingers (1 or 0) and the midpoint's error in cm; NaN where the truth hides one."""
    if truth.midpoints[view][t] is None:
        return np.nan, np.nan
    midpoint = _midpoint(video, view, t, labels, truth.arm)
    return (0.0, np.nan) if midpoint is None else (1.0, 100 * np.linalg.norm(midpoint - truth.midpoints[view][t]))


def _midpoint(video, view: int, t: int, labels: np.ndarray, arm: int) -> np.ndarray | None:
    fingers = [video.pointmap[view, t][(labels == finger) & video.valid[view, t]] for finger in FINGERS[arm]]
    centroids = [robust_centroid(points, MIN_FINGER_POINTS) for points in fingers]
    return None if centroids[0] is None or centroids[1] is None else (centroids[0] + centroids[1]) / 2


def _with_fakes(video, truth: Truth, t: int) -> float:
    """AbsRel of view m over *all* pixels: a point (0, 0, 0) that is none becomes, in the frame of n, where m stands."""
    true, valid = truth.item["pointmap"][1, 1 + t], truth.item["valid"][1, 1 + t]
    p_nm = truth.item["X_nm"][:3, 3]
    if abs(p_nm[2]) < NEAREST_M:
        return np.nan
    predicted = np.where(video.valid[1, t], video.pointmap[1, t, ..., 2], p_nm[2])
    z = np.where(valid, true[..., 2], p_nm[2])
    far_enough = np.abs(z) > NEAREST_M
    return float(np.mean(np.abs(predicted - z)[far_enough] / np.abs(z)[far_enough]))


def _agreement(video, truth: Truth, t: int, labels_n: np.ndarray, labels_m: np.ndarray) -> tuple[float, ...]:
    """IoU of the moving gripper's mask of n, lifted and seen from m, with the video's mask of m and with m's true one.

    Of masks and of boxes each: (masks, boxes) with the video's, (masks, boxes) with the true one.
    """
    if not truth.moved[t]:
        return (np.nan,) * 4
    item, there = truth.item, truth.masks["gripper"][:, t]
    mask_n, mask_m = (np.isin(labels, gripper_labels(truth.arm)) for labels in (labels_n, labels_m))
    points_n = np.where(video.valid[0, t, ..., None], video.pointmap[0, t], np.nan)
    seen_from_m = reproject_mask(mask_n, points_n, invert(item["X_nm"]), item["K"][1], mask_m.shape, splat=3)
    missed = 0.0 if np.count_nonzero(there) >= MIN_MASK_PIXELS else np.nan
    values = (iou(seen_from_m, mask) for mask in (mask_m, there[1]) for iou in (mask_iou, box_iou))
    return tuple(missed if value is None else value for value in values)


def means(frames: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean over the frames at which a metric is known, of each metric; NaN if it is known nowhere."""
    return {name: float(np.nanmean(x)) if np.isfinite(x).any() else float("nan") for name, x in frames.items()}


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


def summarise_frames(rows: list[dict[str, np.ndarray]], episodes: list[str]) -> dict[int, dict[str, dict]]:
    """As `summarise`, but at each of `SHOWN_FRAMES` (counted from 1) of what `compare` returned."""
    return {t: summarise([{name: x[t - 1] for name, x in row.items()} for row in rows], episodes) for t in SHOWN_FRAMES}
