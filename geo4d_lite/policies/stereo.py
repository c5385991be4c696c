"""A gripper read from two colour images of known cameras: no depth, only the rays through what is seen of it.

**A stand-in.** Dreamitate runs a tracker of colour images in each view, merges the two positions by the midpoint of the
closest points of their rays, and averages the two rotations. The tracker of this project needs depth. Here the hand and
the two fingers are found by colour in each view; the rays through the centroids of each part are merged by that
midpoint; and the rotation is not averaged but built from the merged points: the fingers span the y axis, the way from
the hand to the fingers is the approach. What cannot be built is held from the frame before.
"""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.geometry import invert
from geo4d_lite.geometry.labels import gripper_labels
from geo4d_lite.perception import Segmenter

MIN_PIXELS = 4
MAX_GAP_M = 0.05  # rays that pass each other by more do not see the same thing
MIN_ANGLE = np.deg2rad(2.0)  # rays nearer to parallel say nothing about distance


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics K (3, 3) and pose X_WC (4, 4) of a camera."""

    K: np.ndarray
    X_WC: np.ndarray

    def ray(self, pixel: np.ndarray) -> np.ndarray:
        """Unit direction (3,) in the world of what a pixel (u, v) sees."""
        direction = self.X_WC[:3, :3] @ np.linalg.solve(self.K, [*pixel, 1.0])
        return direction / np.linalg.norm(direction)


def closest_midpoint(p_a: np.ndarray, d_a: np.ndarray, p_b: np.ndarray, d_b: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (3,) of the shortest way between two rays, from p (3,) along the unit d (3,), and its length in metres.

    The length is infinite where the rays are nearly parallel or come closest behind a camera.
    """
    across = float(d_a @ d_b)
    apart, sine2 = p_b - p_a, 1.0 - across**2
    if sine2 < np.sin(MIN_ANGLE) ** 2:
        return (p_a + p_b) / 2, np.inf
    along_a = float(apart @ d_a - across * (apart @ d_b)) / sine2
    along_b = float(across * (apart @ d_a) - apart @ d_b) / sine2
    closest_a, closest_b = p_a + along_a * d_a, p_b + along_b * d_b
    gap = np.linalg.norm(closest_a - closest_b) if min(along_a, along_b) > 0 else np.inf
    return (closest_a + closest_b) / 2, float(gap)


def part_points(images: np.ndarray, cameras: list[Camera], segmenter: Segmenter) -> dict[int, tuple[np.ndarray, float]]:
    """By label, the point (3,) in the world of each gripper part that both images (2, H, W, 3) show, and its gap."""
    labels, points = [segmenter.segment(image) for image in images], {}
    for label in np.intersect1d(*(seen[seen > 0] for seen in labels)):
        masks = [seen == label for seen in labels]
        if min(mask.sum() for mask in masks) < MIN_PIXELS:
            continue
        rays = [
            (camera.X_WC[:3, 3], camera.ray(np.argwhere(mask).mean(axis=0)[::-1]))
            for camera, mask in zip(cameras, masks, strict=True)
        ]
        point, gap_m = closest_midpoint(*rays[0], *rays[1])
        if gap_m <= MAX_GAP_M:
            points[int(label)] = (point, gap_m)
    return points


class StereoGripper:
    """One gripper from frame to frame.

    The frame F of what is seen has its origin between the centroids of the visible parts of both fingers, so it is not
    quite the gripper's G. Where F lies in G is found on the observation, where the robot knows its own pose, and kept.
    """

    def __init__(self, arm: int, X_WG: np.ndarray):
        """`X_WG` (4, 4): the measured pose, which is where F is believed to be before anything is seen."""
        self.hand, self.left, self.right = (int(label) for label in gripper_labels(arm))
        self.X_WF, self.X_FG, self.p_FH = X_WG, np.eye(4), None

    def register(self, points: dict[int, tuple[np.ndarray, float]], X_WG: np.ndarray) -> None:
        """Find F in the observation, whose gripper is at `X_WG`; where it is not seen, F and G stay one."""
        self.track(points)
        self.X_FG = invert(self.X_WF) @ X_WG

    def track(self, points: dict[int, tuple[np.ndarray, float]]) -> tuple[np.ndarray, float, float | None]:
        """Pose X_WG (4, 4), score and width in metres from the points of a frame.

        With both fingers, position, rotation and width are read, the approach held from before if the hand is hidden.
        With the hand alone it has moved without turning and the width is None. Without either the pose before is kept,
        with score 0. The score falls from 1 to 0 as the gap between rays grows to 5 cm.
        """
        if self.left in points and self.right in points:
            used = [points[label] for label in (self.left, self.right, self.hand) if label in points]
            left, right = points[self.left][0], points[self.right][0]
            hand = points[self.hand][0] if self.hand in points else None
            self.X_WF = gripper_frame(left, right, hand, self.X_WF[:3, 2])
            if hand is not None:
                self.p_FH = self.X_WF[:3, :3].T @ (hand - self.X_WF[:3, 3])
            width_m = float(np.linalg.norm(left - right))
        elif self.hand in points and self.p_FH is not None:
            used, width_m = [points[self.hand]], None
            self.X_WF = self.X_WF.copy()
            self.X_WF[:3, 3] = points[self.hand][0] - self.X_WF[:3, :3] @ self.p_FH
        else:
            return self.X_WF @ self.X_FG, 0.0, None
        return self.X_WF @ self.X_FG, 1.0 - max(gap_m for _, gap_m in used) / MAX_GAP_M, width_m


def gripper_frame(left: np.ndarray, right: np.ndarray, hand: np.ndarray | None, approach: np.ndarray) -> np.ndarray:
    """X_WF (4, 4): origin between the points of the fingers, y from right to left, z away from the hand.

    Without the point of the hand, z is as near to `approach` (3,) as y allows.
    """
    middle = (left + right) / 2
    y = (left - right) / np.linalg.norm(left - right)
    z = approach if hand is None else middle - hand
    z = z - (z @ y) * y
    z = z / np.linalg.norm(z)
    X_WF = np.eye(4)
    X_WF[:3, :3], X_WF[:3, 3] = np.stack([np.cross(y, z), y, z], axis=1), middle
    return X_WF
