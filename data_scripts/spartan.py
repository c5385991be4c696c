"""Read episodes in TRI's "diffusion spartan" layout, in which both lbm_eval's data and the paper's own are published.

`episode_<number>/processed/` holds, for T keyframes at 10 Hz (`TRAINING_DATA_FORMAT.md` of
ToyotaResearchInstitute/lbm_eval, and the data loader of lzylucy/4dgen):

    observations.npz   <camera> (T, H, W, 3) uint8 · <camera>_depth (T, H, W) uint16 millimetres, 65535 = beyond range ·
                       <camera>_label (T, H, W) render labels of Drake, 0 = nothing
                       robot__actual__poses__<arm>::panda__xyz (T, 3) metres · …__rot_6d (T, 6), two *rows* of R
                       robot__actual__grippers__<arm>::panda_hand (T, 1) metres, distance of the fingers
                       robot__actual__joint_position__<arm>::panda (T, 7) rad
    intrinsics.npz     <camera> (3, 3) · extrinsics.npz  <camera> (T, 4, 4), camera to task frame
    metadata.yaml      camera_id_to_semantic_name, skills
    summary.npz        episode_success (1, 1) bool
    images_<camera>/pose_data.yaml   time stamps in microseconds, keyframe by keyframe

The world W of the store is the layout's task frame, the centre of the table top. `actions.npz` is left alone: it holds
pickles, and the store keeps what the robot did, not what it was told. Nothing here unpickles.

Known from documents and code only, not checked against original files: that sizes, types and keys are as above in every
episode; which of a hand's three label numbers is which finger; the thickness of the fingers and where their centre lies
from `panda_link8`, the frame that the layout's poses belong to (see the options).
"""

import zlib
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from geo4d_lite.data import IMAGE_SIZES, EpisodeArrays, EpisodeInfo, encode_depth
from geo4d_lite.data.convert import (
    SourceError,
    camera_split,
    depth_in_metres,
    fixed_pose,
    resize_colour,
    resize_nearest,
    resized_matrix,
    synchronised_frames,
    write_dataset,
)
from geo4d_lite.geometry import Label
from geo4d_lite.geometry.labels import ARMS

KEYFRAME_HZ = 10
DECIDE_NOTHING = ("source", "root", "test_episodes", "tolerance_s")  # options that an episode written does not show
CALIBRATION = ("intrinsics.npz", "extrinsics.npz")
TASK_NAMES = {  # skill of lbm_eval -> name in the paper
    "BimanualStoreCerealBoxUnderShelf": "StoreCerealBoxUnderShelf",
    "BimanualPutSpatulaOnTableFromUtensilCrock": "PutSpatulaOnTable",
    "BimanualPlaceAppleFromBowlIntoBin": "PlaceAppleFromBowlIntoBin",
}


@dataclass(frozen=True)
class SpartanOptions:
    """What both conversions of the layout share."""

    source: Path
    """Folder with episode_<number>/processed folders anywhere below it."""
    root: Path
    """Folder of the data set to write; a conversion that was interrupted goes on where it stopped."""
    cameras: tuple[str, ...] = ()
    """Cameras to keep, by name or id, the held-out ones last; without names all cameras that do not move."""
    preset: Literal["lite", "paper"] = "lite"
    """Image size: lite 128 x 160, paper 256 x 320."""
    hz: Literal[2, 10] = 2
    """Frames a second to keep, of the 10 recorded."""
    test_episodes: int = 1
    """Episodes to hold out, the last ones in the order of their paths."""
    depth_unit_m: float = 0.001
    """Metres that one count of the depth images stands for."""
    labels: dict[int, Label] = field(default_factory=dict)
    """Render label and what it shows, e.g. --labels 44 OBJECT; labels not named become BACKGROUND."""
    finger_thickness_m: float = 0.0
    """Added to the logged opening: the store keeps the distance of the finger centres. The fingers' thickness is not
    documented; 0 keeps the opening as logged."""
    tool_offset_m: float = 0.0
    """Distance from panda_link8 to the point between the finger pads, along z; 0 keeps the logged poses."""
    tool_turn_deg: float = 0.0
    """Turn about z from panda_link8 to the gripper frame, whose y is the closing axis; 0 keeps the logged poses."""
    success: bool | None = None
    """Takes the place of summary.npz where an episode lacks it."""
    tolerance_s: float = 0.02
    """How far apart the cameras' time stamps of one keyframe may lie."""


