"""One episode on disk: a Zarr v3 group, written whole or not at all, and checked when it is opened.

Images are chunked by camera, one chunk a camera and array, as windows read two cameras out of many.
"""

import hashlib
import os
import shutil
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import zarr

FORMAT_VERSION = 1
DEPTH_SCALE_M = 1e-4  # depth is stored as uint16 in tenths of a millimetre: up to 6.55 m
SPLITS = ("train", "test")
MEND = "delete this folder and run `geo4d demos` again, which makes only what is missing"

# name -> (shape by letters, dtype); letters: T frames, C cameras, H x W pixels
LAYOUT = {
    "rgb": ("TCHW3", np.uint8),
    "depth": ("TCHW", np.uint16),
    "label": ("TCHW", np.uint8),
    "K": ("C33", np.float64),
    "X_WC": ("C44", np.float64),
    "X_WG": ("T244", np.float64),
    "width_m": ("T2", np.float64),
    "joint_positions": ("T27", np.float64),
    "time_s": ("T", np.float64),
}
IMAGES = ("rgb", "depth", "label")
MAKERS = ("geo4d-lite", "drake", "numpy", "zarr")  # distributions whose versions an episode carries


class EpisodeError(ValueError):
    """An episode or data set that cannot be used; the message names the episode, the fault and the mend."""


