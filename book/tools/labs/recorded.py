"""What `python -m book.tools.labs.scene` recorded: a scene as triangles, and what camera n sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from geo4d_lite.geometry import PAPER_SHELL, Intrinsics, look_at

RECORDED = Path(__file__).parent / "recorded"
UNIT_M = 1e-4  # lengths are kept in tenths of a millimetre
K = Intrinsics.from_fov(160, 128, np.deg2rad(42))
N_PLACE = {"azimuth": -30, "elevation": 56, "distance": 1.04}  # camera n on the dome: degrees, metres


def place_on_dome(azimuth: float, elevation: float, distance: float) -> np.ndarray:
    """A place (3,) in metres about the origin of the table top, from angles in degrees."""
    a, e = np.deg2rad([azimuth, elevation])
    return distance * np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])


X_WN = look_at(place_on_dome(**N_PLACE), PAPER_SHELL.target)


@dataclass(frozen=True)
class Scene:
    """A scene as triangles.

    vertices (V, 3) metres in the world, triangles (T, 3) into them, rgb (T, 3) uint8 of each triangle, light (3,) the
    direction in which the light falls, wall (3,) uint8 the colour of where there is nothing.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    rgb: np.ndarray
    light: np.ndarray
    wall: np.ndarray


def read_scene(folder: Path = RECORDED) -> Scene:
    """The recorded scene."""
    with np.load(folder / "scene.npz") as arrays:
        scene = {name: arrays[name] for name in arrays.files}
    return Scene(**scene | {"vertices": scene["vertices"] * UNIT_M})


def read_frame(folder: Path = RECORDED) -> tuple[np.ndarray, np.ndarray]:
    """What camera n saw: rgb (H, W, 3) uint8 and depth (H, W) in metres, 0 where nothing was seen."""
    rgb, depth = (np.asarray(Image.open(folder / f"{name}.png")) for name in ("rgb", "depth"))
    return rgb, depth * UNIT_M
