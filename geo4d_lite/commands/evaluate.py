"""`geo4d evaluate`: generated videos against the truth on held-out windows, beside "repeat the last frame".

Five videos of a window are compared with what really happened: the model's; the last frame repeated, view m moved into
the frame of n by the true pose; the same, moved by the pose that registration finds; the truth encoded and decoded by
the autoencoders; and the truth itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

VIDEOS = ("model", "repeat", "repeat_registered", "autoencoders", "truth")


@dataclass(frozen=True)
class Evaluate:
    """Depth, agreement between views and gripper errors on held-out windows, with intervals over episodes."""

    data: Path
    """Folder of the data set."""
    weights: Path | None = None
    """Folder written by `geo4d train --export`; without it, the weights that come with the package."""
    split: Literal["train", "test"] = "test"
    """"test": episodes and cameras both held out."""
    windows: int = 24
    """How many windows, spread evenly over the split."""
    steps: int = 4
    """Steps of the sampler; the paper takes 25."""
    seed: int = 0
    result: Path | None = None
    """File to write the result to, such as book/results/held_out.json."""


def main(options: Evaluate) -> None:
    """Run `options`; prints the table of means and intervals."""
    import numpy as np
    import torch

    from geo4d_lite.data import WindowDataset, open_dataset
    from geo4d_lite.evaluation.held_out import (
        Truth,
        compare,
        means,
        repeat_last_frame,
        summarise,
        summarise_frames,
        true_future,
    )
    from geo4d_lite.evaluation.results import provenance, write_json
    from geo4d_lite.geometry import RGBD
    from geo4d_lite.geometry.registration import register_views
    from geo4d_lite.models import Geo4DPipeline
    from geo4d_lite.models.weights import shipped
    from geo4d_lite.perception import ColourSegmenter

    dataset = WindowDataset(open_dataset(options.data), options.split)
    if not 1 <= options.windows <= len(dataset):
        raise ValueError(f"windows is {options.windows}; the {options.split} split has {len(dataset)}")
    pipeline, segmenter = Geo4DPipeline.from_pretrained(options.weights or shipped()), ColourSegmenter()
    chosen = np.linspace(0, len(dataset) - 1, options.windows).round().astype(int)
    rows: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in VIDEOS}
    episodes, windows = [], []
    for count, index in enumerate(chosen, start=1):
        item = dataset[index]
        views = [RGBD(item["rgb"][view, 0], item["depth_m"][view, 0], item["K"][view]) for view in (0, 1)]
        real, truth = true_future(item), Truth(item, segmenter)
        videos = (
            pipeline(*views, options.steps, torch.Generator().manual_seed(options.seed + count)),
            repeat_last_frame(item),
            repeat_last_frame(item, register_views(*views).X_nm),
            pipeline.reconstruct(real.rgb, real.pointmap, real.valid),
            real,
        )
        for name, video in zip(VIDEOS, videos, strict=True):
            rows[name].append(compare(video, truth))
        episodes.append(dataset.windows[index].episode.name)
        windows.append({"episode": episodes[-1], **means(rows["model"][-1])})
        print(f"window {count} of {len(chosen)}", flush=True)
    averaged = {name: [means(frames) for frames in compared] for name, compared in rows.items()}
    summaries = {name: summarise(values, episodes) for name, values in averaged.items()}
    gains = [{key: a[key] - b[key] for key in a} for a, b in zip(averaged["model"], averaged["repeat"], strict=True)]
    summaries["model_minus_repeat"] = summarise(gains, episodes)
    print(table(summaries))
    if options.result is not None:
        info = dataset.windows[0].episode.info
        settings = {"task": info.task, "preset": info.preset, "split": options.split, "seed": options.seed}
        settings |= {"sampler_steps": options.steps, "episodes": len(set(episodes))}
        by_frame = {name: summarise_frames(compared, episodes) for name, compared in rows.items()}
        found = {"metrics": summaries, "by_frame": by_frame, "windows": windows}
        write_json(options.result, settings | provenance(command_line(options)) | found)
        print(f"wrote {options.result}")


def table(summaries: dict[str, dict]) -> str:
    """Rows: metrics; columns: what is compared, each mean [interval]."""
    lines = [f"{'':22}" + "".join(f"{name:>28}" for name in summaries)]
    for metric in next(iter(summaries.values())):
        cells = [summary[metric] for summary in summaries.values()]
        shown = [
            "-" if c["value"] is None else f"{c['value']:.3f} [{c['interval'][0]:.3f}, {c['interval'][1]:.3f}]"
            for c in cells
        ]
        lines.append(f"{metric:22}" + "".join(f"{text:>28}" for text in shown))
    return "\n".join(lines)


def command_line(options: Evaluate) -> str:
    """The command that makes this result again."""
    words = f"geo4d evaluate --data {options.data} --split {options.split} --windows {options.windows}"
    words += f" --steps {options.steps} --seed {options.seed}"
    return words + (f" --weights {options.weights}" if options.weights else "")
