"""Shipping weights: bfloat16 safetensors in the package, float32 in memory."""

import copy
from importlib.resources import files
from pathlib import Path

import torch

from geo4d_lite.models.pipeline import Geo4DPipeline


def export_pipeline(pipeline: Geo4DPipeline, folder: Path) -> None:
    """Write a pipeline in bfloat16: half the bytes, and less than the noise of training away from the original."""
    small = copy.copy(pipeline)
    for name, part in pipeline.parts.items():
        copied = torch.nn.Module.to(copy.deepcopy(part), torch.bfloat16)
        copied.register_to_config(_name_or_path=name)  # else it says in which folder the part was trained
        setattr(small, name, copied)
    small.save_pretrained(folder)


def shipped(name: str = "lite") -> Path:
    """Folder of the shipped weights `name`. Raises FileNotFoundError that lists what there is."""
    weights = Path(str(files("geo4d_lite") / "assets" / "weights"))
    if not (weights / name).is_dir():
        there = sorted(p.name for p in weights.glob("*") if p.is_dir())
        raise FileNotFoundError(f"no shipped weights {name!r}; there are {there}")
    return weights / name
