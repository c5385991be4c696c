"""Shipping weights: bfloat16 safetensors in the package, float32 in memory."""

import copy
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn

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


def begun_from(trained: dict[str, Tensor], fresh: nn.Module) -> dict[str, Tensor]:
    """The weights `trained` for a network that has more: new parts stay as in `fresh`, new inputs count nothing yet.

    So what was learned is answered as before, until training goes on. Raises ValueError where the two are not alike
    otherwise.
    """
    begun, unknown = fresh.state_dict(), sorted(trained.keys() - fresh.state_dict().keys())
    if unknown:
        raise ValueError(f"the weights to start from have parts that this network has not: {unknown[:3]}")
    for name in begun.keys() & trained.keys():
        old, new = trained[name].shape, begun[name].shape
        fits = old == new or (len(old) == len(new) > 1 and old[1] < new[1] and old[:1] + old[2:] == new[:1] + new[2:])
        if not fits:
            raise ValueError(f"the weights to start from have {name} of shape {tuple(old)}, expected {tuple(new)}")
        of_inputs = (slice(None), slice(old[1])) if old != new else ()
        begun[name] = torch.zeros_like(begun[name])
        begun[name][of_inputs] = trained[name].to(begun[name])
    return begun


def shipped(name: str = "lite") -> Path:
    """Folder of the shipped weights `name`. Raises FileNotFoundError that lists what there is."""
    weights = Path(str(files("geo4d_lite") / "assets" / "weights"))
    if not (weights / name).is_dir():
        there = sorted(p.name for p in weights.glob("*") if p.is_dir())
        raise FileNotFoundError(f"no shipped weights {name!r}; there are {there}")
    return weights / name
