"""Policies that predict actions directly: two observations in, eight frames of both grippers out.

Diffusion Policy and DP3 differ in the model only. Poses are bounded and fingers are commanded as for the video policy,
so that all policies are carried out alike.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geo4d_lite.data.states import decode_states, encode_states
from geo4d_lite.geometry import RGBD
from geo4d_lite.perception import GripperState
from geo4d_lite.policies.protocol import Observation, PolicyFailure, Trajectory
from geo4d_lite.policies.safety import SafetyLimits, safe_trajectory

PAST = 1  # the first action leads from the earlier observation to the present one


class ActionModel(Protocol):
    """Two moments, each of two views, to the states of the frames from now on, now included."""

    def __call__(self, views: Sequence[Sequence[RGBD]], X_WC: np.ndarray, states: np.ndarray) -> np.ndarray:
        """views[moment][view], extrinsics (2, 4, 4), states (2, 20) -> (T, 20).

        Raises ValueError for images it cannot use.
        """
        ...


@dataclass(frozen=True)
class ActionPolicyConfig:
    """`execute_frames`: of the prediction, eight in both papers. `open_m` and `closed_m`: widths commanded."""

    execute_frames: int = 8
    open_m: float = 0.155
    closed_m: float = 0.030
    limits: SafetyLimits = SafetyLimits()


class ActionPolicy:
    """The first frames of what the model predicts, made safe."""

    def __init__(
        self,
        model: ActionModel,
        threshold_m: float,
        step_s: float = 0.5,
        config: ActionPolicyConfig = ActionPolicyConfig(),
    ):
        """`threshold_m`: a gripper narrower than this is closed. `step_s`: seconds from action to action."""
        self.model, self.threshold_m, self.step_s, self.config = model, threshold_m, step_s, config

    def predict_action(self, observation: Observation) -> Trajectory:
        """See `Policy`. Without an earlier observation the present one stands for it."""
        start = time.perf_counter()
        moments = [observation.earlier or observation, observation]
        try:
            predicted = self.model(
                [[moment.view_n, moment.view_m] for moment in moments],
                np.stack([observation.X_WC_n, observation.X_WC_m]),
                np.stack([encode_states(moment.X_WG, moment.width_m) for moment in moments]),
            )
        except ValueError as error:
            raise PolicyFailure(f"the model cannot use what it sees: {error}") from error
        if not np.isfinite(predicted).all():
            raise PolicyFailure("the model predicted NaN or infinity")
        X_WG, width_m = decode_states(predicted[PAST : PAST + self.config.execute_frames])
        score = np.ones(width_m.shape)
        for arm in range(2):
            present = observation.X_WG[arm]
            X_WG[:, arm], _ = safe_trajectory(X_WG[:, arm], score[:, arm], present, self.step_s, self.config.limits)
            width_m[:, arm] = finger_commands(width_m[:, arm], observation.width_m[arm], self.threshold_m, self.config)
        seconds = {"actions": time.perf_counter() - start}
        return Trajectory(X_WG, width_m, score, np.full(width_m.shape, -1), self.step_s, seconds)


def finger_commands(
    width_m: np.ndarray, present_m: float, threshold_m: float, config: ActionPolicyConfig
) -> np.ndarray:
    """Widths (T,) to command where the widths (T,) are to be seen, from the width measured now.

    What is seen around an object is wider than what must be commanded to hold it, so only "open" and "closed" are read
    from the prediction, as from a generated video. Fingers that are open and stay open are left as they are.
    """
    state = GripperState(threshold_m, is_open=bool(present_m > threshold_m))
    commands, open_m = [], present_m if state.is_open else config.open_m
    for width in width_m:
        if not state.update(float(width)):
            open_m = config.open_m
        commands.append(open_m if state.is_open else config.closed_m)
    return np.array(commands)
