"""Training that goes on from trained weights: which ones it may, and what they do not have yet."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from geo4d_lite.models.autoencoders import LiteAutoencoder
from geo4d_lite.models.latents import weights_hash
from geo4d_lite.models.pipeline import Geo4DPipeline
from geo4d_lite.models.recipe import Recipe

# What may differ between two recipes: how training weighs things, and inputs that begin at nothing.
FREE = (
    "gripper_weighting",
    "gripper_strength",
    "validity_mask",
    "log_sigma_mean",
    "log_sigma_std",
    "path_weight",
    "path_windows",
    "hand_image",
    "place_weight",
)


def begun_from(trained: dict[str, Tensor], fresh: nn.Module) -> dict[str, Tensor]:
    """The weights `trained` for a network that has more: new parts stay as in `fresh`, new inputs count nothing yet.

    New inputs must come behind the old ones. Raises ValueError where the two are not alike otherwise.
    """
    begun = fresh.state_dict()
    unknown = sorted(trained.keys() - begun.keys())
    if unknown:
        raise ValueError(f"the weights to start from have parts that this network has not: {unknown[:3]}")
    for name in begun.keys() & trained.keys():
        old, new = trained[name].shape, begun[name].shape
        fits = old == new or (len(old) == len(new) > 1 and old[1] < new[1] and old[:1] + old[2:] == new[:1] + new[2:])
        if not fits:
            raise ValueError(f"the weights to start from have {name} of shape {tuple(old)}, expected {tuple(new)}")
        of_inputs = (slice(None), slice(old[1])) if old != new else ()
        begun[name] = torch.zeros_like(begun[name])  # a state's tensors are the network's own: not written into
        begun[name][of_inputs] = trained[name].to(begun[name])
    return begun


def check_start(start: Geo4DPipeline, recipe: Recipe, folder: Path, name: str) -> str:
    """The `name` of a lite training by `recipe` in `folder` that goes on from the pipeline `start`: it tells which one.

    Raises ValueError where that cannot be. Only the recipe's fields in `FREE` may differ, and an autoencoder that
    lies in the folder must be the start's own.
    """
    if start.image_encoder is not None:
        raise ValueError("training can start from weights of lite scale only; these are of paper scale")
    of_start, wanted = asdict(start.recipe), asdict(recipe)
    others = [field for field in wanted if field not in FREE and of_start[field] != wanted[field]]
    if others or (start.recipe.hand_image and not recipe.hand_image):
        named = ", ".join(others or ["hand_image"])
        raise ValueError(f"the weights to start from are of a recipe with another {named}; train by theirs")
    for part in ("rgb_autoencoder", "pointmap_autoencoder"):
        if (folder / part).exists():
            there = LiteAutoencoder.from_pretrained(folder / part, low_cpu_mem_usage=False)
            if weights_hash(there) != weights_hash(start.parts[part]):
                raise ValueError(f"{folder / part} is not of the weights to start from; give another --out")
    return "_".join(filter(None, [name, f"from_{weights_hash(start.unet)[:8]}"]))
