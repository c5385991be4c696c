"""`PutSpatulaOnTable`: the right arm takes a spatula out of a crock by its handle and lays it on the table."""

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.geometry.labels import Label
from geo4d_lite.simulation.tasks.moves import (
    OPEN_M,
    RIGHT,
    SLOW_SPEED,
    SPEED,
    angle,
    draw_hands,
    hand_rotation,
    one_arm,
    raised,
    reach_for,
    still,
    up,
)
from geo4d_lite.simulation.tasks.task import ArmCommand, Decision, Layout, Snapshot, Task

CROCK_RIM_Z_M, CROCK_FLOOR_Z_M, CROCK_RADIUS_M = 0.105, 0.012, 0.048
HANDLE_HALF_M = 0.010
SQUEEZE_M = 0.030  # commanded; the handle is 20 mm thick and stops the fingers at 42 mm
HELD_WIDTH_M = (0.036, 0.0445)

# The grasp, fixed in the spatula: 21.5 cm from the blade's edge, square to the handle, closing along the width of the
# blade; the handle lies 15 mm towards the fingertips, which leaves room under them on the table.
GRASP_HEIGHT_M, GRASP_DEPTH_M = 0.215, 0.015
R_SG = RotationMatrix(np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
X_SG = RigidTransform(R_SG, [-GRASP_DEPTH_M, 0.0, GRASP_HEIGHT_M])
HANDLE_START_M, HANDLE_END_M = 0.09, 0.275  # along z of S
CLEAR_OF_RIM_M = 0.01
LIFT_CLEARANCE_M = 0.05
HOVER_M = 0.19

PLACE_YAW, PLACE_TILT = np.deg2rad(10.0), np.deg2rad(6.0)
PLACE_X_M, PLACE_SIDE_M = -0.06, -0.20  # blade edge in the world; its distance from the crock along y
RETREAT_M, RETREAT_PITCH = 0.20, np.deg2rad(60.0)


def spatula_rotation(yaw: float, lean: float) -> RotationMatrix:
    """R_WS of a spatula whose handle leans by `lean` from the vertical towards `yaw`, blade facing that way."""
    R = hand_rotation(yaw, lean).matrix()
    return RotationMatrix(np.stack([R[:, 2], -R[:, 1], R[:, 0]], axis=1))


def draw_layout(rng: np.random.Generator) -> Layout:
    """Crock within 8 cm of its middle place, spatula leaning away from the right arm, hands within 3 cm of theirs."""
    crock = np.array([0.06, 0.02, 0.0]) + [*rng.uniform(-0.08, 0.08, 2), 0.0]
    X_WK = RigidTransform(RotationMatrix.MakeZRotation(rng.uniform(-np.pi, np.pi)), crock)

    yaw = np.deg2rad(rng.uniform(5.0, 40.0))
    foot = rng.uniform(0.022, 0.036)  # how far the blade's edge stands behind the middle of the crock
    lean = np.arctan((CROCK_RADIUS_M + foot - HANDLE_HALF_M) / (CROCK_RIM_Z_M - CROCK_FLOOR_Z_M)) - 0.02
    p_KS = [-foot * np.cos(yaw), -foot * np.sin(yaw), CROCK_FLOOR_Z_M + 0.002]
    X_WS = RigidTransform(spatula_rotation(yaw, lean), crock + p_KS)

    homes = draw_hands(rng, [[-0.02, 0.28, 0.28], [-0.02, -0.16, 0.28]], [-20.0, 20.0], [58.0, 55.0])
    return Layout({"crock": X_WK, "spatula": X_WS}, homes, (float(rng.uniform(0.11, 0.15)), OPEN_M))


def in_crock(now: Snapshot) -> bool:
    """The blade's edge is inside the crock or not yet clear of its rim."""
    p_KS = now.X_WO["spatula"].translation() - now.X_WO["crock"].translation()
    return bool(np.hypot(*p_KS[:2]) < 0.075 and p_KS[2] < CROCK_RIM_Z_M + CLEAR_OF_RIM_M)


def is_held(now: Snapshot) -> bool:
    """The fingers are closed on the handle."""
    X_GS = now.X_WG[RIGHT].InvertAndCompose(now.X_WO["spatula"])
    start, along = X_GS.translation(), X_GS.rotation().matrix()[:, 2]
    nearest = start + np.clip(-start @ along, HANDLE_START_M, HANDLE_END_M) * along
    between = abs(nearest[0]) < 0.02 and abs(nearest[1]) < 0.015 and -0.025 < nearest[2] < 0.035
    return bool(between and HELD_WIDTH_M[0] < now.width_m[RIGHT] < HELD_WIDTH_M[1])


def is_lying(now: Snapshot) -> bool:
    """The spatula is down on the table, nearly level."""
    X_WS = now.X_WO["spatula"]
    return bool(X_WS.translation()[2] < 0.03 and abs(X_WS.rotation().matrix()[2, 2]) < np.sin(np.deg2rad(15)))


def is_solved(now: Snapshot) -> bool:
    """The spatula lies on the table outside the crock, at rest, and the gripper has let go of it."""
    released = now.width_m[RIGHT] > 0.06
    return is_lying(now) and not in_crock(now) and released and now.speed["spatula"] < 0.05


def decide(now: Snapshot) -> Decision:
    """The next motion of the right arm for a state; the left one has nothing to do."""
    if is_held(now):
        phase, command = _with_spatula(now)
    elif in_crock(now):
        phase, command = reach_for(now, RIGHT, now.X_WO["spatula"] @ X_SG, SQUEEZE_M)
    elif is_lying(now):
        phase, command = _away_from_spatula(now)
    else:
        phase, command = "lost", still(now, RIGHT)
    return one_arm(now, RIGHT, phase, command, is_last=phase == "retreat")


def _with_spatula(now: Snapshot) -> tuple[str, ArmCommand]:
    X_WG, X_WS = now.X_WG[RIGHT], now.X_WO["spatula"]
    if in_crock(now):
        rise = CROCK_RIM_Z_M + LIFT_CLEARANCE_M - X_WS.translation()[2]
        handle = X_WS.rotation().matrix()[:, 2]
        steep = handle / handle[2] + up(1.0)  # between the handle and the vertical: clear of the rim, within reach
        target = RigidTransform(X_WG.rotation(), X_WG.translation() + steep * rise / 2)
        return "lift", ArmCommand(target, SQUEEZE_M, SPEED)
    if is_lying(now) and X_WS.translation()[2] < 0.012:
        return "release", ArmCommand(X_WG, OPEN_M, 0.0)
    X_SG_now = X_WS.InvertAndCompose(X_WG)  # as grasped, slip included
    p_WS = np.array([PLACE_X_M, now.X_WO["crock"].translation()[1] + PLACE_SIDE_M, 0.005])
    X_WPlace = RigidTransform(spatula_rotation(PLACE_YAW, np.pi / 2 - PLACE_TILT), p_WS)
    aside, turn = p_WS - X_WS.translation(), angle(X_WPlace.InvertAndCompose(X_WS).rotation())
    if np.hypot(*aside[:2]) < 0.03 and turn < np.deg2rad(5):
        return "lower", ArmCommand(X_WPlace @ X_SG_now, SQUEEZE_M, SLOW_SPEED)
    return "carry", ArmCommand(raised(X_WPlace, HOVER_M) @ X_SG_now, SQUEEZE_M, SPEED)


def _away_from_spatula(now: Snapshot) -> tuple[str, ArmCommand]:
    X_WG = now.X_WG[RIGHT]
    if now.width_m[RIGHT] < 0.11 and X_WG.translation()[2] < 0.10:
        return "release", ArmCommand(X_WG, OPEN_M, 0.0)
    p_WG = now.X_WO["spatula"] @ np.array([0.0, 0.0, GRASP_HEIGHT_M]) + [-0.06, 0.0, RETREAT_M]
    return "retreat", ArmCommand(RigidTransform(hand_rotation(PLACE_YAW, RETREAT_PITCH), p_WG), OPEN_M, SPEED)


PUT_SPATULA = Task(
    name="PutSpatulaOnTable",
    gripper_threshold_m=0.06,
    time_limit_s=20.0,
    instruction="Take the spatula out of the crock and lay it on the table.",
    objects={"crock": Label.FIXTURE, "spatula": Label.OBJECT},
    draw_layout=draw_layout,
    decide=decide,
    is_solved=is_solved,
)
