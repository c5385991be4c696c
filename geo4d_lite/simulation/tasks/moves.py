"""Moves that all tasks are made of: how a hand is oriented, when it holds, how it reaches, waits and closes."""

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.simulation.tasks.task import ArmCommand, Decision, Snapshot

LEFT, RIGHT = 0, 1
OPEN_M = 0.155
EMPTY_MARGIN_M = 0.006  # fingers this close to the width they squeeze to have nothing between them
STAND_OFF_M = 0.10
SPEED, SLOW_SPEED = 0.13, 0.10  # m/s


def hand_rotation(yaw: float, pitch: float) -> RotationMatrix:
    """R_WG of a hand that points along `yaw` (radians from world x) and `pitch` below the horizon; its x points up."""
    z = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    x = np.array([np.cos(yaw) * np.sin(pitch), np.sin(yaw) * np.sin(pitch), np.cos(pitch)])
    return RotationMatrix(np.stack([x, np.cross(z, x), z], axis=1))


def draw_hands(
    rng: np.random.Generator, p_WG: tuple, yaw_deg: tuple[float, float], pitch_deg: tuple[float, float]
) -> tuple[RigidTransform, RigidTransform]:
    """Waiting poses of both grippers, each within 3 cm and 8 degrees of its middle place."""
    poses = []
    for p, yaw, pitch in zip(p_WG, yaw_deg, pitch_deg, strict=True):
        offset = rng.uniform(-0.03, 0.03, 3)
        R_WG = hand_rotation(*np.deg2rad([yaw, pitch] + rng.uniform(-8.0, 8.0, 2)))
        poses.append(RigidTransform(R_WG, np.array(p) + offset))
    return tuple(poses)


def angle(R: RotationMatrix) -> float:
    """Rotation angle in radians."""
    return R.ToAngleAxis().angle()


def up(height_m: float) -> np.ndarray:
    """The vector (3,) that points `height_m` up."""
    return np.array([0.0, 0.0, height_m])


def raised(X_WG: RigidTransform, height_m: float) -> RigidTransform:
    """The pose moved up by `height_m`."""
    return RigidTransform(X_WG.rotation(), X_WG.translation() + up(height_m))


def backed(X_WG: RigidTransform, distance_m: float) -> RigidTransform:
    """The pose moved back by `distance_m` along its approach direction."""
    return X_WG @ RigidTransform([0.0, 0.0, -distance_m])


def is_at(X_WG: RigidTransform, X_WTarget: RigidTransform, within_m: float, within_rad: float) -> bool:
    """Whether two poses agree."""
    X = X_WTarget.InvertAndCompose(X_WG)
    return bool(np.linalg.norm(X.translation()) < within_m and angle(X.rotation()) < within_rad)


def still(now: Snapshot, arm: int) -> ArmCommand:
    """Stay where you are."""
    return ArmCommand(now.X_WG[arm], now.width_m[arm], 0.0)


def one_arm(now: Snapshot, arm: int, phase: str, command: ArmCommand, is_last: bool = False) -> Decision:
    """A decision in which `arm` acts and the other one stands still."""
    other = still(now, 1 - arm)
    return Decision(phase, (command, other) if arm == LEFT else (other, command), is_last)


def reach_for(
    now: Snapshot, arm: int, X_WGrasp: RigidTransform, squeeze_m: float, speed: float = SPEED
) -> tuple[str, ArmCommand]:
    """The phase and command that bring an open gripper to the grasp along its approach direction, and close it."""
    X_GraspG = X_WGrasp.InvertAndCompose(now.X_WG[arm])
    p, turn, width_m = X_GraspG.translation(), angle(X_GraspG.rotation()), now.width_m[arm]
    if np.linalg.norm(p) < 0.012 and turn < np.deg2rad(8) and width_m > squeeze_m + EMPTY_MARGIN_M:
        return "close", ArmCommand(X_WGrasp, squeeze_m, 0.05)
    if np.hypot(*p[:2]) < 0.02 and turn < np.deg2rad(10) and p[2] > -1.3 * STAND_OFF_M and width_m > 0.8 * OPEN_M:
        return "approach", ArmCommand(X_WGrasp, OPEN_M, min(speed, SLOW_SPEED))
    return "reach", ArmCommand(backed(X_WGrasp, STAND_OFF_M), OPEN_M, speed)
