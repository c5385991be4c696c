"""EDM: coefficients, loss over valid sites, gripper weighting, and the sampler against what it must reproduce."""

import pytest
import torch

from geo4d_lite.models.diffusion import (
    GripperWeighting,
    NoiseDistribution,
    c_in,
    c_noise,
    c_out,
    c_skip,
    denoise,
    diffusion_loss,
    make_scheduler,
    sample,
)

SHAPE = (2, 2, 3, 4, 4, 4)  # (B, 2, T, c, h, w)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Oracle:
    """A network that knows the clean latents: F = (z - c_skip (z + sigma noise)) / c_out."""

    def __init__(self, clean: torch.Tensor):
        self.clean = clean

    def __call__(self, scaled, condition, c, context=None):
        s = (4 * c).exp().view(-1, 1, 1, 1, 1, 1)
        return (self.clean - c_skip(s) * scaled / c_in(s)) / c_out(s)


def test_coefficients_make_input_and_target_unit_variance():
    sigma = torch.tensor([0.01, 0.5, 3.0, 100.0])
    clean, noise = draw(4, 200_000), draw(4, 200_000, seed=1)
    noisy = clean + sigma[:, None] * noise
    target = (clean - c_skip(sigma)[:, None] * noisy) / c_out(sigma)[:, None]
    torch.testing.assert_close((c_in(sigma)[:, None] * noisy).std(dim=1), torch.ones(4), rtol=0.02, atol=0)
    torch.testing.assert_close(target.std(dim=1), torch.ones(4), rtol=0.02, atol=0)
    torch.testing.assert_close(c_noise(sigma), 0.25 * sigma.log())


def test_a_perfect_network_has_no_loss_and_a_wrong_one_has():
    clean, condition = draw(*SHAPE), draw(2, 2, 4, 4, 4)
    sigma, noise, ones = torch.tensor([0.3, 5.0]), draw(*SHAPE, seed=1), torch.ones(2, 2, 3, 1, 4, 4)
    args = (condition, ones, ones, sigma, noise, GripperWeighting())
    assert diffusion_loss(Oracle(clean), clean, *args)["loss"] < 1e-6
    assert diffusion_loss(Oracle(-clean), clean, *args)["loss"] > 1


def test_invalid_sites_do_not_count():
    clean, condition = draw(*SHAPE), draw(2, 2, 4, 4, 4)
    valid = torch.ones(2, 2, 3, 1, 4, 4)
    valid[..., :2] = 0
    wrong = clean.clone()
    wrong[..., :2] += 7  # as when points that do not exist become the other camera's position
    args = (
        condition,
        valid,
        torch.zeros_like(valid),
        torch.tensor([1.0, 1.0]),
        draw(*SHAPE, seed=1),
        GripperWeighting(),
    )
    assert diffusion_loss(Oracle(clean), wrong, *args)["loss"] < 1e-6
    every = (condition, torch.ones_like(valid), *args[2:])
    assert diffusion_loss(Oracle(clean), wrong, *every)["loss"] > 1


def test_paper_weighting_vanishes_at_low_noise_and_ours_does_not():
    sigma, gripper = torch.tensor([0.1]), torch.tensor([0.0, 1.0])
    background, hand = GripperWeighting("paper")(sigma, gripper)
    assert hand / background == pytest.approx(1.01, abs=0.001)
    background, hand = GripperWeighting("everywhere", strength=4.0)(sigma, gripper)
    assert hand / background == pytest.approx(5.0)
    with pytest.raises(ValueError, match="gripper weighting is 'loud'"):
        GripperWeighting("loud")(sigma, gripper)


def test_noise_levels_are_log_normal():
    logs = NoiseDistribution().sample(100_000, torch.Generator().manual_seed(0)).log()
    assert logs.mean() == pytest.approx(1.0, abs=0.02)
    assert logs.std() == pytest.approx(1.6, abs=0.02)


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_sampler_arrives_at_what_a_perfect_network_denoises_to(steps):
    clean = draw(1, 2, 3, 4, 4, 4)
    out = sample(Oracle(clean), make_scheduler(), draw(1, 2, 4, 4, 4), 3, steps, torch.Generator().manual_seed(0))
    torch.testing.assert_close(out, clean, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_sampling_asks_the_network_once_a_step(steps):
    asked = []

    def network(x, condition, c_noise, context):
        asked.append(c_noise)
        return torch.zeros_like(x)

    sample(network, make_scheduler(), draw(1, 2, 4, 4, 4), 3, steps)
    assert len(asked) == steps


def test_sampler_asks_the_network_what_training_asked_it():
    """The sampler's Euler step at its first sigma equals the one computed from our own denoiser."""
    condition, net = draw(1, 2, 4, 4, 4), Oracle(0.3 * draw(1, 2, 3, 4, 4, 4))
    scheduler = make_scheduler()
    scheduler.set_timesteps(2)
    z = draw(1, 2, 3, 4, 4, 4, seed=2) * scheduler.init_noise_sigma
    s0, s1 = scheduler.sigmas[:2]
    expected = z + (s1 - s0) * (z - denoise(net, z, condition, s0[None])) / s0
    t = scheduler.timesteps[0]
    f = net(scheduler.scale_model_input(z, t), condition, t[None])
    torch.testing.assert_close(scheduler.step(f, t, z).prev_sample, expected, rtol=1e-3, atol=1e-2)
    assert float(scheduler.sigmas[0]) == pytest.approx(700)
