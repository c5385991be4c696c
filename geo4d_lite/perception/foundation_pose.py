"""FoundationPose behind our tracker protocol. Not exercised here: it needs CUDA and is not on a package index.

FoundationPose (Wen et al., CVPR 2024, github.com/NVlabs/FoundationPose, NVIDIA's non-commercial research licence) is
what the paper tracks grippers with. Its class has `register(K, rgb, depth, ob_mask, iteration)` and
`track_one(rgb, depth, K, iteration)`; both return a pose X_CG (4, 4) and no comparable score, so the confidence is our
own render-and-compare `agreement`. Only this contract is tested, with a stand-in of the same signatures.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geo4d_lite.geometry import load_gripper
from geo4d_lite.geometry.gripper_model import GripperModel
from geo4d_lite.perception.agreement import agreement
from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.observation import observe, organised_points
from geo4d_lite.perception.protocols import Estimate, PerceptionError, Segmenter

MISSING = (
    "FoundationPose is not installed: clone github.com/NVlabs/FoundationPose, follow its README (CUDA, nvdiffrast, "
    "weights; research licence) and put the clone on PYTHONPATH, or use the lite tracker, SdfTracker"
)


class FoundationPoseLike(Protocol):
    """The two methods of NVlabs' class that are called, with its own argument names."""

    def register(self, K: np.ndarray, rgb: np.ndarray, depth: np.ndarray, ob_mask: np.ndarray, iteration: int): ...

    def track_one(self, rgb: np.ndarray, depth: np.ndarray, K: np.ndarray, iteration: int): ...


@dataclass(frozen=True)
class FoundationPoseConfig:
    """Refinement iterations (the published demo's values) and the opening at which the rigid CAD is frozen."""

    register_iterations: int = 5
    track_iterations: int = 2
    width_m: float = 0.155


def load_foundation_pose(gripper: GripperModel, width_m: float) -> FoundationPoseLike:
    """NVlabs' estimator for our gripper's mesh. Raises ImportError with the way to install it if it is missing."""
    try:
        import nvdiffrast.torch as nvdiffrast
        from estimater import FoundationPose, PoseRefinePredictor, ScorePredictor
    except ImportError as error:
        raise ImportError(MISSING) from error
    mesh = gripper_mesh(gripper, width_m)
    return FoundationPose(
        model_pts=mesh.vertices,
        model_normals=mesh.vertex_normals,
        mesh=mesh,
        scorer=ScorePredictor(),
        refiner=PoseRefinePredictor(),
        glctx=nvdiffrast.RasterizeCudaContext(),
    )


def gripper_mesh(gripper: GripperModel, width_m: float):
    """The gripper's boxes as one trimesh.Trimesh in frame G (metres), the fingers `width_m` apart."""
    import trimesh

    boxes = []
    for box in gripper.boxes(width_m):
        X_GB = np.eye(4)
        X_GB[:3, 3] = box.center_G
        boxes.append(trimesh.creation.box(extents=box.size_m, transform=X_GB))
    return trimesh.util.concatenate(boxes)


class FoundationPoseTracker:
    """`Tracker` on top of an estimator like NVlabs' `FoundationPose`; loads the real one unless given another.

    The CAD is rigid, so a gripper that opens or closes moves away from it; `Estimate.width_m` is None.
    """

    def __init__(
        self,
        arm: int,
        segmenter: Segmenter,
        estimator: FoundationPoseLike | None = None,
        config: FoundationPoseConfig = FoundationPoseConfig(),
    ):
        self.arm, self.segmenter, self.config = arm, segmenter, config
        self.estimator = estimator or load_foundation_pose(load_gripper(), config.width_m)
        self.surface = GripperSurface(load_gripper())
        self._registered = False

    def register(self, rgb: np.ndarray, depth_m: np.ndarray, mask: np.ndarray, K: np.ndarray) -> Estimate:
        """See `Tracker.register`. Raises PerceptionError if the mask is empty."""
        ob_mask = np.asarray(mask) != 0
        if not ob_mask.any():
            raise PerceptionError("the mask is empty; give the mask of an image in which the gripper is in sight")
        X_CG = self.estimator.register(
            K=K, rgb=rgb, depth=_depth(depth_m, K), ob_mask=ob_mask, iteration=self.config.register_iterations
        )
        self._registered = True
        return self._estimate(X_CG, rgb, depth_m, K)

    def track(self, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        """See `Tracker.track`. Raises PerceptionError before the first `register`."""
        if not self._registered:
            raise PerceptionError("track was called before register; register on a first image and its mask")
        X_CG = self.estimator.track_one(rgb=rgb, depth=_depth(depth_m, K), K=K, iteration=self.config.track_iterations)
        return self._estimate(X_CG, rgb, depth_m, K)

    def _estimate(self, X_CG: np.ndarray, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        X_CG = np.asarray(X_CG, dtype=np.float64).reshape(4, 4)
        seen = observe(self.segmenter.segment(rgb), depth_m, K, self.arm)
        score = agreement(X_CG, self.config.width_m, seen, self.surface) if seen.count else 0.0
        return Estimate(X_CG, score)


def _depth(depth_m: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Depth (H, W) float32 in metres, 0 where invalid, from depth or a pointmap in the camera frame."""
    points, _ = organised_points(depth_m, K)
    return points[..., 2].astype(np.float32)
