"""Diffusion Policy: from the colour images of two views to the actions of the next frames.

After Chi et al., "Diffusion Policy: Visuomotor Policy Learning via Action Diffusion" (RSS 2023), the convolutional
variant. It is told no camera pose: in training each moment is seen by a random pair of cameras, so one encoder serves
both views.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from geo4d_lite.data.states import STATE_NUMBERS, StateRange
from geo4d_lite.geometry import RGBD
from geo4d_lite.models.action_diffusion import TRAINING_STEPS, ActionDiffusion
from geo4d_lite.models.demonstrations import OBSERVED_FRAMES, ActionBatch, images_input
from geo4d_lite.models.view_encoder import ViewEncoder

VIEWS = 2
PRESETS = {
    "lite": {
        "encoder_widths": (16, 32, 64),
        "encoder_strides": (1, 2, 1),
        "encoder_blocks": 1,
        "unet_widths": (128, 256),
        "step_dim": 64,
    },
    "paper": {
        "encoder_widths": (64, 128, 256, 512),
        "encoder_strides": (1, 2, 2, 2),
        "encoder_blocks": 2,
        "unet_widths": (512, 1024, 2048),
        "step_dim": 128,
    },
}


class DiffusionPolicy(ActionDiffusion):
    """Args: see `ViewEncoder`, `ActionUNet` and `ActionDiffusion`.

    low, high: of the `StateRange` of the training data, 20 numbers each. step_s: seconds from action to action.

    The encoder of preset lite keeps maps of an eighth of the image's side. Its U-Net halves time once, not twice: noise
    has to pass through the coarser resolutions, and narrow layers there let little of it through.
    """

    presets = PRESETS

    @register_to_config
    def __init__(
        self,
        low: tuple[float, ...],
        high: tuple[float, ...],
        step_s: float,
        encoder_widths: tuple[int, ...],
        encoder_strides: tuple[int, ...],
        encoder_blocks: int,
        unet_widths: tuple[int, ...],
        step_dim: int,
        sampling_steps: int = TRAINING_STEPS,
    ):
        super().__init__()
        self.step_s = step_s
        self.encoder = ViewEncoder(tuple(encoder_widths), tuple(encoder_strides), encoder_blocks)
        of_moment = VIEWS * self.encoder.features + STATE_NUMBERS
        state_range = StateRange(tuple(low), tuple(high))
        dim = OBSERVED_FRAMES * of_moment
        self._set_up(dim, unet_widths, step_dim, state_range, "epsilon", "ddpm", sampling_steps)

    def observe(self, batch: ActionBatch) -> Tensor:
        """Features of all images and the states, (B, D)."""
        features = self.encoder(batch.seen.flatten(0, 2)).view(len(batch.seen), -1)
        return torch.cat([features, self.normalised(batch.states).flatten(1)], dim=1)

    def predict(
        self, views: Sequence[Sequence[RGBD]], X_WC: np.ndarray, states: np.ndarray, generator: torch.Generator
    ) -> np.ndarray:
        """Actions (16, 20) given views[moment][view] and states (2, 20); the extrinsics X_WC are not looked at."""
        images = np.stack([[view.rgb for view in pair] for pair in views])
        batch = ActionBatch(images_input(images[None]), torch.from_numpy(states[None]).float())
        return self.sample(batch, generator)[0].double().cpu().numpy()
