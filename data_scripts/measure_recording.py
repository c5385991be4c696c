"""How fast demonstrations are recorded, beside Drake alone rendering the same images, and how fast windows are read.

    taskset -c 0 nice python -m data_scripts.measure_recording

One process and processor seconds (`time.process_time`), so that other work on the machine counts little. An episode is
recorded and written as `geo4d demos` does it. Then it is simulated again from its seed, and Drake alone renders what
was recorded: three calls of SceneGraph's QueryObject a camera (colour, depth, label), and not one copy of ours.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydrake.geometry import ClippingRange, ColorRenderCamera, DepthRange, DepthRenderCamera, RenderCameraCore
from pydrake.math import RigidTransform
from pydrake.systems.sensors import CameraInfo

from data_scripts.command_line import run
from geo4d_lite.commands._episode import SIMULATION_HZ, Recipe, record
from geo4d_lite.data import (
    CAMERAS,
    Episode,
    EpisodeInfo,
    WindowDataset,
    open_dataset,
    split_cameras,
    write_episode,
    write_manifest,
)
from geo4d_lite.data.windows import start_count, stride
from geo4d_lite.evaluation.results import provenance, write_json
from geo4d_lite.models.autoencoders import FACTOR, LiteAutoencoder
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.simulation import TASKS, ScriptedDemonstration, Station, make_station
from geo4d_lite.simulation.rendering import FAR_M, NEAR_M, RENDERER

EPISODES_PER_TASK = 25  # training episodes, as in the paper
PAIRS = 20  # of cameras whose latents are kept, an episode


@dataclass(frozen=True)
class MeasureRecording:
    """Measure the speed of recording and of reading windows, in processor seconds."""

    tasks: tuple[str, ...] = tuple(TASKS)
    episodes: int = 1
    """Episodes to record of each task."""
    cameras: int = 16
    hz: int = 10
    windows: int = 100
    """Windows to read from pixels; ten times as many are drawn from latents."""
    result: Path = Path("book/results/recording.json")


@dataclass(frozen=True)
class Parts:
    """Processor seconds that one episode took, what was recorded and its size on disk."""

    record: float
    write: float
    simulation: float
    drake: float
    frames: int
    images: int
    bytes: int


def main(options: MeasureRecording) -> None:
    """Measure, print and write `options.result`."""
    parts, windows = {}, {}
    for task in options.tasks:
        recipe = Recipe(task, options.cameras, "lite", options.hz, seed=0)
        station = make_station(task)
        bare_render(station, np.eye(4)[None])  # the first image starts the renderer
        with tempfile.TemporaryDirectory() as folder:
            measured = [measure_episode(Path(folder), recipe, number, station) for number in range(options.episodes)]
            parts[task] = {name: sum(vars(part)[name] for part in measured) for name in vars(measured[0])}
            write_manifest(folder)
            windows = windows or {  # of the first task: a window is as large in every task
                "pixels": pixel_windows_per_second(Path(folder), options.windows),
                "latents": latent_windows_per_second(open_dataset(folder).episodes[0], 10 * options.windows),
            }
        print("\n".join([task, *describe(rates(parts[task], options))]), flush=True)
    result = summary(parts, options) | {"windows_per_second": windows}
    settings = {"preset": "lite", "cameras": options.cameras, "hz": options.hz, "seed": 0}
    command = f"python -m data_scripts.measure_recording --tasks {' '.join(options.tasks)} "
    command += f"--episodes {options.episodes} --cameras {options.cameras} --hz {options.hz} "
    command += f"--windows {options.windows}"
    write_json(options.result, settings | provenance(command) | result)
    full = result["full_lite_set"]
    print(
        f"full lite set, {full['episodes']} episodes of {options.cameras} cameras: {full['processor_hours']:.2f} "
        f"processor hours, {full['gigabytes']:.2f} GB\nwindows a second: {windows}"
    )


def timed(function: Callable, *arguments: Any) -> tuple[float, Any]:
    """Processor seconds of a call, and what it returned."""
    start = time.process_time()
    value = function(*arguments)
    return time.process_time() - start, value


def measure_episode(folder: Path, recipe: Recipe, seed: int, station: Station) -> Parts:
    """Record episode `seed` into `folder`, simulate it again and let Drake alone render it."""

    def film():
        station.reset(seed)
        return record(station, recipe, np.random.default_rng([seed, 1]))

    record_s, (arrays, phase) = timed(film)
    cameras = split_cameras(recipe.cameras)
    info = EpisodeInfo(recipe.task, recipe.preset, seed, recipe.hz, station.success(), "train", cameras, phase)
    write_s, path = timed(write_episode, folder / f"episode_{seed:04d}.zarr", arrays, info)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    frame_at = {round(time_s * SIMULATION_HZ): frame for frame, time_s in enumerate(arrays.time_s)}
    simulation_s, drake_s = timed(station.reset, seed)[0], 0.0
    demonstration = ScriptedDemonstration(station)
    for step in range(max(frame_at) + 1):
        if step in frame_at:
            recorded = arrays.joint_positions[frame_at[step]]
            np.testing.assert_array_equal(station.joint_positions(), recorded)  # the same state is rendered
            drake_s += timed(bare_render, station, arrays.X_WC)[0]
        simulation_s += timed(demonstration.step, 1 / SIMULATION_HZ)[0]
    frames = len(arrays.time_s)
    return Parts(record_s, write_s, simulation_s, drake_s, frames, frames * recipe.cameras, size)


def bare_render(station: Station, X_WC: np.ndarray) -> None:
    """Let Drake render colour, depth and label of the station's state from cameras X_WC (C, 4, 4), and drop them."""
    K = CAMERAS["lite"]
    info = CameraInfo(K.width, K.height, K.fx, K.fy, K.cx, K.cy)
    core = RenderCameraCore(RENDERER, info, ClippingRange(NEAR_M, 2 * FAR_M), RigidTransform())
    color, depth = ColorRenderCamera(core), DepthRenderCamera(core, DepthRange(NEAR_M, FAR_M))
    scene_graph = station.scene.scene_graph
    context = scene_graph.GetMyContextFromRoot(station._simulator.get_context())
    query = scene_graph.get_query_output_port().Eval(context)
    world = query.inspector().world_frame_id()
    for pose in map(RigidTransform, X_WC):
        query.RenderColorImage(color, world, pose)
        query.RenderDepthImage(depth, world, pose)
        query.RenderLabelImage(color, world, pose)


