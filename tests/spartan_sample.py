"""A small episode in the "diffusion spartan" layout, written as its documents describe it."""

from pathlib import Path

import numpy as np
import yaml
from synthetic import make_arrays

from geo4d_lite.data import EpisodeArrays, decode_depth

SKILL = "BimanualPutSpatulaOnTableFromUtensilCrock"


def sample_arrays(cameras: int) -> EpisodeArrays:
    """1.2 s at 10 Hz of the ray-cast scene, 32 x 40 pixels."""
    return make_arrays(seed=3, frames=12, cameras=cameras, width=40, height=32)


def write_sample(episode: Path, arrays: EpisodeArrays, cameras: dict[str, str], success: bool | None = True) -> Path:
    """Write `arrays` as the episode folder `episode`; `cameras` maps camera ids to names. Returns `processed`."""
    folder, frames = episode / "processed", len(arrays.time_s)
    folder.mkdir(parents=True)
    observations = {"robot__version": np.full((frames, 1), 20241212.0)}
    for index, camera in enumerate(cameras):
        observations[camera] = arrays.rgb[:, index]
        observations[f"{camera}_depth"] = millimetres(arrays.depth[:, index])
        observations[f"{camera}_label"] = arrays.label[:, index].astype(np.int16) + 100
        (folder / f"images_{camera}").mkdir()
        poses = {frame: {"timestamp": int(time * 1e6)} for frame, time in enumerate(arrays.time_s)}
        (folder / f"images_{camera}" / "pose_data.yaml").write_text(yaml.safe_dump(poses))
    for arm, side in enumerate(("left", "right")):
        X_WL = arrays.X_WG[:, arm]
        observations[f"robot__actual__poses__{side}::panda__xyz"] = X_WL[:, :3, 3]
        observations[f"robot__actual__poses__{side}::panda__rot_6d"] = X_WL[:, :2, :3].reshape(frames, 6)
        observations[f"robot__actual__grippers__{side}::panda_hand"] = arrays.width_m[:, arm, None]
        observations[f"robot__actual__joint_position__{side}::panda"] = arrays.joint_positions[:, arm]
    np.savez(folder / "observations.npz", **observations)
    np.savez(folder / "intrinsics.npz", **{c: arrays.K[index].astype(np.float32) for index, c in enumerate(cameras)})
    np.savez(folder / "extrinsics.npz", **{c: np.tile(arrays.X_WC[i], (frames, 1, 1)) for i, c in enumerate(cameras)})
    if success is not None:
        np.savez(folder / "summary.npz", episode_success=np.array([[success]]))
    (folder / "metadata.yaml").write_text(
        yaml.safe_dump({"camera_id_to_semantic_name": dict(cameras), "skills": {SKILL: 1}})
    )
    return folder


def millimetres(depth: np.ndarray) -> np.ndarray:
    """The store's depth as Drake's 16-bit depth camera gives it: millimetres, 65535 where nothing is in range."""
    return np.where(depth == 0, 65535, np.round(1000 * decode_depth(depth))).astype(np.uint16)


def edit_archive(path: Path, **changes: np.ndarray | None) -> None:
    """Replace arrays of an npz archive; None takes one out."""
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
