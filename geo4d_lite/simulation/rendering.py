"""Cameras: RGB, depth and semantic label images of the scene from any pose, by Drake's VTK renderer (no display)."""

import ctypes
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
    SceneGraph,
)
from pydrake.math import RigidTransform
from pydrake.systems.sensors import CameraInfo

from geo4d_lite.geometry import Intrinsics

RENDERER = "vtk"
WALL_RGB = (0.78, 0.82, 0.86)
NEAR_M, FAR_M = 0.05, 5.0
# Drake 1.51's VTK renderer measures the principal point from the image's edge, K from the centre of the first pixel.
# Without this, points unprojected from depth lie half a pixel, some 3 mm, beside what was rendered.
EDGE_TO_CENTRE = 0.5
# The key light comes from the front, from above, and casts weak shadows: they show how high a hand is. Its direction in
# the world and intensity; then places in the world and intensities of lights that brighten what lies in shadow.
KEY_LIGHT = ((-0.5, 0.22, -0.85), 0.42)
FILL_LIGHTS = (((2.5, -1.5, 1.2), 0.38), ((2.5, 1.5, 2.5), 0.36), ((-1.5, 0.0, 2.5), 0.30))
SHADOW_MAP_PIXELS = 1024


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of one camera: rgb (H, W, 3) uint8, depth_m (H, W) float32 (0 = nothing seen), label (H, W) uint8."""

    rgb: np.ndarray
    depth_m: np.ndarray
    label: np.ndarray


def add_renderer(scene_graph: SceneGraph) -> None:
    """Register the one renderer. Raises RuntimeError, naming the packages to install, where EGL is missing."""
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        raise RuntimeError(
            "Drake renders through EGL, and libEGL.so.1 is not on this machine: "
            "run `sudo apt-get install libegl1 libgl1 libopengl0 libgl1-mesa-dri`"
        ) from error
    key = LightParameter(type="directional", frame="world", direction=KEY_LIGHT[0], intensity=KEY_LIGHT[1])
    fills = [
        LightParameter(type="point", frame="world", position=place, intensity=intensity, attenuation_values=[1, 0, 0])
        for place, intensity in FILL_LIGHTS
    ]
    params = RenderEngineVtkParams(
        default_clear_color=WALL_RGB,
        lights=[key, *fills],
        cast_shadows=True,
        shadow_map_size=SHADOW_MAP_PIXELS,
    )
    scene_graph.AddRenderer(RENDERER, MakeRenderEngineVtk(params))


def render(query: QueryObject, X_WC: np.ndarray, K: Intrinsics, label_of_body: np.ndarray) -> Frame:
    """Render all three images from the camera at `X_WC` (4, 4; OpenCV optical frame) with intrinsics `K`."""
    info = CameraInfo(K.width, K.height, K.fx, K.fy, K.cx + EDGE_TO_CENTRE, K.cy + EDGE_TO_CENTRE)
    core = RenderCameraCore(RENDERER, info, ClippingRange(NEAR_M, 2 * FAR_M), RigidTransform())
    color, depth = ColorRenderCamera(core), DepthRenderCamera(core, DepthRange(NEAR_M, FAR_M))
    world, pose = query.inspector().world_frame_id(), RigidTransform(X_WC)
    rgb = query.RenderColorImage(color, world, pose).data[..., :3].copy()
    depth_m = query.RenderDepthImage(depth, world, pose).data[..., 0].copy()
    depth_m[~np.isfinite(depth_m)] = 0.0
    body = query.RenderLabelImage(color, world, pose).data[..., 0]
    seen = (body >= 0) & (body < len(label_of_body))  # Drake has numbers of its own for "empty" and "do not care"
    label = np.where(seen, label_of_body[np.where(seen, body, 0)], 0).astype(np.uint8)
    return Frame(rgb, depth_m, label)
