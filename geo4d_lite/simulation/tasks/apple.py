"""`PlaceAppleFromBowlIntoBin`: the left arm takes an apple out of a bowl and sets it on a tray that both arms reach;
the right arm puts it into a bin that the left one cannot reach.

A tray and not a hand-over in the air: two hands that meet hide each other from most cameras.
"""

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix

from geo4d_lite.geometry.labels import Label
from geo4d_lite.simulation.tasks.moves import (
    LEFT,
    OPEN_M,
    RIGHT,
    backed,
    draw_hands,
    hand_rotation,
    one_arm,
    raised,
    reach_for,
    still,
    up,
)
from geo4d_lite.simulation.tasks.task import ArmCommand, Decision, Layout, Snapshot, Task

SPEED, SLOW_SPEED = 0.09, 0.075  # m/s; slower than elsewhere, an apple is easily dropped
APPLE_RADIUS_M = 0.040
IN_BOWL_Z_M, ON_TRAY_Z_M = 0.064, 0.0515  # height of the apple's middle at rest
BOWL_RADIUS_M, BIN_HALF_M, BIN_RIM_Z_M = 0.10, 0.092, 0.08
SQUEEZE_M = 0.088  # commanded; the apple stops the fingers at 103 mm
HELD_WIDTH_M = (0.094, 0.1055)
LETTING_GO_M = 0.125  # wide enough for the hand to leave

DEPTH_M = 0.016  # the apple's middle lies this far towards the fingertips
PITCH = np.deg2rad(60.0)
YAW_BOWL, YAW_TRAY, YAW_BIN = (np.deg2rad(yaw) for yaw in (-8.0, 22.0, 2.0))
CARRY_Z_M = 0.15  # height of the apple's middle on its way
WAIT_WG = ([-0.07, 0.26, 0.24], [-0.07, -0.22, 0.24])
WAIT_YAW_DEG, WAIT_PITCH_DEG = (-15.0, 15.0), (58.0, 58.0)


def draw_layout(rng: np.random.Generator) -> Layout:
    """Bowl and tray within 3 cm, bin within 1.5 cm of their middle places, the apple nearly in the bowl's middle."""
    bowl = np.array([0.04, 0.20, 0.0]) + [*rng.uniform(-0.03, 0.03, 2), 0.0]
    tray = np.array([-0.02, -0.02, 0.0]) + [*rng.uniform(-0.03, 0.03, 2), 0.0]
    bin_ = np.array([0.155, -0.29, 0.0]) + [*rng.uniform(-0.015, 0.015, 2), 0.0]
    turns = [RotationMatrix.MakeZRotation(rng.uniform(-np.pi, np.pi)) for _ in range(3)]
    X_WBin = RigidTransform(RotationMatrix.MakeZRotation(np.deg2rad(rng.uniform(-10.0, 10.0))), bin_)
    apple = bowl + [*rng.uniform(-0.007, 0.007, 2), IN_BOWL_Z_M]
    places = {
        "bowl": RigidTransform(turns[0], bowl),
        "tray": RigidTransform(turns[1], tray),
        "bin": X_WBin,
        "apple": RigidTransform(turns[2], apple),
    }
    homes = draw_hands(rng, WAIT_WG, WAIT_YAW_DEG, WAIT_PITCH_DEG)
    return Layout(places, homes, (OPEN_M, OPEN_M))


def grasp(p_WA: np.ndarray, yaw: float) -> RigidTransform:
    """X_WG of a hand at an apple whose middle is at `p_WA`."""
    return RigidTransform(hand_rotation(yaw, PITCH), p_WA) @ RigidTransform([0.0, 0.0, -DEPTH_M])


def is_held(now: Snapshot, arm: int) -> bool:
    """The fingers of `arm` are closed on the apple."""
    x, y, z = now.X_WG[arm].inverse() @ now.X_WO["apple"].translation()
    between = abs(x) < 0.02 and abs(y) < 0.015 and -0.01 < z < 0.035
    return bool(between and HELD_WIDTH_M[0] < now.width_m[arm] < HELD_WIDTH_M[1])


def is_over(now: Snapshot, name: str, within_m: float) -> bool:
    """The apple is over the middle of an object, to within a radius."""
    aside = now.X_WO["apple"].translation() - now.X_WO[name].translation()
    return bool(np.hypot(*aside[:2]) < within_m)


def is_in_bin(now: Snapshot) -> bool:
    """The apple is between the walls of the bin, below their rim."""
    p = now.X_WO["bin"].inverse() @ now.X_WO["apple"].translation()
    return bool(np.abs(p[:2]).max() < BIN_HALF_M - APPLE_RADIUS_M + 0.005 and p[2] < BIN_RIM_Z_M)


def is_solved(now: Snapshot) -> bool:
    """The apple rests in the bin and no hand holds it."""
    held = any(is_held(now, arm) for arm in (LEFT, RIGHT))
    on_floor = now.X_WO["apple"].translation()[2] < 0.052
    return is_in_bin(now) and on_floor and not held and now.width_m[RIGHT] > 0.12 and now.speed["apple"] < 0.05


