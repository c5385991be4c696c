"""`geo4d generate`: imagine the ten frames after one observation of a data set, beside what really happened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Generate:
    """Generate one window: a video beside what happened, and the points, in metres in the frame of view n."""

    data: Path
    """Folder of the data set."""
    weights: Path | None = None
    """Folder written by `geo4d train --export`; without it, the weights that come with the package."""
    split: Literal["train", "test"] = "test"
    window: int = 0
    """Number of the window within the split."""
    steps: int = 4
    """Steps of the sampler; the paper takes 25."""
    seed: int = 0
    out: Path = Path("runs/generated")
    """Folder to write to."""


def main(options: Generate) -> None:
    """Run `options` and print where the results are."""
    import imageio.v3 as imageio
    import torch
    import zarr

    from geo4d_lite.data import WindowDataset, open_dataset
    from geo4d_lite.figures.film import write_film
    from geo4d_lite.geometry import RGBD
    from geo4d_lite.models.weights import load_pipeline, shipped

    windows = WindowDataset(open_dataset(options.data), options.split)
    if not 0 <= options.window < len(windows):
        raise ValueError(f"window is {options.window}; the {options.split} split has windows 0 to {len(windows) - 1}")
    item = windows[options.window]
    print(f"weights: {options.weights or shipped()}")
    pipeline = load_pipeline(options.weights)
    views = [RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1)]
    video = pipeline(*views, options.steps, torch.Generator().manual_seed(options.seed))

    options.out.mkdir(parents=True, exist_ok=True)
    observed = item["pointmap"][:, 0], item["valid"][:, 0]
    write_film(options.out / "video.mp4", item["rgb"], video, *observed, item["K"][0])
    imageio.imwrite(options.out / "strip.png", strip(item["rgb"], video.rgb))
    group = zarr.open_group(options.out / "video.zarr", mode="w")
    for name in ("rgb", "pointmap", "valid"):
        group.create_array(name, data=getattr(video, name))
    print(f"wrote {options.out}/video.mp4, strip.png (rows: n true, n generated, m true, m generated) and video.zarr")


def strip(
    true: np.ndarray, generated: np.ndarray, frames: tuple[int, ...] = (1, 3, 5, 7, 10), gap: int = 3
) -> np.ndarray:
    """A picture of a window: rows n true, n generated, m true, m generated; columns the observation, then `frames`.

    true (2, 11, H, W, 3) uint8, frame 0 the observation; generated (2, 10, H, W, 3). In the rows of the generated video
    the first cell is empty: it starts after the observation.
    """
    rows = []
    for view in (0, 1):
        empty = np.full_like(true[view, :1], 255)
        for video in (true[view], np.concatenate([empty, generated[view]])):
            cells = [np.pad(video[t], ((gap, gap), (gap, gap), (0, 0)), constant_values=255) for t in (0, *frames)]
            rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows)
