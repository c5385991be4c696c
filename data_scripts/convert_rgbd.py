"""Convert real recordings of two RGB-D cameras that stand still into a data set of this project.

    python -m data_scripts.convert_rgbd --recordings take_1 take_2 --root data/real --task PutSpatulaOnTable

A recording is a folder. Images are named by their time in seconds, as in the TUM RGB-D benchmark:

    calibration.json
    <camera>/rgb/<seconds>.png     8-bit colour, undistorted
    <camera>/depth/<seconds>.png   16-bit depth, registered to the colour image (same pixels, same K), 0 = nothing
    <camera>/label/<seconds>.png   optional, 8-bit: what each pixel of the colour image shows, numbers of
                                   `geo4d_lite.geometry.Label`; a camera without it is BACKGROUND throughout
    robot.npz                      optional: time_s (N), X_WG (N, 2, 4, 4), width_m (N, 2), joint_positions (N, 2, 7)

    calibration.json = {
      "cameras": {"left":  {"K": 3 x 3, "width": 640, "height": 480, "depth_unit_m": 0.001, "X_WC": 4 x 4},
                  "right": {…}},
      "X_nm": 4 x 4
    }

The first camera is n, the second m. `X_WC` (camera to world) comes from hand-eye calibration: the world is the frame
that `X_WG` is in. `X_nm` (m to n) comes from a board that both cameras see. Either camera's X_WC may be left out where
X_nm is given; where all three are there they must agree. Then the extrinsics are put to the test: depth of each view is
carried into the other, and the median of |predicted - measured| must stay below `max_residual_m`. A depth unit, too,
must be plausible for a table.

Without robot.npz the arms' state is NaN, which means "not recorded"; an arm that is not there is NaN in robot.npz. Two
cameras make one pair: episodes can be held out, cameras cannot.

Not checked on recordings from real cameras, only on ray-cast ones. What no time stamp shows is a constant offset
between two clocks: check with something quick that both cameras see.
"""

import json
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import imageio.v3 as imageio
import numpy as np

from data_scripts.command_line import run
from geo4d_lite.data import IMAGE_SIZES, EpisodeArrays, EpisodeInfo, SourceError, encode_depth, write_dataset
from geo4d_lite.data.check import RIGID_TOLERANCE, rigid_error
from geo4d_lite.data.convert import (
    camera_split,
    depth_in_metres,
    depth_residual,
    resize_colour,
    resize_nearest,
    resized_matrix,
    synchronised_frames,
)
from geo4d_lite.geometry import Label, invert, relative_pose

CHECKED_FRAMES = 5  # moments at which the extrinsics are tested
LEAST_OVERLAP = 0.05  # share of the pixels that both cameras must measure for a test to mean anything
FIELDS = {"K": (3, 3), "width": (), "height": (), "depth_unit_m": ()}


@dataclass(frozen=True)
class ConvertRGBD:
    """Convert recordings of two RGB-D cameras into a data set."""

    recordings: tuple[Path, ...]
    """Folders of the recordings, in the layout that the script's own text describes; the last ones are held out."""
    root: Path
    """Folder of the data set to write; a conversion that was interrupted goes on where it stopped."""
    task: str
    """Name of the task that the recordings show."""
    test_episodes: int = 0
    """Recordings to hold out, the last ones."""
    preset: Literal["lite", "paper"] = "lite"
    """Image size: lite 128 x 160, paper 256 x 320."""
    hz: int = 2
    """Frames a second to keep, a multiple of 2."""
    success: bool = True
    """Whether the recordings show the task done."""
    tolerance_s: float = 0.05
    """How far apart in time the images taken for one moment may lie."""
    max_residual_m: float = 0.02
    """Largest median disagreement of the two cameras' depth, and of hand-eye and camera-camera calibration."""


def main(options: ConvertRGBD) -> None:
    """Convert and print how well each recording's cameras agree and where the data set is."""
    if options.hz < 2 or options.hz % 2:
        raise SourceError(f"hz is {options.hz}; windows need a multiple of 2")
    episodes = [partial(read_recording, folder, options) for folder in options.recordings]
    deciding = {name: getattr(options, name) for name in ("task", "preset", "hz", "success")}
    dataset = write_dataset(options.root, episodes, options.test_episodes, deciding)
    frames = sum(episode.frames for episode in dataset.episodes)
    print(f"{dataset.root}: {len(dataset.episodes)} episodes, {frames} frames")


def read_recording(folder: Path, options: ConvertRGBD, split: str) -> tuple[EpisodeArrays, EpisodeInfo]:
    """Arrays and info of one recording. Raises SourceError naming the recording, what is wrong and the mend."""
    try:
        arrays = _read(folder, options)
    except SourceError as error:
        raise SourceError(f"{folder}: {error}") from error
    seed = zlib.crc32("/".join(folder.resolve().parts[-2:]).encode())  # a real scene has none: of where it lies
    info = EpisodeInfo(options.task, options.preset, seed, options.hz, options.success, split, camera_split(2, split))
    return arrays, info


