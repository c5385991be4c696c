"""The gripper's CAD: a handful of boxes, read by the simulator that builds it and the tracker that looks for it."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

PARTS = ("hand", "finger_left", "finger_right")


@dataclass(frozen=True)
class Box:
    """An axis-aligned box of the gripper in its frame G: `size_m` (3,) and `center_G` (3,) in metres."""

    name: str
    part: str  # one of PARTS
    size_m: np.ndarray
    center_G: np.ndarray


@dataclass(frozen=True)
class GripperModel:
    """Boxes of the gripper in frame G (z approach, y from the right to the left finger, origin between the pads).

    `width_m` is everywhere the distance between the centres of the two fingers, between `min_width_m` (pads touch)
    and `max_width_m`. `colours[arm][part]` is an RGB triple in [0, 1]; `arm` is "left" or "right".
    """

    min_width_m: float
    max_width_m: float
    colours: dict[str, dict[str, tuple[float, float, float]]]
    closed_boxes: tuple[Box, ...]  # finger centres at y = 0

    def boxes(self, width_m: float) -> tuple[Box, ...]:
        """The boxes with the finger centres `width_m` metres apart along y."""
        offset_y = {"hand": 0.0, "finger_left": width_m / 2, "finger_right": -width_m / 2}
        return tuple(
            Box(box.name, box.part, box.size_m, box.center_G + np.array([0.0, offset_y[box.part], 0.0]))
            for box in self.closed_boxes
        )


@cache
def load_gripper() -> GripperModel:
    """The one gripper of the project, from `geo4d_lite/assets/gripper.json`."""
    raw = json.loads((files("geo4d_lite") / "assets" / "gripper.json").read_text())
    boxes = tuple(
        Box(box["name"], box["part"], np.array(box["size_m"]), np.array(box["center_G"])) for box in raw["boxes"]
    )
    return GripperModel(raw["min_width_m"], raw["max_width_m"], raw["colours"], boxes)
