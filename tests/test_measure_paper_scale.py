"""The measurement at paper scale: its parts on a tiny checkpoint, its full-size networks without a number in them."""

import json
from pathlib import Path

import pytest
import torch
from svd_sample import CONTEXT, write_tiny_svd

from data_scripts import measure_paper_scale as measure
from geo4d_lite.models import PLAIN, DualBranchUNet, Geo4DPipeline, ImageEncoder, SVDAutoencoder, TrainingSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def svd(tmp_path_factory):
    return write_tiny_svd(tmp_path_factory.mktemp("svd"))


def test_a_training_step_is_taken_and_timed(svd):
    unet = DualBranchUNet.from_svd(svd)
    settings = TrainingSettings(3, 1e-3, warmup_steps=1, weights="bfloat16", offload=True, gradient_checkpointing=True)
    before = unet.conv_in.weight.detach().clone()
    latents = measure.paper_latents(size=(8, 8), token_dim=CONTEXT)
    used = measure.training_cost(unet, settings, 1, CPU, latents)
    assert used["seconds"] > 0 and set(used) == {"seconds"}, "memory is that of a card, and there is none here"
    assert unet.dtype == torch.bfloat16 and not torch.equal(unet.conv_in.weight.float(), before)


def test_ten_frames_are_timed_for_each_number_of_steps(svd):
    found = measure.generation_cost(Geo4DPipeline.from_svd(svd, PLAIN), (2, 1), size="lite")
    assert list(found) == ["2", "1"] and all(used["seconds"] > 0 for used in found.values())


def test_the_full_size_parts_are_as_large_as_published():
    with torch.device("meta"):
        parts = SVDAutoencoder("rgb", measure.SVD_AUTOENCODER), ImageEncoder(measure.SVD_IMAGE_ENCODER)
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in parts]
    assert millions == pytest.approx([97.7, 632.1], abs=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the command would measure")
def test_without_a_card_the_command_says_what_to_do_instead(tmp_path):
    with pytest.raises(ValueError, match="no CUDA card"):
        measure.main(measure.MeasurePaperScale(result=tmp_path / "result.json"))
    assert not (tmp_path / "result.json").exists()


def test_the_page_says_what_was_measured():
    book = Path(__file__).parents[1] / "book"
    page, found = (book / "paper_scale.md").read_text(), json.loads((book / "results" / "paper_scale.json").read_text())
    assert found["card"] in page and f"--limit-gb {found['limit_gb']:g}" in page
    for used in (found["training"], *found["generation"].values()):
        row = f"| {used['seconds']:.1f} | {used['peak_gb']:.1f} GB | {used['reserved_gb']:.1f} GB |"
        assert row in page and used["reserved_gb"] < found["limit_gb"]