def _read(folder: Path, options: ConvertRGBD) -> EpisodeArrays:
    cameras = read_calibration(folder, options.max_residual_m)
    files = {f"{name}/{kind}": _list_images(folder, name, kind) for name in cameras for kind in _kinds(folder, name)}
    streams = {name: np.array([float(path.stem) for path in paths]) for name, paths in files.items()}
    robot = _open_robot(folder)
    time_s, frames = synchronised_frames(streams | robot["streams"], options.hz, options.tolerance_s)
    kept = {name: [files[name][index] for index in frames[name]] for name in files}
    depth_m = {name: _read_depth(kept[f"{name}/depth"], name, camera) for name, camera in cameras.items()}
    _check_extrinsics(folder, cameras, depth_m, options.max_residual_m)
    size = IMAGE_SIZES[options.preset]
    views = []
    for name, camera in cameras.items():
        rgb = np.stack([resize_colour(_read_colour(path, name, camera), size) for path in kept[f"{name}/rgb"]])
        depth = encode_depth(resize_nearest(depth_m[name], size))
        shown = [resize_nearest(_read_label(path, name, camera), size) for path in kept.get(f"{name}/label", [])]
        views.append((rgb, depth, np.stack(shown) if shown else np.full(depth.shape, Label.BACKGROUND, np.uint8)))
    rgb, depth, label = (np.stack(images, axis=1) for images in zip(*views, strict=True))
    return EpisodeArrays(
        rgb=rgb,
        depth=depth,
        label=label,
        K=np.stack(
            [resized_matrix(camera["K"], (camera["width"], camera["height"]), size) for camera in cameras.values()]
        ),
        X_WC=np.stack([camera["X_WC"] for camera in cameras.values()]),
        time_s=time_s - time_s[0],
        **_robot_state(robot["arrays"], frames.get("robot"), len(time_s)),
    )


def read_calibration(folder: Path, max_disagreement_m: float) -> dict[str, dict]:
    """The two cameras of calibration.json by name, n first, each with K, width, height, depth_unit_m and X_WC (arrays).

    Raises SourceError for what is missing or no rigid pose, and where hand-eye and camera-camera calibration disagree
    by more than `max_disagreement_m`, at camera m or 1 m in front of it.
    """
    path = folder / "calibration.json"
    if not path.is_file():
        raise SourceError("calibration.json is missing; write it as the text of data_scripts/convert_rgbd.py shows")
    try:
        calibration = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise SourceError(f"calibration.json is no JSON: {error}") from error
    cameras = calibration.get("cameras", {})
    if len(cameras) != 2:
        raise SourceError(f"calibration.json has {len(cameras)} cameras ({', '.join(cameras)}); name two")
    for name, camera in cameras.items():
        for key, shape in FIELDS.items():
            if key not in camera:
                raise SourceError(f"calibration.json lacks {key} of camera {name}; add it")
            if np.shape(camera[key]) != shape:
                raise SourceError(f"{key} of camera {name} has shape {np.shape(camera[key])}; expected {shape}")
        camera["K"] = np.array(camera["K"], np.float64)
    n, m = cameras
    X_Wn, X_Wm = (_pose(cameras[name].get("X_WC"), f"X_WC of camera {name}") for name in cameras)
    X_nm = _pose(calibration.get("X_nm"), "X_nm")
    if (X_Wn is None) + (X_Wm is None) + (X_nm is None) > 1:
        raise SourceError(f"calibration.json must give two of three: X_WC of {n}, X_WC of {m}, X_nm")
    cameras[n]["X_WC"] = X_Wm @ invert(X_nm) if X_Wn is None else X_Wn
    cameras[m]["X_WC"] = X_Wn @ X_nm if X_Wm is None else X_Wm
    if X_nm is not None:
        difference = X_nm - relative_pose(cameras[n]["X_WC"], cameras[m]["X_WC"])
        points_m = np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
        apart_m = np.linalg.norm(points_m @ difference[:3].T, axis=-1).max()
        if apart_m > max_disagreement_m:
            raise SourceError(
                f"X_nm and the two X_WC disagree by {apart_m:.3f} m within 1 m of camera {m}, allowed are "
                f"{max_disagreement_m:.3f} m; calibrate again, or leave out the one that you trust least"
            )
    return cameras


def _pose(values: list | None, name: str) -> np.ndarray | None:
    if values is None:
        return None
    if np.shape(values) != (4, 4) or rigid_error(np.array(values, np.float64)) > RIGID_TOLERANCE:
        raise SourceError(f"{name} in calibration.json is no rigid transform (4, 4); write it with more digits")
    return np.array(values, np.float64)


def _kinds(folder: Path, camera: str) -> tuple[str, ...]:
    """What was recorded of a camera."""
    return ("rgb", "depth", "label") if (folder / camera / "label").is_dir() else ("rgb", "depth")


