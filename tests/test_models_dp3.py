"""DP3: farthest points against brute force, clouds in the world, sizes, and one demonstration learned by heart."""

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from geo4d_lite.data import EpisodeError, decode_depth, open_dataset
from geo4d_lite.data.states import StateRange, encode_states
from geo4d_lite.geometry import RGBD
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.action_diffusion import action_loss
from geo4d_lite.models.demonstrations import CloudMoments
from geo4d_lite.models.dp3 import DP3, PointEncoder
from geo4d_lite.models.point_cloud import CLOUD_POINTS, Workspace, farthest_points, observed_clouds

ANY_RANGE = StateRange((-1.0,) * 20, (1.0,) * 20)
BRUTE_FORCE_POINTS = 40


def farthest_by_brute_force(points: np.ndarray, count: int) -> list[int]:
    chosen = [0]
    while len(chosen) < count:
        gaps = [min(np.linalg.norm(p - points[c]) for c in chosen) for p in points]
        chosen.append(int(np.argmax(gaps)))
    return chosen


def test_farthest_points_are_those_of_brute_force():
    points = torch.rand(3, BRUTE_FORCE_POINTS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chosen = farthest_points(points, 12)
    for cloud, indices in zip(points.numpy(), chosen.tolist(), strict=True):
        assert indices == farthest_by_brute_force(cloud, 12)


def test_farthest_points_reach_every_cluster():
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    crowded = corners.repeat_interleave(torch.tensor([500, 3, 2, 1]), dim=0)
    assert crowded[farthest_points(crowded[None], 4)[0]].unique(dim=0).shape == (4, 3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("demonstrations")
    return open_dataset(synthetic.make_dataset(root, 1, 1, frames=20, cameras=5, hz=2, width=40, height=32))


def clouds_of(episode, cameras, frames) -> torch.Tensor:
    depth_m = np.stack([decode_depth(episode.read_camera(camera)[1][frames]) for camera in cameras], axis=1)
    return observed_clouds(depth_m, episode.K[cameras], episode.X_WC[cameras])


def test_a_cloud_lies_on_the_gripper_in_the_world_and_leaves_the_table_out(dataset):
    episode = dataset.split("train")[0]
    for cameras in ([0, 1], [2, 0]):
        clouds = clouds_of(episode, cameras, [2, 15])
        assert clouds.shape == (2, CLOUD_POINTS, 3) and Workspace().contains(clouds).all()
        for cloud, X_WG in zip(clouds.numpy(), episode.X_WG[[2, 15], 0], strict=True):
            p_G = (cloud - X_WG[:3, 3]) @ X_WG[:3, :3]
            assert np.abs(p_G[:, :2]).max() < 0.11 and -0.15 < p_G[:, 2].min() and p_G[:, 2].max() < 0.06


def test_cameras_that_see_nothing_of_the_workspace_are_refused():
    with pytest.raises(ValueError, match="no depth pixel lies in the workspace"):
        observed_clouds(np.zeros((1, 2, 4, 4)), np.tile(np.eye(3), (2, 1, 1)), np.tile(np.eye(4), (2, 1, 1)))


def test_the_order_of_points_says_nothing():
    torch.manual_seed(0)
    encoder, cloud = PointEncoder(), torch.rand(2, 50, 3)
    torch.testing.assert_close(encoder(cloud), encoder(cloud[:, torch.randperm(50)]))


def test_points_left_out_in_training_change_neither_features_nor_gradients():
    torch.manual_seed(0)
    encoder, clouds, weights = PointEncoder(), torch.rand(3, 2, 200, 3), torch.randn(64)
    assert encoder._of_largest(clouds).shape[-2] < 150
    found = []
    for features in (encoder(clouds), encoder.project(encoder.of_point(clouds).amax(dim=-2))):
        encoder.zero_grad()
        (features * weights).sum().backward()
        found.append((features.detach(), [p.grad.clone() for p in encoder.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_the_encoders_have_the_published_layers():
    def linear(a, b):
        return a * b + b

    with torch.device("meta"):
        model = DP3.from_preset("paper", ANY_RANGE, 0.5)
    points = linear(3, 64) + linear(64, 128) + linear(128, 256) + 2 * (64 + 128 + 256) + linear(256, 64) + 2 * 64
    assert sum(p.numel() for p in model.of_points.parameters()) == points
    assert sum(p.numel() for p in model.of_state.parameters()) == linear(20, 64) + linear(64, 64)
    assert model.unet.down[2][0].first[0].out_channels == 2048
    config = model.scheduler.config
    assert (config.num_train_timesteps, model.sampling_steps, config.prediction_type) == (100, 10, "sample")
    with pytest.raises(ValueError, match="huge"):
        DP3.from_preset("huge", ANY_RANGE, 0.5)


def test_every_moment_comes_with_the_cloud_of_its_frames(dataset):
    moments, episode = CloudMoments(dataset, pairs=2), dataset.split("train")[0]
    states = encode_states(episode.X_WG, episode.width_m)
    assert len(moments.clouds[0]) == 2
    batch = moments(12, torch.Generator().manual_seed(0))
    for cloud, observed in zip(batch.seen, batch.states.numpy(), strict=True):
        t = int(np.abs(states - observed[1]).sum(axis=1).argmin())
        for moment, frame in enumerate((max(t - 1, 0), t)):
            possible = [clouds_of(episode, pair, [frame])[0] for pair in ([0, 1], [0, 2], [1, 2])]
            assert min((cloud[moment] - other).abs().max() for other in possible) < 5e-4


def test_one_training_camera_is_too_few(tmp_path):
    synthetic.make_dataset(tmp_path, 1, 1, frames=4, cameras=3, hz=2)
    with pytest.raises(EpisodeError, match="has 1 training cameras"):
        CloudMoments(open_dataset(tmp_path))


@pytest.mark.slow
def test_a_tiny_policy_learns_one_demonstration_by_heart(dataset, tmp_path):
    moments, episode = CloudMoments(dataset, pairs=3), dataset.split("train")[0]
    low, high = moments.state_range.low, moments.state_range.high
    torch.manual_seed(0)
    model = DP3(low=low, high=high, step_s=0.5, unet_widths=(32, 64), step_dim=16)
    settings = TrainingSettings(400, 3e-3, warmup_steps=20, ema_decay=0.95, log_every=400)
    trainer = Trainer(model, action_loss(moments, 16), settings)
    trainer.run(report=None)
    nn.Module.to(trainer.load_ema(), torch.bfloat16).save_pretrained(tmp_path)
    loaded = DP3.from_pretrained(tmp_path, low_cpu_mem_usage=False).float()
    assert loaded.state_range == moments.state_range
    videos = [episode.read_camera(camera)[:2] for camera in (0, 1)]
    states, errors = encode_states(episode.X_WG, episode.width_m), []
    for t in range(1, 20, 3):
        views = [[RGBD(rgb[f], decode_depth(depth[f]), episode.K[0]) for rgb, depth in videos] for f in (t - 1, t)]
        predicted = loaded.predict(views, episode.X_WC[:2], states[[t - 1, t]], torch.Generator().manual_seed(0))
        true = states[np.minimum(t + np.arange(16), 19)]
        errors.append(np.abs(predicted - true)[:, [0, 1, 2, 10, 11, 12]].max())
    assert max(errors) < 0.03, "of a way of 40 cm"
