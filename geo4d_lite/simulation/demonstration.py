"""A scripted demonstration: the skill of `skill.py` turned into commands at a steady speed."""

import numpy as np
from pydrake.math import RigidTransform

from geo4d_lite.simulation.control import interpolate, pose_error
from geo4d_lite.simulation.skill import decide
from geo4d_lite.simulation.station import Station

TURN_SPEED = 0.6  # rad/s
CLOSING_SPEED = 0.10  # m/s of the width
ARRIVAL_GAIN = 4.0  # 1/s: near its target the gripper slows down to this times the distance left
ARRIVED_M = 0.02


class ScriptedDemonstration:
    """Drives a station's right arm through the task. It holds no state but the station's own, so it may start anywhere.

    `done` becomes true when the arm has retreated from the solved task or the task's time is over.
    """

    def __init__(self, station: Station):
        self.station = station

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: solved and retreated, lost, or out of time."""
        decision = decide(self.station.snapshot())
        left = np.linalg.norm(decision.X_WG.translation() - self.station.X_WG()[1, :3, 3])
        finished = decision.phase == "retreat" and left < ARRIVED_M
        return finished or self.station.time_s >= self.station.task.time_limit_s

    def step(self, dt: float = 0.1) -> None:
        """Command the next `dt` seconds of motion and simulate them."""
        station = self.station
        decision = decide(station.snapshot())
        X_WG, width_m = station.commanded_X_WG(), station.commanded_width_m()
        X_WNow = RigidTransform(X_WG[1])
        twist = pose_error(X_WNow, decision.X_WG)
        distance, turn = np.linalg.norm(twist[3:]), np.linalg.norm(twist[:3])
        speed = min(decision.speed, 0.02 + ARRIVAL_GAIN * distance)
        fraction = min(1.0, speed * dt / max(distance, 1e-9), TURN_SPEED * dt / max(turn, 1e-9))
        X_WG[1] = interpolate(X_WNow, decision.X_WG, fraction).GetAsMatrix4()
        width_m[1] += np.clip(decision.width_m - width_m[1], -CLOSING_SPEED * dt, CLOSING_SPEED * dt)
        station.set_command(X_WG, width_m)
        station.advance(dt)
