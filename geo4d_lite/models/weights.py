"""Shipping weights: bfloat16 safetensors in the package, float32 in memory."""

import copy
from importlib.resources import files
from pathlib import Path

import torch

from geo4d_lite.models.device import best_device
from geo4d_lite.models.pipeline import Geo4DPipeline


def load_pipeline(folder: Path | None = None, path_model: Path | None = None) -> Geo4DPipeline:
    """The pipeline in `folder` (None: the shipped one), on the graphics card where there is one.

    There parts of paper scale take bfloat16, half the memory. `path_model`: folder of a path model to go with it.
    """
    pipeline = Geo4DPipeline.from_pretrained(folder or shipped())
    if path_model is not None:
        pipeline = pipeline.with_path_model(path_model)
    device = best_device()
    large = pipeline.image_encoder is not None
    return pipeline.to(device, torch.bfloat16 if large and device != "cpu" else None)


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
