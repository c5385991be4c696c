"""What a task is made of. Arm order everywhere: left, right; poses are in the world, widths as in `load_gripper`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydrake.math import RigidTransform

from geo4d_lite.geometry.labels import Label


@dataclass(frozen=True)
class Layout:
    """Initial poses of one seed: of every object by name, and of the waiting grippers with their widths."""

    X_WO: dict[str, RigidTransform]
    X_WG: tuple[RigidTransform, RigidTransform]
    width_m: tuple[float, float]


@dataclass(frozen=True)
class Snapshot:
    """The part of a state that tasks look at. `speed`: rad/s and m/s of an object taken together, by name."""

    X_WG: tuple[RigidTransform, RigidTransform]
    width_m: tuple[float, float]
    X_WO: dict[str, RigidTransform]
    speed: dict[str, float]


@dataclass(frozen=True)
class ArmCommand:
    """Where one gripper should go, how wide, and how fast (m/s); speed 0 stands still."""

    X_WG: RigidTransform
    width_m: float
    speed: float


@dataclass(frozen=True)
class Decision:
    """What to do now: the phase's name, a command for each arm; `is_last` if no phase follows."""

    phase: str
    arms: tuple[ArmCommand, ArmCommand]
    is_last: bool = False


@dataclass(frozen=True)
class Task:
    """A task of the paper.

    `gripper_threshold_m`: finger-centre distance below which a gripper counts as closed. `objects`: the label of
    everything on the table, by the name of its URDF file; what the task moves is labelled OBJECT.
    `decide` and `is_solved` see one snapshot and remember nothing, so a demonstration can be taken up from any state.
    """

    name: str
    gripper_threshold_m: float
    time_limit_s: float
    instruction: str
    objects: dict[str, Label]
    draw_layout: Callable[[np.random.Generator], Layout]
    decide: Callable[[Snapshot], Decision]
    is_solved: Callable[[Snapshot], bool]

    @property
    def moved(self) -> str:
        """Name of the object the task moves."""
        return next(name for name, label in self.objects.items() if label == Label.OBJECT)
