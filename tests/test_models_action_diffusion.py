"""The networks of Diffusion Policy: sizes, FiLM by hand, and one demonstration learned by heart."""

import numpy as np
import pytest
import synthetic
import torch
from diffusers import DDPMScheduler
from torch import nn

from geo4d_lite.data import EpisodeError, decode_depth, open_dataset
from geo4d_lite.data.states import StateRange, encode_states
from geo4d_lite.geometry import RGBD
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.action_diffusion import action_loss
from geo4d_lite.models.action_unet import ActionUNet, FilmBlock
from geo4d_lite.models.demonstrations import ActionBatch, ImageMoments
from geo4d_lite.models.diffusion_policy import DiffusionPolicy
from geo4d_lite.models.view_encoder import ResNet, spatial_softmax

ANY_RANGE = StateRange((-1.0,) * 20, (1.0,) * 20)
TINY = {
    "encoder_widths": (8, 16),
    "encoder_strides": (1, 1),
    "encoder_blocks": 1,
    "unet_widths": (128, 256),
    "step_dim": 16,
}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def unet_count(actions: int, observation: int, widths: tuple[int, ...], step: int) -> int:
    """Parameters of the published U-Net, by arithmetic."""
    condition = step + observation

    def conv(a, b, kernel):
        return a * b * kernel + b

    def block(a, b):
        film = condition * 2 * b + 2 * b
        return conv(a, b, 5) + conv(b, b, 5) + 4 * b + film + (conv(a, b, 1) if a != b else 0)

    total = conv(step, 4 * step, 1) + conv(4 * step, step, 1)
    ins = (actions, *widths[:-1])
    total += sum(block(a, b) + block(b, b) for a, b in zip(ins, widths, strict=True))
    total += sum(conv(b, b, 3) for b in widths[:-1]) + 2 * block(widths[-1], widths[-1])
    total += sum(block(2 * b, a) + block(a, a) + conv(a, a, 4) for a, b in zip(widths, widths[1:], strict=False))
    return total + conv(widths[0], widths[0], 5) + 2 * widths[0] + conv(widths[0], actions, 1)


def test_the_unet_has_as_many_parameters_as_the_published_one():
    with torch.device("meta"):
        published = ActionUNet(
            2, 10, (256, 512, 1024), 256
        )  # the authors' state-based Push-T notebook prints 65.35322 M
        assert f"{count(published):.6e}" == "6.535322e+07"
        ours = DiffusionPolicy.from_preset("paper", ANY_RANGE, 0.5)
    assert count(ours.unet) == unet_count(20, 2 * (2 * 64 + 20), (512, 1024, 2048), 128)


def test_the_encoder_at_paper_scale_is_resnet18_without_its_classifier():
    with torch.device("meta"):
        resnet = ResNet((64, 128, 256, 512), (1, 2, 2, 2), 2)
        assert count(resnet) == 11_689_512 - 513_000  # torchvision's resnet18, less its last layer
        assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in resnet.modules())
        assert resnet(torch.zeros(1, 3, 256, 320)).shape == (1, 512, 8, 10)


def test_both_presets_sample_as_published():
    with torch.device("meta"):
        paper, lite = (DiffusionPolicy.from_preset(name, ANY_RANGE, 0.5) for name in ("paper", "lite"))
    for model in (paper, lite):
        assert isinstance(model.scheduler, DDPMScheduler) and model.sampling_steps == 100
        config = model.scheduler.config
        assert (config.num_train_timesteps, config.prediction_type) == (100, "epsilon")
        assert config.beta_schedule == "squaredcos_cap_v2"
    with pytest.raises(ValueError, match="huge"):
        DiffusionPolicy.from_preset("huge", ANY_RANGE, 0.5)


def test_film_scales_and_shifts_by_the_condition():
    torch.manual_seed(0)
    block, x, condition = FilmBlock(3, 8, 5), torch.randn(2, 3, 6), torch.randn(2, 5)
    linear = block.film[1]
    told = torch.nn.functional.mish(condition) @ linear.weight.T + linear.bias  # (2, 16): eight scales, eight shifts
    inner = block.first(x)
    by_hand = torch.stack(
        [torch.stack([inner[b, c] * told[b, c] + told[b, 8 + c] for c in range(8)]) for b in range(2)]
    )
    torch.testing.assert_close(block(x, condition), block.second(by_hand) + block.skip(x))


def test_spatial_softmax_finds_a_peak_and_the_middle_between_two():
    maps = torch.full((1, 2, 5, 9), -50.0)
    maps[0, 0, 4, 0] = 50.0  # bottom left
    maps[0, 1, 0, 8] = maps[0, 1, 0, 4] = 50.0  # top right and top middle
    torch.testing.assert_close(spatial_softmax(maps), torch.tensor([[[-1.0, 1.0], [0.5, -1.0]]]))