class DamagedEpisode(EpisodeError):
    """An episode whose folder cannot be read; `fault` is the bare fault, the message adds episode and mend."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{path.name}: {fault}; {MEND} ({path})")
        self.fault = fault


@dataclass(frozen=True)
class EpisodeInfo:
    """What is known about an episode beside its arrays.

    `hz` is the recording rate; `split` says where the episode belongs, `camera_split` the same for each camera.
    `phase` names the demonstration's phase at each frame and is empty where nobody knows it; `failed_seeds` are those
    of the demonstrations that failed before this one. Older and converted episodes lack both.
    """

    task: str
    preset: str
    seed: int
    hz: int
    success: bool
    split: str
    camera_split: tuple[str, ...]
    phase: tuple[str, ...] = ()
    failed_seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for split in (self.split, *self.camera_split):
            if split not in SPLITS:
                raise EpisodeError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")

    def cameras(self, split: str) -> list[int]:
        """Indices of the cameras that belong to `split`."""
        return [index for index, camera_split in enumerate(self.camera_split) if camera_split == split]


@dataclass(frozen=True, eq=False)
class EpisodeArrays:
    """The arrays of an episode of T frames and C cameras; arms are ordered left, right.

    rgb (T, C, H, W, 3) uint8 · depth (T, C, H, W) uint16, see `encode_depth` · label (T, C, H, W) uint8 ·
    K (C, 3, 3) · X_WC (C, 4, 4) · X_WG (T, 2, 4, 4) · width_m (T, 2) · joint_positions (T, 2, 7) rad · time_s (T).
    Raises EpisodeError if a size or type does not fit the others.
    """

    rgb: np.ndarray
    depth: np.ndarray
    label: np.ndarray
    K: np.ndarray
    X_WC: np.ndarray
    X_WG: np.ndarray
    width_m: np.ndarray
    joint_positions: np.ndarray
    time_s: np.ndarray

    def __post_init__(self) -> None:
        check_layout({name: getattr(self, name) for name in LAYOUT})


def check_layout(arrays: dict) -> None:
    """Raise EpisodeError unless every array has its type and shape of LAYOUT, with one T, C, H, W throughout."""
    if arrays["rgb"].ndim != 5:
        raise EpisodeError(f"rgb has shape {arrays['rgb'].shape}; expected (T, C, H, W, 3)")
    sizes = dict(zip("TCHW", arrays["rgb"].shape, strict=False))
    for name, (letters, dtype) in LAYOUT.items():
        expected = tuple(sizes[letter] if letter in sizes else int(letter) for letter in letters)
        if arrays[name].shape != expected:
            raise EpisodeError(f"{name} has shape {arrays[name].shape}; expected {expected} to go with rgb")
        if arrays[name].dtype != dtype:
            raise EpisodeError(f"{name} has dtype {arrays[name].dtype}; expected {np.dtype(dtype)}")


def split_cameras(count: int) -> tuple[str, ...]:
    """The split of `count` cameras: the last quarter is held out, two at least, as a window needs a pair."""
    held_out = max(2, count // 4)
    return ("train",) * (count - held_out) + ("test",) * held_out


def _check_info(info: EpisodeInfo, rgb: "np.ndarray | zarr.Array") -> None:
    """Raise EpisodeError unless `info` speaks of as many cameras and frames as the images rgb (T, C, H, W, 3) hold."""
    frames, cameras = rgb.shape[:2]
    if len(info.camera_split) != cameras:
        raise EpisodeError(f"camera_split names {len(info.camera_split)} cameras, the arrays hold {cameras}")
    if len(info.phase) not in (0, frames):
        raise EpisodeError(f"phase names {len(info.phase)} frames, the arrays hold {frames}")


def encode_depth(depth_m: np.ndarray) -> np.ndarray:
    """Metres to the stored uint16. What is not a measurement (0, negative, NaN, inf, beyond 6.55 m) becomes 0."""
    farthest_m = np.iinfo(np.uint16).max * DEPTH_SCALE_M
    measured = np.where((depth_m > 0) & (depth_m <= farthest_m), depth_m, 0.0)
    return np.round(measured / DEPTH_SCALE_M).astype(np.uint16)


def decode_depth(depth: np.ndarray) -> np.ndarray:
    """Stored uint16 to float32 metres; 0 stays 0, no measurement."""
    return depth.astype(np.float32) * np.float32(DEPTH_SCALE_M)


def content_hash(arrays: "EpisodeArrays | Episode") -> str:
    """SHA-256 over names, types, shapes and values of all arrays, images camera by camera.

    What is recorded decides it, not how: compression, time, place and the order of recording leave it alone.
    """
    digest = hashlib.sha256()
    for name in LAYOUT:
        array = arrays.images[name] if name in IMAGES and isinstance(arrays, Episode) else getattr(arrays, name)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        parts = [np.s_[:, camera] for camera in range(array.shape[1])] if name in IMAGES else [...]
        for part in parts:
            values = array[part] if isinstance(array, np.ndarray) else _read(arrays.path, array, part)
            digest.update(np.ascontiguousarray(values))
    return digest.hexdigest()


def installed_versions() -> dict[str, str]:
    """The versions of MAKERS, those that are installed: what an episode was made with."""
    versions = {}
    for name in MAKERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def write_episode(path: str | Path, arrays: EpisodeArrays, info: EpisodeInfo) -> Path:
    """Write an episode to the new folder `path`. It appears under its name only when it is complete.

    Raises EpisodeError if the arrays and the info disagree, FileExistsError if the folder is there already.
    """
    path = Path(path)
    try:
        _check_info(info, arrays.rgb)
    except EpisodeError as error:
        raise EpisodeError(f"{path.name}: {error}") from None
    if path.exists():
        raise FileExistsError(f"{path} exists; delete it first to record this episode again")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        _write(partial, arrays, info)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _write(path: Path, arrays: EpisodeArrays, info: EpisodeInfo) -> None:
    attributes = {
        "version": FORMAT_VERSION,
        "depth_scale_m": DEPTH_SCALE_M,
        **asdict(info),
        "content_hash": content_hash(arrays),
        "made_with": installed_versions(),
    }
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes=attributes)
    for name in LAYOUT:
        array = getattr(arrays, name)
        chunks = (array.shape[0], 1, *array.shape[2:]) if name in IMAGES else array.shape
        group.create_array(  # a chunk of zeros is written too: a missing one then always means a damaged episode
            name,
            data=array,
            chunks=chunks,
            compressors=zarr.codecs.ZstdCodec(level=3, checksum=True),
            config={"write_empty_chunks": True},
        )


@dataclass(frozen=True, eq=False)
class Episode:
    """An opened episode: small arrays in memory, images read camera by camera.

    K (C, 3, 3), X_WC (C, 4, 4), X_WG (T, 2, 4, 4), width_m (T, 2), joint_positions (T, 2, 7), time_s (T).
    """

    path: Path
    info: EpisodeInfo
    images: zarr.Group
    K: np.ndarray
    X_WC: np.ndarray
    X_WG: np.ndarray
    width_m: np.ndarray
    joint_positions: np.ndarray
    time_s: np.ndarray

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def frames(self) -> int:
        return len(self.time_s)

    def read_camera(self, camera: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """rgb (T, H, W, 3) uint8, stored depth (T, H, W) uint16 and label (T, H, W) uint8 of one camera."""
        return tuple(_read(self.path, self.images[name], np.s_[:, camera]) for name in IMAGES)


def open_episode(path: str | Path) -> Episode:
    """Open and check an episode.

    Raises EpisodeError naming episode, fault and mend; FileNotFoundError if there is no such folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no episode at {path}; `geo4d demos` records episodes")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        arrays = {name: group[name] for name in LAYOUT if name in group}
        info = _read_info(dict(group.attrs))
        missing = [name for name in LAYOUT if name not in arrays]
        if missing:
            raise EpisodeError(f"array {missing[0]} is missing")
        check_layout(arrays)
        _check_info(info, arrays["rgb"])
        for name, array in arrays.items():
            if array.nchunks_initialized < array.nchunks:
                raise EpisodeError(f"array {name} is truncated: {array.nchunks_initialized} of {array.nchunks} chunks")
    except (ValueError, FileNotFoundError) as error:  # zarr's own errors are of these two kinds
        raise DamagedEpisode(path, str(error)) from error
    small = {name: _read(path, arrays[name], ...) for name in LAYOUT if name not in IMAGES}
    return Episode(path, info, group, **small)


def _read_info(attributes: dict) -> EpisodeInfo:
    version = attributes.get("version")
    if version != FORMAT_VERSION:
        raise EpisodeError(f"format version {version}, this code reads version {FORMAT_VERSION}")
    known = [field.name for field in fields(EpisodeInfo) if field.default is MISSING or field.name in attributes]
    missing = [name for name in known if name not in attributes]
    if missing:
        raise EpisodeError(f"attribute {missing[0]} is missing")
    values = {name: attributes[name] for name in known}
    return EpisodeInfo(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _read(path: Path, array: zarr.Array, selection) -> np.ndarray:
    try:
        return array[selection]
    except Exception as error:  # codecs raise what they like for damaged bytes
        raise DamagedEpisode(path, f"array {array.basename} cannot be read ({error})") from error
