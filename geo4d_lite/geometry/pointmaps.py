"""From depth to points and back: unproject, transform, project, and the range a pointmap is encoded in.

A pointmap (..., H, W, 3) gives every pixel the 3D point it sees, in metres. Each pointmap travels with a mask `valid`
(..., H, W): an invalid pixel holds (0, 0, 0), which is *no* point, and it stays (0, 0, 0) only as long as nobody
transforms it. NumPy arrays and torch tensors work alike; the result follows the type of the depth or points given.
"""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.geometry.arrays import Array, as_float, like, namespace

MAX_DEPTH_M = 2.0  # the paper's release drops everything farther away


def valid_depth(depth_m: Array, max_depth_m: float = MAX_DEPTH_M) -> Array:
    """Which depths (...) are a measurement: finite, positive and at most `max_depth_m` metres; bool (...)."""
    return (depth_m > 0) & (depth_m <= max_depth_m)  # comparisons with NaN are False


def unproject(depth_m: Array, K: Array, max_depth_m: float = MAX_DEPTH_M) -> tuple[Array, Array]:
    """Depth images to pointmaps: the point at depth z that pixel (u, v) sees is z K^-1 (u, v, 1).

    depth_m (..., H, W): metres along the optical axis, floating; K (3, 3) or (..., 3, 3), pixels.
    Returns points (..., H, W, 3) in the camera frame and valid (..., H, W). Depths that are 0, negative, NaN, infinite
    or beyond `max_depth_m` become (0, 0, 0) with valid False.
    Raises ValueError for wrong shapes and for integer depths, which are never metres.
    """
    xp = namespace(depth_m)
    _check_depth(depth_m)
    height, width = depth_m.shape[-2:]
    K = like(_check_matrix(K, 3, "K"), depth_m)[..., None, None, :, :]
    u, v = like(np.arange(width), depth_m), like(np.arange(height), depth_m)[:, None]
    valid = valid_depth(depth_m, max_depth_m)
    z = xp.where(valid, depth_m, xp.zeros_like(depth_m))
    x = (u - K[..., 0, 2]) * z / K[..., 0, 0]
    y = (v - K[..., 1, 2]) * z / K[..., 1, 1]
    return xp.stack([x, y, xp.broadcast_to(z, x.shape)], -1), valid


def transform(X_BA: Array, p_A: Array) -> Array:
    """Points in frame A to frame B: R_BA p + t.

    X_BA (4, 4) with p_A (..., 3), or X_BA (..., 4, 4) with p_A (..., H, W, 3); metres. Returns p_B, shaped as p_A.
    The (0, 0, 0) of invalid pixels moves like any point: carry `valid` along and mask again.
    """
    p_A = as_float(p_A)
    X_BA = like(_check_matrix(X_BA, 4, "X_BA"), p_A)
    if p_A.shape[-1] != 3:
        raise ValueError(f"points have shape {tuple(p_A.shape)}; expected (..., 3) in metres")
    R_BA, t_BA = X_BA[..., :3, :3], X_BA[..., :3, 3]
    if X_BA.ndim == 2:
        return p_A @ R_BA.T + t_BA
    return p_A @ R_BA.swapaxes(-1, -2)[..., None, :, :] + t_BA[..., None, None, :]


def project(p_C: Array, K: Array) -> tuple[Array, Array]:
    """Points in the camera frame to pixels.

    p_C (..., 3) with K (3, 3), or p_C (..., H, W, 3) with K (..., 3, 3). Returns pixels (..., 2) in (u, v) order, that
    is (column, row), and z (...) in metres. Points with z <= 0 are behind the camera: their pixels are NaN.
    """
    p_C = as_float(p_C)
    xp = namespace(p_C)
    K = like(_check_matrix(K, 3, "K"), p_C)
    if K.ndim > 2:
        K = K[..., None, None, :, :]
    z = p_C[..., 2]
    safe_z = xp.where(z > 0, z, xp.full_like(z, np.nan))
    u = K[..., 0, 0] * p_C[..., 0] / safe_z + K[..., 0, 2]
    v = K[..., 1, 1] * p_C[..., 1] / safe_z + K[..., 1, 2]
    return xp.stack([u, v], -1), z


def invert(X_BA: Array) -> Array:
    """X_AB (..., 4, 4), the inverse of the rigid pose X_BA (..., 4, 4)."""
    X_BA = as_float(_check_matrix(X_BA, 4, "X_BA"))
    xp = namespace(X_BA)
    R_AB = X_BA[..., :3, :3].swapaxes(-1, -2)
    X_AB = xp.zeros_like(X_BA)
    X_AB[..., :3, :3] = R_AB
    X_AB[..., :3, 3] = -(R_AB @ X_BA[..., :3, 3:])[..., 0]
    X_AB[..., 3, 3] = 1.0
    return X_AB


def relative_pose(X_Wn: Array, X_Wm: Array) -> Array:
    """X_nm = X_nW X_Wm (..., 4, 4): takes points of camera m into the frame of camera n."""
    return invert(X_Wn) @ as_float(X_Wm)


@dataclass(frozen=True)
class PointmapRange:
    """The metres [low, high] that the model sees as [-1, 1], the same on every axis (release: [-1, 2] m)."""

    low: float = -1.0
    high: float = 2.0

    def encode(self, p: Array) -> Array:
        """Metres to model units; points outside the range land outside [-1, 1] and are not clipped."""
        return 2.0 * (p - self.low) / (self.high - self.low) - 1.0

    def decode(self, x: Array) -> Array:
        """Model units back to metres."""
        return (x + 1.0) * (self.high - self.low) / 2.0 + self.low


def _check_depth(depth_m: Array) -> None:
    if depth_m.ndim < 2:
        raise ValueError(f"depth has shape {tuple(depth_m.shape)}; expected (..., H, W) in metres")
    if "float" not in str(depth_m.dtype):
        raise ValueError(
            f"depth has dtype {depth_m.dtype}; expected floating metres. Integer depth images count small units: "
            "multiply by their scale, e.g. depth * 0.001 for millimetres"
        )


def _check_matrix(matrix: Array, size: int, name: str) -> Array:
    matrix = matrix if namespace(matrix) is not np else np.asarray(matrix)
    if tuple(matrix.shape[-2:]) != (size, size):
        raise ValueError(f"{name} has shape {tuple(matrix.shape)}; expected (..., {size}, {size})")
    return matrix
