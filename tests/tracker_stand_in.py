"""A stand-in for NVlabs' FoundationPose: the same modules, classes and signatures, arithmetic in place of networks."""

from pathlib import Path

import numpy as np

ESTIMATER = """
import os, time
import numpy as np

CRASH, SLEEP, NOT_A_NUMBER, FAIL, TALK = range(101, 106)  # numbers of iterations with which it misbehaves
LOADED = []
NEAR = np.load(os.path.join(os.path.dirname(__file__), "near.npy"))


def weighted(array):  # a number that every element and its place have a part in
    flat = np.asarray(array, dtype=np.float64).ravel()
    return flat @ np.sqrt(np.arange(1, len(flat) + 1)) / 1000


class ScorePredictor:
    def __init__(self, amp=True):
        LOADED.append("scorer")


class PoseRefinePredictor:
    def __init__(self):
        LOADED.append("refiner")


class FoundationPose:
    def __init__(self, model_pts, model_normals, symmetry_tfs=None, mesh=None, scorer=None, refiner=None, glctx=None,
                 debug=0, debug_dir="/no/such/home/"):
        os.makedirs(debug_dir, exist_ok=True)
        assert LOADED == ["scorer", "refiner"] and scorer and refiner and glctx, "networks are loaded once and shared"
        self.mark = sum(weighted(x) for x in (model_pts, model_normals, mesh.faces, mesh.visual.vertex_colors))
        self.pose_last = None

    def register(self, K, rgb, depth, ob_mask, ob_id=None, glctx=None, iteration=5):
        if (depth[ob_mask] >= 0.1).sum() < 4:
            return np.eye(4)
        self.pose_last = self._pose(K, rgb, depth, ob_mask, iteration)
        return self.pose_last

    def track_one(self, rgb, depth, K, iteration, extra={}):
        if self.pose_last is None:
            raise RuntimeError
        if iteration == CRASH:
            print("cuda: an illegal memory access was encountered", flush=True)
            os._exit(7)
        if iteration == SLEEP:
            time.sleep(600)
        if iteration == FAIL:
            raise RuntimeError("CUDA out of memory")
        if iteration == TALK:
            print("Warp 1.0.2 initialized")
            os.system("echo from a child of its own")
        self.pose_last = self._pose(K, rgb, depth, depth > 0, iteration)
        if iteration == NOT_A_NUMBER:
            self.pose_last[0, 0] = np.nan
        return self.pose_last

    def _pose(self, K, rgb, depth, mask, iteration):
        pose = NEAR.astype(np.float32)
        seen = weighted(K) + weighted(rgb[mask]) + weighted(depth[mask]) + iteration
        pose[:3] += np.float32(2e-3) * np.sin(np.arange(1, 13) * (self.mark + seen)).reshape(3, 4).astype(np.float32)
        return pose
"""
NVDIFFRAST = "class RasterizeCudaContext:\n    def __init__(self, device=None):\n        pass\n"


def write_stand_in(folder: Path, X_CG: np.ndarray) -> Path:
    """The stand-in's modules in `folder`, as a clone of FoundationPose with its environment would offer them.

    It answers with poses within millimetres of X_CG (4, 4) that depend on all that it is given.
    """
    (folder / "nvdiffrast").mkdir(parents=True)
    np.save(folder / "near.npy", X_CG)
    (folder / "estimater.py").write_text(ESTIMATER)
    (folder / "nvdiffrast" / "__init__.py").touch()
    (folder / "nvdiffrast" / "torch.py").write_text(NVDIFFRAST)
    return folder
