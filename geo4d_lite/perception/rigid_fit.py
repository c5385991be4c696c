"""Where does one camera stand in the other's frame? Read from two pointmaps of the same pixels."""

import numpy as np

from geo4d_lite.perception.protocols import PerceptionError

MIN_SHARED_PIXELS = 50


def rigid_fit(p_A: np.ndarray, p_B: np.ndarray, rounds: int = 10) -> np.ndarray:
    """X_AB (4, 4) that best takes the points p_B (N, 3) to p_A (N, 3), pair by pair, metres.

    Kabsch's closed form, repeated with weights that fade out the pairs that fit badly (what moved between the two, or
    was generated wrongly): Geman-McClure at the scale of the median residual. Raises PerceptionError with fewer than 50
    finite pairs.
    """
    paired = np.isfinite(p_A).all(axis=1) & np.isfinite(p_B).all(axis=1)
    p_A, p_B = p_A[paired].astype(np.float64), p_B[paired].astype(np.float64)
    if len(p_A) < MIN_SHARED_PIXELS:
        raise PerceptionError(f"only {len(p_A)} pixels with a point in both maps, need {MIN_SHARED_PIXELS}")
    weight = np.ones(len(p_A))
    for _ in range(rounds):
        X_AB = _kabsch(p_A, p_B, weight)
        residual = np.linalg.norm(p_B @ X_AB[:3, :3].T + X_AB[:3, 3] - p_A, axis=1)
        scale = max(2.0 * float(np.median(residual)), 1e-4)
        weight = 1.0 / (1.0 + (residual / scale) ** 2) ** 2
    return X_AB


def _kabsch(p_A: np.ndarray, p_B: np.ndarray, weight: np.ndarray) -> np.ndarray:
    share = weight / weight.sum()
    mean_A, mean_B = share @ p_A, share @ p_B
    U, _, Vt = np.linalg.svd((p_A - mean_A).T @ ((p_B - mean_B) * share[:, None]))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    X_AB = np.eye(4)
    X_AB[:3, :3] = U @ flip @ Vt
    X_AB[:3, 3] = mean_A - X_AB[:3, :3] @ mean_B
    return X_AB
