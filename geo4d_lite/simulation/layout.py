"""How a seed lays out the scene: where the crock stands, how the spatula leans in it, where the hands wait."""

from dataclasses import dataclass

import numpy as np
from pydrake.math import RigidTransform, RotationMatrix

CROCK_RIM_Z_M, CROCK_FLOOR_Z_M, CROCK_RADIUS_M = 0.105, 0.012, 0.048
HANDLE_HALF_M = 0.010


@dataclass(frozen=True)
class Layout:
    """Initial poses of one seed, all in the world frame. Arm order: left, right."""

    X_WK: RigidTransform  # crock
    X_WS: RigidTransform  # spatula
    X_WG: tuple[RigidTransform, RigidTransform]  # where the grippers wait
    width_m: tuple[float, float]


def hand_rotation(yaw: float, pitch: float) -> RotationMatrix:
    """R_WG of a hand that points along `yaw` (radians from world x) and `pitch` below the horizon; its x points up."""
    z = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    x = np.array([np.cos(yaw) * np.sin(pitch), np.sin(yaw) * np.sin(pitch), np.cos(pitch)])
    return RotationMatrix(np.stack([x, np.cross(z, x), z], axis=1))


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

    homes = []
    for y, hand_yaw, pitch in ((0.28, -20.0, 58.0), (-0.16, 20.0, 55.0)):
        p_WG = np.array([-0.02, y, 0.28]) + rng.uniform(-0.03, 0.03, 3)
        yaw_G, pitch_G = np.deg2rad([hand_yaw, pitch] + rng.uniform(-8.0, 8.0, 2))
        homes.append(RigidTransform(hand_rotation(yaw_G, pitch_G), p_WG))
    return Layout(X_WK, X_WS, tuple(homes), (float(rng.uniform(0.11, 0.15)), 0.155))
