"""Record what the labs show: one moment of a demonstration, as triangles and as an RGB-D image.

The moment is that of chapter 1: the left arm carries the apple. Triangles let a page draw the depth image of any
camera, and be tested against the simulator's own renderer.

Usage: python -m book.tools.labs.scene      writes book/tools/labs/recorded
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from pydrake.geometry import Box, Capsule, Cylinder, Mesh, Role, SceneGraphInspector, Shape

from book.tools.labs.recorded import RECORDED, UNIT_M, X_WN, K, Scene
from geo4d_lite.simulation import ScriptedDemonstration, make_station
from geo4d_lite.simulation.rendering import KEY_LIGHT, WALL_RGB
from geo4d_lite.simulation.station import Station

TASK, SEED, PHASE = "PlaceAppleFromBowlIntoBin", 0, "left carry"
SECTIONS = 20  # sides of what is round


def make_moment() -> Station:
    """The station at the recorded moment."""
    station = make_station(TASK, SEED)
    demonstration = ScriptedDemonstration(station)
    while station.phase() != PHASE:
        demonstration.step(0.1)
    return station


def triangulate(station: Station) -> Scene:
    """Everything the station's renderer draws."""
    scene_graph, plant = station.scene.scene_graph, station.scene.plant
    root = station.scene.diagram.CreateDefaultContext()
    plant.SetPositions(plant.GetMyMutableContextFromRoot(root), station.positions())
    query = scene_graph.get_query_output_port().Eval(scene_graph.GetMyContextFromRoot(root))
    inspector, parts = query.inspector(), []
    for solid in inspector.GetAllGeometryIds(Role.kPerception):
        mesh = solid_mesh(inspector.GetShape(solid))
        mesh.apply_transform(query.GetPoseInWorld(solid).GetAsMatrix4())
        parts.append((mesh.vertices, mesh.faces, np.tile(colour(inspector, solid), (len(mesh.faces), 1))))
    offsets = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts[:-1])])
    triangles = np.concatenate([faces + offset for (_, faces, _), offset in zip(parts, offsets, strict=True)])
    vertices, _, rgb = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Scene(vertices, triangles, rgb, np.array(KEY_LIGHT[0]), np.round(255 * np.array(WALL_RGB)).astype(np.uint8))


def solid_mesh(shape: Shape) -> trimesh.Trimesh:
    """The surface of one of Drake's shapes, about its own origin. Raises TypeError for shapes no scene here uses."""
    match shape:
        case Box():
            return trimesh.creation.box(shape.size())
        case Cylinder():
            return trimesh.creation.cylinder(shape.radius(), shape.length(), sections=SECTIONS)
        case Capsule():
            mesh = trimesh.creation.capsule(shape.length(), shape.radius(), count=[SECTIONS, 10])
            mesh.apply_translation(-mesh.bounds.mean(axis=0))
            return mesh
        case Mesh():
            return trimesh.load_mesh(shape.source().path(), process=False)
    raise TypeError(f"{type(shape).__name__} is not drawn in the labs; add its triangles to solid_mesh")


def colour(inspector: SceneGraphInspector, solid) -> np.ndarray:
    """Diffuse colour (3,) uint8 of a solid."""
    rgba = inspector.GetProperties(solid, Role.kPerception).GetProperty("phong", "diffuse")
    return np.round(255 * np.array([rgba.r(), rgba.g(), rgba.b()])).astype(np.uint8)


def record(folder: Path = RECORDED) -> None:
    """Write the scene, and what camera n sees of it: colours, and depth in tenths of a millimetre."""
    station = make_moment()
    scene, frame = triangulate(station), station.render(X_WN, K)
    np.savez_compressed(
        folder / "scene.npz",
        vertices=np.round(scene.vertices / UNIT_M).astype(np.int16),
        triangles=scene.triangles.astype(np.uint16),
        rgb=scene.rgb,
        light=scene.light,
        wall=scene.wall,
    )
    Image.fromarray(frame.rgb).save(folder / "rgb.png")
    Image.fromarray(np.round(frame.depth_m / UNIT_M).astype(np.uint16)).save(folder / "depth.png")


if __name__ == "__main__":
    record()
