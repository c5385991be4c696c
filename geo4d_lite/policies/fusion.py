"""Two views of one gripper made one pose, and poses of ten frames made one motion. Ours, a switch.

The paper takes the more confident view alone. But an image is sure of what lies across its line of sight and unsure of
what lies along it; two cameras that stand apart know together what neither knows. And what a generated film gets wrong
differs from frame to frame, while a hand moves evenly.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from geo4d_lite.perception import Estimate

ACROSS_M, ALONG_M = 0.010, 0.06  # how sure a view is of a position, across and along its line of sight
START_WEIGHT = 4.0  # of the measured present pose, as against 1 of a pose in the film


def fuse(views: Sequence[Estimate | None], eyes: Sequence[np.ndarray], min_score: float) -> Estimate | None:
    """One estimate of a gripper from those of several views, all in one frame; None where no score reaches `min_score`.

    eyes: where the cameras stand, (3,) each. Positions by least squares, each view's error an ellipsoid along its line
    of sight; rotations and widths by their mean; all weighted by the squared score. The score is the best view's.
    """
    seen = [
        (found, eye) for found, eye in zip(views, eyes, strict=True) if found is not None and found.score >= min_score
    ]
    if not seen:
        return None
    information, pull = np.zeros((3, 3)), np.zeros(3)
    for found, eye in seen:
        place = found.X_CG[:3, 3]
        ray = (place - eye) / np.linalg.norm(place - eye)
        along = np.outer(ray, ray)
        weight = found.score**2 * ((np.eye(3) - along) / ACROSS_M**2 + along / ALONG_M**2)
        information += weight
        pull += weight @ place
    X = np.eye(4)
    X[:3, 3] = np.linalg.solve(information, pull)
    turns = Rotation.from_matrix([found.X_CG[:3, :3] for found, _ in seen])
    X[:3, :3] = turns.mean([found.score**2 for found, _ in seen]).as_matrix()
    read = [(found.score**2, found.width_m) for found, _ in seen if found.width_m is not None]
    width_m = sum(weight * width for weight, width in read) / sum(weight for weight, _ in read) if read else None
    return Estimate(X, max(found.score for found, _ in seen), width_m)


def smooth(
    X: np.ndarray, known: np.ndarray, start_X: np.ndarray, frames: float, turn_frames: float | None = None
) -> np.ndarray:
    """Poses X (T, 4, 4) of which `known` (T,) are given, one a frame after `start_X` (4, 4), smoothed over `frames`.

    Each known pose becomes the value there of a line through its neighbours, weighted by a Gaussian of `frames`
    standard deviation; its rotation their mean, weighted by one of `turn_frames` (by default the same). Unknown poses
    stay as they are.
    """
    times = np.concatenate([[0], 1 + np.flatnonzero(known)])
    poses = np.concatenate([start_X[None], X[known]])
    smoothed, turns = X.copy(), Rotation.from_matrix(poses[:, :3, :3])
    for t in np.flatnonzero(known):
        later = times - (t + 1)
        weight, turn_weight = (
            np.exp(-0.5 * (later / width) ** 2) * np.where(times == 0, START_WEIGHT, 1.0)
            for width in (frames, turn_frames or frames)
        )
        root = np.sqrt(weight)[:, None]
        line = np.linalg.lstsq(root * np.stack([np.ones(len(later)), later], axis=1), root * poses[:, :3, 3])[0]
        smoothed[t, :3, 3] = line[0]
        smoothed[t, :3, :3] = turns.mean(turn_weight + 1e-12).as_matrix()
    return smoothed
