"""What a segmenter and a tracker promise, so that a stand-in and the real thing can be exchanged."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class PerceptionError(ValueError):
    """Nothing to register on: the images do not show what was asked for."""


class TrackerError(OSError):
    """A tracker that runs outside of this package is broken: gone, late, or answering with what is no pose."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Where a tracker believes the gripper to be.

    X_CG (4, 4): pose of the gripper frame G in the camera frame, metres. `score` in [0, 1]: how well a rendering of
    the gripper at that pose explains the image; 0 means "not seen, this is the last pose". `width_m`: distance between
    the finger centres, None if the tracker does not estimate it.
    """

    X_CG: np.ndarray
    score: float
    width_m: float | None = None


class Segmenter(Protocol):
    """Finds the parts of both grippers in a colour image."""

    def segment(self, rgb: np.ndarray) -> np.ndarray:
        """rgb (H, W, 3) uint8 -> labels (H, W) uint8: `Label` values of hands and fingers, 0 everywhere else."""
        ...


class Tracker(Protocol):
    """Follows the pose of one gripper through RGB-D images; the interface of FoundationPose's class."""

    def register(self, rgb: np.ndarray, depth_m: np.ndarray, mask: np.ndarray, K: np.ndarray) -> Estimate:
        """Find the gripper in a first image, given its mask (H, W). Raises `PerceptionError` if it is not there."""
        ...

    def track(self, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        """Follow it into the next image."""
        ...
