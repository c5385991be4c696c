"""Plain and best recipe: how latents become what the diffusion is given and asked for.

The plain recipe is the paper's. Each departure is a switch of ours, named here, and its gain is measured in the book.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geo4d_lite.models.hand_rays import RAY_CHANNELS
from geo4d_lite.models.latents import LatentBatch


@dataclass(frozen=True)
class Recipe:
    """The switches. The defaults are the paper's choices.

    register_m: view m's condition pointmap is moved into the frame of n by registering the two RGB-D inputs, without
        extrinsics.
    last_frame_skip: the diffusion generates the change since the last frame instead of the frame; divided by
        `change_scale`, the standard deviation of that change, so that the data keep unit variance. View m's pointmap
        can take part only if it is registered.
    change_mask: the network is silenced where it says that nothing changes; needs last_frame_skip. See `change_mask`.
    gripper_weighting, gripper_strength: see `diffusion.GripperWeighting`.
    place_weight: how much the distance of each site's mean point from the true one counts beside the squared error, for
        draft and diffusion; see `place_loss`.
    validity_mask: leave sites without depth out of the loss. Off: the zeros that stand there are learned as points, the
        fault of the released code, kept as a switch so that its cost can be measured.
    log_sigma_mean, log_sigma_std: noise levels of training, see `diffusion.NoiseDistribution`.
    frame_tokens: a token for each future frame, see `frame_tokens`, which makes `context_tokens` context tokens and
        `token_maps` maps of each. Its auxiliary loss is first trained alone, then with the weight `path_weight` beside
        the diffusion; there it sees `path_windows` more windows a step, as it costs little.
    views_agree: each view's frame tokens learn from the other's.
    draft: the U-Net corrects a first draft of the film, which is trained after the frame tokens and before the U-Net.
    hand_rays: the draft is told each site's line of sight in the coordinates of the hands, in training as they truly
        stand, then as the frame tokens say: a path hint, so the motion of the hands comes from the tokens. Needs
        register_m and draft. See `hand_rays`.
    hand_image: draft and U-Net are also shown what each site sees of the grippers' boxes, were they there, in training
        as they truly stand: a stronger hint of the same kind. Needs hand_rays, last_frame_skip and pointmaps. See
        `hand_image` and `hand_paste`.
    """

    register_m: bool = False
    last_frame_skip: bool = False
    change_scale: float = 0.85
    change_mask: bool = False
    gripper_weighting: str = "paper"
    gripper_strength: float = 1.0
    place_weight: float = 0.0
    validity_mask: bool = True
    log_sigma_mean: float = 1.0
    log_sigma_std: float = 1.6
    frame_tokens: bool = False
    path_weight: float = 25.0
    path_windows: int = 16
    context_tokens: int = 1
    token_maps: int = 0
    views_agree: bool = False
    draft: bool = False
    hand_rays: bool = False
    hand_image: bool = False
    modalities: tuple[str, ...] = ("rgb", "pointmap")

    def __post_init__(self) -> None:
        if self.change_mask and not self.last_frame_skip:
            raise ValueError("change_mask silences a change; it needs last_frame_skip, which generates changes")
        if self.draft and not self.frame_tokens:
            raise ValueError("a draft is drawn from frame tokens; it needs frame_tokens")
        if self.hand_rays and not (self.draft and self.register_m):
            raise ValueError("hand_rays help a draft, and need to know where view m stands: draft and register_m")
        if self.place_weight and "pointmap" not in self.modalities:
            raise ValueError("place_weight weighs places of a pointmap, which a recipe of colours has not")
        if self.hand_image and not (self.hand_rays and self.last_frame_skip and "pointmap" in self.modalities):
            raise ValueError(
                "hand_image casts the lines of sight that hand_rays tells, and pastes changes of points; it needs "
                "hand_rays, last_frame_skip and pointmaps"
            )


PLAIN = Recipe()
BEST = Recipe(
    register_m=True,
    last_frame_skip=True,
    change_mask=True,
    gripper_weighting="everywhere",
    gripper_strength=4.0,
    log_sigma_mean=1.5,
    log_sigma_std=1.8,
    frame_tokens=True,
    context_tokens=4,
    token_maps=8,
    views_agree=True,
    draft=True,
    hand_rays=True,
    hand_image=True,
    place_weight=2.0,
)
RECIPES = {"plain": PLAIN, "best": BEST}
# Switches that the lite U-Net is built with, and which SVD's does not have.
LITE_SWITCHES = (
    "frame_tokens",
    "context_tokens",
    "token_maps",
    "views_agree",
    "change_mask",
    "draft",
    "hand_rays",
    "hand_image",
)


def condition_latents(
    rgb: Tensor,
    pointmap_n: Tensor,
    own_m: Tensor,
    moved_m: Tensor | None,
    recipe: Recipe,
    rays: Tensor | None = None,
) -> Tensor:
    """Condition of the U-Net (B, 2, c, h, w): modalities stacked along c, behind them `rays` if the recipe has them.

    rgb (B, 2, c, h, w); the pointmaps (B, c, h, w): view n's, view m's in its own frame and, if the recipe registers,
    m's moved into the frame of n. rays (B, 2, 6, h, w): lines of sight. Raises ValueError if they are missing.
    """
    if recipe.hand_rays and rays is None:
        raise ValueError("hand_rays need the cameras' intrinsics, which these latents came without")
    of_points = "pointmap" in recipe.modalities
    pointmap = torch.stack([pointmap_n, moved_m if recipe.register_m else own_m], dim=1) if of_points else rgb[:, :, :0]
    return torch.cat([rgb, pointmap, *([rays.to(rgb.device)] if recipe.hand_rays else [])], dim=2)


def base_latents(condition: Tensor, recipe: Recipe) -> Tensor:
    """What a sample is added to: the last frame where the recipe skips from it, zero elsewhere. (B, 2, 1, c, h, w)"""
    base = condition[:, :, : condition.shape[2] - RAY_CHANNELS * recipe.hand_rays].clone()
    if not recipe.last_frame_skip:
        return torch.zeros_like(base)[:, :, None]
    if not recipe.register_m and "pointmap" in recipe.modalities:
        base[:, 1, base.shape[2] // 2 :] = 0  # m's own frame says nothing about n's
    return base[:, :, None]


def to_change(latents: Tensor, base: Tensor, recipe: Recipe) -> Tensor:
    """Latents (B, 2, T, c, h, w) -> what the diffusion generates."""
    return (latents - base) / recipe.change_scale if recipe.last_frame_skip else latents


def from_change(generated: Tensor, base: Tensor, recipe: Recipe) -> Tensor:
    """The inverse of `to_change`."""
    return generated * recipe.change_scale + base if recipe.last_frame_skip else generated


def training_pair(batch: LatentBatch, recipe: Recipe) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch of windows -> clean (B, 2, T, c, h, w), condition (B, 2, c, h, w), site validity and gripper share."""
    condition = condition_latents(
        batch.rgb[:, :, 0], batch.pointmap[:, 0, 0], batch.own_m, batch.pointmap[:, 1, 0], recipe, batch.rays
    )
    rgb, valid = batch.rgb[:, :, 1:], batch.valid[:, :, 1:]
    if "pointmap" in recipe.modalities:
        clean = torch.cat([rgb, batch.pointmap[:, :, 1:]], dim=3)
        of_points = valid.expand_as(rgb) if recipe.validity_mask else torch.ones_like(rgb)
        site_valid = torch.cat([torch.ones_like(rgb), of_points], dim=3)
    else:
        clean, site_valid = rgb, torch.ones_like(rgb)
    return to_change(clean, base_latents(condition, recipe), recipe), condition, site_valid, batch.gripper[:, :, 1:]
