"""Cameras, poses and points. Everything else builds on this room; it knows none of the others."""

from geo4d_lite.geometry.cameras import PAPER_SHELL, CameraShell, Intrinsics, look_at, sample_camera_poses
from geo4d_lite.geometry.gripper_model import GripperModel, load_gripper
from geo4d_lite.geometry.labels import Label
from geo4d_lite.geometry.masks import reproject_mask
from geo4d_lite.geometry.pointmaps import (
    MAX_DEPTH_M,
    PointmapRange,
    invert,
    project,
    relative_pose,
    transform,
    unproject,
    valid_depth,
)
from geo4d_lite.geometry.registration import Registration, register_views
from geo4d_lite.geometry.rgbd import RGBD

__all__ = [
    "MAX_DEPTH_M",
    "PAPER_SHELL",
    "RGBD",
    "CameraShell",
    "GripperModel",
    "Intrinsics",
    "Label",
    "PointmapRange",
    "Registration",
    "invert",
    "load_gripper",
    "look_at",
    "project",
    "register_views",
    "relative_pose",
    "reproject_mask",
    "sample_camera_poses",
    "transform",
    "unproject",
    "valid_depth",
]
