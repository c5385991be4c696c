"""FVD: a distance between sets, whatever the features; intervals that hold the truth; both extractors."""

import numpy as np
import pytest
import synthetic
import torch

from geo4d_lite.data import open_dataset
from geo4d_lite.evaluation.fvd import I3DFeatures, fvd, fvd_interval
from geo4d_lite.evaluation.statistics import frechet_distance
from geo4d_lite.geometry import invert, project
from geo4d_lite.models import Trainer, TrainingSettings
from geo4d_lite.models.video_encoder import ClipSampler, VideoEncoder, encoder_loss


class MeanColour:
    """Features that can be computed by hand: mean and spread of each channel."""

    name = "mean colour"

    def encode(self, videos):
        return np.concatenate([videos.mean(axis=(1, 2, 3)), videos.std(axis=(1, 2, 3))], axis=1)


def noise_videos(count: int, seed: int, low: int = 0, high: int = 255) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = rng.integers(low, high, size=(count, 1, 1, 1, 3))
    return np.clip(levels + rng.integers(-20, 20, size=(count, 3, 4, 4, 3)), 0, 255).astype(np.uint8)


def test_a_set_is_at_no_distance_from_itself_in_any_order():
    videos = noise_videos(40, 0)
    assert fvd(videos, videos[::-1], MeanColour()) == pytest.approx(0.0, abs=1e-6)


def test_it_grows_with_the_difference_of_the_sets():
    true = noise_videos(60, 0)
    distances = [fvd(true, noise_videos(60, 1, low), MeanColour()) for low in (0, 80, 160)]
    assert distances[0] < distances[1] < distances[2]


def test_too_few_videos_are_refused():
    with pytest.raises(ValueError, match="3 generated videos; a Fréchet distance needs a set, at least 16"):
        fvd(noise_videos(20, 0), noise_videos(3, 0), MeanColour())


def test_the_interval_lies_about_the_distance_and_admits_one_episode():
    rng = np.random.default_rng(0)
    true, generated = rng.normal(size=(80, 3)), rng.normal(0.5, 1.0, size=(80, 3))
    low, high = fvd_interval(true, generated, np.repeat(np.arange(20), 4))
    assert low < frechet_distance(true, generated) < high
    assert low < 3 * 0.25 < high, "three features, each half a standard deviation off"
    assert np.isnan(fvd_interval(true, generated, np.zeros(80))).all()


class SmallI3D(torch.nn.Module):
    """A network with the keywords of the published TorchScript file."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 5)

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        assert x.shape[1] == 3 and x.shape[3] == 224 and x.shape[4] == 224
        assert not rescale and not resize and return_features
        assert x.min() >= -1.001 and x.max() <= 1.001
        return self.head(x.mean(dim=(2, 3, 4)))


def test_i3d_is_read_from_a_file_and_given_what_it_expects(tmp_path):
    torch.manual_seed(0)
    torch.jit.script(SmallI3D()).save(str(tmp_path / "i3d.pt"))
    extractor, videos = I3DFeatures(tmp_path / "i3d.pt", batch=3), noise_videos(7, 0)
    features = extractor.encode(videos)
    assert features.shape == (7, 5) and features.dtype == np.float64
    means = videos.mean(axis=(1, 2, 3)) / 127.5 - 1
    expected = means @ extractor.network.head.weight.detach().numpy().T + extractor.network.head.bias.detach().numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_a_missing_or_wrong_file_of_i3d_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no file; give the TorchScript file of I3D"):
        I3DFeatures(tmp_path / "i3d.pt")
    (tmp_path / "i3d.pt").write_bytes(b"not a network")
    with pytest.raises(ValueError, match="is no TorchScript network"):
        I3DFeatures(tmp_path / "i3d.pt")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "demos"
    return open_dataset(synthetic.make_dataset(root, train=1, test=1, frames=14, cameras=5, hz=2, width=64, height=32))


def test_the_encoder_is_told_where_the_grippers_are(dataset):
    clips, targets, tasks = ClipSampler(dataset)(3, torch.Generator().manual_seed(0))
    assert clips.shape == (3, 10, 3, 32, 64) and targets.shape == (3, 10, 2, 4) and tasks.tolist() == [0, 0, 0]
    sampler = ClipSampler(dataset)
    episode, _, said = sampler.videos[0]
    camera = episode.info.cameras("train")[0]
    pixel, depth_m = project((invert(episode.X_WC[camera]) @ episode.X_WG[4, 1])[:3, 3], episode.K[camera])
    np.testing.assert_allclose(said[4, 1], [pixel[0] / 64, pixel[1] / 32, depth_m, 10 * episode.width_m[4, 1]])


def test_the_encoder_learns_and_gives_features(dataset):
    torch.manual_seed(0)
    model = VideoEncoder(features=8, tasks=1, width=8)
    settings = TrainingSettings(steps=40, learning_rate=3e-3, warmup_steps=5, log_every=10)
    history = Trainer(model, encoder_loss(ClipSampler(dataset), 4), settings).run(report=None)
    assert history[-1]["where"] < 0.5 * history[0]["where"]
    assert model.encode(np.zeros((2, 10, 32, 64, 3), np.uint8)).shape == (2, 8)


def test_what_changed_since_the_frame_before_tells_the_order_without_looking_across_time():
    torch.manual_seed(0)
    model = VideoEncoder(features=8, tasks=1, width=8)
    torch.nn.init.zeros_(model.head[0].weight[:, :-16])  # what convolutions in time find; means of 16 textures are left
    clip = np.zeros((1, 10, 32, 64, 3), np.uint8)
    for frame in range(10):
        clip[:, frame, 8:24, 4 + 4 * frame : 20 + 4 * frame] = 255
    shuffled = clip[:, [7, 2, 9, 0, 5, 1, 8, 4, 6, 3]]

    def seen_difference() -> float:
        return np.abs(model.encode(clip) - model.encode(shuffled)).max()

    with_change = seen_difference()
    torch.nn.init.zeros_(model.texture[0].weight[:, 3:])
    assert with_change > 100 * seen_difference()
