"""Two arms and their grippers: the URDF arm of `assets/panda.urdf`, and the shared gripper CAD welded to its flange."""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
from pydrake.geometry import AddCompliantHydroelasticProperties, AddContactMaterial, ProximityProperties
from pydrake.geometry import Box as BoxShape
from pydrake.math import RigidTransform, RotationMatrix
from pydrake.multibody.parsing import Parser
from pydrake.multibody.plant import CoulombFriction, MultibodyPlant
from pydrake.multibody.tree import (
    ModelInstanceIndex,
    PdControllerGains,
    PrismaticJoint,
    RevoluteJoint,
    RigidBody,
    SpatialInertia,
)

from geo4d_lite.geometry import GripperModel, load_gripper
from geo4d_lite.geometry.labels import ARMS

# Where the arms stand (metres, world) and the published ready posture (radians), the comfortable middle of their range.
# The shipped weights have seen the arms stand here: whoever moves them must record and train again.
BASE_POSITIONS = {"left": (-0.62, 0.30, 0.0), "right": (-0.62, -0.30, 0.0)}
READY_POSTURE = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])

# From the flange to the gripper frame G: as on the real Panda the hand is turned by -45 degrees about the flange's z,
# so that at the ready posture with all other joints in their middle the fingers open sideways. 0.145 m = the hand's
# depth from the flange to the middle of the pads (assets/gripper.json).
X_FG = RigidTransform(RotationMatrix.MakeZRotation(-np.pi / 4), [0.0, 0.0, 0.145])

ARM_GAINS = [(2000.0, 130.0)] * 4 + [(600.0, 15.0)] * 3  # N m/rad and N m s/rad of joints 1 to 7
FINGER_GAINS = (4000.0, 80.0)  # N/m and N s/m
FINGER_EFFORT_N = 60.0
HAND_MASS_KG, FINGER_MASS_KG = 0.6, 0.1


@dataclass(frozen=True)
class Arm:
    """Handles of one arm in the plant: `model` holds the seven motors first, then the two finger motors."""

    model: ModelInstanceIndex
    hand: RigidBody
    finger_left: RigidBody
    finger_right: RigidBody
    links: tuple[RigidBody, ...]

    @property
    def joints(self) -> list[RevoluteJoint]:
        """The seven joints from base to flange."""
        plant = self.hand.GetParentPlant()
        return [plant.GetJointByName(f"joint{number}", self.model) for number in range(1, 8)]

    @cached_property
    def velocity_indices(self) -> list[int]:
        """Where the seven joints sit in the plant's generalised velocities."""
        return [joint.velocity_start() for joint in self.joints]

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lower and upper joint positions (rad) and speeds (rad/s), (7,) each, as published."""
        joints = self.joints
        lower = np.array([joint.position_lower_limit() for joint in joints])
        upper = np.array([joint.position_upper_limit() for joint in joints])
        return lower, upper, np.array([joint.velocity_upper_limit() for joint in joints])


def add_arm(plant: MultibodyPlant, name: str) -> Arm:
    """Add the arm called `name` ("left" or "right"), its hand and two fingers with their position controllers."""
    parser = Parser(plant, model_name_prefix=name)
    (model,) = parser.AddModels(str(files("geo4d_lite") / "assets" / "panda.urdf"))
    base = plant.GetFrameByName("link0", model)
    plant.WeldFrames(plant.world_frame(), base, RigidTransform(BASE_POSITIONS[name]))
    links = tuple(plant.get_body(index) for index in plant.GetBodyIndices(model))
    for number, (stiffness, damping) in enumerate(ARM_GAINS, start=1):
        motor = plant.GetJointActuatorByName(f"motor{number}", model)
        motor.set_controller_gains(PdControllerGains(p=stiffness, d=damping))

    gripper = load_gripper()
    hand = plant.AddRigidBody("hand", model, SpatialInertia.SolidBoxWithMass(HAND_MASS_KG, 0.06, 0.2, 0.08))
    plant.WeldFrames(plant.GetFrameByName("flange", model), hand.body_frame(), X_FG)
    fingers = [_add_finger(plant, model, hand, gripper, part) for part in ("finger_left", "finger_right")]
    for part, body in zip(("hand", "finger_left", "finger_right"), (hand, *fingers), strict=True):
        _add_boxes(plant, body, gripper, part, name)
    plant.set_gravity_enabled(model, False)
    return Arm(model, hand, *fingers, links)


def _add_finger(
    plant: MultibodyPlant, model: ModelInstanceIndex, hand: RigidBody, gripper: GripperModel, part: str
) -> RigidBody:
    """A finger sliding along y of G; its joint position is half the width, for the left and the right finger alike."""
    body = plant.AddRigidBody(part, model, SpatialInertia.SolidBoxWithMass(FINGER_MASS_KG, 0.03, 0.022, 0.085))
    axis = [0.0, 1.0 if part == "finger_left" else -1.0, 0.0]
    joint = PrismaticJoint(
        f"{part}_slide",
        hand.body_frame(),
        body.body_frame(),
        axis,
        gripper.min_width_m / 2,
        gripper.max_width_m / 2,
    )
    motor = plant.AddJointActuator(f"{part}_motor", plant.AddJoint(joint), FINGER_EFFORT_N)
    motor.set_controller_gains(PdControllerGains(p=FINGER_GAINS[0], d=FINGER_GAINS[1]))
    return body


def _add_boxes(plant: MultibodyPlant, body: RigidBody, gripper: GripperModel, part: str, arm: str) -> None:
    """Give `body` the CAD's boxes of `part`, to see and to touch; fingers are soft (compliant hydroelastic)."""
    touch = ProximityProperties()
    AddContactMaterial(dissipation=5.0, friction=CoulombFriction(0.9, 0.9), properties=touch)
    if part != "hand":
        AddCompliantHydroelasticProperties(0.05, 1e7, touch)
    for box in gripper.closed_boxes:
        if box.part != part:
            continue
        X_BG, shape = RigidTransform(box.center_G), BoxShape(*box.size_m)
        plant.RegisterVisualGeometry(body, X_BG, shape, box.name, np.array([*gripper.colours[arm][part], 1.0]))
        plant.RegisterCollisionGeometry(body, X_BG, shape, box.name, touch)


def arm_bodies(arm: Arm) -> tuple[RigidBody, ...]:
    """All bodies of one arm, which never collide with each other in this project."""
    return (*arm.links, arm.hand, arm.finger_left, arm.finger_right)


def comfortable_posture(arm: int, X_WG: RigidTransform) -> np.ndarray:
    """The ready posture (7,) with the first joint turned so that the arm's plane holds the gripper at `X_WG`."""
    towards = X_WG.translation() - BASE_POSITIONS[ARMS[arm]]
    return np.array([np.arctan2(towards[1], towards[0]), *READY_POSTURE[1:]])
