"""`StoreCerealBoxUnderShelf`: the left arm takes a cereal box from the top of a shelf and puts it under the board.

From the top, as on the paper's project page: start and goal are seen in one glance, the scene stays in the middle of
every image, and the way around the edge of the board shows in each frame how far the task has come. The box is set down
half under the board and let go where cameras still see the fingers open; closed fingers then push it in.

Frames: F the shelf (origin on the table under the middle of its board, x into the shelf away from the robot), B the box
(origin in the middle of its bottom, x along its depth); see their URDF files.
"""

from itertools import product

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.geometry.labels import Label
from geo4d_lite.simulation.tasks.moves import (
    LEFT,
    OPEN_M,
    SPEED,
    angle,
    backed,
    draw_hands,
    hand_rotation,
    one_arm,
    raised,
    reach_for,
    still,
)
from geo4d_lite.simulation.tasks.task import ArmCommand, Decision, Layout, Snapshot, Task

BOX_SIZE_M = np.array([0.12, 0.05, 0.085])
BOARD_M = np.array([0.16, 0.30])  # depth, width
UNDER_BOARD_M, TOP_M = 0.128, 0.140  # lower and upper face of the board
SQUEEZE_M = 0.050  # commanded; the box is 50 mm thick and stops the fingers at 72 mm
HELD_WIDTH_M = (0.066, 0.0745)

# The grasp, fixed in the box: at its rear edge, from behind and above; the hand stays in sight beside the board.
PITCH = np.deg2rad(56.0)
X_BG = RigidTransform(hand_rotation(0.0, PITCH), [-0.055, 0.0, 0.045])

# Places of the box in the frame of the shelf.
LIFTED_M = TOP_M + 0.025  # from here on it may leave the board
CARRIED_M = TOP_M + 0.04
FRONT_X_M = -BOARD_M[0] / 2 - BOX_SIZE_M[0] / 2  # the box's far face is level with the edge of the board
BEFORE_X_M = FRONT_X_M - 0.035
SLIDE_Z_M = 0.010  # height of the box's bottom while it goes under the board
SET_X_M, STORED_X_M = -0.065, 0.004  # where it is let go, half under the board, and where it stays

# Places of the gripper along x of the box: its tips reach 3 cm ahead, and the box's rear face is at -6 cm.
CLEAR_X_M, CLOSE_X_M, PUSH_X_M = -0.10, -0.125, -0.089
CLOSED_M, PUSH_WIDTH_M = 0.028, 0.045  # commanded; narrow enough to push
LET_GO_M = 0.10  # wide enough to leave the box
RETREAT_M = 0.14


def draw_layout(rng: np.random.Generator) -> Layout:
    """Shelf within 3 cm and 8 degrees of its middle place, the box anywhere along its board, turned by up to 12."""
    yaw = np.deg2rad(rng.uniform(-38.0, -22.0))
    p_WF = [0.11 + rng.uniform(-0.03, 0.03), -0.07 + rng.uniform(-0.03, 0.03), 0.0]
    X_WF = RigidTransform(RotationMatrix.MakeZRotation(yaw), p_WF)
    p_FB = [rng.uniform(-0.002, 0.015), rng.uniform(-0.06, 0.06), TOP_M + 0.001]
    X_FB = RigidTransform(RotationMatrix.MakeZRotation(np.deg2rad(rng.uniform(-12.0, 12.0))), p_FB)
    homes = draw_hands(rng, ([-0.10, 0.20, 0.25], [-0.12, -0.27, 0.22]), (-20.0, 20.0), (58.0, 58.0))
    return Layout({"shelf": X_WF, "cereal_box": X_WF @ X_FB}, homes, (OPEN_M, float(rng.uniform(0.11, 0.15))))


def in_shelf(now: Snapshot) -> RigidTransform:
    """X_FB: the pose of the box in the frame of the shelf."""
    return now.X_WO["shelf"].InvertAndCompose(now.X_WO["cereal_box"])


def in_box(now: Snapshot) -> RigidTransform:
    """X_BG: the pose of the left gripper in the frame of the box."""
    return now.X_WO["cereal_box"].InvertAndCompose(now.X_WG[LEFT])


def is_around(now: Snapshot) -> bool:
    """The box is between the left fingers, whether they touch it or not."""
    x, y, z = in_box(now).translation()
    return bool(CLEAR_X_M < x < BOX_SIZE_M[0] / 2 and abs(y) < 0.04 and 0.0 < z < BOX_SIZE_M[2] + 0.02)


def is_held(now: Snapshot) -> bool:
    """The left fingers are closed on the large faces of the box."""
    return is_around(now) and HELD_WIDTH_M[0] < now.width_m[LEFT] < HELD_WIDTH_M[1]


