"""Data from elsewhere into the store: common times, units, sizes and checks, and a resumable writer of converted sets.

The readers of particular layouts live in `data_scripts/`; here is what every one of them needs to fill an episode.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from geo4d_lite.data.dataset import Dataset, open_dataset, write_manifest
from geo4d_lite.data.store import EpisodeArrays, EpisodeInfo, open_episode, split_cameras, write_episode
from geo4d_lite.geometry import Intrinsics, project, transform, unproject

DEPTH_UNITS_M = (1.0, 0.01, 0.001, 0.00025, 0.0002, 0.0001)  # metres, cm, mm, and finer steps of 16-bit depth images
TABLETOP_M = (0.15, 5.0)  # where the median depth of a camera at a table lies
TOO_FAR = np.iinfo(np.uint16).max  # Drake's 16-bit depth cameras write this beyond their range


class SourceError(ValueError):
    """A recording that cannot be converted; the message names what is wrong, its value and the mend."""


def synchronised_frames(
    streams: Mapping[str, np.ndarray], hz: float, tolerance_s: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Resample streams to a common clock by taking the nearest frame of each.

    `streams`: name -> times (N,) in seconds, increasing, of one clock. Returns times (T,) every 1/hz s over the span
    that all streams cover, and name -> frame numbers (T,). Only time stamps are looked at: clocks that run side by side
    with an offset look synchronised. Raises SourceError for an empty or unordered stream, for streams that share no
    time, and where the frames chosen for one time are more than `tolerance_s` apart.
    """
    for name, times in streams.items():
        if len(times) == 0:
            raise SourceError(f"stream {name} has no frames; record it again or leave it out")
        if np.any(np.diff(times) <= 0):
            raise SourceError(f"the time stamps of stream {name} do not increase; sort its frames, drop repeated ones")
    latest = max(streams, key=lambda name: streams[name][0])
    earliest_end = min(streams, key=lambda name: streams[name][-1])
    start, end = streams[latest][0], streams[earliest_end][-1]
    if end < start:
        raise SourceError(
            f"streams {earliest_end} (ends at {end:.3f} s) and {latest} (begins at {start:.3f} s) share no time; "
            "their clocks differ: record all streams with one clock"
        )
    wanted = start + np.arange(int((end - start) * hz + 1e-6) + 1) / hz
    frames = {name: nearest(times, wanted) for name, times in streams.items()}
    taken = np.stack([streams[name][frames[name]] for name in streams])
    spread = taken.max(axis=0) - taken.min(axis=0)
    if np.any(spread > tolerance_s):
        worst = int(np.argmax(spread))
        first, last = (list(streams)[pick(taken[:, worst])] for pick in (np.argmin, np.argmax))
        raise SourceError(
            f"streams {first} and {last} are not synchronised: at {wanted[worst]:.3f} s their nearest frames are "
            f"{spread[worst]:.3f} s apart, allowed are {tolerance_s:.3f} s; cut the gap out, or allow more"
        )
    return wanted, frames


def nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each wanted time (T,) the index of the nearest of the increasing `times` (N,)."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(1, len(times) - 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def depth_in_metres(depth: np.ndarray, unit_m: float, camera: str) -> np.ndarray:
    """Depth images (..., H, W) that count `unit_m` metres, as float32 metres; 0 and 65535 become 0, no measurement.

    Raises SourceError if there is no measurement, or if the median is not a tabletop's: millimetres read as metres, or
    metres read as millimetres. The message names the unit that would fit.
    """
    measured = np.where(np.isfinite(depth) & (depth > 0) & (depth != TOO_FAR), depth, 0)
    if not measured.any():
        raise SourceError(f"camera {camera} has no depth at all; check that its depth stream was recorded")
    counts = float(np.median(measured[measured > 0]))
    low, high = TABLETOP_M
    if not low <= counts * unit_m <= high:
        unit = min(DEPTH_UNITS_M, key=lambda unit: abs(np.log(counts * unit)))  # that which puts the table 1 m away
        fits = low <= counts * unit <= high
        mend = f"a unit of {unit:g} m would give {counts * unit:.3g} m" if fits else "no usual unit fits"
        raise SourceError(
            f"the median depth of camera {camera} is {counts * unit_m:.3g} m with a unit of {unit_m:g} m, at a table "
            f"it is {low:g} to {high:g} m: the depth unit is wrong; {mend}"
        )
    return (measured * np.float32(unit_m)).astype(np.float32)


def fixed_pose(X_WC: np.ndarray, camera: str, tolerance_m: float = 1e-3) -> np.ndarray:
    """The one pose (4, 4) of a camera logged as X_WC (T, 4, 4). Raises SourceError if it moves, as on a wrist."""
    moved = np.linalg.norm(X_WC[:, :3, 3] - X_WC[0, :3, 3], axis=-1).max()
    turned = np.abs(X_WC[:, :3, :3] - X_WC[0, :3, :3]).max()
    if moved > tolerance_m or turned > tolerance_m:
        raise SourceError(
            f"camera {camera} moves by {moved:.3f} m during the episode, the store holds fixed cameras; "
            "leave it out by naming the others with --cameras"
        )
    return X_WC[0].astype(np.float64)


