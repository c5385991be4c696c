"""Differential inverse kinematics: from the motion wanted of the gripper to the motion of seven joints."""

import numpy as np
from pydrake.common.eigen_geometry import AngleAxis
from pydrake.math import RigidTransform, RotationMatrix

DAMPING = 0.04  # trades exactness near singular postures for bounded joint speeds
# How fast the redundant motion drifts to the comfortable posture, 1/s; the last joint follows the task alone.
POSTURE_GAIN = np.array([2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0])
DRIFT_SPEED = 0.3  # rad/s at most, so that the elbow does not swing through where the posture lies far away


def pose_error(X_WG: RigidTransform, X_WTarget: RigidTransform) -> np.ndarray:
    """Twist (6,) that carries G to the target in unit time: rotation vector, then translation, both in the world."""
    turn = (X_WTarget.rotation() @ X_WG.rotation().inverse()).ToAngleAxis()
    return np.concatenate([turn.angle() * turn.axis(), X_WTarget.translation() - X_WG.translation()])


def interpolate(X_WA: RigidTransform, X_WB: RigidTransform, fraction: float) -> RigidTransform:
    """Straight line for the position, constant axis (slerp) for the rotation; `fraction` 0 gives A, 1 gives B."""
    turn = (X_WB.rotation() @ X_WA.rotation().inverse()).ToAngleAxis()
    R_WI = RotationMatrix(AngleAxis(fraction * turn.angle(), turn.axis())) @ X_WA.rotation()
    return RigidTransform(R_WI, (1 - fraction) * X_WA.translation() + fraction * X_WB.translation())


def joint_step(
    J: np.ndarray,
    twist: np.ndarray,
    q: np.ndarray,
    posture: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray, np.ndarray],
    dt: float,
) -> np.ndarray:
    """Joint change (7,) over `dt` seconds that moves the gripper by `twist` (6,) as well as the limits allow.

    Damped least squares on the Jacobian `J` (6, 7), in whose null space the joints drift to `posture` (7,). A joint
    that would leave its range (`limits` = lower, upper, speed; each (7,)) is set to the end of it and the rest is
    solved again without it; if a speed limit is exceeded the whole step is shortened, so its direction is kept.
    """
    lower, upper, speed = limits
    step, free = np.zeros(7), np.ones(7, bool)
    drift = np.clip(POSTURE_GAIN * (posture - q), -DRIFT_SPEED, DRIFT_SPEED) * dt
    while free.any():
        J_free = J[:, free]
        J_inverse = J_free.T @ np.linalg.inv(J_free @ J_free.T + DAMPING**2 * np.eye(6))
        left_over = twist - J[:, ~free] @ step[~free] - J_free @ drift[free]
        step[free] = drift[free] + J_inverse @ left_over
        outside = free & ((q + step < lower) | (q + step > upper))
        if not outside.any():
            break
        step[outside] = np.clip(q[outside] + step[outside], lower[outside], upper[outside]) - q[outside]
        free &= ~outside
    return step / max(1.0, np.max(np.abs(step) / (speed * dt)))
