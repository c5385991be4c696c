"""From raw tracked poses to a trajectory a robot may be given: doubtful poses dropped, steps bounded."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class SafetyLimits:
    """Poses scored below `min_score` are replaced by the pose before. Speeds are clamped, in m/s and rad/s."""

    min_score: float = 0.35
    max_speed: float = 0.35
    max_turn_speed: float = 1.6


def safe_trajectory(
    X_WG: np.ndarray, score: np.ndarray, start_X_WG: np.ndarray, step_s: float, limits: SafetyLimits
) -> tuple[np.ndarray, np.ndarray]:
    """One arm's poses X_WG (T, 4, 4) with score (T,), from the present pose start_X_WG (4, 4).

    Returns poses (T, 4, 4) and scores (T,), 0 where the pose before was held because the new one was doubtful or not
    finite.
    """
    safe, safe_score, last = np.empty_like(X_WG), np.zeros(len(X_WG)), np.asarray(start_X_WG, dtype=float)
    for t, X in enumerate(X_WG):
        if score[t] >= limits.min_score and np.isfinite(X).all():
            last = clamped_step(last, X, limits.max_speed * step_s, limits.max_turn_speed * step_s)
            safe_score[t] = score[t]
        safe[t] = last
    return safe, safe_score


def clamped_step(X_WA: np.ndarray, X_WB: np.ndarray, max_distance: float, max_angle: float) -> np.ndarray:
    """The pose on the way from A to B that is at most `max_distance` metres and `max_angle` radians away from A."""
    shift = X_WB[:3, 3] - X_WA[:3, 3]
    turn = Rotation.from_matrix(X_WB[:3, :3] @ X_WA[:3, :3].T).as_rotvec()
    distance, angle = np.linalg.norm(shift), np.linalg.norm(turn)
    X = np.eye(4)
    X[:3, 3] = X_WA[:3, 3] + shift * min(1.0, max_distance / max(distance, 1e-12))
    X[:3, :3] = Rotation.from_rotvec(turn * min(1.0, max_angle / max(angle, 1e-12))).as_matrix() @ X_WA[:3, :3]
    return X
