"""Places of a hand's sites, taken from its image instead of drawn. Ours, a part of `hand_image`.

Where the gripper's boxes fill a site, the mean point of what its lines meet *is* the first three channels of the
pointmap's latents, to two millimetres; a network that has to copy it through six layers of convolutions loses
centimetres. So the draft takes it as it is, and a small network learns only where to trust it: not where something
stands in front of the hand.
"""

import torch
from torch import Tensor, nn

from geo4d_lite.models.autoencoders import LiteAutoencoder
from geo4d_lite.models.hand_image import LINES, OF_LINE
from geo4d_lite.models.place_loss import PLACES

PARTS = slice(0, OF_LINE - 6)
POINT = slice(OF_LINE - 6, OF_LINE - 3)
FILLED = 4  # power of the share of lines that meet a gripper: a site that is half table has no place of its own


class HandPaste(nn.Module):
    """A draft and the image of the hands to the draft with the hands' places in it.

    Its buffers are set to `constants` before training, and kept with the weights.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))
        self.register_buffer("change_scale", torch.ones(()))
        self.trust = nn.Sequential(nn.Conv2d(10, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1))
        nn.init.zeros_(self.trust[-1].weight)
        nn.init.constant_(self.trust[-1].bias, 2.0)  # at first, nearly all trust

    @staticmethod
    def constants(autoencoder: LiteAutoencoder, change_scale: float) -> dict[str, Tensor]:
        """The buffers: mean and std (3,) by which `autoencoder` normalises places, and the recipe's `change_scale`."""
        mean, std = autoencoder.latent_mean[PLACES], autoencoder.latent_std[PLACES]
        return {"mean": mean.clone(), "std": std.clone(), "change_scale": torch.tensor(change_scale)}

    def forward(self, drawn: Tensor, observed: Tensor, image: Tensor) -> Tensor:
        """drawn (B, 2, T, c, H, W) and observed (B, 2, c, H, W), colours before points; image: see `hand_image`."""
        lines = image.unflatten(3, (OF_LINE, LINES**2))
        met = lines[:, :, :, PARTS].sum(dim=3)
        share = met.mean(dim=3, keepdim=True)
        point = lines[:, :, :, POINT].sum(dim=4) / met.sum(dim=3).clamp(min=1)[:, :, :, None]
        first = drawn.shape[3] // 2
        own, before = drawn[:, :, :, first : first + 3], observed[:, :, None, first : first + 3].expand_as(point)
        place = (point - self.mean[:, None, None]) / self.std[:, None, None]
        change = (place - before) / self.change_scale
        asked = torch.cat([share, share * change, own, before], dim=3)
        trust = self.trust(asked.flatten(0, 2)).unflatten(0, asked.shape[:3]).sigmoid() * share**FILLED
        pasted = own + trust * (change - own)
        return torch.cat([drawn[:, :, :, :first], pasted, drawn[:, :, :, first + 3 :]], dim=3)
