"""4D Gaussians: splatting against a loop over pixels, gradients, and a field that learns a motion."""

import numpy as np
import pytest
import synthetic
import torch

from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.geometry import RGBD
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.gaussian_video import GaussianVideo, field_loss
from geo4d_lite.models.gaussians4d import (
    BLUR_PX2,
    DeformationField,
    Gaussians,
    _transmittance,
    from_observation,
    rotation_matrices,
    splat,
)

K = torch.tensor([[20.0, 0, 8], [0, 20.0, 6], [0, 0, 1]])
SHAPE = (12, 16)


def cloud(count: int = 6, seed: int = 0) -> Gaussians:
    g = torch.Generator().manual_seed(seed)
    mean = torch.rand(count, 3, generator=g) * torch.tensor([0.4, 0.3, 0.4]) + torch.tensor([-0.2, -0.15, 0.8])
    return Gaussians(
        mean,
        torch.randn(count, 3, generator=g) * 0.2 - 3.4,
        torch.randn(count, 4, generator=g),
        torch.rand(count, 3, generator=g),
        torch.rand(count, generator=g) * 0.8 + 0.1,
    )


def by_hand(gaussians: Gaussians, X_CW: np.ndarray) -> np.ndarray:
    """Colour (H, W, 3) by a loop over pixels and Gaussians, nearest first, in NumPy; the same cut-off at 3 pixels."""
    fx, cx, cy = 20.0, 8.0, 6.0
    p = gaussians.mean.numpy() @ X_CW[:3, :3].T + X_CW[:3, 3]
    image = np.zeros((*SHAPE, 3))
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            passed = 1.0
            for i in np.argsort(p[:, 2]):
                x, y, z = p[i]
                u, v = fx * x / z + cx, fx * y / z + cy
                if abs(column - round(u)) > 3 or abs(row - round(v)) > 3:
                    continue
                R = X_CW[:3, :3] @ rotation_matrices(gaussians.rotation)[i].numpy()
                S = R @ np.diag(np.exp(2 * gaussians.log_scale[i].numpy())) @ R.T
                J = np.array([[fx / z, 0, -fx * x / z**2], [0, fx / z, -fx * y / z**2]])
                d = np.array([column - u, row - v])
                alpha = gaussians.opacity[i].item() * np.exp(
                    -0.5 * d @ np.linalg.inv(J @ S @ J.T + BLUR_PX2 * np.eye(2)) @ d
                )
                if alpha < 1 / 255:
                    continue
                image[row, column] += passed * alpha * gaussians.colour[i].numpy()
                passed *= 1 - alpha
    return image


def test_splatting_agrees_with_a_loop_over_pixels():
    X_CW = np.eye(4)
    X_CW[:3, :3] = rotation_matrices(torch.tensor([[1.0, 0.05, -0.1, 0.02]]))[0].numpy()
    gaussians = cloud()
    colour, _, opacity = splat(gaussians, torch.from_numpy(X_CW).float(), K, *SHAPE)
    np.testing.assert_allclose(colour.numpy(), by_hand(gaussians, X_CW), atol=1e-4)
    assert 0 <= opacity.min() and opacity.max() <= 1


