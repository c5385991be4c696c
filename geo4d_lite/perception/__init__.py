"""From RGB-D video to gripper poses and widths: segmenters, trackers and what they promise."""

from geo4d_lite.perception.agreement import agreement
from geo4d_lite.perception.colour_segmenter import ColourSegmenter, ColourSegmenterConfig
from geo4d_lite.perception.film_segmenter import FilmSegmenter
from geo4d_lite.perception.foundation_pose import FoundationPoseTracker
from geo4d_lite.perception.gripper_width import GripperState, gripper_width, settled_openings
from geo4d_lite.perception.protocols import Estimate, PerceptionError, Segmenter, Tracker, TrackerError
from geo4d_lite.perception.rigid_fit import rigid_fit
from geo4d_lite.perception.sam2_segmenter import Sam2Segmenter
from geo4d_lite.perception.sdf_tracker import SdfTracker, SdfTrackerConfig

__all__ = [
    "ColourSegmenter",
    "ColourSegmenterConfig",
    "Estimate",
    "FilmSegmenter",
    "FoundationPoseTracker",
    "GripperState",
    "PerceptionError",
    "Sam2Segmenter",
    "SdfTracker",
    "SdfTrackerConfig",
    "Segmenter",
    "Tracker",
    "TrackerError",
    "agreement",
    "gripper_width",
    "rigid_fit",
    "settled_openings",
]
