"""From what two cameras see to what two arms do."""

from geo4d_lite.policies.action_policy import ActionModel, ActionPolicy, ActionPolicyConfig
from geo4d_lite.policies.dreamitate import Dreamitate
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
    "Policy",
    "PolicyFailure",
    "SafetyLimits",
    "StandStill",
    "Trajectory",
    "VideoModel",
    "VideoPolicy",
    "VideoPolicyConfig",
    "safe_trajectory",
]
