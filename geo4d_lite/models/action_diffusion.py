"""What Diffusion Policy and DP3 share: the actions of the next frames are drawn by diffusion, given two observations.

The sequence of a window begins at the earlier of its two observations: action k is the state (`data.states`) one frame
after frame k. So of 16 actions the first one is past, the second is the next to do, and eight from there on are done.
"""

from collections.abc import Callable
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from geo4d_lite.data.states import STATE_NUMBERS, StateRange
from geo4d_lite.models.action_unet import ActionUNet
from geo4d_lite.models.demonstrations import PREDICTED_FRAMES, ActionBatch
from geo4d_lite.models.device import autocast

TRAINING_STEPS = 100
SAMPLERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}


class ActionDiffusion(ModelMixin, ConfigMixin):
    """The diffusion of actions; a subclass says what is seen (`observe`) and by which settings.

    A subclass calls `_set_up` in its constructor, and has the settings of its sizes in `presets`.
    """

    presets: ClassVar[dict[str, dict]]

    @classmethod
    def from_preset(cls, preset: str, state_range: StateRange, step_s: float) -> Self:
        """Fresh weights at the size "lite" or "paper". Raises ValueError for another name."""
        if preset not in cls.presets:
            raise ValueError(f"unknown preset {preset!r}; known presets: {', '.join(cls.presets)}")
        return cls(low=state_range.low, high=state_range.high, step_s=step_s, **cls.presets[preset])

    def _set_up(
        self,
        observation_dim: int,
        unet_widths: tuple[int, ...],
        step_dim: int,
        state_range: StateRange,
        prediction: str,
        sampler: str,
        sampling_steps: int,
    ) -> None:
        """Make the U-Net and the schedulers.

        `prediction`: what the U-Net answers, "epsilon" (the noise) or "sample" (the clean actions). `sampler`: "ddpm",
        which should take all 100 steps, or "ddim", which may take fewer.
        """
        self.unet = ActionUNet(STATE_NUMBERS, observation_dim, tuple(unet_widths), step_dim)
        self.state_range, self.sampling_steps = state_range, sampling_steps
        self.scheduler = SAMPLERS[sampler](
            TRAINING_STEPS, beta_schedule="squaredcos_cap_v2", prediction_type=prediction
        )

    def observe(self, batch: ActionBatch) -> Tensor:
        """The vector (B, D) that says what was seen."""
        raise NotImplementedError

    def normalised(self, states: Tensor) -> Tensor:
        """States (B, T, 20) -> the same in [-1, 1]."""
        return self.state_range.encode(states)

    def loss(self, batch: ActionBatch, generator: torch.Generator) -> Tensor:
        """Mean squared error of the U-Net's answer for one random step of the scheduler an item."""
        batch = batch.to(self.device)
        clean = self.normalised(batch.actions)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        step = torch.randint(TRAINING_STEPS, (len(clean),), generator=generator).to(clean.device)
        noisy = self.scheduler.add_noise(clean, noise, step)
        target = noise if self.scheduler.config.prediction_type == "epsilon" else clean
        return F.mse_loss(self.unet(noisy, step, self.observe(batch)).float(), target)

    @torch.no_grad()
    def sample(self, batch: ActionBatch, generator: torch.Generator) -> Tensor:
        """Draw actions (B, 16, 20), as states in metres, given what is observed in the batch."""
        observation = self.observe(batch.to(self.device))
        shape = (len(observation), PREDICTED_FRAMES, STATE_NUMBERS)
        x = torch.randn(shape, generator=generator).to(observation)
        self.scheduler.set_timesteps(self.sampling_steps)
        for step in self.scheduler.timesteps:
            answer = self.unet(x, step.expand(len(x)).to(x.device), observation)
            x = self.scheduler.step(answer, step, x, generator=generator).prev_sample
        return self.state_range.decode(x)


def action_loss(
    draw: Callable[[int, torch.Generator], ActionBatch], batch: int
) -> Callable[[ActionDiffusion, torch.Generator], dict[str, Tensor]]:
    """A loss function for `Trainer`: `batch` moments drawn by `draw(count, generator)` a step."""

    def loss(model: ActionDiffusion, generator: torch.Generator) -> dict[str, Tensor]:
        moments = draw(batch, generator)
        with autocast(model.device.type):
            return {"loss": model.loss(moments, generator)}

    return loss