def test_the_loss_of_a_perfect_answer_is_zero(monkeypatch):
    torch.manual_seed(0)
    model = DiffusionPolicy(low=ANY_RANGE.low, high=ANY_RANGE.high, step_s=0.5, **TINY)
    batch = ActionBatch(torch.zeros(3, 2, 2, 3, 16, 16), torch.zeros(3, 2, 20), torch.randn(3, 16, 20))
    noise = torch.randn(3, 16, 20, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(model.unet, "forward", lambda noisy, step, seen: noise)
    assert model.loss(batch, torch.Generator().manual_seed(5)) == 0
    assert model.loss(batch, torch.Generator().manual_seed(6)) > 1


def test_sampling_with_a_perfect_answer_gives_the_actions(monkeypatch):
    model = DiffusionPolicy(low=(-0.5,) * 20, high=(0.5,) * 20, step_s=0.5, **TINY)
    actions = torch.rand(2, 16, 20, generator=torch.Generator().manual_seed(0)) - 0.5
    share = torch.cumprod(1 - model.scheduler.betas, dim=0)  # of the clean actions' variance, by step

    def noise_in(noisy, step, seen):
        a = share[step][:, None, None]
        return (noisy - a.sqrt() * 2 * actions) / (1 - a).sqrt()

    monkeypatch.setattr(model.unet, "forward", noise_in)
    batch = ActionBatch(torch.zeros(2, 2, 2, 3, 16, 16), torch.zeros(2, 2, 20))
    sampled = model.sample(batch, torch.Generator().manual_seed(1))
    torch.testing.assert_close(sampled, actions, atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("demonstrations")
    return open_dataset(synthetic.make_dataset(root, 1, 1, frames=20, cameras=5, hz=2, width=20, height=16))


def test_a_moment_is_two_frames_by_a_random_pair_of_training_cameras_and_the_states_that_follow(dataset):
    moments, episode = ImageMoments(dataset), dataset.split("train")[0]
    states = encode_states(episode.X_WG, episode.width_m)
    videos = np.stack([episode.read_camera(camera)[0] for camera in range(5)])
    pairs = set()
    batch = moments(40, torch.Generator().manual_seed(0))
    assert batch.seen.shape == (40, 2, 2, 3, 16, 20) and moments.step_s == 0.5
    for seen, observed, actions in zip(batch.seen, batch.states.numpy(), batch.actions.numpy(), strict=True):
        t = int(np.abs(states - observed[1]).sum(axis=1).argmin())
        np.testing.assert_allclose(observed, states[[max(t - 1, 0), t]], atol=1e-6)
        np.testing.assert_allclose(actions, states[[min(t + k, 19) for k in range(16)]], atol=1e-6)
        images = ((seen.permute(0, 1, 3, 4, 2) + 1) * 127.5).round().byte().numpy()
        where = [[np.flatnonzero((videos[:, f] == image).all(axis=(1, 2, 3))) for image in pair] for f, pair in
                 zip((max(t - 1, 0), t), images, strict=True)]  # fmt: skip
        assert (where[0][0] == where[1][0]).all() and (where[0][1] == where[1][1]).all(), "one pair for both moments"
        pairs.add((int(where[0][0][0]), int(where[0][1][0])))
    assert all(n != m and n < 3 and m < 3 for n, m in pairs), "two different ones, never a held-out one"
    assert len(pairs) == 6


def test_a_data_set_of_two_rates_is_refused(tmp_path):
    synthetic.make_dataset(tmp_path / "a", 1, 1, hz=2)
    synthetic.make_dataset(tmp_path / "b", 1, 1, hz=10)
    with pytest.raises(EpisodeError, match=r"\[2, 10\] Hz"):
        ImageMoments(open_dataset(tmp_path))


def mean_error(model, episode, cameras=(0, 1)) -> float:
    """Mean error in metres of the predicted positions along the way, over every third frame of an episode."""
    states = encode_states(episode.X_WG, episode.width_m)
    videos = [episode.read_camera(camera)[:2] for camera in cameras]
    errors = []
    for t in range(1, episode.frames, 3):
        views = [[RGBD(rgb[f], decode_depth(depth[f]), episode.K[0]) for rgb, depth in videos] for f in (t - 1, t)]
        X_WC = episode.X_WC[list(cameras)]
        predicted = model.predict(views, X_WC, states[[t - 1, t]], torch.Generator().manual_seed(0))
        true = states[np.minimum(t + np.arange(16), episode.frames - 1)]
        errors.append(np.abs(predicted - true)[:, 1].mean())
    return float(np.mean(errors))


@pytest.mark.slow
def test_a_tiny_policy_learns_one_demonstration_by_heart(dataset, tmp_path):
    """Asked for clean actions, as the noise takes ten times as many steps to learn."""
    moments, episode = ImageMoments(dataset), dataset.split("train")[0]
    low, high = moments.state_range.low, moments.state_range.high
    torch.manual_seed(0)
    model = DiffusionPolicy(low=low, high=high, step_s=0.5, **TINY)
    model.scheduler.register_to_config(prediction_type="sample")
    trainer = Trainer(model, action_loss(moments, 16), TrainingSettings(250, 2e-3, warmup_steps=20, ema_decay=0.95))
    trainer.run(report=None)
    assert mean_error(trainer.load_ema(), episode) < 0.02, "of a way of 40 cm"
    nn.Module.to(model, torch.bfloat16).save_pretrained(tmp_path)
    loaded = DiffusionPolicy.from_pretrained(tmp_path, low_cpu_mem_usage=False).float()
    loaded.scheduler.register_to_config(prediction_type="sample")
    assert loaded.state_range == moments.state_range
    assert mean_error(loaded, episode) < 0.025
