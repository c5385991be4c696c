"""The lite segmenter: it knows the colours of the six gripper parts. A stand-in for SAM 2, which needs no such hint."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from geo4d_lite.geometry import load_gripper
from geo4d_lite.geometry.gripper_model import PARTS, GripperModel
from geo4d_lite.geometry.labels import ARMS, gripper_labels


@dataclass(frozen=True)
class ColourSegmenterConfig:
    """How far a pixel's chromaticity (r, g, b) / (r + g + b) may lie from a hand's and from a finger's own.

    The limits are the widest that take in no table, arm or tool: a blurred image mixes a finger with what is behind it.
    `min_brightness`: sum of the channels (0 to 3) below which colour is noise. `min_pixels`: smaller connected
    components of a part are dropped.
    """

    max_hand_distance: float = 0.18
    max_finger_distance: float = 0.21
    min_brightness: float = 0.12
    min_pixels: int = 4


class ColourSegmenter:
    """Hands and fingers of both arms by colour.

    A matt surface of colour c under white light of brightness s shows s c: dividing by the sum of the channels removes
    s, so the shading, and leaves the chromaticity. Each pixel takes the part whose chromaticity is nearest, if it is
    near enough; specks are dropped. Stand-in: it works because this project painted its grippers in colours that occur
    nowhere else, so it holds for rendered and generated images of this scene only.
    """

    def __init__(self, gripper: GripperModel | None = None, config: ColourSegmenterConfig = ColourSegmenterConfig()):
        gripper = gripper or load_gripper()
        self.config = config
        prototypes = np.array([gripper.colours[arm][part] for arm in ARMS for part in PARTS])
        self.prototypes = chromaticity(prototypes).astype(np.float32)  # (6, 3)
        self.labels = np.array(gripper_labels(0) + gripper_labels(1), dtype=np.uint8)
        is_hand = np.array([part == "hand" for _ in ARMS for part in PARTS])
        self.max_distance = np.where(is_hand, config.max_hand_distance, config.max_finger_distance)

    def segment(self, rgb: np.ndarray) -> np.ndarray:
        """rgb (H, W, 3) uint8 -> labels (H, W) uint8, see `Segmenter`. Raises ValueError for other shapes or types."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"rgb has shape {rgb.shape} and type {rgb.dtype}; expected (H, W, 3) uint8")
        colour = rgb.reshape(-1, 3).astype(np.float32) / 255.0
        bright = colour.sum(axis=1) >= self.config.min_brightness
        # |a - b|^2 = |a|^2 - 2 ab + |b|^2, with |a|^2 the same for all prototypes
        chroma = chromaticity(colour)
        squared = -2.0 * chroma @ self.prototypes.T + (self.prototypes**2).sum(axis=1)  # (HW, 6)
        nearest = squared.argmin(axis=1)
        distance2 = squared[np.arange(len(nearest)), nearest] + (chroma**2).sum(axis=1)
        is_part = bright & (distance2 < self.max_distance[nearest] ** 2)
        labels = np.where(is_part, self.labels[nearest], 0).astype(np.uint8).reshape(rgb.shape[:2])
        return self._without_specks(labels)

    def _without_specks(self, labels: np.ndarray) -> np.ndarray:
        """Drop the connected components of each part that are smaller than `min_pixels`."""
        for label in np.unique(labels[labels > 0]):
            components, count = ndimage.label(labels == label, structure=np.ones((3, 3)))
            too_small = np.bincount(components.ravel(), minlength=count + 1) < self.config.min_pixels
            too_small[0] = False
            labels[too_small[components]] = 0
        return labels


def chromaticity(colour: np.ndarray) -> np.ndarray:
    """(..., 3) colours to (..., 3) shares of the channels, which sum to one; black becomes grey."""
    colour = colour + 1e-6
    return colour / colour.sum(axis=-1, keepdims=True)
