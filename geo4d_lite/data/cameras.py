"""The cameras of both presets: size of their images, and intrinsics of those that a simulated station has."""

import numpy as np

from geo4d_lite.geometry import Intrinsics

IMAGE_SIZES = {"lite": (160, 128), "paper": (320, 256)}  # preset -> width, height in pixels
FOV_Y = np.deg2rad(42.0)
CAMERAS = {preset: Intrinsics.from_fov(*size, FOV_Y) for preset, size in IMAGE_SIZES.items()}
