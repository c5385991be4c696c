"""The draft: it is learned from films alone, and what the U-Net expects before it has said anything."""

import dataclasses

import pytest
import synthetic
import torch
from torch import nn

from geo4d_lite.data import open_dataset
from geo4d_lite.models import BEST, DualBranchUNet, LiteAutoencoder, TrainingSettings
from geo4d_lite.models.diffusion import c_noise, c_out, c_skip, denoise
from geo4d_lite.models.draft import Draft, draft_loss, with_draft
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.recipe import training_pair
from geo4d_lite.models.stages import Variant, draft_trainer, frame_tokens_trainer, unet_trainer
from geo4d_lite.models.unet import PRESETS

TINY = dataclasses.asdict(
    dataclasses.replace(PRESETS["lite"], latent_channels=4, widths=(32, 32), attention=(False, True), heads=(2, 2))
)
SHORT = TrainingSettings(steps=40, learning_rate=2e-3, warmup_steps=5, log_every=10)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    root = synthetic.make_dataset(root, train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32)
    torch.manual_seed(0)
    autoencoders = (LiteAutoencoder(kind, width=16).eval() for kind in ("rgb", "pointmap"))
    return LatentSet.build(open_dataset(root), "train", *autoencoders, tmp_path_factory.mktemp("latents"), pairs=3)


def test_the_denoised_film_expects_the_draft():
    sigma = torch.tensor([0.002, 0.5, 700.0])
    s = sigma.view(-1, 1, 1, 1, 1, 1)
    z, f, draft = (draw(3, 2, 10, 8, 4, 5, seed=seed) for seed in range(3))
    film = c_skip(s) * s * z + c_out(s) * with_draft(f, draft, c_noise(sigma))
    expected = c_skip(s) * s * z + (1 - c_skip(s)) * draft + c_out(s) * f
    torch.testing.assert_close(film, expected, atol=1e-5, rtol=1e-5)


def test_at_high_noise_a_silent_network_answers_its_draft():
    torch.manual_seed(0)
    unet = DualBranchUNet(TINY, frame_tokens=True, draft=True).eval()
    for decoder in (unet.decoder_n, unet.decoder_m):
        nn.init.zeros_(decoder.conv_out.weight)
        nn.init.zeros_(decoder.conv_out.bias)
    condition, sigma = draw(2, 2, 8, 8, 8, seed=1), torch.full((2,), 700.0)
    with torch.no_grad():
        film = denoise(unet, 700.0 * draw(2, 2, 10, 8, 8, 8), condition, sigma)
        draft = unet.frame_encoder.draft(unet.tokens(condition), condition)
    assert draft.shape == film.shape and draft.std() > 0.01
    torch.testing.assert_close(film, draft, atol=0.02, rtol=0.0)


def test_a_frame_is_drawn_from_its_own_token():
    torch.manual_seed(0)
    drafter = Draft(channels=4, site_channels=6, token_dim=8, width=16)
    tokens, sites = draw(3, 10, 8), draw(3, 6, 8, 12, seed=1)
    other = tokens.clone()
    other[1, 4] += 1
    changed = (drafter(other, sites) - drafter(tokens, sites)).abs().amax(dim=(2, 3, 4))
    assert changed.shape == (3, 10)
    assert [tuple(place) for place in changed.nonzero().tolist()] == [(1, 4)]


def test_the_loss_leaves_invalid_sites_out_and_counts_grippers_more():
    clean, draft = torch.zeros(1, 2, 1, 2, 2, 2), torch.ones(1, 2, 1, 2, 2, 2)
    valid, gripper = torch.ones_like(clean), torch.zeros(1, 2, 1, 1, 2, 2)
    assert draft_loss(draft, clean, valid, gripper, 4.0) == 1.0
    valid[..., 0, 0] = 0.0
    draft[..., 0, 0] = 9.0
    assert draft_loss(draft, clean, valid, gripper, 4.0) == 1.0
    gripper[..., 1, 1] = 1.0  # one of the three valid sites counts five times
    assert draft_loss(draft, clean, valid, gripper, 4.0) == pytest.approx(7 / 3)


def test_a_draft_is_learned_after_the_tokens_and_the_unet_starts_from_it(latents):
    variant = Variant(BEST)
    tokens = frame_tokens_trainer(variant, latents, SHORT, 8, None)
    tokens.run(report=None)
    trainer = draft_trainer(variant, latents, SHORT, 4, None, tokens.load_ema().state_dict())
    history = trainer.run(report=None)
    assert history[-1]["draft"] < 0.8 * history[0]["draft"]
    learned = {name: weight.clone() for name, weight in trainer.load_ema().state_dict().items()}
    unet = unet_trainer(variant, latents, SHORT, 1, None, frame_tokens=learned).model
    condition = training_pair(latents.batch(2, torch.Generator().manual_seed(0)), BEST)[1]
    with torch.no_grad():
        drawn = unet.frame_encoder.draft(unet.tokens(condition), condition)
        torch.testing.assert_close(drawn, trainer.model.draft(trainer.model(condition), condition))


def test_a_draft_needs_tokens():
    with pytest.raises(ValueError, match="it needs frame_tokens"):
        dataclasses.replace(BEST, frame_tokens=False)
