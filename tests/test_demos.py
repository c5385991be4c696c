"""Collecting demonstrations: complete, held-out splits, resumable to the same bytes, refusing what does not fit."""

import shutil

import numpy as np
import pytest

import geo4d_lite
from geo4d_lite.commands import demos
from geo4d_lite.data import EpisodeArrays, open_dataset, open_episode
from geo4d_lite.geometry.labels import Label

OPTIONS = {"episodes": 1, "test_episodes": 1, "cameras": 3, "hz": 2, "progress": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of one training and one held-out episode."""
    root = tmp_path_factory.mktemp("demos") / "set"
    demos.collect(root, **OPTIONS)
    return root


def test_episodes_are_split_and_complete(root):
    dataset = open_dataset(root)
    assert [episode.info.split for episode in dataset.episodes] == ["train", "test"]
    assert len({episode.info.seed for episode in dataset.episodes}) == 2
    for episode in dataset.episodes:
        assert episode.info.success and episode.info.hz == 2
        assert episode.info.camera_split == ("train", "test", "test")
        np.testing.assert_allclose(np.diff(episode.time_s), 0.5, atol=1e-9)
        assert 0.0 <= episode.time_s[0] < 0.5 and 10.0 < episode.time_s[-1] < 16.0
        assert np.all(episode.K[:, :2, 2] == [79.5, 63.5])
        for camera in range(3):
            rgb, depth, label = episode.read_camera(camera)
            assert rgb.shape == (episode.frames, 128, 160, 3) and rgb.std() > 10
            assert np.any(label == Label.OBJECT) and np.median(depth) > 5000


def test_cameras_differ_between_episodes(root):
    first, second = open_dataset(root).episodes
    assert np.abs(first.X_WC - second.X_WC).max() > 0.01


def test_a_lost_episode_is_recorded_again_to_the_same_values_and_the_rest_is_kept(root):
    kept, lost = root / "episode_0000.zarr", root / "episode_0001.zarr"
    before, written = open_episode(lost), kept.stat().st_mtime_ns
    manifest = (root / "manifest.json").read_text()
    images, joints = before.read_camera(2), before.joint_positions
    shutil.rmtree(lost)
    leftover = root / ".episode_0001.zarr.partial-1"
    leftover.mkdir()
    demos.collect(root, **OPTIONS)
    again = open_episode(lost)
    np.testing.assert_array_equal(again.joint_positions, joints)
    for image, image_before in zip(again.read_camera(2), images, strict=True):
        np.testing.assert_array_equal(image, image_before)
    assert kept.stat().st_mtime_ns == written and not leftover.exists()
    assert (root / "manifest.json").read_text() == manifest and '"content_hash"' in manifest


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hz": 10}, "choose another folder"),
        ({"seed": 5}, "choose another folder"),
        ({"preset": "huge"}, "known presets: lite, paper"),
        ({"hz": 3}, "divisor of 10"),
        ({"task": "FlyToTheMoon"}, "known tasks: .*PutSpatulaOnTable"),
    ],
)
def test_options_that_do_not_fit_are_refused(root, change, message):
    with pytest.raises(ValueError, match=message):
        demos.collect(root, **OPTIONS | change)


class FakeStation:
    """A station whose demonstrations succeed as told."""

    def __init__(self, outcomes: list[bool]):
        self.outcomes, self.seeds = outcomes, []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def success(self) -> bool:
        return self.outcomes[len(self.seeds) - 1]


def fake_arrays(station, recipe, rng) -> EpisodeArrays:
    frames, cameras, size = 2, recipe.cameras, (4, 6)
    return EpisodeArrays(
        rgb=np.zeros((frames, cameras, *size, 3), np.uint8),
        depth=np.zeros((frames, cameras, *size), np.uint16),
        label=np.zeros((frames, cameras, *size), np.uint8),
        K=np.tile(np.eye(3), (cameras, 1, 1)),
        X_WC=np.tile(np.eye(4), (cameras, 1, 1)),
        X_WG=np.tile(np.eye(4), (frames, 2, 1, 1)),
        width_m=np.ones((frames, 2)),
        joint_positions=np.zeros((frames, 2, 7)),
        time_s=np.arange(frames) / 2.0,
    )


def test_a_failed_demonstration_is_drawn_again_with_the_next_seed(tmp_path, monkeypatch):
    station = FakeStation([False, False, True])
    monkeypatch.setattr(demos, "_station", lambda task: station)
    monkeypatch.setattr(demos, "record", fake_arrays)
    recipe = demos.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0)
    demos.record_episode(tmp_path, recipe, 4, "test")
    first = station.seeds[0]
    assert station.seeds == [first, first + 1, first + 2]
    assert open_episode(demos.episode_path(tmp_path, 4)).info.seed == first + 2


def test_a_demonstration_that_never_succeeds_stops_the_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(demos, "_station", lambda task: FakeStation([False] * demos.MAX_ATTEMPTS))
    monkeypatch.setattr(demos, "record", fake_arrays)
    with pytest.raises(RuntimeError, match="episode 4"):
        demos.record_episode(tmp_path, demos.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0), 4, "test")


def test_the_sample_is_kept_until_the_simulation_changes(tmp_path, monkeypatch):
    recorded = []

    def fake_collect(root, **options):
        recorded.append(options)
        root.mkdir()
        (root / "manifest.json").write_text("{}")

    monkeypatch.setattr(geo4d_lite, "__file__", str(tmp_path / "geo4d_lite" / "__init__.py"))
    monkeypatch.setattr(demos, "collect", fake_collect)
    monkeypatch.setattr(demos, "open_dataset", lambda root: root)
    monkeypatch.setattr(demos, "simulation_fingerprint", lambda: "one")
    assert demos.sample_dataset() == demos.sample_dataset() == tmp_path / "data" / "sample"
    assert len(recorded) == 1
    monkeypatch.setattr(demos, "simulation_fingerprint", lambda: "two")
    demos.sample_dataset()
    assert len(recorded) == 2


def test_the_fingerprint_reads_sources_and_models():
    files = demos.simulation_files()
    names = {path.name for path in files}
    assert {"station.py", "spatula.py", "panda.urdf", "spatula.urdf", "apple.obj", "gripper.json"} <= names