def decide(now: Snapshot) -> Decision:
    """The next motions of both arms for a state."""
    p_WA = now.X_WO["apple"].translation()
    if is_held(now, LEFT):
        return one_arm(now, LEFT, *_left_with_apple(now))
    if is_held(now, RIGHT):
        return one_arm(now, RIGHT, *_right_with_apple(now))
    if is_over(now, "bowl", BOWL_RADIUS_M):
        phase, command = reach_for(now, LEFT, grasp(p_WA, YAW_BOWL), SQUEEZE_M, SPEED)
        return one_arm(now, LEFT, f"left {phase}", command)
    if is_over(now, "tray", 0.03):
        return _change_of_hands(now)
    if is_in_bin(now) or is_over(now, "bin", 0.06):
        phase, command = _away(now, RIGHT, wait=backed(grasp(p_WA * [1, 1, 0] + up(0.05), YAW_BIN), 0.16))
        return one_arm(now, RIGHT, f"right {phase}", command, is_last=phase == "retreat")
    return one_arm(now, LEFT, "lost", still(now, LEFT))


def _left_with_apple(now: Snapshot) -> tuple[str, ArmCommand]:
    X_WG, p_WA, tray = now.X_WG[LEFT], now.X_WO["apple"].translation(), now.X_WO["tray"].translation()
    p_AG = X_WG.translation() - p_WA
    if is_over(now, "bowl", BOWL_RADIUS_M + APPLE_RADIUS_M) and p_WA[2] < CARRY_Z_M - 0.04:
        return "left lift", ArmCommand(raised(X_WG, CARRY_Z_M - p_WA[2]), SQUEEZE_M, SPEED)
    if is_over(now, "tray", 0.012):
        if p_WA[2] < ON_TRAY_Z_M + 0.002:
            return "left release", ArmCommand(X_WG, OPEN_M, 0.0)
        on_tray = RigidTransform(X_WG.rotation(), tray + up(ON_TRAY_Z_M) + p_AG)
        return "left lower", ArmCommand(on_tray, SQUEEZE_M, SLOW_SPEED)
    above = RigidTransform(hand_rotation(-YAW_TRAY, PITCH), tray + up(CARRY_Z_M) + p_AG)
    return "left carry", ArmCommand(above, SQUEEZE_M, SPEED)


def _right_with_apple(now: Snapshot) -> tuple[str, ArmCommand]:
    X_WG, p_WA, bin_ = now.X_WG[RIGHT], now.X_WO["apple"].translation(), now.X_WO["bin"].translation()
    p_AG = X_WG.translation() - p_WA
    if is_over(now, "tray", 0.06) and p_WA[2] < CARRY_Z_M - 0.04:
        return "right lift", ArmCommand(raised(X_WG, CARRY_Z_M - p_WA[2]), SQUEEZE_M, SPEED)
    if is_over(now, "bin", 0.025):
        if p_WA[2] < 0.062:
            return "right release", ArmCommand(X_WG, OPEN_M, 0.0)
        inside = RigidTransform(X_WG.rotation(), bin_ + up(0.054) + p_AG)
        return "right lower", ArmCommand(inside, SQUEEZE_M, SLOW_SPEED)
    above = RigidTransform(hand_rotation(YAW_BIN, PITCH), bin_ + up(CARRY_Z_M) + p_AG)
    return "right carry", ArmCommand(above, SQUEEZE_M, SPEED)


def _change_of_hands(now: Snapshot) -> Decision:
    """The apple lies on the tray: the left hand leaves, and once it is out of the way the right one comes."""
    p_WA = now.X_WO["apple"].translation()
    phase, left = _away(now, LEFT, wait=_waiting(LEFT))
    if np.linalg.norm(now.X_WG[LEFT].translation() - p_WA) < 0.12:
        return Decision(f"left {phase}", (left, still(now, RIGHT)))
    phase, right = reach_for(now, RIGHT, grasp(p_WA, YAW_TRAY), SQUEEZE_M, SPEED)
    return Decision(f"right {phase}", (left, right))


def _away(now: Snapshot, arm: int, wait: RigidTransform) -> tuple[str, ArmCommand]:
    """Open, leave the apple the way the hand points, go to `wait`."""
    X_WG = now.X_WG[arm]
    distance = np.linalg.norm(X_WG.translation() - now.X_WO["apple"].translation())
    if distance < 0.05 and now.width_m[arm] < LETTING_GO_M:
        return "release", ArmCommand(X_WG, OPEN_M, 0.0)
    if distance < 0.10:
        return "retreat", ArmCommand(backed(X_WG, 0.10), OPEN_M, SPEED)
    return "retreat", ArmCommand(wait, OPEN_M, SPEED)


def _waiting(arm: int) -> RigidTransform:
    """Where a hand waits that has nothing to do."""
    return RigidTransform(hand_rotation(*np.deg2rad([WAIT_YAW_DEG[arm], WAIT_PITCH_DEG[arm]])), WAIT_WG[arm])


PLACE_APPLE = Task(
    name="PlaceAppleFromBowlIntoBin",
    gripper_threshold_m=0.12,
    time_limit_s=40.0,
    instruction="Take the apple out of the bowl, pass it on over the tray, and put it into the bin.",
    objects={"bowl": Label.FIXTURE, "tray": Label.FIXTURE, "bin": Label.FIXTURE, "apple": Label.OBJECT},
    draw_layout=draw_layout,
    decide=decide,
    is_solved=is_solved,
)
