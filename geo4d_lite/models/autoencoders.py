"""The two autoencoders: images and pointmaps to 8x smaller latents and back.

Diffusion never sees a pixel. It works on latents, and what the autoencoder loses, no amount of diffusion brings back: a
finger that is blurred here stays blurred in every generated video. At lite scale one small network serves both kinds of
input. Three latent channels are *pinned*: they are the 8x8 averages of the input itself (colour, or x, y, z), so the
coarse picture is there from the start, and only the correction is left to learn.
"""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

FACTOR = 8  # pixels per latent site along each side


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input. No norm layer: on a CPU its backward costs as much as a convolution.

    The second convolution starts at zero, so that a deep stack starts as the identity.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


def residual_blocks(width: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(width) for _ in range(count)]


class LiteAutoencoder(ModelMixin, ConfigMixin):
    """A small variational autoencoder, f = 8, with three pinned latent channels.

    `kind` "rgb": 3 channels in [-1, 1]. `kind` "pointmap": x, y, z encoded to [-1, 1] by `PointmapRange`, and a fourth
    channel that is 1 where the pixel holds a point, 0 where not; the output's fourth channel is a logit of the same.

    `encode` and `decode` work on *normalised* latents: each channel has mean 0 and variance 1 over the training set
    (`latent_mean`, `latent_std`, measured once by `fit_normalisation`), which is what the diffusion assumes.
    """

    @register_to_config
    def __init__(self, kind: str = "rgb", latent_channels: int = 8, width: int = 48):
        super().__init__()
        if kind not in ("rgb", "pointmap"):
            raise ValueError(f'kind is {kind!r}; expected "rgb" or "pointmap"')
        channels = 3 if kind == "rgb" else 4
        self.latent_channels, self.learned_channels = latent_channels, latent_channels - 3
        wide = 3 * width // 2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),  # (4 c, H, W) -> (16 c, H/4, W/4): full-resolution convolutions are what costs
            nn.Conv2d(16 * channels, width, 3, padding=1),
            *residual_blocks(width, 2),
            nn.Conv2d(width, wide, 4, stride=2, padding=1),
            *residual_blocks(wide, 3),
            nn.SiLU(),
            nn.Conv2d(wide, 2 * self.learned_channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, wide, 3, padding=1),
            *residual_blocks(wide, 3),
            nn.Conv2d(wide, 4 * width, 1),
            nn.PixelShuffle(2),
            *residual_blocks(width, 3),
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
            *residual_blocks(width // 2, 1),
            nn.SiLU(),
            nn.Conv2d(width // 2, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        nn.init.constant_(self.encoder[-1].bias[self.learned_channels :], -5.0)  # start almost deterministic
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pinned channels (N, 3, h, w), mean and log-variance (N, c - 3, h, w) of the learned ones, not normalised."""
        mean, log_variance = self.encoder(x).float().chunk(2, dim=1)
        return pinned_channels(x), mean, log_variance.clamp(-20, 5)

    def encode(self, x: Tensor) -> Tensor:
        """(N, 3 or 4, H, W) -> normalised latents (N, c, H/8, W/8), the mode of the posterior."""
        pinned, mean, _ = self.posterior(x)
        return (torch.cat([pinned, mean], dim=1) - self._column(self.latent_mean)) / self._column(self.latent_std)

    def decode(self, latents: Tensor, frames: int = 1) -> Tensor:
        """Normalised latents (N, c, h, w) -> (N, 3 or 4, 8 h, 8 w).

        `frames`: how many follow each other in a video. This decoder sees one at a time and has no use for it.
        """
        return self.decode_raw(latents * self._column(self.latent_std) + self._column(self.latent_mean), frames)

    def decode_raw(self, latents: Tensor, frames: int = 1) -> Tensor:
        """As `decode`, for latents that are not normalised: the form the autoencoder itself is trained in."""
        coarse = F.interpolate(latents[:, :3].float(), scale_factor=FACTOR, mode="bilinear", align_corners=False)
        detail = self.decoder(latents).float()
        return torch.cat([detail[:, :3] + coarse, detail[:, 3:]], dim=1)

    def fit_normalisation(self, raw_latents: Tensor) -> None:
        """Measure mean and standard deviation of each channel on raw latents (N, c, h, w) of training frames."""
        self.latent_mean.copy_(raw_latents.float().mean(dim=(0, 2, 3)))
        self.latent_std.copy_(raw_latents.float().std(dim=(0, 2, 3)).clamp(min=1e-3))

    @staticmethod
    def _column(statistics: Tensor) -> Tensor:
        return statistics[:, None, None]


def pinned_channels(x: Tensor) -> Tensor:
    """8x8 averages of the first three channels; where a fourth channel marks validity, over valid pixels only.

    A cell without a valid pixel is 0, the middle of the range.
    """
    x = x.float()
    if x.shape[1] == 3:
        return F.avg_pool2d(x, FACTOR)
    valid = x[:, 3:]
    return F.avg_pool2d(x[:, :3] * valid, FACTOR) / F.avg_pool2d(valid, FACTOR).clamp(min=1 / FACTOR**2)


def autoencoder_loss(
    model: nn.Module, x: Tensor, gripper: Tensor, noise: Tensor, kl_weight: float = 1e-5, frames: int = 1
) -> Tensor:
    """L1 on colours or on valid points, a validity term for pointmaps, and a small KL term.

    Args:
        model: `LiteAutoencoder` or `SVDAutoencoder`.
        x: (N, 3 or 4, H, W) as the model takes it; `frames` of them at a time follow each other.
        gripper: (N, 1, H, W) 1 on gripper pixels; they count five times, being 3% of the image and what a policy reads.
        noise: (N, learned channels, H/8, W/8) standard normal, drawn by the caller: training can be repeated exactly.
    """
    pinned, mean, log_variance = model.posterior(x)
    sample = mean + torch.exp(0.5 * log_variance) * noise
    y = model.decode_raw(torch.cat([pinned, sample], dim=1), frames)
    weight = 1 + 4 * gripper
    if x.shape[1] == 4:
        weight = weight * x[:, 3:]
    loss = (weight * (y[:, :3] - x[:, :3]).abs()).sum() / (3 * weight.sum()).clamp(min=1)
    if x.shape[1] == 4:
        loss = loss + 0.02 * F.binary_cross_entropy_with_logits(y[:, 3:], x[:, 3:])
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    return loss + kl_weight * kl
