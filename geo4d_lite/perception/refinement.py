"""Fit gripper poses to an observation: robust Gauss-Newton on the distance to the visible surface, many at once."""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.observation import GripperObservation

FEW_POINTS = 30.0
LEVER_M = 0.1  # a rotation of 1 rad moves the gripper's points by about this much


@dataclass(frozen=True)
class RefinementConfig:
    """`reach_m`: points farther than this from the surface are ignored (Tukey), from the first to the last step.

    `outline_weight`: of an edge point that sticks out of its mask against a surface point off the surface, at first.
    `dead_zone_px`: a mask is only this exact. `free_margin_m`: how far the image must look behind an edge point for it
    to be in free space. `damping`: of a step, relative to one surface point.
    """

    first_reach_m: float = 0.08
    last_reach_m: float = 0.012
    outline_weight: float = 1.0
    dead_zone_px: float = 0.7
    free_margin_m: float = 0.015
    damping: float = 0.5


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """M guesses at the gripper: X_CG (M, 4, 4) and width_m (M,)."""

    X_CG: np.ndarray
    width_m: np.ndarray

    def __getitem__(self, index: np.ndarray | list[int]) -> "Hypotheses":
        return Hypotheses(self.X_CG[index], self.width_m[index])


def refine(
    start: Hypotheses, seen: GripperObservation, surface: GripperSurface, steps: int, config: RefinementConfig
) -> Hypotheses:
    """Move every hypothesis towards agreement with what is seen, `steps` damped Gauss-Newton steps.

    Unknowns a hypothesis: the rotation and translation of a small motion in G (X <- X exp(xi)) and the width. The
    residuals are the distances of the seen points to the visible surface of their own part, and of edge points that
    stick out of their part's mask into free space (metres, at their depth).
    """
    current = start
    for reach_m in np.geomspace(config.first_reach_m, config.last_reach_m, steps):
        hessian = np.zeros((len(current.width_m), 7, 7))
        gradient = np.zeros((len(current.width_m), 7))
        for residual, jacobian, weight in _residuals(current, seen, surface, reach_m, config):
            weighted = jacobian * weight[..., None]  # (M, R, 7)
            hessian += np.swapaxes(weighted, 1, 2) @ jacobian
            gradient += (np.swapaxes(weighted, 1, 2) @ residual[..., None])[..., 0]
        hessian += config.damping * np.diag([LEVER_M**2] * 3 + [1.0] * 4)
        current = _moved(current, -np.linalg.solve(hessian, gradient[..., None])[..., 0], surface)
    return current


def _residuals(current, seen, surface, reach_m, config):
    """Yield residual (M, R), jacobian (M, R, 7) and weight (M, R), a part at a time and then the edges."""
    for part, points_C in enumerate(seen.part_points):
        if len(points_C):
            yield _surface_residual(current, points_C, part, surface, reach_m)
    yield _outline_residual(current, seen, surface, reach_m, config)


def _surface_residual(current, points_C, part, surface, reach_m):
    R_CG, p_CG = current.X_CG[:, :3, :3], current.X_CG[:, None, :3, 3]
    points_G = (points_C - p_CG) @ R_CG  # (M, N, 3)
    eye_G = -(p_CG @ R_CG)[:, 0]
    found = surface.distance(points_G, eye_G, current.width_m, part)
    jacobian = np.zeros((*points_G.shape, 7))  # the point moves by p x omega - v in the moved frame
    jacobian[..., :3] = cross_matrix(points_G)
    jacobian[..., 3:6] = -np.eye(3)
    jacobian[..., 1, 6] = -0.5 * surface.side[surface.part == part][0]
    jacobian *= found.active[..., None]
    voice = np.clip(FEW_POINTS / points_G.shape[1], 1.0, 4.0)  # a sliver of a finger must not be outvoted by the hand
    weight = voice * np.repeat(tukey(found.length, reach_m), 3, axis=1)
    rows = points_G.shape[1] * 3
    return found.vector.reshape(-1, rows), jacobian.reshape(-1, rows, 7), weight