def pixel_windows_per_second(root: Path, count: int) -> float:
    """Windows a processor second of `WindowDataset`, drawn at random; reading and decompressing cameras included."""
    data = WindowDataset(open_dataset(root), "train")
    indices = np.random.default_rng(0).integers(len(data), size=count)
    return count / timed(lambda: [data[int(index)] for index in indices])[0]


def latent_windows_per_second(episode: Episode, count: int, batch: int = 4) -> float:
    """Windows a processor second of `LatentSet`, in batches as training draws them, from latents of noise."""
    height, width = (size // FACTOR for size in episode.images["rgb"].shape[2:4])
    cameras = len(episode.info.cameras("train"))
    channels = LiteAutoencoder().config.latent_channels
    images = torch.randn(cameras, episode.frames, channels, height, width).half()
    share = torch.randint(256, (cameras, episode.frames, 1, height, width)).byte()
    pairs = torch.stack([torch.arange(PAIRS) % cameras, (torch.arange(PAIRS) + 1) % cameras], dim=1)
    latents = {
        "rgb": images,
        "own": images,
        "moved": images[pairs[:, 1]],
        "pairs": pairs,
        "valid": share,
        "gripper": share,
        "stride": torch.tensor(stride(episode)),
    }
    starts = start_count(episode)
    data, generator = LatentSet([latents], [torch.ones(starts)]), torch.Generator().manual_seed(0)
    return count / timed(lambda: [data.batch(batch, generator) for _ in range(count // batch)])[0]


def rates(total: dict[str, float], options: MeasureRecording) -> dict:
    """Rates, ratios and growth with the cameras, from the sums over the episodes measured.

    A ratio is the rate at which images are recorded to the rate at which Drake alone renders them.
    """
    with_simulation = total["record"] + total["write"]
    without = with_simulation - total["simulation"]
    episode_cameras = options.episodes * options.cameras
    return {
        "episodes_measured": options.episodes,
        "processor_seconds": {name: total[name] for name in ("record", "write", "simulation", "drake")},
        "frames": total["frames"],
        "images_per_second": {
            "drake_alone": total["images"] / total["drake"],
            "recording_without_simulation": total["images"] / without,
            "recording_with_simulation": total["images"] / with_simulation,
        },
        "ratio_without_simulation": total["drake"] / without,
        "ratio_with_simulation": total["drake"] / with_simulation,
        "episode_grows": {
            "seconds": total["simulation"] / options.episodes,
            "seconds_per_camera": without / episode_cameras,
            "bytes_per_camera": total["bytes"] / episode_cameras,
        },
    }


def summary(parts: dict[str, dict[str, float]], options: MeasureRecording) -> dict:
    """Each task's rates, and the cost of a full set: as many episodes of every task as the paper has."""
    times = EPISODES_PER_TASK / options.episodes
    return {
        "tasks": {task: rates(total, options) for task, total in parts.items()},
        "full_lite_set": {
            "episodes": EPISODES_PER_TASK * len(parts),
            "videos": EPISODES_PER_TASK * len(parts) * options.cameras,
            "processor_hours": times * sum(total["record"] + total["write"] for total in parts.values()) / 3600,
            "gigabytes": times * sum(total["bytes"] for total in parts.values()) / 1e9,
        },
    }


def describe(result: dict) -> list[str]:
    """The lines to print of one task."""
    grows = result["episode_grows"]
    return [
        *(
            f"{name.replace('_', ' ')}: {rate:.1f} images (colour, depth and label) a second"
            for name, rate in result["images_per_second"].items()
        ),
        f"ratio to Drake alone: {result['ratio_without_simulation']:.3f} without simulation, "
        f"{result['ratio_with_simulation']:.3f} with it",
        f"an episode: {grows['seconds']:.1f} s + {grows['seconds_per_camera']:.2f} s a camera, "
        f"{grows['bytes_per_camera'] / 1e6:.2f} MB a camera",
    ]


if __name__ == "__main__":
    run(main)
