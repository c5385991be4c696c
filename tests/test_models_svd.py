"""The way from SVD's weights to the paper preset, walked on a tiny checkpoint of random weights."""

import dataclasses

import numpy as np
import pytest
import synthetic
import torch
from diffusers import AutoencoderKLTemporalDecoder, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
from svd_sample import CONTEXT, write_tiny_svd

from geo4d_lite.commands.generate import Generate
from geo4d_lite.commands.generate import main as generate
from geo4d_lite.commands.train import Train
from geo4d_lite.commands.train import main as train
from geo4d_lite.geometry import RGBD
from geo4d_lite.models import DualBranchUNet, Geo4DPipeline, ImageEncoder, Recipe, SVDAutoencoder
from geo4d_lite.models.autoencoders import autoencoder_loss
from geo4d_lite.models.device import autocast
from geo4d_lite.models.frames import rgb_input
from geo4d_lite.models.weights import load_pipeline

SCALE = 0.18215


@pytest.fixture(scope="module")
def svd(tmp_path_factory):
    return write_tiny_svd(tmp_path_factory.mktemp("svd"))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_answer(svd, noisy, condition, c_noise, context) -> torch.Tensor:
    """What diffusers' own U-Net answers for one view, its embedding of fps and motion put to zero."""
    unet = UNetSpatioTemporalConditionModel.from_pretrained(svd, subfolder="unet").eval()
    del unet.add_embedding
    unet.add_embedding = lambda embedding: torch.zeros(len(embedding), 1)
    frames = noisy.shape[1]
    x = torch.cat([noisy, condition[:, None].expand(-1, frames, -1, -1, -1)], dim=2)
    with torch.no_grad():
        return unet(x, c_noise, context, torch.zeros(len(noisy), 3)).sample


