"""Render one 16 × 16 image with Drake; exits with 0 exactly when headless rendering works on this machine."""

from pydrake.geometry import (
    ClippingRange,
    ColorRenderCamera,
    DepthRange,
    DepthRenderCamera,
    MakeRenderEngineVtk,
    RenderCameraCore,
    RenderEngineVtkParams,
    SceneGraph,
)
from pydrake.math import RigidTransform
from pydrake.systems.framework import DiagramBuilder
from pydrake.systems.sensors import CameraInfo, RgbdSensor


def main() -> None:
    """Build an empty scene with one camera and look."""
    builder = DiagramBuilder()
    scene = builder.AddSystem(SceneGraph())
    scene.AddRenderer("probe", MakeRenderEngineVtk(RenderEngineVtkParams()))
    core = RenderCameraCore("probe", CameraInfo(16, 16, 0.7), ClippingRange(0.1, 10.0), RigidTransform())
    camera = builder.AddSystem(
        RgbdSensor(
            scene.world_frame_id(),
            RigidTransform(),
            ColorRenderCamera(core),
            DepthRenderCamera(core, DepthRange(0.1, 5.0)),
        )
    )
    builder.Connect(scene.get_query_output_port(), camera.query_object_input_port())
    diagram = builder.Build()
    context = camera.GetMyContextFromRoot(diagram.CreateDefaultContext())
    print(camera.color_image_output_port().Eval(context).data.shape)


if __name__ == "__main__":
    main()
