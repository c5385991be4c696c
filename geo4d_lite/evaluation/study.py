"""A model on many held-out windows: one record a window, kept as a file, and what all records say together."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from geo4d_lite.data import StereoDepthCamera, WindowDataset, add_depth_noise
from geo4d_lite.evaluation.fvd import FEWEST_CLIPS, FeatureExtractor, fvd_interval
from geo4d_lite.evaluation.held_out import (
    VIEWS,
    Truth,
    compare,
    means,
    repeat_last_frame,
    summarise,
    summarise_frames,
    true_future,
)
from geo4d_lite.evaluation.results import read_json, write_json
from geo4d_lite.evaluation.statistics import frechet_distance
from geo4d_lite.geometry import RGBD
from geo4d_lite.geometry.registration import register_views
from geo4d_lite.perception import Segmenter

VideoModel = Callable[[list[RGBD], dict[str, np.ndarray], int], object]
"""(both observations, the window as `WindowDataset` gives it, seed) -> a `Video4D`."""


def observations(item: dict[str, np.ndarray], sensor: StereoDepthCamera | None, seed: int) -> list[RGBD]:
    """What the two cameras of a window see, with the sensor's noise on the depth if there is one."""
    views = [RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1)]
    if sensor is None:
        return views
    rng = np.random.default_rng(seed)
    return [RGBD(view.rgb, add_depth_noise(view.depth_m, view.K, rng, sensor), view.K) for view in views]


def record_window(
    index: int,
    dataset: WindowDataset,
    model: VideoModel,
    segmenter: Segmenter,
    extractor: FeatureExtractor | None = None,
    reconstruct: Callable | None = None,
    sensor: StereoDepthCamera | None = None,
    seed: int = 0,
) -> dict:
    """Everything that is measured on window `index`: of the model's video and of those it is compared with.

    "rows": for each video the metrics of `compare`, lists over frames. "features": for each video of each view, where
    there is an `extractor`. "episode": what an interval draws. "seconds" that the model took.
    reconstruct: encodes and decodes a video.
    """
    item = dataset[index]
    views, real = observations(item, sensor, seed), true_future(item)
    truth = Truth(item, segmenter)
    started = time.monotonic()
    video = model(views, item, seed)
    seconds = time.monotonic() - started
    videos = {
        "model": video,
        "repeat": repeat_last_frame(item),
        "repeat_registered": repeat_last_frame(item, register_views(*views).X_nm),
        "truth": real,
    }
    if reconstruct is not None:
        videos["autoencoders"] = reconstruct(real.rgb, real.pointmap, real.valid)
    rows = {name: compare(video, truth) for name, video in videos.items()}
    features = {} if extractor is None else {name: extractor.encode(video.rgb) for name, video in videos.items()}
    return {
        "episode": dataset.windows[index].episode.name,
        "rows": {name: {metric: x.tolist() for metric, x in row.items()} for name, row in rows.items()},
        "features": {name: x.tolist() for name, x in features.items()},
        "seconds": seconds,
    }


def recorded(path: Path, make: Callable[[], dict]) -> dict:
    """The record in a file, or a new one, made and written there: a killed run loses the window it was at."""
    if not path.exists():
        write_json(path, make())
    return read_json(path)


def summarise_records(records: list[dict]) -> dict:
    """What all windows say: "metrics" (means over frames), "by_frame", "windows" (the model's means of each) and
    "seconds_per_video", the median.

    Each number with a 95% interval, bootstrap over episodes; "model_minus_repeat" are paired differences.
    """
    episodes = [record["episode"] for record in records]
    names = list(records[0]["rows"])
    rows = {name: [_arrays(record["rows"][name]) for record in records] for name in names}
    averaged = {name: [means(frames) for frames in compared] for name, compared in rows.items()}
    metrics = {name: summarise(values, episodes) for name, values in averaged.items()}
    pairs = zip(averaged["model"], averaged["repeat"], strict=True)
    metrics["model_minus_repeat"] = summarise([{key: a[key] - b[key] for key in a} for a, b in pairs], episodes)
    for name in names:
        metrics[name] |= _fvd_of(name, records, np.array(episodes))
    return {
        "metrics": metrics,
        "by_frame": {name: summarise_frames(compared, episodes) for name, compared in rows.items()},
        "seconds_per_video": float(np.median([record["seconds"] for record in records])),
        "windows": [{"episode": e, **row} for e, row in zip(episodes, averaged["model"], strict=True)],
    }


def _arrays(row: dict[str, list]) -> dict[str, np.ndarray]:
    return {name: np.array(values, dtype=float) for name, values in row.items()}  # null becomes NaN


def _fvd_of(name: str, records: list[dict], episodes: np.ndarray) -> dict[str, dict]:
    """The Fréchet distance to the true videos, for each view: fvd_n, fvd_m; nothing for too few clips.

    For the true videos also the floor, "fvd_floor": how far those of n are from those of m, equally true films.
    """
    if len(records) < FEWEST_CLIPS or not all(name in record["features"] for record in records):
        return {}
    true, shown = (np.array([r["features"][video] for r in records]).swapaxes(0, 1) for video in ("truth", name))
    pairs = {f"fvd_{letter}": (true[view], shown[view]) for view, letter in enumerate(VIEWS)}
    if name == "truth":
        pairs["fvd_floor"] = (true[0], true[1])
    return {
        metric: {
            "value": frechet_distance(*pair),
            "interval": list(fvd_interval(*pair, episodes)),
            "n": len(records),
        }
        for metric, pair in pairs.items()
    }
