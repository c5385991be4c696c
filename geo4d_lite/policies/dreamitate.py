"""Dreamitate: imagine a stereo video in colour only, and follow the grippers seen in it by triangulation.

After Liang et al., "Dreamitate: Real-World Visuomotor Policy Learning via Video Generation" (CoRL 2024), which tracks a
tool. It needs the extrinsics of both cameras, as its video has no depth. How the grippers are read from the images is a
stand-in at this scale; `stereo` says what for.
"""

import time

import numpy as np

from geo4d_lite.perception import GripperState, Segmenter
from geo4d_lite.policies.protocol import Observation, PolicyFailure, Trajectory
from geo4d_lite.policies.safety import safe_trajectory
from geo4d_lite.policies.stereo import Camera, StereoGripper, part_points
from geo4d_lite.policies.video_policy import VideoModel, VideoPolicyConfig


class Dreamitate:
    """Colour video of both views -> parts of both grippers in both views -> stereo merge -> bounded trajectory."""

    def __init__(
        self,
        video_model: VideoModel,
        segmenter: Segmenter,
        threshold_m: float,
        config: VideoPolicyConfig = VideoPolicyConfig(),  # noqa: B008 (frozen)
    ):
        """Of the video only `rgb` is read. `threshold_m`: a gripper narrower than this is closed."""
        self.video_model, self.segmenter = video_model, segmenter
        self.threshold_m, self.config = threshold_m, config

    def predict_action(self, observation: Observation) -> Trajectory:
        """See `Policy`. `view` is -1 throughout, as every pose is read in both views together.

        Raises PolicyFailure if the pose of the second camera is not given.
        """
        if observation.X_WC_m is None:
            raise PolicyFailure("Dreamitate triangulates: it needs X_WC_m, the pose of the second camera")
        start = time.perf_counter()
        views = (observation.view_n, observation.view_m)
        video = self.video_model(*views)
        imagined = time.perf_counter()
        poses = (observation.X_WC_n, observation.X_WC_m)
        cameras = [Camera(view.K, X_WC) for view, X_WC in zip(views, poses, strict=True)]
        before = part_points(np.stack([view.rgb for view in views]), cameras, self.segmenter)
        frames = [part_points(video.rgb[:, t], cameras, self.segmenter) for t in range(video.rgb.shape[1])]
        arms = [self._command(arm, before, frames, observation) for arm in range(2)]
        X_WG, width_m, score = (np.stack(parts, axis=1) for parts in zip(*arms, strict=True))
        seconds = {"video": imagined - start, "tracking": time.perf_counter() - imagined}
        return Trajectory(X_WG, width_m, score, np.full(score.shape, -1), self.config.step_s, seconds)

    def _command(
        self, arm: int, before: dict, frames: list[dict], observation: Observation
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One arm's poses (T, 4, 4), widths (T,) and scores (T,) from its parts' points in all frames."""
        present, limits = observation.X_WG[arm], self.config.limits
        gripper = StereoGripper(arm, present)
        gripper.register(before, present)
        state = GripperState(self.threshold_m, is_open=bool(observation.width_m[arm] > self.threshold_m))
        poses, scores, widths = [], [], []
        for points in frames:
            X_WG, score, width_m = gripper.track(points)
            is_open = state.update(width_m if score >= limits.min_score else None)
            poses.append(X_WG)
            scores.append(score)
            widths.append(self.config.open_m if is_open else self.config.closed_m)
        X_WG, score = safe_trajectory(np.stack(poses), np.array(scores), present, self.config.step_s, limits)
        return X_WG, np.array(widths), score
