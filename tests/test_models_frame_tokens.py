"""Frame tokens: told the truth about the path, one for each frame, and of one view only."""

import dataclasses

import numpy as np
import pytest
import synthetic
import torch

from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.geometry import invert, transform
from geo4d_lite.models import BEST, DualBranchUNet, LiteAutoencoder, TrainingSettings
from geo4d_lite.models.frame_tokens import FrameTokens, site_waves
from geo4d_lite.models.latents import LatentSet
from geo4d_lite.models.stages import Variant, frame_tokens_trainer, unet_trainer
from geo4d_lite.models.unet import PRESETS

TINY = dataclasses.asdict(
    dataclasses.replace(PRESETS["lite"], latent_channels=4, widths=(32, 32), attention=(False, True), heads=(2, 2))
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    return open_dataset(synthetic.make_dataset(root, train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32))


@pytest.fixture(scope="module")
def latents(dataset, tmp_path_factory):
    torch.manual_seed(0)
    autoencoders = (LiteAutoencoder(kind, width=16).eval() for kind in ("rgb", "pointmap"))
    return LatentSet.build(dataset, "train", *autoencoders, tmp_path_factory.mktemp("latents"), pairs=3)


def test_the_path_is_the_grippers_in_the_frame_of_n(dataset, latents):
    n, m = (int(i) for i in latents.episodes[0]["pairs"][1])
    window = next(w for w in WindowDataset(dataset, "train").windows if (w.n, w.m, w.start) == (n, m, 2))
    item = WindowDataset(dataset, "train").load(window)
    expected = transform(invert(item["X_WC"][0]), item["X_WG"][1:, :, :3, 3])
    path = latents.windows([(0, 2, 1)]).path[0]
    np.testing.assert_allclose(path[..., :3], expected, atol=1e-5)
    R_CG = invert(item["X_WC"][0])[:3, :3] @ item["X_WG"][1:, :, :3, :3]
    np.testing.assert_allclose(path[..., 3:6], 0.1 * R_CG[..., 2], atol=1e-5)
    np.testing.assert_allclose(path[..., 6:9], 0.1 * R_CG[..., 1], atol=1e-5)
    np.testing.assert_allclose(path[..., 9], 10 * item["width_m"][1:], atol=1e-5)


def test_what_was_not_recorded_of_the_path_teaches_nothing():
    encoder = FrameTokens(channels=8, token_dim=16, embedding_dim=16)
    tokens, path = draw(3, 2, 10, 16).requires_grad_(), draw(3, 10, 2, 10, seed=1)
    half = path.clone()
    half[:, :, 1] = torch.nan  # the right arm
    loss = encoder.path_loss(tokens, half)
    loss.backward()
    assert torch.isfinite(tokens.grad).all() and tokens.grad.abs().sum() > 0
    assert (encoder.where.weight.grad[10:] == 0).all() and (encoder.where.weight.grad[:10] != 0).any()
    assert 0 < loss < encoder.path_loss(tokens, path)
    assert encoder.path_loss(tokens, torch.full_like(path, torch.nan)) == 0


def test_tokens_say_where_things_are_and_not_only_what_there_is():
    """The same picture, moved: a pooled token could not tell."""
    torch.manual_seed(0)
    encoder = FrameTokens(channels=2, token_dim=8, embedding_dim=16)
    image = torch.zeros(1, 2, 2, 16, 20)
    image[..., 4:7, 4:7] = 3.0
    moved = torch.roll(image, shifts=(4, 8), dims=(-2, -1))
    assert encoder(image).shape == (1, 2, 10, 8)
    assert (encoder(image) - encoder(moved)).abs().max() > 1e-3


def test_no_view_sees_the_other_ones_token():
    torch.manual_seed(0)
    unet = DualBranchUNet(TINY, cross_view_attention=False, frame_tokens=True, views_agree=True).eval()
    assert unet.frame_encoder.agree is None
    noisy, condition = draw(1, 2, 10, 8, 8, 8), draw(1, 2, 8, 8, 8, seed=1)
    other = condition.clone()
    other[:, 1] += 1
    with torch.no_grad():
        answer, changed = (unet(noisy, c, torch.zeros(1)) for c in (condition, other))
    assert torch.equal(answer[:, 0], changed[:, 0]) and not torch.equal(answer[:, 1], changed[:, 1])


def test_a_token_belongs_to_its_frame():
    """With time mixed nowhere, the token of frame 3 changes frame 3 and no other."""
    torch.manual_seed(0)
    unet = DualBranchUNet(TINY, frame_tokens=True).eval()
    for name, p in unet.named_parameters():
        if "mix_factor" in name:
            torch.nn.init.constant_(p, 1e4)  # all spatial
    noisy, condition = draw(1, 2, 10, 8, 8, 8), draw(1, 2, 8, 8, 8, seed=1)
    with torch.no_grad():
        tokens = unet.tokens(condition)
        other = tokens.clone()
        other[:, :, 3] += 1
        changed = (unet(noisy, condition, torch.zeros(1), other) - unet(noisy, condition, torch.zeros(1), tokens)).abs()
    assert [t for t in range(10) if changed[:, :, t].max() > 1e-4] == [3]


def test_a_map_is_the_same_token_seen_from_different_sites():
    """Maps are products of a token and of a site: linear in the token, and no site knows of any but its neighbours."""
    torch.manual_seed(0)
    encoder = FrameTokens(channels=2, token_dim=8, embedding_dim=16, maps=3)
    condition, tokens = draw(1, 2, 2, 8, 12), draw(1, 2, 10, 8, seed=1)
    maps = encoder.look(tokens, condition)
    assert maps.shape == (1, 2, 10, 3, 8, 12)
    nothing = encoder.look(torch.zeros_like(tokens), condition)
    torch.testing.assert_close(encoder.look(2 * tokens, condition) - nothing, 2 * (maps - nothing))
    nudged = condition.clone()
    nudged[0, 0, :, 5, 5] += 1
    changed = (encoder.look(tokens, nudged) - maps).abs().amax(dim=(2, 3))[0]
    assert changed[0, 4:7, 4:7].min() > 0 and changed[1].max() == 0
    changed[0, 4:7, 4:7] = 0
    assert changed.max() == 0


def test_every_site_of_an_empty_image_knows_its_place():
    waves = site_waves(16, 20).flatten(1).T  # (320, 12)
    assert torch.cdist(waves, waves).fill_diagonal_(1.0).min() > 0.05


def test_context_tokens_differ_so_that_a_site_can_choose():
    torch.manual_seed(0)
    encoder = FrameTokens(channels=2, token_dim=8, embedding_dim=16, context_tokens=4)
    context = encoder.context(draw(5, 8))
    assert context.shape == (5, 4, 8)
    assert torch.pdist(context[0]).min() > 0.01
    assert FrameTokens(channels=2, token_dim=8, embedding_dim=16).context(draw(5, 8)).shape == (5, 1, 8)


def test_frame_tokens_are_learned_alone_and_then_change_slowly(latents):
    settings = TrainingSettings(steps=60, learning_rate=2e-3, warmup_steps=5, log_every=20)
    alone = frame_tokens_trainer(Variant(BEST), latents, settings, 8, None)
    history = alone.run(report=None)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    learned = {name: weight.clone() for name, weight in alone.load_ema().state_dict().items()}
    trainer = unet_trainer(Variant(BEST), latents, settings, 1, None, frame_tokens=learned)
    assert all(torch.equal(learned[name], w) for name, w in trainer.model.frame_encoder.state_dict().items())
    before = trainer.model.conv_in.weight.detach().clone()
    trainer.advance()
    moved = (trainer.model.frame_encoder.where.weight - learned["where.weight"]).abs().max()
    at_full_rate = (trainer.model.conv_in.weight - before).abs().max()
    assert 0 < moved < 0.2 * at_full_rate, "AdamW's first step is the learning rate of a group, whatever the gradient"


def test_the_auxiliary_loss_is_learned_beside_the_diffusion(latents):
    recipe = dataclasses.replace(BEST, path_windows=4)
    settings = TrainingSettings(steps=30, learning_rate=2e-3, warmup_steps=5, log_every=10)
    history = unet_trainer(Variant(recipe), latents, settings, 1, None).run(report=None)
    assert history[-1]["path"] < 0.7 * history[0]["path"]


def test_clip_sized_models_have_clips_token():
    with torch.device("meta"), pytest.raises(ValueError, match="this size takes CLIP's"):
        DualBranchUNet.from_preset("paper", frame_tokens=True)


def test_views_agree_in_the_directions_let_through():
    torch.manual_seed(0)
    encoder = FrameTokens(channels=2, token_dim=8, embedding_dim=16, views_agree=True)
    apart = FrameTokens(channels=2, token_dim=8, embedding_dim=16)
    apart.load_state_dict(encoder.state_dict(), strict=False)
    condition = draw(3, 2, 2, 16, 20)
    own = apart(condition)
    assert torch.equal(encoder(condition), own), "at first nothing is let through"
    torch.nn.init.eye_(encoder.agree.weight)
    torch.testing.assert_close(encoder(condition), own.flip(1))
    encoder.agree.weight.data[4:] = 0.0
    tokens = encoder(condition)
    torch.testing.assert_close(tokens[..., 4:], own[..., 4:])
    torch.testing.assert_close(tokens[..., :4], own.flip(1)[..., :4])
