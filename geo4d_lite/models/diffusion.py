"""Diffusion in EDM's terms: what the network is asked at each noise level, and how a sample is drawn.

With clean latents z, noise level sigma and noisy latents z + sigma * noise, the denoiser is

    D(z; sigma) = c_skip(sigma) z + c_out(sigma) F(c_in(sigma) z, c_noise(sigma))

and F is the U-Net (Karras et al. 2022; Stable Video Diffusion uses these coefficients, unit data variance).
"""

import math
from dataclasses import dataclass

import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from geo4d_lite.models.place_loss import place_loss


def c_skip(sigma: Tensor) -> Tensor:
    return 1 / (sigma**2 + 1)


def c_out(sigma: Tensor) -> Tensor:
    return -sigma / (sigma**2 + 1).sqrt()


def c_in(sigma: Tensor) -> Tensor:
    return 1 / (sigma**2 + 1).sqrt()


def c_noise(sigma: Tensor) -> Tensor:
    return sigma.log() / 4


@dataclass(frozen=True)
class NoiseDistribution:
    """Noise levels during training: ln sigma ~ N(mean, std^2), the released code's values."""

    mean: float = 1.0
    std: float = 1.6

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) noise levels."""
        return (self.mean + self.std * torch.randn(count, generator=generator)).exp()


def denoise(unet, noisy: Tensor, condition: Tensor, sigma: Tensor, context: Tensor | None = None) -> Tensor:
    """D(z; sigma): noisy (B, 2, T, c, H, W), condition (B, 2, c, H, W), sigma (B,) -> clean latents as `noisy`."""
    s = sigma.view(-1, *[1] * (noisy.ndim - 1))
    f = unet(noisy * c_in(s), condition, c_noise(sigma), context)
    return c_skip(s) * noisy + c_out(s) * f.float()


@dataclass(frozen=True)
class GripperWeighting:
    """How much more a gripper site counts in the loss.

    `paper`: the squared error of D is weighted by w(sigma) + g with w = (sigma^2 + 1) / sigma^2 and g the gripper's
    share of the site. As sigma falls, w grows without bound and the gripper's 1 vanishes beside it.
    `everywhere` (ours): w(sigma) (1 + strength g), the same emphasis at every noise level.
    """

    kind: str = "paper"  # "paper", "everywhere" or "none"
    strength: float = 1.0

    def __call__(self, sigma: Tensor, gripper: Tensor) -> Tensor:
        """sigma broadcastable to gripper's share of each latent site in [0, 1] -> weights of the squared error of D."""
        w = (sigma**2 + 1) / sigma**2
        if self.kind == "paper":
            return w + self.strength * gripper
        if self.kind == "everywhere":
            return w * (1 + self.strength * gripper)
        if self.kind == "none":
            return w.expand_as(gripper)
        raise ValueError(f'gripper weighting is {self.kind!r}; expected "paper", "everywhere" or "none"')


def diffusion_loss(
    unet,
    clean: Tensor,
    condition: Tensor,
    site_valid: Tensor,
    gripper: Tensor,
    sigma: Tensor,
    noise: Tensor,
    weighting: GripperWeighting,
    context: Tensor | None = None,
    place_weight: float = 0.0,
) -> dict[str, Tensor]:
    """EDM loss of both views, with invalid pointmap sites left out.

    Args:
        clean: (B, 2, T, c, H, W) latents to generate, modalities stacked along c.
        condition: (B, 2, c, H, W) latents of the latest observation.
        site_valid: (B, 2, T, c, H, W) or broadcastable: 1 where the target means something. A pixel without depth holds
            no point; after the change of frame its zeros would pretend to be the other camera's position.
        gripper: (B, 2, T, 1, H, W) share of gripper pixels in each latent site.
        sigma: (B,) one noise level for both views. noise: as `clean`, standard normal.
        context: (B, 2, 1, D) image tokens, at paper scale.
        place_weight: how much `place_loss` counts beside the squared error, at every noise level alike.

    Returns:
        "loss" to minimise, and "n", "m": the parts of the squared error for each view, detached; "place" likewise.
    """
    s = sigma.view(-1, 1, 1, 1, 1, 1)
    error = denoise(unet, clean + s * noise, condition, sigma, context) - clean
    weight = weighting(s, gripper) * site_valid
    per_view = (weight * error**2).sum(dim=(0, 2, 3, 4, 5)) / site_valid.expand_as(error).sum(
        dim=(0, 2, 3, 4, 5)
    ).clamp(min=1)
    losses = {"loss": per_view.mean(), "n": per_view[0].detach(), "m": per_view[1].detach()}
    if place_weight:
        place = place_loss(error, site_valid, gripper, weighting.strength).mean()
        losses |= {"loss": losses["loss"] + place_weight * place, "place": place.detach()}
    return losses


def make_scheduler() -> EulerDiscreteScheduler:
    """diffusers' Euler sampler with SVD's settings: Karras sigmas 700 -> 0.002, rho 7, v-prediction."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_type="continuous",
        timestep_spacing="leading",
        steps_offset=1,
    )


@torch.no_grad()
def sample(
    unet,
    scheduler: EulerDiscreteScheduler,
    condition: Tensor,
    frames: int,
    steps: int,
    generator: torch.Generator | None = None,
    context: Tensor | None = None,
    channels: int | None = None,
) -> Tensor:
    """Draw clean latents (B, 2, T, c, H, W) given the condition latents (B, 2, c, H, W).

    Starts from pure noise at the highest sigma and follows the sampler's steps down to none. `channels`: of a sample;
    None: as many as the condition has.
    """
    batch, views, of_condition, height, width = condition.shape
    scheduler.set_timesteps(steps, device=condition.device)
    shape = (batch, views, frames, channels or of_condition, height, width)
    latents = torch.randn(shape, generator=generator).to(condition) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:  # a "continuous" timestep is c_noise(sigma) itself
        x = scheduler.scale_model_input(latents, t)
        f = unet(x, condition, t.expand(batch).to(x.dtype), context)
        latents = scheduler.step(f.float(), t, latents).prev_sample
    return latents


def log_uniform_grid(low: float, high: float, count: int) -> Tensor:
    """Noise levels evenly spaced in their logarithm, for plots and for a validation loss that does not flicker."""
    return torch.linspace(math.log(low), math.log(high), count).exp()
