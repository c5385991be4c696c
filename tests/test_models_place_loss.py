"""The distance of places: what it counts, what it leaves out, and that draft and U-Net are trained by it."""

import dataclasses
from pathlib import Path

import pytest
import torch
from test_models_draft import SHORT, draw, latents  # noqa: F401 (a fixture)

from geo4d_lite.commands.train import Train
from geo4d_lite.commands.train import main as train
from geo4d_lite.models import BEST, PLAIN
from geo4d_lite.models.diffusion import GripperWeighting, diffusion_loss
from geo4d_lite.models.place_loss import SOFT, place_loss
from geo4d_lite.models.stages import Variant, draft_trainer, unet_trainer

SHAPE = (2, 2, 3, 16, 4, 5)  # eight channels of colours, eight of a pointmap


def test_a_place_that_is_off_counts_by_its_distance_and_nothing_else_does():
    error, all_valid, no_gripper = torch.zeros(SHAPE), torch.ones(SHAPE), torch.zeros(2, 2, 3, 1, 4, 5)
    assert (place_loss(error, all_valid, no_gripper, 4.0) == 0).all()
    error[:, :, :, 8:10] = torch.tensor([3.0, 4.0])[:, None, None]  # 5 away
    found = place_loss(error, all_valid, no_gripper, 4.0)
    torch.testing.assert_close(found, torch.full((2,), 5.0), atol=SOFT, rtol=0)
    other = error.clone()
    other[:, :, :, :8], other[:, :, :, 11:] = 7.0, 7.0
    assert torch.equal(place_loss(other, all_valid, no_gripper, 4.0), found)
    other[:, 1, :, 8] = 0.0
    assert place_loss(other, all_valid, no_gripper, 4.0)[1] < found[1], "each view for itself"


def test_sites_without_depth_are_left_out_and_those_of_a_gripper_count_more():
    error, valid, gripper = torch.zeros(SHAPE), torch.ones(SHAPE), torch.zeros(2, 2, 3, 1, 4, 5)
    error[..., 0, 0] = 10.0
    valid[:, :, :, 8:, 0, 0] = 0
    assert (place_loss(error, valid, gripper, 4.0) == 0).all()
    error[..., 1, 1], gripper[..., 1, 1] = 1.0, 1.0
    distance = 3**0.5
    torch.testing.assert_close(
        place_loss(error, valid, gripper, 0.0), torch.full((2,), distance / 19), atol=0.01, rtol=0
    )
    ratio = place_loss(error, valid, gripper, 4.0) / place_loss(error, valid, gripper, 0.0)
    torch.testing.assert_close(ratio, torch.full((2,), 5.0))


def test_a_diffusion_is_asked_for_places_beside_the_squared_error():
    clean, noise = draw(*SHAPE), draw(*SHAPE, seed=1)
    inputs = draw(2, 2, 16, 4, 5, seed=2), torch.ones(SHAPE), torch.zeros(2, 2, 3, 1, 4, 5), torch.tensor([1.0, 9.0])

    def silent(x, *_):
        return torch.zeros_like(x)

    plain, asked = (
        diffusion_loss(silent, clean, *inputs, noise, GripperWeighting(), place_weight=w) for w in (0.0, 2.0)
    )
    assert "place" not in plain and torch.equal(plain["n"], asked["n"])
    torch.testing.assert_close(asked["loss"], plain["loss"] + 2.0 * asked["place"])


@pytest.mark.parametrize("trainer", [draft_trainer, unet_trainer])
def test_draft_and_unet_are_trained_by_it(trainer, latents):  # noqa: F811
    variants = [Variant(dataclasses.replace(BEST, place_weight=w)) for w in (0.0, 2.0)]
    losses = []
    for variant in variants:
        tokens = variant.build(0).frame_encoder.state_dict()
        losses.append(trainer(variant, latents, SHORT, 2, None, frame_tokens=tokens).advance())
    assert "place" not in losses[0]
    assert losses[1]["loss"] == pytest.approx(losses[0]["loss"] + 2.0 * losses[1]["place"], rel=1e-4)


def test_places_are_of_lite_pointmaps():
    with pytest.raises(ValueError, match="recipe of colours"):
        dataclasses.replace(PLAIN, place_weight=1.0, modalities=("rgb",))
    with pytest.raises(ValueError, match="SVD's autoencoder has none"):
        train(Train(Path("data"), preset="paper", place_weight=1.0))
