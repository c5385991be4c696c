"""First guesses at the gripper's pose: from the last poses, and from where its parts are in the image."""

import numpy as np
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry.gripper_model import PARTS
from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.observation import GripperObservation
from geo4d_lite.perception.refinement import Hypotheses, rotation_from_vector

HAND, FINGER_LEFT, FINGER_RIGHT = range(len(PARTS))
MIN_PART_POINTS = 3
BEHIND_SURFACE_M = 0.012  # the middle of a part lies about this far behind the points seen of it
ANGLES = np.deg2rad([-120.0, -60.0, 60.0, 120.0, 180.0])
ANY_ROTATION = Rotation.random(80, rng=0).as_matrix()
FAN = np.deg2rad(np.arange(0.0, 360.0, 30.0))


def from_motion(last: Hypotheses, before: Hypotheses) -> Hypotheses:
    """The last pose, and the last pose moved on by the same step again (constant velocity). Each holds one pose."""
    on = last.X_CG.copy()
    on[:, :3, 3] += last.X_CG[:, :3, 3] - before.X_CG[:, :3, 3]
    return Hypotheses(np.concatenate([last.X_CG, on]), np.repeat(last.width_m, 2))


def from_parts(seen: GripperObservation, surface: GripperSurface, likely: Hypotheses) -> Hypotheses:
    """Poses that put hand and fingers where their points are; at least one part must be seen.

    With both fingers in sight their centroids give the closing axis y and, with the hand, the approach z. A missing
    part leaves a rotation open: it is taken from the `likely` pose and turned in steps about the axis left open.
    """
    center = [_middle(points) for points in seen.part_points]
    R_likely, width_m = likely.X_CG[0, :3, :3], float(likely.width_m[0])
    rotations = [R_likely]
    if center[FINGER_LEFT] is not None and center[FINGER_RIGHT] is not None:
        across = center[FINGER_LEFT] - center[FINGER_RIGHT]
        width_m = float(np.clip(np.linalg.norm(across), *surface.width_limits_m))
        tips = (center[FINGER_LEFT] + center[FINGER_RIGHT]) / 2
        if center[HAND] is not None:
            rotations.append(frame_from_axes(y=across, z=tips - center[HAND], first="y"))
        else:
            base = frame_from_axes(y=across, z=R_likely[:, 2], first="y")
            rotations += [base, *turned(base, "y")]
    elif center[HAND] is not None:
        finger = next((c for c in (center[FINGER_LEFT], center[FINGER_RIGHT]) if c is not None), None)
        long_axis = _longest_axis(seen.part_points[HAND])
        for y in (long_axis, -long_axis):
            z = R_likely[:, 2] if finger is None else finger - center[HAND]
            base = frame_from_axes(y=y, z=z, first="y")
            rotations += [base, *(turned(base, "y") if finger is None else [])]
    else:
        rotations += turned(R_likely, "z")
    X_CG = np.stack([_placed(R, width_m, center, surface) for R in rotations])
    return Hypotheses(X_CG, np.full(len(X_CG), width_m))


def all_around(seen: GripperObservation, surface: GripperSurface, width_m: float) -> Hypotheses:
    """Rotations from all sides, placed on the parts: for a gripper never seen, or lost.

    The hand is longest along y: with it in sight, both directions of its longest axis and a fan of z about each; and
    always the same rotations drawn from all.
    """
    center = [_middle(points) for points in seen.part_points]
    rotations = list(ANY_ROTATION)
    if center[HAND] is not None:
        long_axis = _longest_axis(seen.part_points[HAND])
        for y in (long_axis, -long_axis):
            rotations += turned(frame_from_axes(y, center[HAND], "y"), "y", FAN)
    X_CG = np.stack([_placed(R, width_m, center, surface) for R in rotations])
    return Hypotheses(X_CG, np.full(len(X_CG), width_m))


def together(*parts: Hypotheses) -> Hypotheses:
    return Hypotheses(np.concatenate([p.X_CG for p in parts]), np.concatenate([p.width_m for p in parts]))


def frame_from_axes(y: np.ndarray, z: np.ndarray, first: str) -> np.ndarray:
    """Rotation (3, 3) with the given y and z axes; `first` is kept exactly, the other made orthogonal to it."""
    kept, bent = (y, z) if first == "y" else (z, y)
    kept = kept / max(np.linalg.norm(kept), 1e-9)
    bent = bent - (bent @ kept) * kept
    if np.linalg.norm(bent) < 1e-6:  # parallel: any orthogonal direction will do
        bent = np.cross(kept, np.eye(3)[np.abs(kept).argmin()])
    bent = bent / np.linalg.norm(bent)
    y, z = (kept, bent) if first == "y" else (bent, kept)
    return np.stack([np.cross(y, z), y, z], axis=1)


def turned(R_CG: np.ndarray, axis: str, angles: np.ndarray = ANGLES) -> list[np.ndarray]:
    """R_CG turned about its own axis "x", "y" or "z" by each of the angles (radians)."""
    unit = np.eye(3)["xyz".index(axis)]
    return list(R_CG @ rotation_from_vector(angles[:, None] * unit))


def _placed(R_CG: np.ndarray, width_m: float, center: list, surface: GripperSurface) -> np.ndarray:
    """X_CG with rotation R_CG that puts each seen part's middle on its model's middle, on average."""
    offsets = []
    for part, seen_center in enumerate(center):
        if seen_center is not None:
            side = surface.side[surface.part == part][0]
            model_center_G = surface.part_center_G[part] + [0.0, 0.5 * side * width_m, 0.0]
            offsets.append(seen_center - R_CG @ model_center_G)
    X_CG = np.eye(4)
    X_CG[:3, :3], X_CG[:3, 3] = R_CG, np.mean(offsets, axis=0)
    return X_CG


def _middle(points_C: np.ndarray) -> np.ndarray | None:
    """About the middle of a part from its visible points (N, 3); None if too few are seen."""
    if len(points_C) < MIN_PART_POINTS:
        return None
    median = np.median(points_C, axis=0)
    return median * (1 + BEHIND_SURFACE_M / np.linalg.norm(median))


def _longest_axis(points: np.ndarray) -> np.ndarray:
    return np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
