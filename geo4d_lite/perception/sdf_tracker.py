"""The lite tracker: follow the gripper's boxes in RGB-D by fitting their visible surface. Stand-in for FoundationPose."""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.geometry import load_gripper
from geo4d_lite.geometry.gripper_model import GripperModel
from geo4d_lite.geometry.labels import GRIPPER
from geo4d_lite.perception.agreement import agreement
from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.hypotheses import all_around, from_motion, from_parts, together
from geo4d_lite.perception.observation import GripperObservation, observe
from geo4d_lite.perception.protocols import Estimate, PerceptionError, Segmenter
from geo4d_lite.perception.refinement import Hypotheses, RefinementConfig, refine


@dataclass(frozen=True)
class SdfTrackerConfig:
    """`first_steps` of refinement sort the hypotheses, the best `finalists` get `last_steps` more.

    With fewer than `min_points` pixels of the gripper in sight nothing is estimated. Below `lost_score` the next image
    is searched from scratch as well, and the pose does not count for the velocity.
    """

    first_steps: int = 5
    last_steps: int = 7
    finalists: int = 3
    min_points: int = 12
    lost_score: float = 0.3
    refinement: RefinementConfig = RefinementConfig()


class SdfTracker:
    """Pose and opening of one arm's gripper, from the colours' labels and the distance to its CAD's visible surface."""

    def __init__(
        self,
        arm: int,
        segmenter: Segmenter,
        gripper: GripperModel | None = None,
        config: SdfTrackerConfig = SdfTrackerConfig(),
    ):
        self.arm, self.segmenter, self.config = arm, segmenter, config
        self.surface = GripperSurface(gripper or load_gripper())
        self._last: Hypotheses | None = None
        self._before: Hypotheses | None = None
        self._lost = False

    def register(self, rgb: np.ndarray, depth_m: np.ndarray, mask: np.ndarray, K: np.ndarray) -> Estimate:
        """First pose. rgb (H, W, 3) uint8; depth_m (H, W) metres, or a pointmap (H, W, 3) in the camera frame; mask
        (H, W), non-zero on this gripper; K (3, 3). Raises PerceptionError if the mask shows none of the gripper."""
        labels = np.where(np.asarray(mask) != 0, self.segmenter.segment(rgb), 0)
        seen = observe(labels, depth_m, K, self.arm)
        if seen.count < self.config.min_points:
            raise PerceptionError(
                f"only {seen.count} pixels of gripper {self.arm} with depth inside the mask, need "
                f"{self.config.min_points}; give the mask of an image in which the gripper is in sight"
            )
        unknown = all_around(seen, self.surface, float(np.mean(self.surface.width_limits_m)))
        return self._settle(seen, together(from_parts(seen, self.surface, unknown), unknown), fresh=True)

    def track(self, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        """Next pose, from the same kinds of input. With the gripper out of sight: the last pose with score 0."""
        if self._last is None:
            raise PerceptionError("track was called before register; register the gripper on a first image with its mask")
        seen = observe(self.segmenter.segment(rgb), depth_m, K, self.arm)
        if seen.count < self.config.min_points:
            self._lost = True
            return Estimate(self._last.X_CG[0], 0.0, float(self._last.width_m[0]))
        guesses = together(from_motion(self._last, self._before), from_parts(seen, self.surface, self._last))
        if self._lost:
            guesses = together(guesses, all_around(seen, self.surface, float(self._last.width_m[0])))
        return self._settle(seen, guesses, fresh=self._lost)

    def _settle(self, seen: GripperObservation, guesses: Hypotheses, fresh: bool) -> Estimate:
        """Refine the guesses, keep the one that explains the image best, and remember it."""
        config = self.config
        coarse = refine(guesses, seen, self.surface, config.first_steps, config.refinement)
        scores = [agreement(X, w, seen, self.surface) for X, w in zip(coarse.X_CG, coarse.width_m)]
        best = np.argsort(scores)[::-1][: config.finalists]
        fine = refine(coarse[best], seen, self.surface, config.last_steps, config.refinement)
        scores = [agreement(X, w, seen, self.surface) for X, w in zip(fine.X_CG, fine.width_m)]
        winner = fine[[int(np.argmax(scores))]]
        self._lost = max(scores) < config.lost_score
        self._before = winner if fresh or self._lost else self._last
        self._last = winner
        return Estimate(winner.X_CG[0], float(max(scores)), float(winner.width_m[0]))


def gripper_mask(labels: np.ndarray) -> np.ndarray:
    """bool (H, W): where labels show any part of either gripper."""
    return np.isin(labels, GRIPPER)