def test_an_observation_renders_to_itself():
    depth_m = torch.full(SHAPE, 0.8)
    rows, columns = torch.meshgrid(*(torch.arange(n).float() for n in SHAPE), indexing="ij")
    points = torch.stack([(columns - 8) / 20 * depth_m, (rows - 6) / 20 * depth_m, depth_m], dim=-1)
    rgb = torch.rand(*SHAPE, 3, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.5
    gaussians = from_observation(points, torch.ones(SHAPE, dtype=torch.bool), rgb, depth_m, 20.0)
    colour, depth, opacity = splat(gaussians, torch.eye(4), K, *SHAPE)
    inner = (slice(2, -2), slice(2, -2))
    assert (opacity[inner] > 0.95).all() and (depth[inner] - 0.8).abs().max() < 1e-3
    assert (colour[inner] - rgb[inner]).abs().mean() < 0.06


def test_gradients_move_a_gaussian_towards_where_it_is_wanted():
    wanted, _, _ = splat(cloud(1), torch.eye(4), K, *SHAPE)
    start = cloud(1)
    offset = torch.tensor([[0.03, -0.02, 0.0]], requires_grad=True)
    optimizer = torch.optim.Adam([offset], lr=3e-3)
    for _ in range(60):
        moved = Gaussians(start.mean + offset, start.log_scale, start.rotation, start.colour, start.opacity)
        loss = (splat(moved, torch.eye(4), K, *SHAPE)[0] - wanted).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert offset.detach()[:, :2].norm() < 0.005


def test_gradients_stay_finite_where_a_field_wants_gaussians_of_any_size_or_place():
    torch.manual_seed(0)
    field, gaussians = DeformationField(resolution=8, width=32), cloud(40)
    for name, wanted in (("s", 25.0), ("s", -25.0), ("p", 20.0), ("p", -20.0)):
        torch.nn.init.constant_(field.heads[name].bias, wanted)
        field.zero_grad()
        colour, depth, _ = splat(field(gaussians, 3), torch.eye(4), K, *SHAPE)
        (colour.sum() + depth.sum()).backward()
        assert all(torch.isfinite(p.grad).all() for p in field.parameters() if p.grad is not None), (name, wanted)
        torch.nn.init.zeros_(field.heads[name].bias)


def test_light_past_a_hundred_thousand_fragments_is_exact():
    layers = 20
    alpha = torch.full((100_000,), 0.99)
    alpha[-layers:] = 0.1
    pixel = torch.arange(len(alpha)) // layers
    passed = _transmittance(alpha, pixel)[-layers:]
    torch.testing.assert_close(passed, 0.9 ** torch.arange(layers), rtol=1e-5, atol=0)


def test_a_fresh_field_moves_nothing_and_learns_a_motion_by_place_and_time():
    torch.manual_seed(0)
    field, gaussians = DeformationField(resolution=8, width=32), cloud(40)
    assert torch.equal(field(gaussians, 5).mean, gaussians.mean)
    left = gaussians.mean[:, :1] < 0
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    for step in range(150):
        t = step % 10 + 1
        wanted = gaussians.mean + torch.where(left, 0.01 * t, 0.0) * torch.tensor([0.0, 1.0, 0.0])
        space, time = field.smoothness()
        loss = (field(gaussians, t).mean - wanted).square().mean() + 1e-6 * (space + time)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shift = (field(gaussians, 10).mean - gaussians.mean).detach()
    assert (shift[left[:, 0]] - torch.tensor([0.0, 0.1, 0.0])).abs().mean() < 0.02
    assert shift[~left[:, 0]].abs().mean() < 0.02


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    synthetic.make_dataset(root, train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32)
    return WindowDataset(open_dataset(root), "train")


def test_a_fresh_model_repeats_the_observation_in_both_views(windows):
    item = windows[0]
    views = [RGBD(item["rgb"][i, 0], item["depth_m"][i, 0], item["K"][i]) for i in (0, 1)]
    video = GaussianVideo(DeformationField(resolution=8))(*views, item["X_WC"])
    assert video.rgb.shape == (2, 10, 32, 64, 3) and np.array_equal(video.rgb[:, 0], video.rgb[:, 9])
    for view in (0, 1):
        both = video.valid[view, 0] & item["valid"][view, 0]
        assert both.mean() > 0.8 * item["valid"][view, 0].mean()
        error = np.linalg.norm(video.pointmap[view, 0] - item["pointmap"][view, 0], axis=-1)[both]
        assert np.median(error) < 0.04  # a pixel is 3 cm wide here


def test_training_is_repeatable(windows):
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        settings = TrainingSettings(steps=6, learning_rate=1e-3, warmup_steps=1, log_every=3)
        history = Trainer(DeformationField(resolution=8, width=16), field_loss(windows), settings).run(report=None)
        losses.append([entry["loss"] for entry in history])
    assert losses[0] == losses[1] and np.isfinite(losses[0]).all()
