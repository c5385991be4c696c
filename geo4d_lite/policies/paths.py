"""Paths of both grippers as ten numbers a frame, see `models.latents.path_in_n`, and as poses; and paths corrected.

A film may not show quite the path that it was drawn along. What it shows is found by tracking, and drawing again along
a path that is off by as much the other way brings it nearer. (Iterative learning control, Bristow et al. 2006, corrects
repeated motions of machines like this.) Ours.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from geo4d_lite.perception import Estimate

DIRECTION_M = 0.1  # length of a path's directions
SHARE, TURN_SHARE = 0.7, 0.5  # of an error that a correction takes back: what was tracked is itself not exact
MAX_SHIFT_M, MAX_TURN = 0.04, np.deg2rad(20.0)  # a larger error is more likely the tracker's


def poses_of_path(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (..., 4, 4) and widths (...) in metres of a path (..., 10), see `latents.path_in_n`.

    Its two directions, of the fingers and of their closing, are made orthonormal; the fingers' direction is kept.
    """
    path = np.asarray(path, dtype=float)
    z = path[..., 3:6] / np.linalg.norm(path[..., 3:6], axis=-1, keepdims=True)
    y = path[..., 6:9] - (path[..., 6:9] * z).sum(axis=-1, keepdims=True) * z
    y /= np.linalg.norm(y, axis=-1, keepdims=True)
    X = np.zeros((*path.shape[:-1], 4, 4))
    X[..., :3, :] = np.stack([np.cross(y, z), y, z, path[..., :3]], axis=-1)
    X[..., 3, 3] = 1.0
    return X, path[..., 9] / 10


def path_of_poses(X: np.ndarray, width_m: np.ndarray) -> np.ndarray:
    """The inverse of `poses_of_path`: poses (..., 4, 4) and widths (...) -> (..., 10)."""
    parts = X[..., :3, 3], DIRECTION_M * X[..., :3, 2], DIRECTION_M * X[..., :3, 1], 10 * width_m[..., None]
    return np.concatenate(parts, axis=-1)


def corrected_path(asked: np.ndarray, wanted: np.ndarray, shown: Sequence[Sequence[Estimate | None]]) -> np.ndarray:
    """What to ask for next (T, arms, 10), where a film drawn along `asked` has `shown` [arm][t] instead of `wanted`.

    All in one frame. Where nothing was found, what is asked stays as it is.
    """
    X_asked, width_m = poses_of_path(asked)
    X_wanted, _ = poses_of_path(wanted)
    for arm, found in enumerate(shown):
        for t, estimate in enumerate(found):
            if estimate is None:
                continue
            target, X = X_wanted[t, arm], X_asked[t, arm]
            shift = _bounded(estimate.X_CG[:3, 3] - target[:3, 3], MAX_SHIFT_M)
            turn = Rotation.from_matrix(estimate.X_CG[:3, :3] @ target[:3, :3].T).as_rotvec()
            X[:3, 3] -= SHARE * shift
            X[:3, :3] = Rotation.from_rotvec(-TURN_SHARE * _bounded(turn, MAX_TURN)).as_matrix() @ X[:3, :3]
    return path_of_poses(X_asked, width_m)


def _bounded(vector: np.ndarray, longest: float) -> np.ndarray:
    return vector * min(1.0, longest / max(np.linalg.norm(vector), 1e-12))
