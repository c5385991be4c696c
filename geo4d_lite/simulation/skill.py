"""The scripted skill: from the state alone to what the right arm should do next.

Nothing is remembered between calls, so the demonstration can be taken up from any state on its way; the oracle video
does so from copies of a running station.
"""

from dataclasses import dataclass

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.simulation.layout import CROCK_RIM_Z_M, hand_rotation, spatula_rotation

OPEN_M, SQUEEZE_M = 0.155, 0.030  # commanded widths; the handle is 20 mm thick and stops the fingers at 42 mm
HELD_WIDTH_M = 0.0445
EMPTY_WIDTH_M = 0.036

# The grasp, fixed in the spatula: 21.5 cm from the blade's edge, square to the handle, closing along the width of the
# blade; the handle lies 15 mm towards the fingertips, which leaves room under them on the table.
GRASP_HEIGHT_M, GRASP_DEPTH_M = 0.215, 0.015
R_SG = RotationMatrix(np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
X_SG = RigidTransform(R_SG, [-GRASP_DEPTH_M, 0.0, GRASP_HEIGHT_M])
HANDLE_START_M, HANDLE_END_M = 0.09, 0.275  # along z of S
STAND_OFF_M = 0.10
CLEAR_OF_RIM_M = 0.01
LIFT_CLEARANCE_M = 0.05
HOVER_M = 0.19

PLACE_YAW, PLACE_TILT = np.deg2rad(10.0), np.deg2rad(6.0)
PLACE_X_M, PLACE_SIDE_M = -0.06, -0.20  # blade edge in the world; its distance from the crock along y
RETREAT_M, RETREAT_PITCH = 0.20, np.deg2rad(60.0)


@dataclass(frozen=True)
class Snapshot:
    """The part of the state the task is about: right gripper, spatula S, crock K, spatula's speed (rad/s and m/s)."""

    X_WG: RigidTransform
    width_m: float
    X_WS: RigidTransform
    X_WK: RigidTransform
    speed_S: float


@dataclass(frozen=True)
class Decision:
    """What to do: the phase's name, the pose and width to go to, and how fast (m/s)."""

    phase: str
    X_WG: RigidTransform
    width_m: float
    speed: float


def angle(R: RotationMatrix) -> float:
    """Rotation angle in radians."""
    return R.ToAngleAxis().angle()


def in_crock(now: Snapshot) -> bool:
    """The blade's edge is inside the crock or not yet clear of its rim."""
    p_KS = now.X_WS.translation() - now.X_WK.translation()
    return bool(np.hypot(*p_KS[:2]) < 0.075 and p_KS[2] < CROCK_RIM_Z_M + CLEAR_OF_RIM_M)


def is_held(now: Snapshot) -> bool:
    """The fingers are closed on the handle."""
    X_GS = now.X_WG.InvertAndCompose(now.X_WS)
    start, along = X_GS.translation(), X_GS.rotation().matrix()[:, 2]
    nearest = start + np.clip(-start @ along, HANDLE_START_M, HANDLE_END_M) * along
    between = abs(nearest[0]) < 0.02 and abs(nearest[1]) < 0.015 and -0.025 < nearest[2] < 0.035
    return bool(between and EMPTY_WIDTH_M < now.width_m < HELD_WIDTH_M)


def is_lying(now: Snapshot) -> bool:
    """The spatula is down on the table, nearly level."""
    X_WS = now.X_WS
    return bool(X_WS.translation()[2] < 0.03 and abs(X_WS.rotation().matrix()[2, 2]) < np.sin(np.deg2rad(15)))


def is_solved(now: Snapshot) -> bool:
    """The spatula lies on the table outside the crock, at rest, and the gripper has let go of it."""
    released = now.width_m > 0.06
    return is_lying(now) and not in_crock(now) and released and now.speed_S < 0.05


def decide(now: Snapshot) -> Decision:
    """The next motion of the right arm for a state."""
    if is_held(now):
        return _with_spatula(now)
    if in_crock(now):
        return _towards_spatula(now)
    if is_lying(now):
        return _away_from_spatula(now)
    return Decision("lost", now.X_WG, OPEN_M, 0.0)


def _towards_spatula(now: Snapshot) -> Decision:
    X_WGrasp = now.X_WS @ X_SG
    X_GraspG = X_WGrasp.InvertAndCompose(now.X_WG)
    p, turn = X_GraspG.translation(), angle(X_GraspG.rotation())
    if np.linalg.norm(p) < 0.012 and turn < np.deg2rad(8) and now.width_m > EMPTY_WIDTH_M:
        return Decision("close", X_WGrasp, SQUEEZE_M, 0.05)
    if np.hypot(*p[:2]) < 0.02 and turn < np.deg2rad(10) and p[2] > -1.3 * STAND_OFF_M and now.width_m > 0.1:
        return Decision("approach", X_WGrasp, OPEN_M, 0.10)
    return Decision("reach", X_WGrasp @ RigidTransform([0.0, 0.0, -STAND_OFF_M]), OPEN_M, 0.12)


def _with_spatula(now: Snapshot) -> Decision:
    if in_crock(now):
        rise = CROCK_RIM_Z_M + LIFT_CLEARANCE_M - now.X_WS.translation()[2]
        handle = now.X_WS.rotation().matrix()[:, 2]
        up = handle / handle[2] + [0.0, 0.0, 1.0]  # between the handle and the vertical: clear of the rim, within reach
        X_WG = RigidTransform(now.X_WG.rotation(), now.X_WG.translation() + up * rise / 2)
        return Decision("lift", X_WG, SQUEEZE_M, 0.11)
    X_SG_now = now.X_WS.InvertAndCompose(now.X_WG)  # as grasped, slip included
    p_WS = np.array([PLACE_X_M, now.X_WK.translation()[1] + PLACE_SIDE_M, 0.005])
    X_WPlace = RigidTransform(spatula_rotation(PLACE_YAW, np.pi / 2 - PLACE_TILT), p_WS)
    X_PlaceS = X_WPlace.InvertAndCompose(now.X_WS)
    aside, turn = X_WPlace.translation() - now.X_WS.translation(), angle(X_PlaceS.rotation())
    if is_lying(now) and now.X_WS.translation()[2] < 0.012:
        return Decision("release", now.X_WG, OPEN_M, 0.0)
    if np.hypot(*aside[:2]) < 0.03 and turn < np.deg2rad(12):
        return Decision("lower", X_WPlace @ X_SG_now, SQUEEZE_M, 0.09)
    above = RigidTransform(X_WPlace.rotation(), p_WS + [0.0, 0.0, HOVER_M])
    return Decision("carry", above @ X_SG_now, SQUEEZE_M, 0.12)


def _away_from_spatula(now: Snapshot) -> Decision:
    if now.width_m < 0.11 and now.X_WG.translation()[2] < 0.10:
        return Decision("release", now.X_WG, OPEN_M, 0.0)
    p_WG = now.X_WS @ np.array([0.0, 0.0, GRASP_HEIGHT_M]) + [-0.06, 0.0, RETREAT_M]
    return Decision("retreat", RigidTransform(hand_rotation(PLACE_YAW, RETREAT_PITCH), p_WG), OPEN_M, 0.12)
