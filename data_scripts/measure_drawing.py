"""How exactly a film shows the path that its hands were drawn along: the true path goes in, the tracked one comes out.

    python -m data_scripts.measure_drawing --data data/tabletop/spatula data/tabletop/apple data/tabletop/cereal_box

Held-out windows. What is wrong here is the drawing's and the tracker's; on the true film and on what the
autoencoders leave of it, measured beside, it is theirs. Nothing is smoothed, corrected or drawn again.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_scripts.command_line import run
from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.evaluation.held_out import summarise, true_future
from geo4d_lite.evaluation.results import provenance, write_json
from geo4d_lite.evaluation.rollouts import video_policy
from geo4d_lite.evaluation.study import observations
from geo4d_lite.evaluation.tables import shown
from geo4d_lite.evaluation.tracking import pose_error
from geo4d_lite.geometry import invert
from geo4d_lite.models.weights import load_pipeline
from geo4d_lite.policies.fusion import fuse
from geo4d_lite.policies.paths import path_of_poses
from geo4d_lite.policies.video_policy import BOTH_VIEWS, Video

MOVES_M = 0.05  # a gripper that goes less far in a window is not asked about
READINGS = ("n", "m", "both")


@dataclass(frozen=True)
class MeasureDrawing:
    """Measure a pipeline's drawing of hands."""

    data: tuple[Path, ...]
    """Folders of data sets with test episodes."""
    weights: Path | None = None
    """Default: the shipped ones."""
    windows: int = 30
    """Held-out windows of each data set, evenly spread."""
    steps: int = 4
    """Sampler steps."""
    seed: int = 0
    result: Path | None = None
    """JSON file for the numbers; without it they are only printed."""


def errors(item: dict[str, np.ndarray], video: Video) -> dict[str, list[tuple[float, float, float]]]:
    """How far each frame's tracked poses of the moving grippers are from the true ones in a film of window `item`.

    By reading, view n or m alone or both fused: (distance in metres, its part along the line of sight of n, rotation in
    degrees) of each frame and gripper; NaN where it is not found with the score that the policy asks for.
    """
    views = observations(item, None, 0)
    policy = video_policy(lambda *_: video, 0.0, BOTH_VIEWS)
    tracked = [policy.track_view(index, view, video) for index, view in enumerate(views)]
    eyes, least = [np.zeros(3), item["X_nm"][:3, 3]], BOTH_VIEWS.limits.min_score
    X_nG = invert(item["X_WC"][0]) @ item["X_WG"]  # (11, arms, 4, 4)
    moving = np.flatnonzero(np.linalg.norm(X_nG[1:, :, :3, 3] - X_nG[:1, :, :3, 3], axis=-1).max(axis=0) > MOVES_M)
    rows: dict[str, list] = {reading: [] for reading in READINGS}
    for arm in moving:
        for t, truth in enumerate(X_nG[1:, arm]):
            pair = [view[arm][t] for view in tracked]
            for reading, found in zip(READINGS, (*pair, fuse(pair, eyes, least)), strict=True):
                known = found is not None and found.score >= least
                rows[reading].append(_error(found.X_CG, truth) if known else (np.nan,) * 3)
    return rows


def _error(X: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    position_m, rotation_deg = pose_error(X, truth)
    ray = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    return position_m, float(abs((X[:3, 3] - truth[:3, 3]) @ ray)), rotation_deg


def main(options: MeasureDrawing) -> None:
    """Measure, print and, where asked for, write."""
    pipeline = load_pipeline(options.weights)
    rows: dict[tuple[str, str], list[dict]] = {}
    episodes = []
    for folder in options.data:
        dataset = WindowDataset(open_dataset(folder), "test")
        for index in np.unique(np.linspace(0, len(dataset) - 1, options.windows).round().astype(int)):
            item = dataset[index]
            path = path_of_poses(invert(item["X_WC"][0]) @ item["X_WG"][1:], item["width_m"][1:])
            generator = torch.Generator().manual_seed(options.seed)
            video = pipeline(*observations(item, None, 0), options.steps, generator, path=path)
            true = true_future(item)
            films = {"drawn": video, "autoencoders": pipeline.reconstruct(true.rgb, true.pointmap, true.valid)}
            found = {name: errors(item, film) for name, film in (films | {"true film": true}).items()}
            if not found["drawn"]["both"]:
                continue
            episodes.append(f"{folder.name}/{dataset.windows[index].episode.name}")
            for name, readings in found.items():
                for reading, frames in readings.items():
                    rows.setdefault((name, reading), []).append(of_window(frames))
        print(f"{folder}: {len(episodes)} windows by now in which a gripper moves", flush=True)
    numbers = {f"{film}, {reading}": summarise(windows, episodes) for (film, reading), windows in rows.items()}
    print(f"{'means over windows':>18}  {'   '.join(numbers['drawn, both'])}")
    for name, row in numbers.items():
        print(f"{name:>18}  {'   '.join(shown(cell, 1, 3) for cell in row.values())}")
    if options.result is not None:
        command = f"python -m data_scripts.measure_drawing --data {' '.join(map(str, options.data))}"
        command += f" --windows {options.windows} --steps {options.steps} --seed {options.seed}"
        command += "" if options.weights is None else f" --weights {options.weights}"
        write_json(options.result, {"windows": len(episodes), "numbers": numbers, **provenance(command)})


def of_window(frames: list[tuple[float, float, float]]) -> dict[str, float]:
    """Medians over a window's frames, and the share of them in which the gripper is found."""
    table = np.array(frames)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window in which nothing is found has no median
        position, along, turn = np.nanmedian(table, axis=0)
    found = float(np.isfinite(table[:, 0]).mean())
    return {"position_cm": 100 * position, "along_cm": 100 * along, "rotation_deg": turn, "found": found}


if __name__ == "__main__":
    run(main)
