"""One episode of `geo4d demos`: laid out, led astray where the recipe asks for it, demonstrated, filmed, written."""

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from filelock import FileLock

from geo4d_lite.data import (
    CAMERAS,
    EpisodeArrays,
    EpisodeInfo,
    encode_depth,
    split_cameras,
    write_episode,
)
from geo4d_lite.geometry import Intrinsics, sample_camera_poses
from geo4d_lite.simulation import ScriptedDemonstration, Station, disturb, get_task, make_station

SIMULATION_HZ = 10  # the demonstration is commanded, and can be recorded, this often
TAIL_S = 1.5  # recorded after the demonstration has ended, standing still
MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class Recipe:
    """What all episodes of a data set share."""

    task: str
    cameras: int
    preset: str
    hz: int
    seed: int
    disturbed: bool = False
    led_by: str | None = None


def episode_path(root: Path, number: int) -> Path:
    """Where episode `number` of the data set `root` is kept."""
    return root / f"episode_{number:04d}.zarr"


@lru_cache(maxsize=1)
def _station(task: str) -> Station:
    """One station a process; it is reset for every episode."""
    return make_station(task)


def record_episode(root: Path, recipe: Recipe, number: int, split: str) -> None:
    """Record episode `number`, unless it is there; where the demonstration fails it is drawn again with the next seed.

    Killed runs leave half-written folders, and workers that may still be at this very episode: the lock, which dies
    with its process, waits for those.
    """
    path = episode_path(root, number)
    with FileLock(root / f".{path.stem}.lock"):
        if path.exists():
            return
        for leftover in root.glob(f".{path.name}.partial-*"):
            shutil.rmtree(leftover)
        station, first = _station(recipe.task), (10_000 * recipe.seed + number) * MAX_ATTEMPTS
        for seed in range(first, first + MAX_ATTEMPTS):
            station.reset(seed)
            if split == "train" and not _set_out(station, recipe, np.random.default_rng([seed, 2])):
                continue
            arrays, phase = record(station, recipe, np.random.default_rng([seed, 1]))
            if station.success():
                cameras, failed = split_cameras(recipe.cameras), tuple(range(first, seed))
                info = EpisodeInfo(recipe.task, recipe.preset, seed, recipe.hz, True, split, cameras, phase, failed)
                write_episode(path, arrays, info)
                return
    raise RuntimeError(f"episode {number}: the demonstration failed {MAX_ATTEMPTS} times in a row")


def _set_out(station: Station, recipe: Recipe, rng: np.random.Generator) -> bool:
    """Bring a station that has just been laid out to where the recipe has its demonstrations begin; True if they can.

    A state that the demonstrator gives up is not worth the seconds of recording it.
    """
    if recipe.disturbed:
        disturb(station, rng)
    if recipe.led_by is not None:
        from geo4d_lite.evaluation.visited_states import lead

        lead(station, _leader(recipe.led_by, recipe.task), rng)
        return station.phase() != "lost"
    return True


@lru_cache(maxsize=1)
def _leader(folder: str, task: str):
    """The path model in `folder` as a policy; a process loads it once."""
    from geo4d_lite.evaluation.baselines import path_policy

    return path_policy(Path(folder), get_task(task).gripper_threshold_m)


def record(station: Station, recipe: Recipe, rng: np.random.Generator) -> tuple[EpisodeArrays, tuple[str, ...]]:
    """Run the demonstration from the station's present state and film it from cameras drawn with `rng`.

    Returns the arrays of the episode and the phase of the demonstration at each of its frames.
    """
    K = CAMERAS[recipe.preset]
    X_WC = sample_camera_poses(recipe.cameras, rng)
    every = SIMULATION_HZ // recipe.hz
    step, first = 0, int(rng.integers(every))
    demonstration, frames, phase, steps_left = ScriptedDemonstration(station), [], [], round(TAIL_S * SIMULATION_HZ)
    while steps_left:
        if step % every == first:
            frames.append(_observe(station, X_WC, K))
            phase.append(station.phase())
        demonstration.step(1 / SIMULATION_HZ)
        step += 1
        steps_left -= demonstration.done
    images = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    return EpisodeArrays(K=np.tile(K.matrix, (recipe.cameras, 1, 1)), X_WC=X_WC, **images), tuple(phase)


def _observe(station: Station, X_WC: np.ndarray, K: Intrinsics) -> dict[str, np.ndarray]:
    """One moment of an episode: the images of all cameras and the state of the arms."""
    views = [station.render(pose, K) for pose in X_WC]
    return {
        "rgb": np.stack([view.rgb for view in views]),
        "depth": encode_depth(np.stack([view.depth_m for view in views])),
        "label": np.stack([view.label for view in views]),
        "X_WG": station.X_WG(),
        "width_m": station.width_m(),
        "joint_positions": station.joint_positions(),
        "time_s": np.float64(station.time_s),
    }
