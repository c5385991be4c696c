"""What every method costs: parameters, memory of a training step, seconds for ten frames of two views.

    taskset -c 0,1 python -m data_scripts.measure_resources --data data/tabletop/spatula

Each method is measured in a process of its own, with fresh weights: neither time nor memory depends on what they are.
At paper scale parameters are counted and memory is calculated, on PyTorch's meta device. Run it on a quiet machine.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from data_scripts.command_line import run
from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.evaluation.results import provenance, write_json
from geo4d_lite.evaluation.study import observations
from geo4d_lite.models import BEST, PLAIN, DualBranchUNet, Geo4DPipeline, Trainer, TrainingSettings
from geo4d_lite.models.gaussian_video import GaussianVideo, field_loss
from geo4d_lite.models.gaussians4d import DeformationField
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.memory import training_memory
from geo4d_lite.models.recipe import Recipe
from geo4d_lite.models.stages import Variant, unet_trainer
from geo4d_lite.models.weights import shipped

COLOURS = replace(PLAIN, modalities=("rgb",))
VARIANTS = {
    "best": Variant(BEST),
    "plain": Variant(PLAIN),
    "plain_alone": Variant(PLAIN, cross_view_attention=False),
    "rgb_attention": Variant(COLOURS),
    "rgb": Variant(COLOURS, cross_view_attention=False, shared_decoder=True),  # one U-Net, each view for itself
}
METHODS = (*VARIANTS, "gaussians")
BATCH = 4
TRAINING_STEPS = 3
VIDEOS = 5
LATENT_SIZES = {"lite": (16, 20), "paper": (32, 40)}


@dataclass(frozen=True)
class MeasureResources:
    """Measure every method of Table 1."""

    data: Path
    """Folder of a data set with test windows."""
    steps: int = 25
    """Sampler steps, as in the paper; what few steps cost is measured beside it."""
    few_steps: int = 4
    method: str | None = None
    """Measure this one only and print it as JSON."""
    part: Literal["films", "training"] = "films"
    """With `method`: what of it. A process of its own for each, as memory is that of the process at its peak."""
    result: Path = Path("book/results/resources.json")


def main(options: MeasureResources) -> None:
    """Run `options`; prints a line for each method and writes the result."""
    if options.method is not None:
        measure = films_of if options.part == "films" else training_of
        print(json.dumps(measure(options.method, options)))
        return
    methods = {}
    for name in METHODS:
        command = [sys.executable, "-m", "data_scripts.measure_resources", "--data", str(options.data)]
        command += ["--method", name, "--steps", str(options.steps), "--few-steps", str(options.few_steps)]
        methods[name] = {}
        for part in ("films", "training"):
            done = subprocess.run([*command, "--part", part], capture_output=True, text=True, check=True)
            methods[name] |= json.loads(done.stdout.splitlines()[-1])
        print(name, methods[name], flush=True)
    command = f"python -m data_scripts.measure_resources --data {options.data}"
    command += f" --steps {options.steps} --few-steps {options.few_steps}"
    settings = {"batch": BATCH, "sampler_steps": options.steps, "few_steps": options.few_steps}
    write_json(options.result, settings | provenance(command) | {"methods": methods})
    print(f"wrote {options.result}")


def films_of(name: str, options: MeasureResources) -> dict:
    """Of one method: parameters, also at paper scale, and seconds for a film."""
    item = WindowDataset(open_dataset(options.data), "test")[0]
    views = observations(item, None, 0)
    if name == "gaussians":
        field = DeformationField()
        seconds = median_seconds(lambda: GaussianVideo(field)(*views, item["X_WC"]))
        return {"parameters": parameters_of(field), "seconds": seconds, "seconds_few": seconds}
    variant = VARIANTS[name]
    unet = variant.build(0).eval()
    parts = Geo4DPipeline.from_pretrained(shipped()).parts | {"unet": unet}
    pipeline = Geo4DPipeline(**parts, recipe=variant.recipe)
    return {
        "parameters": parameters_of(unet),
        "seconds": median_seconds(lambda: pipeline(*views, options.steps)),
        "seconds_few": median_seconds(lambda: pipeline(*views, options.few_steps)),
        "paper_scale": at_paper_scale(variant),
    }


def training_of(name: str, options: MeasureResources) -> dict:
    """Of one method: seconds of a training step and the memory of this process at its peak, in gigabytes."""
    settings = TrainingSettings(TRAINING_STEPS)
    if name == "gaussians":
        windows = WindowDataset(open_dataset(options.data), "test")
        return training_cost(Trainer(DeformationField(), field_loss(windows), settings))
    variant = VARIANTS[name]
    return training_cost(unet_trainer(variant, random_latents(variant.recipe), settings, BATCH, None))


def parameters_of(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def median_seconds(make, count: int = VIDEOS) -> float:
    """Wall seconds of `make`, the median of `count` calls after one that does not count."""
    make()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        make()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def training_cost(trainer: Trainer) -> dict[str, float]:
    """Seconds of a training step and the peak of this process' memory after a few of them."""
    trainer.advance()
    started = time.perf_counter()
    for _ in range(TRAINING_STEPS - 1):
        trainer.advance()
    seconds = (time.perf_counter() - started) / (TRAINING_STEPS - 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    return {"seconds_per_step": seconds, "peak_memory_gb": peak}


def random_latents(recipe: Recipe) -> LatentSet:
    """One episode of noise, of the shapes that a real one has."""
    cameras, frames, pairs, (height, width) = 4, 24, 3, LATENT_SIZES["lite"]
    latents = torch.randn(cameras, frames, 8, height, width)
    shares = torch.full((cameras, frames, 1, height, width), 255, dtype=torch.uint8)
    episode = {
        "rgb": latents,
        "own": latents,
        "moved": latents[:pairs],
        "pairs": torch.tensor([[0, 1], [1, 2], [2, 3]]),
        "valid": shares,
        "gripper": shares,
        "stride": torch.tensor(1),
        "X_CW": torch.eye(4).repeat(cameras, 1, 1),
        "K": torch.eye(3).repeat(cameras, 1, 1),
        "X_WG": torch.eye(4).repeat(frames, 2, 1, 1),
        "width_m": torch.rand(frames, 2),
    }
    return LatentSet([episode])


def at_paper_scale(variant: Variant) -> dict[str, float]:
    """Parameters, and by calculation the gigabytes of a training step of one window on the card and beside it.

    Frame tokens are of lite scale only: the best recipe is counted without.
    """
    switches = {
        "cross_view_attention": variant.cross_view_attention,
        "shared_decoder": variant.shared_decoder,
        "modalities": variant.recipe.modalities,
    }
    with torch.device("meta"):
        unet: nn.Module = DualBranchUNet.from_preset("paper", **switches)
    settings = TrainingSettings(weights="bfloat16", offload=True, gradient_checkpointing=True)
    plan = training_memory("paper", settings, 1, LATENT_SIZES["paper"], **switches)
    return {"parameters": parameters_of(unet), "card_gb": plan.card, "processor_gb": plan.processor}


if __name__ == "__main__":
    run(main)