def resized_matrix(K: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """K (3, 3) after images of `old` = (width, height) are resized to `new`; each axis has its own scale."""
    camera = Intrinsics(*old, *(float(K[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2))))
    return camera.resized(*new).matrix


def resize_colour(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images (..., H, W, 3) uint8 to `size` = (width, height): each new pixel is the mean of the area it covers."""
    rows, columns = _area_weights(size[1], rgb.shape[-3]), _area_weights(size[0], rgb.shape[-2])
    return np.rint(np.einsum("ih,...hwc,jw->...ijc", rows, rgb, columns, optimize=True)).astype(np.uint8)


def _area_weights(new: int, old: int) -> np.ndarray:
    """Weights (new, old) of old pixels in new ones along one axis; rows sum to 1."""
    edges, pixels = np.arange(new + 1) * old / new, np.arange(old)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * new / old).astype(np.float32)


def resize_nearest(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth or labels (..., H, W) to `size` = (width, height), each new pixel one old one: no value is invented.

    (The paper's release interpolates depth, which puts points between an object's rim and what lies behind it.)
    """
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size[::-1], image.shape[-2:], strict=True)
    )
    return image[..., rows[:, None], columns]


def depth_residual(
    depth_n_m: np.ndarray, depth_m_m: np.ndarray, K_n: np.ndarray, K_m: np.ndarray, X_mn: np.ndarray
) -> np.ndarray:
    """What extrinsics are worth: z of view n's points in camera m, minus the depth m measured there, in metres (P,).

    depth_n_m, depth_m_m (H, W) metres of two cameras at one time; X_mn (4, 4) takes n to m. Only pixels that both
    cameras measure count. Points that m sees hidden behind something leave large positive residuals: read the median.
    """
    points, valid = unproject(depth_n_m, K_n, max_depth_m=TABLETOP_M[1])
    pixels, z = project(transform(X_mn, points[valid]), K_m)
    height, width = depth_m_m.shape
    inside = (z > 0) & np.all((pixels > -0.5) & (pixels < (width - 0.5, height - 0.5)), axis=-1)
    u, v = np.rint(pixels[inside]).astype(np.int64).T
    measured = depth_m_m[v, u]
    return (z[inside] - measured)[measured > 0]


def camera_split(count: int, split: str) -> tuple[str, ...]:
    """The split of `count` cameras of an episode of `split`.

    From four cameras on the last quarter is held out. Fewer make only one pair, so all belong to the episode's split:
    then episodes are held out, but not cameras.
    """
    return split_cameras(count) if count >= 4 else (split,) * count


def write_dataset(
    root: str | Path,
    episodes: Sequence[Callable[[str], tuple[EpisodeArrays, EpisodeInfo]]],
    test_episodes: int,
    options: Mapping[str, object] | None = None,
) -> Dataset:
    """Read and write, one at a time, those of the episodes that `root` lacks, then the manifest.

    `episodes[number](split)` reads one; the last `test_episodes` are held out. An interrupted conversion goes on where
    it stopped. `options`: what else decides how an episode comes out. Raises SourceError if there is nothing to convert
    or too much held out, and where episodes that are there were converted with other options, or for the other split.
    """
    if not 0 <= test_episodes < len(episodes):
        raise SourceError(f"{len(episodes)} episodes found, {test_episodes} to hold out; give more, or hold out fewer")
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        for leftover in root.glob(".episode_*.partial-*"):
            shutil.rmtree(leftover)
        paths = [root / f"episode_{number:04d}.zarr" for number in range(len(episodes))]
        splits = ["test" if number >= len(episodes) - test_episodes else "train" for number in range(len(episodes))]
        _check_begun(root, {path: split for path, split in zip(paths, splits, strict=True) if path.exists()}, options)
        for path, split, read in zip(paths, splits, episodes, strict=True):
            if not path.exists():
                write_episode(path, *read(split))
        write_manifest(root)
    return open_dataset(root)


def _check_begun(root: Path, written: Mapping[Path, str], options: Mapping[str, object] | None) -> None:
    """Keep the options in `root`, or raise SourceError where the episodes `written` (path -> split) do not go on so."""
    for path, split in written.items():
        found = open_episode(path).info.split
        if found != split:
            raise SourceError(
                f"{path} was converted for the {found} split and would now be {split}; held out are the last episodes: "
                "raise the number of test episodes by as many as were added, or convert into another folder"
            )
    kept, wanted = root / "conversion.json", {name: str(value) for name, value in (options or {}).items()}
    begun = json.loads(kept.read_text()) if written and kept.exists() else wanted
    changed = sorted(name for name in begun.keys() | wanted if begun.get(name) != wanted.get(name))
    if changed:
        raise SourceError(
            f"{root} was begun with other options ({', '.join(changed)}); convert into another folder, or delete it"
        )
    kept.write_text(json.dumps(wanted, indent=2) + "\n")
