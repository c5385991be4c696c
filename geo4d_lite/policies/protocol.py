"""One protocol for every policy: what it is shown and what it answers."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from geo4d_lite.geometry import RGBD


class PolicyFailure(RuntimeError):
    """The policy cannot give a trajectory; the loop stops the robot and records the message as the reason."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What a policy sees and what the robot knows of itself. Arrays with an arm axis: 0 left, 1 right.

    view_n, view_m: two RGB-D images with their intrinsics. X_WC_n (4, 4): pose of the reference camera in the world,
    used only to carry the answer into the world. X_WG (2, 4, 4) and width_m (2,): the robot's own measurement of its
    grippers. X_WC_m (4, 4): pose of the second camera, for the baselines that need it; ours does not look at it.
    earlier: what was observed one executed frame ago, by the same cameras; None at the start.
    """

    view_n: RGBD
    view_m: RGBD
    X_WC_n: np.ndarray
    X_WG: np.ndarray
    width_m: np.ndarray
    X_WC_m: np.ndarray | None = None
    earlier: "Observation | None" = None


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where both grippers should be at T times, `step_s` apart, the first one `step_s` from now.

    X_WG (T, 2, 4, 4): poses in the world. width_m (T, 2): commanded finger distances. score (T, 2): confidence in
    [0, 1], 0 where the pose before is held. view (T, 2): which view the pose was read in (0 n, 1 m), -1 for neither.
    seconds: wall time of the policy's stages.
    """

    X_WG: np.ndarray
    width_m: np.ndarray
    score: np.ndarray
    view: np.ndarray
    step_s: float = 0.5
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def is_blind(self) -> bool:
        """No gripper was found in any frame: the trajectory only holds still."""
        return bool((self.score == 0).all())


class Policy(Protocol):
    """Anything that maps an observation to a trajectory."""

    def predict_action(self, observation: Observation) -> Trajectory:
        """Raises PolicyFailure if there is no answer; a policy unsure of one arm holds that arm still instead."""
        ...


class StandStill:
    """The lower bound of every table: hold the grippers where they are."""

    def __init__(self, frames: int = 10):
        self.frames = frames

    def predict_action(self, observation: Observation) -> Trajectory:
        """The measured poses and widths, `frames` times."""
        T = self.frames
        return Trajectory(
            np.repeat(observation.X_WG[None], T, axis=0),
            np.repeat(observation.width_m[None], T, axis=0),
            np.ones((T, 2)),
            np.full((T, 2), -1),
        )
