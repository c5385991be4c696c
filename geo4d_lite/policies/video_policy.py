"""The paper's policy: imagine a 4D video of the task being done, and follow the grippers seen in it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geo4d_lite.geometry import RGBD, invert, transform, unproject
from geo4d_lite.geometry.labels import FINGERS, gripper_labels
from geo4d_lite.perception import (
    Estimate,
    GripperState,
    PerceptionError,
    Segmenter,
    Tracker,
    gripper_width,
    rigid_fit,
    settled_openings,
)
from geo4d_lite.policies.fusion import fuse, smooth
from geo4d_lite.policies.paths import corrected_path
from geo4d_lite.policies.protocol import Observation, Trajectory
from geo4d_lite.policies.safety import SafetyLimits, safe_trajectory


class Video(Protocol):
    """The fields of `Video4D` that are read: rgb (2, T, H, W, 3), pointmap (2, T, H, W, 3) in n, valid (2, T, H, W).

    A video may also have a path (T, 2, 10), see `paths`: the one that its hands were to be drawn along.
    """

    rgb: np.ndarray
    pointmap: np.ndarray
    valid: np.ndarray


class VideoModel(Protocol):
    """Two RGB-D views to the video of what happens next; no camera pose goes in.

    Only a model whose videos know their path is ever asked to draw along another `path` (T, 2, 10), a keyword.
    """

    def __call__(self, view_n: RGBD, view_m: RGBD) -> Video: ...


@dataclass(frozen=True)
class VideoPolicyConfig:
    """`open_m` and `closed_m` are the widths commanded; squeezing asks for less than the object leaves.

    views: "confident", of each frame the more confident view as in the paper; "both", what they say together, see
    `fusion`. smooth_frames: over how many frames positions are smoothed; 0 is not at all, as in the paper.
    smooth_turn_frames: the same of rotations, which a film shows less exactly and a hand changes less.
    settle_fingers: decide for all frames at once where fingers open and close, see `settled_openings`; off: frame by
    frame with hysteresis, as in the paper. redraws: how often a film is drawn again, along the path it was to show
    corrected by what it showed, see `paths`; not for films that know no path.
    """

    open_m: float = 0.155
    closed_m: float = 0.030
    step_s: float = 0.5
    limits: SafetyLimits = SafetyLimits()
    views: str = "confident"
    smooth_frames: float = 0.0
    smooth_turn_frames: float | None = None
    settle_fingers: bool = False
    redraws: int = 0

    def __post_init__(self) -> None:
        if self.views not in ("confident", "both"):
            raise ValueError(f'views is {self.views!r}; expected "confident" or "both"')


PAPER = VideoPolicyConfig()
BOTH_VIEWS = VideoPolicyConfig(
    limits=SafetyLimits(min_score=0.25), views="both", smooth_frames=0.5, smooth_turn_frames=1.2, settle_fingers=True
)
CONFIGS = {"confident": PAPER, "both": BOTH_VIEWS}


class VideoPolicy:
    """4D video -> both grippers tracked in both views -> one pose a frame -> world -> bounded trajectory."""

    def __init__(
        self,
        video_model: VideoModel,
        segmenter: Segmenter,
        make_tracker: Callable[[int], Tracker],
        threshold_m: float,
        config: VideoPolicyConfig = PAPER,
    ):
        """`make_tracker(arm)` gives a fresh tracker; `threshold_m`: a gripper narrower than this is closed."""
        self.video_model, self.segmenter, self.make_tracker = video_model, segmenter, make_tracker
        self.threshold_m, self.config = threshold_m, config

    def predict_action(self, observation: Observation) -> Trajectory:
        """See `Policy`. An arm that is found in neither view is held still with score 0."""
        seconds = {"video": 0.0, "tracking": 0.0}
        tracked, eyes, wanted = self._followed(observation, seconds)
        asked = wanted
        for _ in range(self.config.redraws if wanted is not None else 0):
            pairs = [zip(*arm, strict=True) for arm in zip(*tracked, strict=True)]
            shown = [[self._chosen(pair, eyes) for pair in arm] for arm in pairs]
            asked = corrected_path(asked, wanted, shown)
            tracked, eyes, _ = self._followed(observation, seconds, path=asked)
        arms = [self._command(arm, [view[arm] for view in tracked], eyes, observation) for arm in range(2)]
        X_WG, width_m, score, view = (np.stack(parts, axis=1) for parts in zip(*arms, strict=True))
        return Trajectory(X_WG, width_m, score, view, self.config.step_s, seconds)

    def _followed(
        self, observation: Observation, seconds: dict[str, float], **path
    ) -> tuple[list, list, np.ndarray | None]:
        """A film and both grippers tracked in it: estimates [view][arm][t], where the cameras stood, the film's path.

        Adds the wall time of its stages to `seconds`. The path is None where the film knows none.
        """
        start = time.perf_counter()
        views = (observation.view_n, observation.view_m)
        video = self.video_model(*views, **path)
        imagined = time.perf_counter()
        tracked = [self.track_view(index, view, video) for index, view in enumerate(views)]
        X_nm = self.camera_pose(1, observation.view_m, video)
        eyes = [np.zeros(3), np.zeros(3) if X_nm is None else X_nm[:3, 3]]  # where m is not found, it has no tracks
        seconds["video"] += imagined - start
        seconds["tracking"] += time.perf_counter() - imagined
        return tracked, eyes, getattr(video, "path", None)

    def _chosen(self, pair: Sequence[Estimate | None], eyes: list[np.ndarray]) -> Estimate | None:
        """One estimate from those of both views; None where the policy would not follow it."""
        config = self.config
        if config.views == "both":
            return fuse(pair, eyes, config.limits.min_score)
        best = max(pair, key=lambda found: -1.0 if found is None else found.score)
        return best if best is not None and best.score >= config.limits.min_score else None

    def camera_pose(self, index: int, view: RGBD, video: Video) -> np.ndarray | None:
        """Where the camera of view `index` stood, X_nC (4, 4), read from the video itself; None if that fails.

        The first frame's points in n are laid on the observed ones in the camera's frame, moving parts fading out.
        """
        if index == 0:
            return np.eye(4)
        observed, seen = unproject(view.depth_m, view.K)
        first = np.where((video.valid[index, 0] & seen)[..., None], video.pointmap[index, 0], np.nan)
        try:
            return rigid_fit(first.reshape(-1, 3), observed.reshape(-1, 3))
        except PerceptionError:
            return None

    def track_view(self, index: int, view: RGBD, video: Video) -> list[list[Estimate | None]]:
        """Both grippers through the frames of view `index` (0 n, 1 m): estimates [arm][t] in the frame of n.

        The points of m are in the frame of n, but a tracker needs to know where the camera stood, see `camera_pose`.
        Of a point in the camera's frame only the depth is used: sideways the pixel itself knows better, as a generated
        point may lie off its pixel's ray by centimetres.
        """
        T, X_nC = video.rgb.shape[1], self.camera_pose(index, view, video)
        if X_nC is None:
            return [[None] * T, [None] * T]
        points_n = np.where(video.valid[index, ..., None], video.pointmap[index], np.nan)
        depth_m = transform(invert(X_nC), points_n)[..., 2]  # NaN where invalid
        mask = self.segmenter.segment(view.rgb)
        return [
            [_carried(X_nC, found) for found in self._track_arm(arm, view, mask, video.rgb[index], depth_m)]
            for arm in range(2)
        ]

    def _track_arm(
        self, arm: int, view: RGBD, labels: np.ndarray, rgb: np.ndarray, depth_m: np.ndarray
    ) -> list[Estimate | None]:
        """Register on the observation (or on the first frame that shows the gripper), then follow frame by frame."""
        tracker = self.make_tracker(arm)
        registered = _registers(tracker, view.rgb, view.depth_m, np.isin(labels, gripper_labels(arm)), view.K)
        estimates: list[Estimate | None] = []
        for frame_rgb, frame_depth_m in zip(rgb, depth_m, strict=True):
            if not registered:
                mask = np.isin(self.segmenter.segment(frame_rgb), gripper_labels(arm))
                registered = _registers(tracker, frame_rgb, frame_depth_m, mask, view.K)
            estimate = tracker.track(frame_rgb, frame_depth_m, view.K) if registered else None
            estimates.append(self._with_width(arm, estimate, frame_rgb, frame_depth_m, view.K))
        return estimates

    def _with_width(
        self, arm: int, estimate: Estimate | None, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray
    ) -> Estimate | None:
        """The estimate with the width read from the finger centroids, as in the paper, where both fingers are seen.

        Elsewhere the tracker's own width stays, if it has one: it is right less often, but known more often.
        """
        if estimate is None:
            return None
        labels, (points_C, valid) = self.segmenter.segment(rgb), unproject(depth_m, K)
        left, right = (points_C[(labels == finger) & valid] for finger in FINGERS[arm])
        width_m = gripper_width(left, right)
        return estimate if width_m is None else Estimate(estimate.X_CG, estimate.score, width_m)

    def _command(
        self, arm: int, views: list[list[Estimate | None]], eyes: list[np.ndarray], observation: Observation
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One arm's poses (T, 4, 4), widths (T,), scores (T,) and views (T,), from its estimates in both views."""
        present, config = observation.X_WG[arm], self.config
        poses, scores, chosen, widths = [], [], [], []
        for pair in zip(*views, strict=True):
            view = int(np.argmax([-1.0 if found is None else found.score for found in pair]))
            found = self._chosen(pair, eyes)
            confident = found is not None
            poses.append(observation.X_WC_n @ found.X_CG if confident else present)
            scores.append(found.score if confident else 0.0)
            chosen.append(view if confident else -1)
            widths.append(found.width_m if confident else None)
        X_WG, known = np.stack(poses), np.array(scores) > 0
        if config.smooth_frames:
            X_WG = smooth(X_WG, known, present, config.smooth_frames, config.smooth_turn_frames)
        X_WG, score = safe_trajectory(X_WG, np.array(scores), present, config.step_s, config.limits)
        is_open = self._openings(widths, bool(observation.width_m[arm] > self.threshold_m))
        return X_WG, np.where(is_open, config.open_m, config.closed_m), score, np.array(chosen)

    def _openings(self, widths_m: list[float | None], is_open: bool) -> np.ndarray:
        if self.config.settle_fingers:
            return settled_openings(widths_m, self.threshold_m, is_open)
        state = GripperState(self.threshold_m, is_open)
        return np.array([state.update(width_m) for width_m in widths_m])


def _registers(tracker: Tracker, rgb: np.ndarray, depth_m: np.ndarray, mask: np.ndarray, K: np.ndarray) -> bool:
    try:
        tracker.register(rgb, depth_m, mask, K)
    except PerceptionError:
        return False
    return True


def _carried(X_nC: np.ndarray, found: Estimate | None) -> Estimate | None:
    return None if found is None else Estimate(X_nC @ found.X_CG, found.score, found.width_m)