def _outline_residual(current, seen, surface, reach_m, config):
    R_CG = current.X_CG[:, :3, :3]
    points_G, part = surface.outline_points(current.width_m)
    points_C = points_G @ np.swapaxes(R_CG, 1, 2) + current.X_CG[:, None, :3, 3]
    z = np.maximum(points_C[..., 2], 0.05)
    u, v, inside = pixel_of(points_C, seen)
    off_mask = seen.off_mask_px[part, v, u] - config.dead_zone_px
    # invalid pixels have z = 0: they look at nothing near, which is free space as well
    free = (seen.points[v, u, 2] > z + config.free_margin_m) | ~seen.valid[v, u]
    sticks_out = inside & free & (off_mask > 0)
    metres_a_px = z / seen.K[0, 0]
    residual = np.where(sticks_out, off_mask * metres_a_px, 0.0)
    slope = seen.off_mask_slope[part, v, u] * sticks_out[..., None]  # (M, S, 2)
    # d(pixel) = f / z (dx - x / z dz): the focal length cancels against metres_a_px
    along_C = np.concatenate([slope, -(slope * points_C[..., :2]).sum(axis=-1, keepdims=True) / z[..., None]], axis=-1)
    along_G = along_C @ R_CG
    side = surface.side[np.repeat(np.arange(len(surface.side)), surface.outline.shape[1])]
    jacobian = np.concatenate([np.cross(points_G, along_G), along_G, 0.5 * side[:, None] * along_G[..., 1:2]], axis=-1)
    # Edges pull from farther away than points: a pose beside the gripper has no points near at all. Free space shows
    # the way; the last millimetre is for the depths to find, as a mask is only exact to a pixel.
    trust = config.outline_weight * reach_m / config.first_reach_m
    weight = trust * tukey(residual, max(reach_m, 3 * config.last_reach_m))
    return residual, jacobian, weight


def _moved(current: Hypotheses, step: np.ndarray, surface: GripperSurface) -> Hypotheses:
    step = np.clip(step, -0.5, 0.5)
    X_CG = current.X_CG.copy()
    X_CG[:, :3, 3] += (current.X_CG[:, :3, :3] @ step[:, 3:6, None])[..., 0]
    X_CG[:, :3, :3] = current.X_CG[:, :3, :3] @ rotation_from_vector(step[:, :3])
    return Hypotheses(X_CG, np.clip(current.width_m + step[:, 6], *surface.width_limits_m))


def pixel_of(points_C: np.ndarray, seen: GripperObservation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest pixels u, v (...) of points (..., 3), clipped into the image, and whether they were inside it."""
    height, width = seen.part.shape
    z = np.maximum(points_C[..., 2], 0.05)
    u = np.rint(seen.K[0, 0] * points_C[..., 0] / z + seen.K[0, 2]).astype(int)
    v = np.rint(seen.K[1, 1] * points_C[..., 1] / z + seen.K[1, 2]).astype(int)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (points_C[..., 2] > 0.05)
    return np.clip(u, 0, width - 1), np.clip(v, 0, height - 1), inside


def tukey(distance: np.ndarray, reach: float) -> np.ndarray:
    """Tukey's biweight: 1 at zero, 0 from `reach` on."""
    return np.maximum(1.0 - (distance / reach) ** 2, 0.0) ** 2


def cross_matrix(a: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3) with cross_matrix(a) @ b = a x b."""
    x, y, z = np.moveaxis(a, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*a.shape, 3)


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rodrigues: rotation vectors (..., 3) in radians to matrices (..., 3, 3)."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    axis_hat = cross_matrix(vector / np.maximum(angle[..., 0], 1e-12))
    return np.eye(3) + np.sin(angle) * axis_hat + (1 - np.cos(angle)) * axis_hat @ axis_hat
