"""A small recording of two cameras that stand still, in the layout of `data_scripts.convert_rgbd`."""

import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from spartan_sample import millimetres
from synthetic import gripper_pose

from geo4d_lite.data import EpisodeArrays
from geo4d_lite.geometry import relative_pose

NAMES = ("left", "right")
CLOCK_S = 1_700_000_000.0


def write_recording(folder: Path, arrays: EpisodeArrays, labels: bool = False) -> Path:
    """The ray-cast scene at 10 Hz; the right camera fires 12 ms after the left, depth 3 ms after colour.

    The left arm moves at 1 m/s along y, logged at 100 Hz. `labels`: write what each pixel shows as well.
    """
    for camera, name in enumerate(NAMES):
        for frame in range(len(arrays.time_s)):
            time_s = CLOCK_S + 0.1 * frame + 0.012 * camera
            depth = np.where(arrays.depth[frame, camera] == 0, 0, millimetres(arrays.depth[frame, camera]))
            _write(folder / name / "rgb", time_s, arrays.rgb[frame, camera])
            _write(folder / name / "depth", time_s + 0.003, depth.astype(np.uint16))
            if labels:
                _write(folder / name / "label", time_s, arrays.label[frame, camera])
    height, width = arrays.rgb.shape[2:4]
    cameras = {
        name: {
            "K": arrays.K[camera].tolist(),
            "width": width,
            "height": height,
            "depth_unit_m": 0.001,
            "X_WC": arrays.X_WC[camera].tolist(),
        }
        for camera, name in enumerate(NAMES)
    }
    X_nm = relative_pose(*arrays.X_WC)
    (folder / "calibration.json").write_text(json.dumps({"cameras": cameras, "X_nm": X_nm.tolist()}))
    time_s = CLOCK_S + np.arange(0, 0.1 * len(arrays.time_s) + 0.1, 0.01)
    np.savez(
        folder / "robot.npz",
        time_s=time_s,
        X_WG=np.stack([[gripper_pose(0.0, t, 0.1), gripper_pose(-2.0, 0.0, 0.3)] for t in time_s - CLOCK_S]),
        width_m=np.full((len(time_s), 2), 0.06),
        joint_positions=np.zeros((len(time_s), 2, 7)),
    )
    return folder


def _write(folder: Path, time_s: float, image: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(folder / f"{time_s:.6f}.png", image)
