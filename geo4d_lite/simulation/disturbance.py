"""A disturbance: the station is brought somewhere on the way of its task, and a gripper off its path.

A demonstration that goes perfectly shows no state that a policy comes into through its own small errors, nor the way
back. Recorded from a disturbed state it does. (Laskey et al. 2017 inject noise into the demonstrator for this reason.)
"""

import numpy as np
from pydrake.common.eigen_geometry import AngleAxis
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.simulation.control import interpolate
from geo4d_lite.simulation.demonstration import ScriptedDemonstration
from geo4d_lite.simulation.station import Station

LATEST = 0.5  # of the task's time limit; the demonstration must still come to its end
MAX_OFFSET_M, MAX_TURN = 0.08, np.deg2rad(25.0)
PUSH_STEPS, STEP_S = 8, 0.1
CLOSED_SHARE, CLOSED_M = 0.2, 0.03


def disturb(station: Station, rng: np.random.Generator) -> None:
    """Let the demonstration run to a random moment, then push the grippers that are on their way off it.

    Each by up to 8 cm and 25 degrees; one in five of the open ones is closed as well, on nothing. A push may spoil the
    task: knock something over, or let go of it.
    """
    demonstration = ScriptedDemonstration(station)
    until_s = rng.uniform(0.0, LATEST * station.task.time_limit_s)
    while station.time_s < until_s and not demonstration.done:
        demonstration.step(STEP_S)
    X_WG, width_m = station.commanded_X_WG(), station.commanded_width_m()
    targets = [RigidTransform(X) for X in X_WG]
    for arm, command in enumerate(station.task.decide(station.snapshot()).arms):
        if command.speed > 0:
            targets[arm] = _displaced(targets[arm], rng)
            if width_m[arm] > command.width_m - 0.01 > CLOSED_M and rng.random() < CLOSED_SHARE:
                width_m[arm] = CLOSED_M
    starts = [RigidTransform(X) for X in X_WG]
    for step in range(1, PUSH_STEPS + 1):
        poses = [interpolate(a, b, step / PUSH_STEPS) for a, b in zip(starts, targets, strict=True)]
        station.set_command(np.stack([pose.GetAsMatrix4() for pose in poses]), width_m)
        station.advance(STEP_S)


def _displaced(X_WG: RigidTransform, rng: np.random.Generator) -> RigidTransform:
    """A pose drawn around `X_WG`: its offset evenly in a ball, its turn about an axis in any direction."""
    direction, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    offset = MAX_OFFSET_M * rng.random() ** (1 / 3) * direction
    turn = RotationMatrix(AngleAxis(MAX_TURN * rng.random(), axis))
    return RigidTransform(turn @ X_WG.rotation(), X_WG.translation() + offset)
