"""A scripted demonstration: what a task decides, turned into commands at a steady speed."""

import numpy as np
from pydrake.math import RigidTransform

from geo4d_lite.simulation.control import interpolate, pose_error
from geo4d_lite.simulation.station import Station
from geo4d_lite.simulation.tasks import ArmCommand

TURN_SPEED = 0.6  # rad/s
CLOSING_SPEED = 0.10  # m/s of the width
ARRIVAL_GAIN = 4.0  # 1/s: near its target the gripper slows down to this times the distance left
ARRIVED_M = 0.02


class ScriptedDemonstration:
    """Drives a station's arms through its task. It is led by the station's state, and may start anywhere.

    `done` becomes true when the arms have arrived in the last phase, or when the task's time, from the start of the
    demonstration on, is over.
    """

    def __init__(self, station: Station):
        self.station, self.until_s = station, station.time_s + station.task.time_limit_s

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: the last phase has come to its end, or the time is over."""
        station = self.station
        decision = station.task.decide(station.snapshot())
        left = [
            np.linalg.norm(command.X_WG.translation() - X_WG[:3, 3])
            for command, X_WG in zip(decision.arms, station.X_WG(), strict=True)
        ]
        return decision.is_last and max(left) < ARRIVED_M or station.time_s >= self.until_s

    def step(self, dt: float = 0.1) -> None:
        """Command the next `dt` seconds of motion and simulate them."""
        station = self.station
        X_WG, width_m = station.commanded_X_WG(), station.commanded_width_m()
        for arm, command in enumerate(station.task.decide(station.snapshot()).arms):
            X_WG[arm], width_m[arm] = _next(command, RigidTransform(X_WG[arm]), width_m[arm], dt)
        station.set_command(X_WG, width_m)
        station.advance(dt)


def _next(command: ArmCommand, X_WG: RigidTransform, width_m: float, dt: float) -> tuple[np.ndarray, float]:
    """Pose (4, 4) and width to command of one gripper `dt` seconds on, no faster than it may move, turn and close."""
    twist = pose_error(X_WG, command.X_WG)
    distance, turn = np.linalg.norm(twist[3:]), np.linalg.norm(twist[:3])
    speed = min(command.speed, 0.02 + ARRIVAL_GAIN * distance)
    fraction = min(1.0, speed * dt / max(distance, 1e-9), TURN_SPEED * dt / max(turn, 1e-9))
    change_m = np.clip(command.width_m - width_m, -CLOSING_SPEED * dt, CLOSING_SPEED * dt)
    return interpolate(X_WG, command.X_WG, fraction).GetAsMatrix4(), width_m + change_m
