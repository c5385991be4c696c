"""FoundationPose behind our tracker protocol. Not exercised here: it needs CUDA and is not on a package index.

FoundationPose (Wen et al., CVPR 2024, github.com/NVlabs/FoundationPose, NVIDIA's non-commercial research licence) is
what the paper tracks grippers with. Its class has `register(K, rgb, depth, ob_mask, iteration)` and
`track_one(rgb, depth, K, iteration)`; both return a pose X_CG (4, 4) and no comparable score, so the confidence is our
own render-and-compare `agreement`. It runs in a process of an environment of its own, as its pins contradict ours and
as it changes torch's default tensor type, or in this process where it is installed. Only the contract is tested, with
a stand-in of the same signatures, in both ways.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from geo4d_lite.geometry import load_gripper
from geo4d_lite.geometry.gripper_model import GripperModel
from geo4d_lite.geometry.labels import ARMS
from geo4d_lite.perception.agreement import agreement
from geo4d_lite.perception.foundation_pose_worker import Estimators, registered
from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.observation import observe, organised_points
from geo4d_lite.perception.protocols import Estimate, PerceptionError, Segmenter, TrackerError
from geo4d_lite.perception.worker_process import TrackerEnvironment, WorkerProcess

MISSING = (
    "FoundationPose is not installed in this environment: python -m data_scripts.install_trackers puts it into one of "
    "its own (from github.com/NVlabs/FoundationPose; CUDA; research licence), which FoundationPoseTracker."
    "from_environment reaches; or use the lite tracker, SdfTracker"
)
LOAD_S = 600.0  # networks and weights from the disk, and what is compiled for the card at the first start


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


def load_foundation_pose(gripper: GripperModel, width_m: float, arm: int = 0) -> FoundationPoseLike:
    """NVlabs' estimator for our gripper's mesh, in this process. Raises ImportError if FoundationPose is missing."""
    try:
        return _estimators().make(**mesh_arrays(gripper, width_m, arm))
    except ImportError as error:
        raise ImportError(MISSING) from error


@cache
def _estimators() -> Estimators:
    return Estimators()


def gripper_mesh(gripper: GripperModel, width_m: float, arm: int = 0):
    """The gripper's boxes as one trimesh.Trimesh in frame G (metres), the fingers `width_m` apart, in the arm's
    colours: FoundationPose compares a rendering of it with the image."""
    import trimesh

    boxes = []
    for box in gripper.boxes(width_m):
        X_GB = np.eye(4)
        X_GB[:3, 3] = box.center_G
        solid = trimesh.creation.box(extents=box.size_m, transform=X_GB)
        rgba = np.array([*gripper.colours[ARMS[arm]][box.part], 1.0])
        solid.visual.vertex_colors = np.rint(255 * rgba).astype(np.uint8)
        boxes.append(solid)
    return trimesh.util.concatenate(boxes)


def mesh_arrays(gripper: GripperModel, width_m: float, arm: int) -> dict[str, np.ndarray]:
    """`gripper_mesh` as arrays: vertices (V, 3), faces (F, 3), normals (V, 3), colours (V, 4) uint8."""
    mesh = gripper_mesh(gripper, width_m, arm)
    arrays = {"vertices": mesh.vertices, "faces": mesh.faces, "normals": mesh.vertex_normals}
    return {name: np.array(array) for name, array in arrays.items()} | {
        "colours": np.array(mesh.visual.vertex_colors, dtype=np.uint8)
    }


class RemoteFoundationPose:
    """One mesh's estimator in a worker process; `FoundationPoseLike`. Estimators of several meshes share a worker."""

    def __init__(self, worker: WorkerProcess, mesh: dict[str, np.ndarray], name: str):
        """`mesh`: see `mesh_arrays`; `name` tells it from the worker's other meshes. Loads it, which takes a while."""
        self.worker, self.name = worker, name
        worker.ask("load", {"mesh": name}, mesh, timeout_s=LOAD_S)

    def register(self, K, rgb, depth, ob_mask, iteration) -> np.ndarray | None:
        """Pose X_CG (4, 4), None if too few points of the mask have depth."""
        return self._pose("register", iteration, K=K, rgb=rgb, depth=depth, ob_mask=ob_mask)

    def track_one(self, rgb, depth, K, iteration) -> np.ndarray:
        """Pose X_CG (4, 4)."""
        return self._pose("track_one", iteration, rgb=rgb, depth=depth, K=K)

    def _pose(self, request: str, iteration: int, **arrays: np.ndarray) -> np.ndarray | None:
        return self.worker.ask(request, {"mesh": self.name, "iteration": iteration}, arrays).arrays.get("pose")


