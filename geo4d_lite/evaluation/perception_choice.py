"""Which segmenter and which tracker read the films of a rollout: the lite ones, SAM 2, FoundationPose."""

from dataclasses import replace
from pathlib import Path

from geo4d_lite.models.device import best_device
from geo4d_lite.perception import ColourSegmenter, FilmSegmenter, FoundationPoseTracker, Sam2Segmenter, SdfTracker
from geo4d_lite.perception.foundation_pose import remote_estimators
from geo4d_lite.policies import CONFIGS, VideoModel, VideoPolicy


class PerceptionChoice:
    """Loaded once, used for every film; `str` says what was chosen.

    Args:
        foundationpose: folder of its environment (`data_scripts.install_trackers`); None for the lite tracker.
        sam2: folder of its weights or their name on the Hub; None for the segmenter by colour.
        views: "confident" or "both", a key of `policies.CONFIGS`.
        redraws: see `VideoPolicyConfig`.
    """

    def __init__(
        self,
        foundationpose: Path | None = None,
        sam2: str | None = None,
        views: str = "confident",
        redraws: int = 0,
    ):
        self.config = replace(CONFIGS[views], redraws=redraws)
        self.sam2 = None if sam2 is None else Sam2Segmenter.from_pretrained(sam2, best_device())
        self.estimators = None if foundationpose is None else remote_estimators(foundationpose)
        self.name = f"{'colours' if sam2 is None else f'SAM 2 ({sam2})'} and " + (
            "the lite tracker" if foundationpose is None else f"FoundationPose ({foundationpose})"
        )

    def __str__(self) -> str:
        return f"films are read by {self.name}"

    def video_policy(self, video_model: VideoModel, threshold_m: float) -> VideoPolicy:
        """As `rollouts.video_policy`, with the segmenter and the tracker chosen."""
        segmenter = ColourSegmenter()
        if self.sam2 is not None:
            video_model = segmenter = FilmSegmenter(video_model, self.sam2, segmenter)

        def make_tracker(arm: int):
            if self.estimators is None:
                return SdfTracker(arm, segmenter)
            return FoundationPoseTracker(arm, segmenter, self.estimators[arm])

        return VideoPolicy(video_model, segmenter, make_tracker, threshold_m, self.config)
