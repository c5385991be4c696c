"""From what two cameras see to what two arms do."""

from geo4d_lite.policies.action_policy import ActionModel, ActionPolicy, ActionPolicyConfig
from geo4d_lite.policies.dreamitate import Dreamitate
from geo4d_lite.policies.path_policy import PathPolicy
from geo4d_lite.policies.paths import corrected_path, path_of_poses, poses_of_path
from geo4d_lite.policies.protocol import Observation, Policy, PolicyFailure, StandStill, Trajectory
from geo4d_lite.policies.safety import SafetyLimits, safe_trajectory
from geo4d_lite.policies.video_policy import BOTH_VIEWS, CONFIGS, VideoModel, VideoPolicy, VideoPolicyConfig

__all__ = [
    "BOTH_VIEWS",
    "CONFIGS",
    "ActionModel",
    "ActionPolicy",
    "ActionPolicyConfig",
    "Dreamitate",
    "Observation",
    "PathPolicy",
    "Policy",
    "PolicyFailure",
    "SafetyLimits",
    "StandStill",
    "Trajectory",
    "VideoModel",
    "VideoPolicy",
    "VideoPolicyConfig",
    "corrected_path",
    "path_of_poses",
    "poses_of_path",
    "safe_trajectory",
]