@pytest.mark.parametrize("switches", [{}, {"shared_decoder": True}, {"cross_view_attention": False}])
def test_before_training_both_branches_answer_what_svd_does(svd, switches):
    unet = DualBranchUNet.from_svd(svd, **switches).eval()
    noisy, condition, c_noise = noise(2, 2, 3, 8, 8, 8), noise(2, 2, 8, 8, 8, seed=1), torch.tensor([0.2, -0.5])
    context = noise(2, 2, 1, CONTEXT, seed=2)
    with torch.no_grad():
        answer = unet(noisy, condition, c_noise, context)
    for view in (0, 1):
        unscaled = condition[:, view, :4] / SCALE
        expected = plain_answer(svd, noisy[:, view, :, :4], unscaled, c_noise, context[:, view])
        torch.testing.assert_close(answer[:, view, :, :4], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(answer[:, view, :, 4:], answer[:, view, :, :4])


def test_the_new_input_channels_can_learn(svd):
    unet = DualBranchUNet.from_svd(svd)
    noisy, condition = noise(1, 2, 3, 8, 8, 8), noise(1, 2, 8, 8, 8, seed=1)
    unet(noisy, condition, torch.zeros(1), noise(1, 2, 1, CONTEXT)).square().mean().backward()
    of_channels = unet.conv_in.weight.grad.abs().sum(dim=(0, 2, 3))
    assert len(of_channels) == 16 and (of_channels > 0).all()


def test_rgb_only_takes_svds_own_channels(svd):
    unet = DualBranchUNet.from_svd(svd, modalities=("rgb",))
    assert unet.conv_in.in_channels == 8 and unet.decoder_n.conv_out.out_channels == 4


def test_the_decoders_start_alike_and_share_nothing(svd):
    unet = DualBranchUNet.from_svd(svd)
    of_n, of_m = (dict(decoder.up_blocks.named_parameters()) for decoder in (unet.decoder_n, unet.decoder_m))
    for name, weights in of_n.items():
        assert torch.equal(weights, of_m[name]) and weights.data_ptr() != of_m[name].data_ptr()


def test_gradient_checkpointing_changes_no_gradient(svd):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        unet = DualBranchUNet.from_svd(svd)
        if checkpointing:
            unet.enable_gradient_checkpointing()
        calls = count_calls(unet.decoder_m.up_blocks[0].resnets[0])
        unet(noise(1, 2, 2, 8, 8, 8), noise(1, 2, 8, 8, 8), torch.zeros(1), noise(1, 2, 1, CONTEXT)).sum().backward()
        assert len(calls) == 1 + checkpointing, "checkpointing computes activations twice"
        gradients.append({name: p.grad for name, p in unet.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def count_calls(module: torch.nn.Module) -> list:
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def test_the_rgb_autoencoder_is_svds(svd):
    ours = SVDAutoencoder.from_svd(svd, "rgb").eval()
    vae = AutoencoderKLTemporalDecoder.from_pretrained(svd, subfolder="vae").eval()
    images = noise(6, 3, 32, 64).clamp(-1, 1)
    with torch.no_grad():
        expected = vae.encode(images).latent_dist.mode()
        torch.testing.assert_close(ours.encode(images), SCALE * expected)
        video = vae.decode(expected, num_frames=3).sample
        torch.testing.assert_close(ours.decode(SCALE * expected, frames=3), video, rtol=1e-4, atol=1e-4)
        assert (ours.decode(SCALE * expected, frames=1) - video).abs().max() > 1e-3, "the decoder sees time"


def test_the_pointmap_autoencoder_is_svds_with_a_validity(svd):
    rgb, pointmap = (SVDAutoencoder.from_svd(svd, kind).eval() for kind in ("rgb", "pointmap"))
    x = noise(4, 3, 32, 32).clamp(-1, 1)
    with_validity = torch.cat([x, torch.ones(4, 1, 32, 32)], dim=1)
    with torch.no_grad():
        latents = pointmap.encode(with_validity)
        torch.testing.assert_close(latents, rgb.encode(x))
        decoded = pointmap.decode(latents, frames=2)
        torch.testing.assert_close(decoded[:, :3], rgb.decode(latents, frames=2))
    assert decoded.shape == (4, 4, 32, 32) and (decoded[:, 3] > 0).all()


def test_the_pointmap_autoencoder_learns_as_the_lite_one_does(svd):
    model = SVDAutoencoder.from_svd(svd, "pointmap")
    x = torch.cat([noise(4, 3, 32, 32).clamp(-1, 1), torch.ones(4, 1, 32, 32)], dim=1)
    loss = autoencoder_loss(model, x, torch.zeros(4, 1, 32, 32), noise(4, 4, 4, 4), frames=2)
    loss.backward()
    assert torch.isfinite(loss) and model.vae.decoder.time_conv_out.weight.grad.abs().sum() > 0


def test_the_image_token_is_svds(svd):
    encoder = ImageEncoder.from_svd(svd).eval()
    image = torch.nn.functional.interpolate(noise(1, 3, 8, 10).clamp(-1, 1), (256, 320), mode="bilinear")
    with torch.no_grad():
        token = encoder(image)
        small = resized_by_svd(image)
        expected = encoder.clip((small - small.new_tensor(MEAN)[:, None, None]) / small.new_tensor(STD)[:, None, None])
    assert token.shape == (1, 1, CONTEXT)
    assert torch.cosine_similarity(token[:, 0], expected.image_embeds).item() > 0.999


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def resized_by_svd(image: torch.Tensor) -> torch.Tensor:
    from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as source

    assert StableVideoDiffusionPipeline.__module__ == source.__name__
    return (source._resize_with_antialiasing(image, (224, 224)) + 1) / 2


@pytest.fixture(scope="module")
def pipeline(svd):
    return Geo4DPipeline.from_svd(svd)


def two_views() -> list[RGBD]:
    """Two observations of noise."""
    rng, K = np.random.default_rng(0), np.array([[40.0, 0, 32], [0, 40.0, 16], [0, 0, 1]])
    return [
        RGBD(rng.integers(255, size=(32, 64, 3), dtype=np.uint8), rng.uniform(0.5, 1.5, (32, 64)).astype(np.float32), K)
        for _ in range(2)
    ]


def test_the_whole_pipeline_imagines_a_video_and_is_stored(pipeline, tmp_path):
    views = two_views()
    pipeline.save_pretrained(tmp_path)
    again = Geo4DPipeline.from_pretrained(tmp_path)
    videos = [p(*views, num_inference_steps=2, generator=torch.Generator().manual_seed(1)) for p in (pipeline, again)]
    assert videos[0].rgb.shape == (2, 10, 32, 64, 3) and videos[0].pointmap.shape == (2, 10, 32, 64, 3)
    assert np.isfinite(videos[0].pointmap).all()
    np.testing.assert_array_equal(videos[0].rgb, videos[1].rgb)
    np.testing.assert_array_equal(videos[0].pointmap, videos[1].pointmap)


def test_on_a_card_parts_of_paper_scale_take_half_the_memory(pipeline, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path)
    monkeypatch.setattr("geo4d_lite.models.weights.best_device", lambda: "meta")  # a card that every machine has
    moved = load_pipeline(tmp_path)
    assert {(part.device.type, part.dtype) for part in moved.parts.values()} == {("meta", torch.bfloat16)}


def test_each_view_is_told_what_it_shows_itself(svd, pipeline, monkeypatch):
    unet = DualBranchUNet.from_svd(svd, cross_view_attention=False).eval()
    noisy, condition, tokens = noise(1, 2, 2, 8, 4, 8), noise(1, 2, 8, 4, 8), noise(1, 2, 1, CONTEXT)
    with torch.no_grad():
        answer = unet(noisy, condition, torch.zeros(1), tokens)
        for view in (0, 1):
            other = tokens.clone()
            other[:, view] += 1
            changed = (unet(noisy, condition, torch.zeros(1), other) != answer).any(dim=(0, 2, 3, 4, 5))
            assert changed.tolist() == [view == 0, view == 1]
        views, told = two_views(), []
        monkeypatch.setattr(
            pipeline.unet, "forward", lambda x, c, t, context: told.append(context) or torch.zeros_like(x)
        )
        pipeline(*views, num_inference_steps=1)
        with autocast():
            of_views = pipeline.image_encoder(rgb_input(np.stack([view.rgb for view in views])))
    assert (of_views[0] - of_views[1]).abs().max() > 1e-3
    torch.testing.assert_close(told[0][0], of_views)


def test_a_folder_that_is_no_svd_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no 'unet' of Stable Video Diffusion"):
        DualBranchUNet.from_svd(tmp_path)


def test_a_recipe_without_pointmaps_makes_no_points(svd):
    pipeline = Geo4DPipeline.from_svd(svd, Recipe(modalities=("rgb",)))
    assert pipeline.unet.config.modalities == ("rgb",)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    return synthetic.make_dataset(root, train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32)


def test_training_at_paper_scale_from_the_checkpoint_to_a_video(svd, dataset, tmp_path):
    """The very command that a graphics card's owner types, on the tiny checkpoint; killed on the way and resumed."""
    options = Train(
        dataset,
        tmp_path / "out",
        "paper",
        str(svd),
        "plain",
        unet_steps=3,
        autoencoder_steps=2,
        export=tmp_path / "done",
    )
    train(dataclasses.replace(options, unet_steps=2, export=None))
    train(options)
    pipeline = Geo4DPipeline.from_pretrained(tmp_path / "done")
    assert isinstance(pipeline.pointmap_autoencoder, SVDAutoencoder) and isinstance(
        pipeline.image_encoder, ImageEncoder
    )
    before, rgb = DualBranchUNet.from_svd(svd).state_dict(), SVDAutoencoder.from_svd(svd, "rgb").state_dict()
    after = pipeline.unet.state_dict()
    assert not torch.equal(after["decoder_m.conv_out.weight"], before["decoder_m.conv_out.weight"].bfloat16().float())
    for name, weights in pipeline.rgb_autoencoder.state_dict().items():
        assert torch.equal(weights, rgb[name].bfloat16().float()), "SVD's RGB autoencoder is used as it is"
    assert [path.name for path in sorted((tmp_path / "out" / "samples").iterdir())] == [
        "step_000002.png",
        "step_000003.png",
    ]
    generate(Generate(dataset, tmp_path / "done", steps=2, out=tmp_path / "generated"))
    assert (tmp_path / "generated" / "video.mp4").exists()