def is_stored(now: Snapshot) -> bool:
    """The box lies on the table, all of it under the board."""
    corners_B = np.array(list(product((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0)))) * BOX_SIZE_M
    corners_F = in_shelf(now).multiply(corners_B.T).T
    inside = np.abs(corners_F[:, :2]) < BOARD_M / 2
    return bool(inside.all() and corners_F[:, 2].max() < UNDER_BOARD_M and corners_F[:, 2].min() < 0.006)


def is_solved(now: Snapshot) -> bool:
    """The box is under the board, on the table, at rest, and the left gripper has let go of it."""
    released = not is_around(now) or now.width_m[LEFT] > LET_GO_M
    return is_stored(now) and released and now.speed["cereal_box"] < 0.05


def decide(now: Snapshot) -> Decision:
    """The next motion of the left arm for a state; the right one has nothing to do."""
    x, _, z = in_shelf(now).translation()
    if is_held(now):
        phase, command = _with_box(now)
    elif z > TOP_M - 0.01:
        phase, command = reach_for(now, LEFT, now.X_WO["cereal_box"] @ X_BG, SQUEEZE_M)
    elif z > SLIDE_Z_M + 0.01 or x < FRONT_X_M:
        phase, command = "lost", still(now, LEFT)
    elif x < STORED_X_M:
        phase, command = _push(now)
    else:
        phase, command = "retreat", ArmCommand(backed(_behind(now, PUSH_X_M), RETREAT_M), OPEN_M, SPEED)
    return one_arm(now, LEFT, phase, command, is_last=phase == "retreat")


def _with_box(now: Snapshot) -> tuple[str, ArmCommand]:
    X_FB, X_WG = in_shelf(now), now.X_WG[LEFT]
    x, y, z = X_FB.translation()
    X_BG_now = in_box(now)  # as grasped, slip included

    def carried_to(x_F: float, z_F: float, speed: float = SPEED) -> ArmCommand:
        """The box square to the shelf, in its middle."""
        return ArmCommand(now.X_WO["shelf"] @ RigidTransform([x_F, 0.0, z_F]) @ X_BG_now, SQUEEZE_M, speed)

    if x > FRONT_X_M - 0.015 and z > UNDER_BOARD_M - 0.01:  # above the board
        if z < LIFTED_M:
            return "lift", ArmCommand(raised(X_WG, CARRIED_M - z), SQUEEZE_M, SPEED)
        return "draw back", carried_to(BEFORE_X_M, CARRIED_M)
    if x < FRONT_X_M and (z > SLIDE_Z_M + 0.01 or abs(y) > 0.02 or angle(X_FB.rotation()) > np.deg2rad(6.0)):
        return "lower", carried_to(BEFORE_X_M, SLIDE_Z_M)
    if x < SET_X_M - 0.01:
        return "slide in", carried_to(SET_X_M, SLIDE_Z_M)
    if z > 0.003:
        return "set down", carried_to(SET_X_M, -0.001, 0.05)
    return "release", ArmCommand(X_WG, OPEN_M, 0.0)


def _push(now: Snapshot) -> tuple[str, ArmCommand]:
    """The box stands half under the board: leave it, close the fingers behind it, push it in with them."""
    width_m = now.width_m[LEFT]
    if width_m < PUSH_WIDTH_M:
        left_m = STORED_X_M - in_shelf(now).translation()[0]
        return "push in", ArmCommand(_behind(now, PUSH_X_M + left_m + 0.005), CLOSED_M, 0.08)
    if not is_around(now):
        return "close behind", ArmCommand(_behind(now, CLOSE_X_M), CLOSED_M, SPEED)
    if width_m < LET_GO_M:
        return "release", ArmCommand(now.X_WG[LEFT], OPEN_M, 0.0)
    return "withdraw", ArmCommand(_behind(now, CLOSE_X_M), OPEN_M, SPEED)


def _behind(now: Snapshot, x_B: float) -> RigidTransform:
    """X_WG of the hand as at the grasp, at `x_B` along the depth of the box."""
    return now.X_WO["cereal_box"] @ RigidTransform(X_BG.rotation(), [x_B, 0.0, X_BG.translation()[2]])


STORE_CEREAL_BOX = Task(
    name="StoreCerealBoxUnderShelf",
    gripper_threshold_m=0.10,
    time_limit_s=25.0,
    instruction="Take the cereal box from the top of the shelf and put it under the board.",
    objects={"shelf": Label.FIXTURE, "cereal_box": Label.OBJECT},
    draw_layout=draw_layout,
    decide=decide,
    is_solved=is_solved,
)
