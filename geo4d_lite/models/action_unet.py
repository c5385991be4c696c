"""The 1-D U-Net of Diffusion Policy: denoises a sequence of actions, told by FiLM what was observed.

After Chi et al., "Diffusion Policy" (RSS 2023), whose convolutional variant both Diffusion Policy and DP3 use. Time is
the one axis of the convolutions; every residual block scales and shifts its channels by what the condition says (FiLM).
"""

import torch
from diffusers.models.embeddings import Timesteps
from torch import Tensor, nn


class FilmBlock(nn.Module):
    """Two convolutions; between them scale and shift from the condition.

    Args:
        kernel, groups: of the convolutions and of the group norms; 5 and 8 in the original.
    """

    def __init__(self, channels_in: int, channels: int, condition_dim: int, kernel: int = 5, groups: int = 8):
        super().__init__()
        self.first = conv_norm_mish(channels_in, channels, kernel, groups)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition_dim, 2 * channels))
        self.second = conv_norm_mish(channels, channels, kernel, groups)
        self.skip = nn.Conv1d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, C, T), condition (B, D) -> (B, channels, T)."""
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        return self.second(self.first(x) * scale + shift) + self.skip(x)


def conv_norm_mish(channels_in: int, channels: int, kernel: int, groups: int) -> nn.Sequential:
    """The original's basic block."""
    return nn.Sequential(
        nn.Conv1d(channels_in, channels, kernel, padding=kernel // 2), nn.GroupNorm(groups, channels), nn.Mish()
    )


class ActionUNet(nn.Module):
    """Noisy actions (B, T, A), a step of the scheduler and an observation -> the noise, or the actions, (B, T, A).

    Args:
        action_dim: A. observation_dim: of the vector that says what was seen.
        widths: channels at each resolution of time; (512, 1024, 2048) in the original. T must be divisible by two for
            each but the first.
        step_dim: width of the step's embedding; 128 in the original.
    """

    def __init__(
        self, action_dim: int, observation_dim: int, widths: tuple[int, ...] = (64, 128, 256), step_dim: int = 64
    ):
        super().__init__()
        self.embed_step = nn.Sequential(
            Timesteps(step_dim, flip_sin_to_cos=False, downscale_freq_shift=1),
            nn.Linear(step_dim, 4 * step_dim),
            nn.Mish(),
            nn.Linear(4 * step_dim, step_dim),
        )
        condition = step_dim + observation_dim
        pairs = list(zip((action_dim, *widths[:-1]), widths, strict=True))
        self.down = nn.ModuleList(
            nn.ModuleList([FilmBlock(a, b, condition), FilmBlock(b, b, condition), down_half(b, i + 1 == len(pairs))])
            for i, (a, b) in enumerate(pairs)
        )
        self.middle = nn.ModuleList(FilmBlock(widths[-1], widths[-1], condition) for _ in range(2))
        self.up = nn.ModuleList(
            nn.ModuleList(
                [FilmBlock(2 * b, a, condition), FilmBlock(a, a, condition), nn.ConvTranspose1d(a, a, 4, 2, 1)]
            )
            for a, b in reversed(pairs[1:])
        )
        first = widths[0]
        self.out = nn.Sequential(conv_norm_mish(first, first, 5, 8), nn.Conv1d(first, action_dim, 1))

    def forward(self, actions: Tensor, step: Tensor, observation: Tensor) -> Tensor:
        """actions (B, T, A), step (B,) of the scheduler, observation (B, D) -> (B, T, A)."""
        condition = torch.cat([self.embed_step(step), observation], dim=1)
        x, skips = actions.transpose(1, 2), []
        for first, second, half in self.down:
            x = second(first(x, condition), condition)
            skips.append(x)
            x = half(x)
        for block in self.middle:
            x = block(x, condition)
        for first, second, double in self.up:
            x = second(first(torch.cat([x, skips.pop()], dim=1), condition), condition)
            x = double(x)
        return self.out(x).transpose(1, 2)


def down_half(channels: int, is_last: bool) -> nn.Module:
    """Half the steps of time, except at the coarsest resolution."""
    return nn.Identity() if is_last else nn.Conv1d(channels, channels, 3, stride=2, padding=1)