def convert(options: SpartanOptions) -> None:
    """Convert every episode below `options.source` and print where the data set is."""
    folders = sorted(options.source.rglob("episode_*/processed"), key=_by_session_and_number)
    if not folders:
        raise SourceError(f"{options.source} holds no episode_*/processed; unpack the published archives there")
    deciding = {it.name: getattr(options, it.name) for it in fields(options) if it.name not in DECIDE_NOTHING}
    episodes = [partial(read_episode, it, options) for it in folders]
    dataset = write_dataset(options.root, episodes, options.test_episodes, deciding)
    frames = sum(episode.frames for episode in dataset.episodes)
    print(f"{dataset.root}: {len(dataset.episodes)} episodes, {frames} frames")


def _by_session_and_number(folder: Path) -> tuple[str, int]:
    number = folder.parent.name.removeprefix("episode_")
    return str(folder.parent.parent), int(number) if number.isdigit() else -1


def read_episode(folder: Path, options: SpartanOptions, split: str) -> tuple[EpisodeArrays, EpisodeInfo]:
    """Arrays and info of the episode whose `processed` folder is given.

    Raises SourceError naming the episode, what is wrong (a camera, file or key that is missing, streams of different
    lengths or times, a wrong depth unit, a moving camera) and the mend.
    """
    try:
        return _read(folder, options, split)
    except SourceError as error:
        raise SourceError(f"{folder.parent}: {error}") from error


def _read(folder: Path, options: SpartanOptions, split: str) -> tuple[EpisodeArrays, EpisodeInfo]:
    metadata = _metadata(folder)
    cameras = _choose_cameras(folder, options.cameras, metadata.get("camera_id_to_semantic_name", {}))
    count = len(_entry(folder, "observations.npz", _pose_key(ARMS[0], "xyz")))
    streams = {camera: _time_stamps(folder, camera, count) for camera in cameras}
    time_s, frames = synchronised_frames(streams, options.hz, options.tolerance_s)
    views = [_read_camera(folder, camera, count, frames[camera], options) for camera in cameras]
    arrays = EpisodeArrays(
        **{name: np.stack([view[name] for view in views], axis=1) for name in ("rgb", "depth", "label")},
        **{name: np.stack([view[name] for view in views]) for name in ("K", "X_WC")},
        **_read_robot(folder, count, frames[cameras[0]], options),
        time_s=time_s - time_s[0],
    )
    skill = next(iter(metadata["skills"]))
    info = EpisodeInfo(
        task=TASK_NAMES.get(skill, skill),
        preset=options.preset,
        seed=zlib.crc32("/".join(folder.parts[-4:-1]).encode()),  # of session and number: no seed is published
        hz=options.hz,
        success=_success(folder, options.success),
        split=split,
        camera_split=camera_split(len(cameras), split),
    )
    return arrays, info


def _metadata(folder: Path) -> dict:
    if not (folder / "metadata.yaml").is_file():
        raise SourceError("metadata.yaml is missing; unpack the whole episode again")
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    if not metadata.get("skills"):
        raise SourceError("metadata.yaml names no skills, so the task is unknown; unpack the whole episode again")
    return metadata


def _keys(folder: Path, file: str) -> list[str]:
    """The arrays in one of the episode's archives."""
    if not (folder / file).is_file():
        what = "the calibration " if file in CALIBRATION else ""
        raise SourceError(f"{what}{file} is missing; unpack the whole episode again")
    with np.load(folder / file, allow_pickle=False) as archive:
        return list(archive)


def _entry(folder: Path, file: str, key: str, count: int | None = None) -> np.ndarray:
    """One array of an archive; `count` is the number of keyframes it must have."""
    if key not in _keys(folder, file):
        raise SourceError(f"{file} has no {key}; it holds {', '.join(_keys(folder, file))}")
    with np.load(folder / file, allow_pickle=False) as archive:
        values = archive[key]
    if count is not None and len(values) != count:
        raise SourceError(
            f"{key} has {len(values)} frames, the arms have {count}: the streams are not synchronised; "
            "unpack the episode again or leave it out"
        )
    return values


def _choose_cameras(folder: Path, wanted: tuple[str, ...], names: dict[str, str]) -> list[str]:
    """The ids of the cameras to read: those wanted, by id or name, or all that stand still."""
    keys = _keys(folder, "observations.npz")
    present = [key for key in keys if f"{key}_depth" in keys]
    ids = {name: camera for camera, name in names.items()} | {camera: camera for camera in present}
    for camera in wanted:
        if ids.get(camera) not in present:
            known = ", ".join(f"{key} ({names[key]})" if names.get(key, key) != key else key for key in present)
            raise SourceError(f"camera {camera} is missing; the episode holds {known or 'no camera with depth'}")
    cameras = [ids[camera] for camera in wanted] or [key for key in present if _stands_still(folder, key)]
    if len(cameras) < 2:
        raise SourceError(f"{len(cameras)} camera(s) that stand still, a window needs two; name two with --cameras")
    return cameras


