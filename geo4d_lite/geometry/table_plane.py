"""The table as a camera sees it: the plane through most of its points, and a frame that stands on it."""

import numpy as np

TOLERANCE_M = 0.006  # how thick the table's plane is
MIN_SHARE = 0.15  # of the measured pixels
MIN_POINTS = 50  # fewer cannot tell a plane, nor a pose


def table_frame(p_C: np.ndarray) -> np.ndarray | None:
    """X_TC (4, 4) of a camera that measured the points p_C (count, 3) in metres; None if they show no table.

    z up, x the way the camera looks, origin on the table below the middle of the points.
    """
    plane = fit_plane(p_C)
    if plane is None:
        return None
    normal_C, height_m = plane
    ahead = np.array([0.0, 0.0, 1.0]) - normal_C[2] * normal_C
    x = ahead / max(np.linalg.norm(ahead), 1e-9)
    X_TC = np.eye(4)
    X_TC[:3, :3] = np.stack([x, np.cross(normal_C, x), normal_C])
    X_TC[:2, 3] = -X_TC[:2, :3] @ np.median(p_C, axis=0)
    X_TC[2, 3] = height_m
    return X_TC


def fit_plane(points: np.ndarray, trials: int = 80) -> tuple[np.ndarray, float] | None:
    """The plane through most of the points (count, 3) by RANSAC: unit normal towards the camera, camera's height."""
    if len(points) < MIN_POINTS:
        return None
    rng = np.random.default_rng(0)
    sample = points[rng.integers(len(points), size=1000)].astype(np.float64)
    a, b, c = sample[rng.integers(len(sample), size=(3, trials))]
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    distances = np.abs(normals @ sample.T - np.sum(normals * a, axis=1, keepdims=True))
    best = np.argmax(np.sum(distances < TOLERANCE_M, axis=1))
    normal, offset = normals[best], normals[best] @ a[best]
    for _ in range(3):
        inliers = points[np.abs(points @ normal - offset) < TOLERANCE_M].astype(np.float64)
        if len(inliers) < MIN_SHARE * len(points):
            return None
        middle = inliers.mean(0)
        normal = np.linalg.eigh((inliers - middle).T @ (inliers - middle))[1][:, 0]
        offset = normal @ middle
    return (-normal, offset) if offset > 0 else (normal, -offset)
