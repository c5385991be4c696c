"""A closed mask is an answer of zero at every noise level; an open one leaves the network's answer as it is."""

import dataclasses

import pytest
import torch
from torch import nn

from geo4d_lite.models import BEST, PLAIN, DualBranchUNet
from geo4d_lite.models.change_mask import silenced
from geo4d_lite.models.diffusion import c_in, c_noise, c_out, c_skip, denoise
from geo4d_lite.models.unet import PRESETS

TINY = dataclasses.asdict(
    dataclasses.replace(PRESETS["lite"], latent_channels=4, widths=(32, 32), attention=(False, True), heads=(2, 2))
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_denoised_change_is_the_mask_times_the_networks_own():
    sigma = torch.tensor([0.002, 0.5, 700.0])
    s = sigma.view(-1, 1, 1, 1, 1, 1)
    z, f, logits = draw(3, 2, 10, 8, 4, 5) * s, draw(3, 2, 10, 8, 4, 5, seed=1), draw(3, 2, 10, 2, 4, 5, seed=2)
    answer = silenced(f, logits, c_in(s) * z, c_noise(sigma))
    masked = c_skip(s) * z + c_out(s) * answer
    own = (c_skip(s) * z + c_out(s) * f) * logits.sigmoid().repeat_interleave(4, dim=3)
    torch.testing.assert_close(masked, own, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shared_decoder", [False, True])
def test_a_network_says_where_things_change(shared_decoder):
    models = []
    for mask in (True, False):
        torch.manual_seed(0)
        models.append(DualBranchUNet(TINY, shared_decoder=shared_decoder, change_mask=mask).eval())
    masked, plain = models
    z, condition, sigma = draw(2, 2, 10, 8, 8, 8), draw(2, 2, 8, 8, 8, seed=1), torch.tensor([0.1, 30.0])
    with torch.no_grad():
        heads = [m for name, m in masked.named_modules() if name.endswith("conv_change")]
        assert len(heads) == (1 if shared_decoder else 2)
        for head in heads:
            nn.init.constant_(head.bias, 40.0)
        torch.testing.assert_close(denoise(masked, z, condition, sigma), denoise(plain, z, condition, sigma))
        for head in heads:
            head.bias[1] = -40.0
        answer = denoise(masked, z, condition, sigma)
    assert answer[:, :, :, 4:].abs().max() < 1e-5, "points change nowhere"
    assert answer[:, :, :, :4].abs().min() > 0, "colours may"


def test_a_mask_needs_a_change_to_silence():
    with pytest.raises(ValueError, match="needs last_frame_skip"):
        dataclasses.replace(PLAIN, change_mask=True)
    assert BEST.change_mask and not PLAIN.change_mask