def _list_images(folder: Path, camera: str, kind: str) -> list[Path]:
    """The images of one stream in the order of their times."""
    paths = list((folder / camera / kind).glob("*.png"))
    if not paths:
        raise SourceError(f"camera {camera} is missing: {camera}/{kind} holds no png images")
    try:
        return sorted(paths, key=lambda path: float(path.stem))
    except ValueError as error:
        raise SourceError(f"{camera}/{kind}: a file name is no time in seconds ({error}); rename it") from error


def _read_colour(path: Path, name: str, camera: dict) -> np.ndarray:
    rgb = imageio.imread(path)
    if rgb.shape != (camera["height"], camera["width"], 3) or rgb.dtype != np.uint8:
        raise SourceError(f"camera {name}: {path.name} is {rgb.dtype} {rgb.shape}; {_expected(camera, 'uint8', ', 3')}")
    return rgb


def _read_depth(paths: list[Path], name: str, camera: dict) -> np.ndarray:
    """Depth (T, H, W) float32 metres of one camera."""
    images = []
    for path in paths:
        images.append(imageio.imread(path))
        if images[-1].shape != (camera["height"], camera["width"]) or images[-1].dtype != np.uint16:
            what = f"{images[-1].dtype} {images[-1].shape}"
            raise SourceError(f"camera {name}: depth image {path.name} is {what}; {_expected(camera, 'uint16', '')}")
    return depth_in_metres(np.stack(images), camera["depth_unit_m"], name)


def _read_label(path: Path, name: str, camera: dict) -> np.ndarray:
    label = imageio.imread(path)
    if label.shape != (camera["height"], camera["width"]) or label.dtype != np.uint8:
        what = f"{label.dtype} {label.shape}"
        raise SourceError(f"camera {name}: label image {path.name} is {what}; {_expected(camera, 'uint8', '')}")
    if label.max() > max(Label):
        raise SourceError(
            f"camera {name}: label image {path.name} holds {label.max()}, the highest known label is {max(Label):d}; "
            "write the numbers of geo4d_lite.geometry.Label"
        )
    return label


def _expected(camera: dict, dtype: str, channels: str) -> str:
    return f"expected {dtype} ({camera['height']}, {camera['width']}{channels}) by calibration.json"


def _check_extrinsics(
    folder: Path, cameras: dict[str, dict], depth_m: dict[str, np.ndarray], max_residual_m: float
) -> None:
    """Carry each view's depth into the other and print the median residual; raise SourceError above the limit."""
    frames = len(next(iter(depth_m.values())))
    moments = np.unique(np.linspace(0, frames - 1, CHECKED_FRAMES).astype(int))
    medians = []
    for n, m in (tuple(cameras), tuple(cameras)[::-1]):
        X_mn = relative_pose(cameras[m]["X_WC"], cameras[n]["X_WC"])
        K_n, K_m = cameras[n]["K"], cameras[m]["K"]
        residual = [depth_residual(depth_m[n][t], depth_m[m][t], K_n, K_m, X_mn) for t in moments]
        share = sum(map(len, residual)) / (len(moments) * depth_m[n][0].size)
        if share < LEAST_OVERLAP:
            raise SourceError(
                f"only {share:.1%} of the depth of {n} falls on depth of {m}, so nothing tests the extrinsics; "
                "X_WC may be world to camera (it must be camera to world), or the cameras see different things"
            )
        medians.append(float(np.median(np.abs(np.concatenate(residual)))))
    print(f"{folder}: the cameras' depths agree to {1000 * max(medians):.1f} mm (median)")
    if max(medians) > max_residual_m:
        raise SourceError(
            f"depth carried from one camera into the other is off by {max(medians):.3f} m (median), allowed are "
            f"{max_residual_m:.3f} m: the extrinsics, K or a depth unit are wrong; calibrate the cameras again"
        )


def _open_robot(folder: Path) -> dict[str, dict]:
    """The arms' stream of times and their arrays; both empty where nothing was recorded."""
    path = folder / "robot.npz"
    if not path.is_file():
        return {"streams": {}, "arrays": {}}
    with np.load(path, allow_pickle=False) as archive:
        missing = {"time_s", "X_WG", "width_m", "joint_positions"} - set(archive)
        if missing:
            raise SourceError(f"robot.npz lacks {', '.join(sorted(missing))}; fill it with NaN if it was not recorded")
        arrays = dict(archive)
    return {"streams": {"robot": arrays.pop("time_s")}, "arrays": arrays}


def _robot_state(arrays: dict[str, np.ndarray], frames: np.ndarray | None, count: int) -> dict[str, np.ndarray]:
    """X_WG (T, 2, 4, 4), width_m (T, 2) and joint_positions (T, 2, 7); NaN where nothing was recorded."""
    shapes = {"X_WG": (2, 4, 4), "width_m": (2,), "joint_positions": (2, 7)}
    if not arrays:
        return {name: np.full((count, *shape), np.nan) for name, shape in shapes.items()}
    return {name: arrays[name][frames].astype(np.float64) for name in shapes}


if __name__ == "__main__":
    run(main)
