"""What tells one U-Net to train from another: a recipe and the architecture's switches."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from geo4d_lite.models.attention import suit_attention
from geo4d_lite.models.device import processes
from geo4d_lite.models.recipe import LITE_SWITCHES, RECIPES, Recipe
from geo4d_lite.models.unet import DualBranchUNet


@dataclass(frozen=True)
class Variant:
    """One U-Net to train: a recipe and the architecture's switches."""

    recipe: Recipe
    cross_view_attention: bool = True
    shared_decoder: bool = False

    def build(self, seed: int, svd: str | Path | None = None) -> DualBranchUNet:
        """A fresh lite U-Net, or one that starts from the Stable Video Diffusion checkpoint `svd`."""
        torch.manual_seed(seed)
        switches = {
            "cross_view_attention": self.cross_view_attention,
            "shared_decoder": self.shared_decoder,
            "modalities": self.recipe.modalities,
        }
        if svd is None:
            switches |= {name: getattr(self.recipe, name) for name in LITE_SWITCHES}
            unet = DualBranchUNet.from_preset("lite", **switches)
        else:
            unet = DualBranchUNet.from_svd(svd, **switches)
        if processes().device.type == "cpu":
            suit_attention(unet)
        return unet


def unet_name(variant: Variant, seed: int = 0, name: str = "") -> str:
    """A folder name that tells trainings apart: `name`, the nearest recipe and what differs from it, a seed but 0."""
    fields, plain = {**asdict(variant), **asdict(variant.recipe)}, asdict(Variant(Recipe()))
    changes = {}
    for base, recipe in RECIPES.items():
        usual = {**plain, **asdict(recipe)}
        changes[base] = [f"{k}={v}" for k, v in fields.items() if k != "recipe" and v != usual[k]]
    base = min(changes, key=lambda base: len(changes[base]))
    parts = ["unet", *filter(None, [name]), base, *changes[base], *([f"seed={seed}"] if seed else [])]
    return "_".join(parts).replace(" ", "").replace("'", "")
