"""The path model as a policy of its own: what it reads is carried out, and no film is made. Ours, an ablation.

What it reaches is what the video policy could reach if every film showed exactly the path that it was drawn along, and
were tracked without an error.
"""

import time
from collections.abc import Callable

import numpy as np

from geo4d_lite.geometry import RGBD
from geo4d_lite.policies.action_policy import ActionPolicyConfig, finger_commands
from geo4d_lite.policies.paths import poses_of_path
from geo4d_lite.policies.protocol import Observation, PolicyFailure, Trajectory
from geo4d_lite.policies.safety import safe_trajectory

PathReader = Callable[[RGBD, RGBD], np.ndarray | None]


class PathPolicy:
    """The path read from both views, in the frame of n, made safe; no camera pose goes into reading it."""

    def __init__(
        self,
        read_path: PathReader,
        threshold_m: float,
        step_s: float = 0.5,
        config: ActionPolicyConfig = ActionPolicyConfig(),  # noqa: B008 (frozen)
    ):
        """`read_path`: two views -> (T, 2, 10), see `poses_of_path`, or None if it cannot. `threshold_m`: a gripper
        narrower than this is closed. `step_s`: seconds from frame to frame."""
        self.read_path, self.threshold_m, self.step_s, self.config = read_path, threshold_m, step_s, config

    def predict_action(self, observation: Observation) -> Trajectory:
        """See `Policy`."""
        start = time.perf_counter()
        path = self.read_path(observation.view_n, observation.view_m)
        if path is None or not np.isfinite(path).all():
            raise PolicyFailure("no path can be read from the points of the two views")
        X_nG, width_m = poses_of_path(path)
        X_WG, score = observation.X_WC_n @ X_nG, np.ones(width_m.shape)
        for arm, present in enumerate(observation.X_WG):
            X_WG[:, arm], _ = safe_trajectory(X_WG[:, arm], score[:, arm], present, self.step_s, self.config.limits)
            width_m[:, arm] = finger_commands(width_m[:, arm], observation.width_m[arm], self.threshold_m, self.config)
        seconds = {"path": time.perf_counter() - start}
        return Trajectory(X_WG, width_m, score, np.full(width_m.shape, -1), self.step_s, seconds)