def _stands_still(folder: Path, camera: str) -> bool:
    X_WC = _entry(folder, "extrinsics.npz", camera)
    try:
        fixed_pose(X_WC, camera)
    except SourceError:
        return False
    return True


def _time_stamps(folder: Path, camera: str, count: int) -> np.ndarray:
    """Seconds (T,) of a camera's keyframes; without pose_data.yaml the layout's 10 Hz."""
    path = folder / f"images_{camera}" / "pose_data.yaml"
    if not path.is_file():
        return np.arange(count) / KEYFRAME_HZ
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # an episode lists thousands of poses
    poses = yaml.load(path.read_text(), Loader=loader)
    if len(poses) != count:
        raise SourceError(f"{path.parent.name}/{path.name} lists {len(poses)} frames, the arms have {count}")
    return np.array([poses[index]["timestamp"] for index in sorted(poses)]) * 1e-6


def _read_camera(folder: Path, camera: str, count: int, frames: np.ndarray, options: SpartanOptions) -> dict:
    """rgb (T, H, W, 3), stored depth and label (T, H, W), K and X_WC of one camera at the frames kept."""
    size = IMAGE_SIZES[options.preset]
    rgb = _entry(folder, "observations.npz", camera, count)[frames]
    depth = _entry(folder, "observations.npz", f"{camera}_depth", count)[frames]
    K = _entry(folder, "intrinsics.npz", camera)
    label = np.zeros(depth.shape, np.uint8)
    if options.labels:
        logged = _entry(folder, "observations.npz", f"{camera}_label", count)[frames]
        for number, meaning in options.labels.items():
            label[logged == number] = meaning
    return {
        "rgb": np.stack([resize_colour(image, size) for image in rgb]),
        "depth": encode_depth(resize_nearest(depth_in_metres(depth, options.depth_unit_m, camera), size)),
        "label": resize_nearest(label, size),
        "K": resized_matrix(K, (rgb.shape[2], rgb.shape[1]), size),
        "X_WC": fixed_pose(_entry(folder, "extrinsics.npz", camera, count), camera),
    }


def _pose_key(arm: str, part: str) -> str:
    return f"robot__actual__poses__{arm}::panda__{part}"


def _read_robot(folder: Path, count: int, frames: np.ndarray, options: SpartanOptions) -> dict:
    """X_WG (T, 2, 4, 4), width_m (T, 2) and joint_positions (T, 2, 7), arms ordered left, right."""

    def both(key: str) -> np.ndarray:
        return np.stack([_entry(folder, "observations.npz", key.format(arm), count)[frames] for arm in ARMS], axis=1)

    X_WL = np.tile(np.eye(4), (len(frames), 2, 1, 1))  # L is panda_link8
    X_WL[..., :3, :3] = matrix_from_rows(both("robot__actual__poses__{}::panda__rot_6d"))
    X_WL[..., :3, 3] = both("robot__actual__poses__{}::panda__xyz")
    cos, sin = np.cos(np.deg2rad(options.tool_turn_deg)), np.sin(np.deg2rad(options.tool_turn_deg))
    X_LG = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, options.tool_offset_m], [0, 0, 0, 1]])
    opening_m = both("robot__actual__grippers__{}::panda_hand")[..., 0]
    return {
        "X_WG": X_WL @ X_LG,
        "width_m": (opening_m + options.finger_thickness_m).astype(np.float64),
        "joint_positions": both("robot__actual__joint_position__{}::panda").astype(np.float64),
    }


def matrix_from_rows(rows: np.ndarray) -> np.ndarray:
    """R (..., 3, 3) from its first two rows (..., 6), made orthonormal (Zhou et al. 2019, arXiv 1812.07035)."""
    first, second = rows[..., :3].astype(np.float64), rows[..., 3:].astype(np.float64)
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    y = second - np.sum(x * second, axis=-1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-2)


def _success(folder: Path, otherwise: bool | None) -> bool:
    if (folder / "summary.npz").is_file():
        return bool(_entry(folder, "summary.npz", "episode_success").item())
    if otherwise is None:
        raise SourceError("summary.npz is missing; say how the episode ended with --success True or --success False")
    return otherwise
