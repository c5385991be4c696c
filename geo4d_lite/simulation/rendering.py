"""Cameras: RGB, depth and semantic label images of the scene from any pose, by Drake's VTK renderer (no display)."""

from dataclasses import dataclass

import numpy as np
from pydrake.geometry import (
    ClippingRange,
    ColorRenderCamera,
    DepthRange,
    DepthRenderCamera,
    LightParameter,
    MakeRenderEngineVtk,
    QueryObject,
    RenderCameraCore,
    RenderEngineVtkParams,
    Rgba,
    SceneGraph,
)
from pydrake.math import RigidTransform
from pydrake.systems.sensors import CameraInfo

from geo4d_lite.geometry import Intrinsics

RENDERER = "vtk"
WALL_RGB = (0.78, 0.82, 0.86)
NEAR_M, FAR_M = 0.05, 5.0


@dataclass(frozen=True)
class Frame:
    """One image of one camera: rgb (H, W, 3) uint8, depth_m (H, W) float32 (0 = nothing seen), label (H, W) uint8."""

    rgb: np.ndarray
    depth_m: np.ndarray
    label: np.ndarray


def add_renderer(scene_graph: SceneGraph) -> None:
    """Register the one renderer: a key light with a fill light from the other side, pale wall behind everything."""
    lights = [
        LightParameter(type="directional", frame="world", direction=direction, intensity=intensity)
        for direction, intensity in (([-0.3, 0.35, -0.9], 0.75), ([-0.7, -0.7, -0.35], 0.40), ([0.8, 0.1, -0.6], 0.25))
    ]
    params = RenderEngineVtkParams(default_clear_color=WALL_RGB, lights=lights)
    scene_graph.AddRenderer(RENDERER, MakeRenderEngineVtk(params))


def render(query: QueryObject, X_WC: np.ndarray, K: Intrinsics, label_of_body: np.ndarray) -> Frame:
    """Render all three images from the camera at `X_WC` (4, 4; OpenCV optical frame) with intrinsics `K`."""
    # Drake's VTK engine counts pixel (0, 0) from its corner; our K, like OpenCV's, from its centre
    info = CameraInfo(K.width, K.height, K.fx, K.fy, K.cx + 0.5, K.cy + 0.5)
    core = RenderCameraCore(RENDERER, info, ClippingRange(NEAR_M, 2 * FAR_M), RigidTransform())
    color, depth = ColorRenderCamera(core), DepthRenderCamera(core, DepthRange(NEAR_M, FAR_M))
    world, pose = query.inspector().world_frame_id(), RigidTransform(X_WC)
    rgb = query.RenderColorImage(color, world, pose).data[..., :3].copy()
    depth_m = query.RenderDepthImage(depth, world, pose).data[..., 0].copy()
    depth_m[~np.isfinite(depth_m)] = 0.0
    body = query.RenderLabelImage(color, world, pose).data[..., 0]
    seen = (body >= 0) & (body < len(label_of_body))
    label = np.where(seen, label_of_body[np.where(seen, body, 0)], 0).astype(np.uint8)
    return Frame(rgb, depth_m, label)