def remote_estimators(
    folder: Path, config: FoundationPoseConfig = FoundationPoseConfig()
) -> tuple[RemoteFoundationPose, RemoteFoundationPose]:
    """Estimators of the left and the right gripper in one worker of the environment in `folder`.

    Raises FileNotFoundError if there is none, TrackerError if it does not load.
    """
    worker = WorkerProcess(TrackerEnvironment.read(folder).command())
    gripper = load_gripper()
    return tuple(RemoteFoundationPose(worker, mesh_arrays(gripper, config.width_m, arm), ARMS[arm]) for arm in range(2))


class FoundationPoseTracker:
    """`Tracker` on top of an estimator like NVlabs' `FoundationPose`; loads the real one unless given another.

    The CAD is rigid, so a gripper that opens or closes moves away from it; `Estimate.width_m` is None. Trackers may
    share an estimator one after the other: `register` begins anew.
    """

    def __init__(
        self,
        arm: int,
        segmenter: Segmenter,
        estimator: FoundationPoseLike | None = None,
        config: FoundationPoseConfig = FoundationPoseConfig(),
    ):
        self.arm, self.segmenter, self.config = arm, segmenter, config
        self.estimator = estimator or load_foundation_pose(load_gripper(), config.width_m, arm)
        self.surface = GripperSurface(load_gripper())
        self._registered = False

    @classmethod
    def from_environment(
        cls, folder: Path, arm: int, segmenter: Segmenter, config: FoundationPoseConfig = FoundationPoseConfig()
    ) -> "FoundationPoseTracker":
        """A tracker on FoundationPose in the environment that `data_scripts.install_trackers` made in `folder`.

        Raises FileNotFoundError if there is none, TrackerError if it does not load. For both arms, give each tracker
        one of `remote_estimators(folder)` instead: they share a process.
        """
        worker = WorkerProcess(TrackerEnvironment.read(folder).command())
        mesh = mesh_arrays(load_gripper(), config.width_m, arm)
        return cls(arm, segmenter, RemoteFoundationPose(worker, mesh, ARMS[arm]), config)

    def register(self, rgb: np.ndarray, depth_m: np.ndarray, mask: np.ndarray, K: np.ndarray) -> Estimate:
        """See `Tracker.register`. Raises PerceptionError if the mask is empty or has no depth."""
        ob_mask = np.asarray(mask) != 0
        if not ob_mask.any():
            raise PerceptionError("the mask is empty; give the mask of an image in which the gripper is in sight")
        iteration = self.config.register_iterations
        X_CG = registered(self.estimator, K=K, rgb=rgb, depth=_depth(depth_m, K), ob_mask=ob_mask, iteration=iteration)
        self._registered = X_CG is not None
        if X_CG is None:
            raise PerceptionError("fewer than four pixels of the mask have depth; there is nothing to register on")
        return self._estimate(X_CG, rgb, depth_m, K)

    def track(self, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        """See `Tracker.track`. Raises PerceptionError before the first `register`."""
        if not self._registered:
            raise PerceptionError("track was called before register; register on a first image and its mask")
        X_CG = self.estimator.track_one(rgb=rgb, depth=_depth(depth_m, K), K=K, iteration=self.config.track_iterations)
        return self._estimate(X_CG, rgb, depth_m, K)

    def _estimate(self, X_CG: np.ndarray, rgb: np.ndarray, depth_m: np.ndarray, K: np.ndarray) -> Estimate:
        X_CG = np.asarray(X_CG, dtype=np.float64).reshape(4, 4)
        if not np.isfinite(X_CG).all():
            raise TrackerError(
                "FoundationPose answered with a pose that is not finite: as a rule it was built for another graphics "
                "card; run python -m data_scripts.install_trackers on the machine that tracks"
            )
        seen = observe(self.segmenter.segment(rgb), depth_m, K, self.arm)
        score = agreement(X_CG, self.config.width_m, seen, self.surface) if seen.count else 0.0
        return Estimate(X_CG, score)


def _depth(depth_m: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Depth (H, W) float32 in metres, 0 where invalid, from depth or a pointmap in the camera frame."""
    points, _ = organised_points(depth_m, K)
    return points[..., 2].astype(np.float32)
