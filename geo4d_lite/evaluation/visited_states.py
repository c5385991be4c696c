"""States that a policy comes into by itself, from which a demonstration then shows the way on.

A policy's own errors lead it where no demonstration has been: a box that stands two centimetres short of its place, a
hand beside the handle it has missed. Asked there, the demonstrator says what to do (DAgger, Ross et al. 2011).
"""

from dataclasses import replace

import numpy as np

from geo4d_lite.evaluation.rollouts import RolloutOptions, UnsafeCommand, act, look
from geo4d_lite.geometry import sample_camera_poses
from geo4d_lite.policies import Policy, PolicyFailure, Trajectory
from geo4d_lite.simulation.station import Station

LATEST = 1.4  # of the task's time limit
OFFSET_M = 0.01  # standard deviation of how far a trajectory as a whole is off, along each axis, in every second one


def lead(station: Station, policy: Policy, rng: np.random.Generator) -> None:
    """Let `policy` act until a random moment, sooner if the task is solved or the policy fails.

    It sees the station from two cameras drawn by `rng`. Half of its trajectories are shifted, about as far as poses
    tracked in a generated film are off.
    """
    X_WC, until_s = sample_camera_poses(2, rng), rng.uniform(0.0, LATEST * station.task.time_limit_s)
    while station.time_s < until_s and not station.success():
        try:
            trajectory = policy.predict_action(look(station, X_WC))
            frames = int(np.ceil((until_s - station.time_s) / trajectory.step_s))
            count = min(frames, RolloutOptions().execute_frames)
            act(station, _shifted(trajectory, rng), RolloutOptions(execute_frames=count))
        except (UnsafeCommand, PolicyFailure):
            return


def _shifted(trajectory: Trajectory, rng: np.random.Generator) -> Trajectory:
    X_WG = trajectory.X_WG.copy()
    X_WG[..., :3, 3] += OFFSET_M * rng.normal(size=(2, 3)) * rng.integers(2)
    return replace(trajectory, X_WG=X_WG)
