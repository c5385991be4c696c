"""The lite tracker: fit the gripper's boxes to the surface seen in RGB-D. Stand-in for FoundationPose."""

from dataclasses import dataclass

import numpy as np

from geo4d_lite.geometry import load_gripper
from geo4d_lite.geometry.gripper_model import GripperModel
from geo4d_lite.perception.agreement import agreement
from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.hypotheses import all_around, from_motion, from_parts, together
from geo4d_lite.perception.observation import GripperObservation, observe
from geo4d_lite.perception.protocols import Estimate, PerceptionError, Segmenter
from geo4d_lite.perception.refinement import Hypotheses, RefinementConfig, refine


@dataclass(frozen=True)
class SdfTrackerConfig:
    """Refinement steps that sort the hypotheses, and those that the best `finalists` get on top.

    With fewer than `min_points` pixels of the gripper in sight nothing is estimated. A tracked pose below `lost_score`
    is searched for once more from all sides.
    """

    track_steps: int = 5
    register_steps: int = 10
    last_steps: int = 7
    finalists: int = 3
    min_points: int = 12
    lost_score: float = 0.35
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
        self._last, score = self._found_anywhere(seen, float(np.mean(self.surface.width_limits_m)))
        self._before = self._last
        return Estimate(self._last.X_CG[0], score, float(self._last.width_m[0]))

    def track(self, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        """Next pose, from the same kinds of input. With the gripper out of sight: the last pose with score 0."""
        if self._last is None:
            raise PerceptionError("track was called before register; register on a first image and its mask")
        seen = observe(self.segmenter.segment(rgb), depth_m, K, self.arm)
        if seen.count < self.config.min_points:
            self._before = self._last
            return Estimate(self._last.X_CG[0], 0.0, float(self._last.width_m[0]))
        guesses = together(from_motion(self._last, self._before), from_parts(seen, self.surface, self._last))
        found, score = self._settled(seen, guesses, self.config.track_steps)
        lost = score < self.config.lost_score
        if lost:
            anywhere, score_anywhere = self._found_anywhere(seen, float(self._last.width_m[0]))
            found, score = (anywhere, score_anywhere) if score_anywhere > score else (found, score)
        self._before, self._last = found if lost else self._last, found
        return Estimate(found.X_CG[0], score, float(found.width_m[0]))

    def _found_anywhere(self, seen: GripperObservation, width_m: float) -> tuple[Hypotheses, float]:
        around = all_around(seen, self.surface, width_m)
        return self._settled(seen, together(from_parts(seen, self.surface, around), around), self.config.register_steps)

    def _settled(self, seen: GripperObservation, guesses: Hypotheses, first_steps: int) -> tuple[Hypotheses, float]:
        """Refine the guesses, the best of them again, and keep the one that explains the image best, with its score."""
        coarse = refine(guesses, seen, self.surface, first_steps, self.config.refinement)
        best = np.argsort(self._scores(seen, coarse, stride=2))[::-1][: self.config.finalists]
        fine = refine(coarse[best], seen, self.surface, self.config.last_steps, self.config.refinement)
        scores = self._scores(seen, fine, stride=1)
        winner = int(np.argmax(scores))
        return fine[[winner]], scores[winner]

    def _scores(self, seen: GripperObservation, guesses: Hypotheses, stride: int) -> list[float]:
        pairs = zip(guesses.X_CG, guesses.width_m, strict=True)
        return [agreement(X_CG, width_m, seen, self.surface, stride) for X_CG, width_m in pairs]
