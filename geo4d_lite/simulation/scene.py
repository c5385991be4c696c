"""The world of a task as one Drake diagram: table, two arms, objects and renderer. Built once, never changed."""

import threading
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from pydrake.geometry import (
    AddContactMaterial,
    CollisionFilterDeclaration,
    GeometrySet,
    Meshcat,
    MeshcatVisualizer,
    ProximityProperties,
    Role,
    SceneGraph,
)
from pydrake.geometry import Box as BoxShape
from pydrake.math import RigidTransform
from pydrake.multibody.parsing import Parser
from pydrake.multibody.plant import (
    AddMultibodyPlant,
    CoulombFriction,
    MultibodyPlant,
    MultibodyPlantConfig,
)
from pydrake.multibody.tree import RigidBody
from pydrake.systems.framework import Diagram, DiagramBuilder

from geo4d_lite.geometry.labels import ARMS, FINGERS, HANDS, Label
from geo4d_lite.simulation.panda import Arm, add_arm, arm_bodies
from geo4d_lite.simulation.rendering import add_renderer
from geo4d_lite.simulation.tasks import Task

TIME_STEP_S = 0.01
TABLE_SIZE_M = (1.50, 1.70, 0.04)
TABLE_CENTER_W = (-0.15, 0.0, -0.02)  # the top face is z = 0
PLANKS, PLANK_GAP_M = 9, 0.003
TABLE_RGB = (0.90, 0.77, 0.59)
PLANK_TONES = (1.0, 0.94, 0.98, 0.91)
TABLE_EDGE_RGB = (0.55, 0.40, 0.26)

_of_thread = threading.local()


@dataclass(frozen=True)
class Scene:
    """The finalised diagram and handles into it. Shared by every station of a thread: it holds no state."""

    diagram: Diagram
    plant: MultibodyPlant
    scene_graph: SceneGraph
    arms: tuple[Arm, Arm]
    objects: dict[str, RigidBody]  # what stands on the table, by name
    label_of_body: np.ndarray  # (number of bodies,) uint8


def shared_scene(task: Task) -> Scene:
    """The scene of `task` without a viewer, built once in each thread.

    A renderer has to be destroyed in the thread that made it, and only a collection of garbage destroys a diagram,
    which may run in any thread. So the scene is kept for as long as its thread lives.
    """
    if not hasattr(_of_thread, "scenes"):
        _of_thread.scenes = {}
    scenes = _of_thread.scenes
    if task.name not in scenes:
        scenes[task.name] = build_scene(task)
    return scenes[task.name]


def build_scene(task: Task, meshcat: Meshcat | None = None) -> Scene:
    """Build the diagram of `task`. With a `meshcat` the scene is shown there as well."""
    builder = DiagramBuilder()
    config = MultibodyPlantConfig(
        time_step=TIME_STEP_S, contact_model="hydroelastic_with_fallback", discrete_contact_approximation="lagged"
    )
    plant, scene_graph = AddMultibodyPlant(config, builder)
    add_renderer(scene_graph)
    _add_table(plant)
    arms = tuple(add_arm(plant, name) for name in ARMS)
    objects = {name: _add_object(plant, name) for name in task.objects}
    _filter_collisions(plant, scene_graph, arms, objects[task.moved])
    plant.Finalize()
    if meshcat is not None:
        MeshcatVisualizer.AddToBuilder(builder, scene_graph, meshcat)
    diagram = builder.Build()
    return Scene(diagram, plant, scene_graph, arms, objects, _labels(plant, arms, objects, task))


def _add_object(plant: MultibodyPlant, name: str) -> RigidBody:
    (model,) = Parser(plant).AddModels(str(files("geo4d_lite") / "assets" / f"{name}.urdf"))
    return plant.GetBodyByName(name, model)


def _add_table(plant: MultibodyPlant) -> None:
    """A wooden table whose top is z = 0, with darker edges; below it the floor, which is only seen."""
    world, X_WT = plant.world_body(), RigidTransform(TABLE_CENTER_W)
    touch = ProximityProperties()
    AddContactMaterial(dissipation=5.0, friction=CoulombFriction(0.6, 0.6), properties=touch)
    plant.RegisterCollisionGeometry(world, X_WT, BoxShape(*TABLE_SIZE_M), "table", touch)
    x, y, z = TABLE_SIZE_M
    for index in range(PLANKS):
        X_WP = X_WT @ RigidTransform([0.0, (index + 0.5) * y / PLANKS - y / 2, 0.0])
        tone = np.array(TABLE_RGB) * PLANK_TONES[index % len(PLANK_TONES)]
        plank = BoxShape(x, y / PLANKS - PLANK_GAP_M, z)
        plant.RegisterVisualGeometry(world, X_WP, plank, f"plank_{index}", np.array([*tone, 1.0]))
    X_WB = RigidTransform(np.array(TABLE_CENTER_W) - [0.0, 0.0, PLANK_GAP_M])
    plant.RegisterVisualGeometry(world, X_WB, BoxShape(x, y, z), "table_body", np.array([*TABLE_EDGE_RGB, 1.0]))


def _filter_collisions(plant: MultibodyPlant, scene_graph: SceneGraph, arms: tuple[Arm, Arm], moved: RigidBody) -> None:
    """No contact within an arm, which joint limits and posture keep apart; the moved object's grip meets soft things.

    An object that is grasped has one shape called "grip" for the pads, whose compliant contact covers an area. On what
    is hard (the table, a bowl) small spheres on its surface carry it: a few points are cheap and settle quickly.
    """
    filters, inspector = scene_graph.collision_filter_manager(), scene_graph.model_inspector()
    for arm in arms:
        own = GeometrySet([i for body in arm_bodies(arm) for i in plant.GetCollisionGeometriesForBody(body)])
        filters.Apply(CollisionFilterDeclaration().ExcludeWithin(own))
    touches = plant.GetCollisionGeometriesForBody(moved)
    grip = GeometrySet([i for i in touches if inspector.GetName(i).endswith("::grip")])
    of_arms = {i for arm in arms for body in arm_bodies(arm) for i in plant.GetCollisionGeometriesForBody(body)}
    things = set(inspector.GetAllGeometryIds(Role.kProximity)) - of_arms
    hard = [i for i in things if not inspector.GetProximityProperties(i).HasGroup("hydroelastic")]
    filters.Apply(CollisionFilterDeclaration().ExcludeBetween(grip, GeometrySet(hard)))


def _labels(plant: MultibodyPlant, arms: tuple[Arm, Arm], objects: dict[str, RigidBody], task: Task) -> np.ndarray:
    """Semantic label of every body, indexed by body: Drake renders a body's index."""
    label_of_body = np.zeros(plant.num_bodies(), np.uint8)
    label_of_body[int(plant.world_body().index())] = Label.TABLE
    for index, arm in enumerate(arms):
        for link in arm.links:
            label_of_body[int(link.index())] = (Label.ARM_LEFT, Label.ARM_RIGHT)[index]
        label_of_body[int(arm.hand.index())] = HANDS[index]
        label_of_body[int(arm.finger_left.index())], label_of_body[int(arm.finger_right.index())] = FINGERS[index]
    for name, body in objects.items():
        label_of_body[int(body.index())] = task.objects[name]
    return label_of_body
