"""Windows: the right frames of the right cameras, nothing leaked between the splits, both pointmaps in one frame."""

from itertools import permutations

import numpy as np
import pytest
from pydrake.math import RigidTransform
from synthetic import make_dataset

from geo4d_lite.data import EpisodeError, Window, WindowDataset, open_dataset, windows
from geo4d_lite.geometry import Label


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(make_dataset(tmp_path_factory.mktemp("data")))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_holds_out_both_cameras_and_episodes(dataset, split):
    cameras = {"train": [0, 1, 2], "test": [3, 4]}[split]  # five cameras, the last two held out
    episodes = {"train": ["episode_0000.zarr", "episode_0001.zarr"], "test": ["episode_0002.zarr"]}[split]
    found = [(window.episode.name, window.start, window.n, window.m) for window in windows(dataset, split)]
    expected = [(name, start, n, m) for name in episodes for start in range(6) for n, m in permutations(cameras, 2)]
    assert found == expected


def test_windows_take_every_fifth_frame_of_ten_hertz_and_repeat_the_last(dataset):
    episode = dataset.episodes[0]  # frames 0 to 35
    assert Window(episode, 0, 0, 1).frames.tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 35, 35, 35]
    assert Window(episode, 5, 0, 1).frames.tolist() == [5, 10, 15, 20, 25, 30, 35, 35, 35, 35, 35]
    seconds = np.diff(episode.time_s[Window(episode, 0, 0, 1).frames[:8]])
    np.testing.assert_allclose(seconds, 0.5)


@pytest.mark.parametrize("pad_frames", [3, 4, 10])
def test_at_most_pad_frames_lie_past_the_end(dataset, pad_frames):
    beyond = [
        int((window.start + 5 * np.arange(11) > window.episode.frames - 1).sum())
        for window in windows(dataset, "train", pad_frames)
    ]
    assert max(beyond) == pad_frames


def test_indexing_agrees_with_iteration_and_ends(dataset):
    found = windows(dataset, "train")
    assert len(found) == len(list(found)) == 2 * 6 * 6
    assert (found[-1].start, found[-1].n, found[-1].m) == (5, 2, 1)
    with pytest.raises(IndexError, match="window 72 of 72"):
        found[72]


def test_a_split_without_windows_says_what_it_needs(dataset):
    with pytest.raises(EpisodeError, match="no train windows; they need a train episode of at least 5 s"):
        windows(dataset, "train", pad_frames=0)


@pytest.mark.parametrize("pad_frames", [-1, 11])
def test_more_repeated_frames_than_future_frames_are_refused(dataset, pad_frames):
    with pytest.raises(ValueError, match=f"pad_frames is {pad_frames}"):
        windows(dataset, "train", pad_frames)


def test_a_rate_that_two_hertz_does_not_divide_is_refused(tmp_path):
    odd = open_dataset(make_dataset(tmp_path, train=1, test=0, hz=5))
    with pytest.raises(EpisodeError, match="episode_0000.zarr: recorded at 5 Hz"):
        windows(odd, "train")


@pytest.fixture(scope="module")
def item(dataset):
    return WindowDataset(dataset, "train")[9]


def test_an_item_holds_the_recorded_frames_of_both_views(dataset, item):
    window = windows(dataset, "train")[9]
    for view, camera in enumerate((window.n, window.m)):
        rgb, depth, label = window.episode.read_camera(camera)
        np.testing.assert_array_equal(item["rgb"][view], rgb[window.frames])
        np.testing.assert_array_equal(item["label"][view], label[window.frames])
        np.testing.assert_allclose(item["depth_m"][view], depth[window.frames] * 1e-4, rtol=1e-6)
        np.testing.assert_array_equal(item["X_WC"][view], window.episode.X_WC[camera])
    np.testing.assert_array_equal(item["X_WG"], window.episode.X_WG[window.frames])
    np.testing.assert_array_equal(item["width_m"], window.episode.width_m[window.frames])


def test_shapes_and_types_are_those_promised(item):
    found = {name: (array.shape, array.dtype.name) for name, array in item.items()}
    images = (2, 11, 16, 20)
    assert found == {
        "rgb": ((*images, 3), "uint8"),
        "depth_m": (images, "float32"),
        "label": (images, "uint8"),
        "pointmap": ((*images, 3), "float32"),
        "valid": (images, "bool"),
        "K": ((2, 3, 3), "float64"),
        "X_WC": ((2, 4, 4), "float64"),
        "X_nm": ((4, 4), "float64"),
        "X_WG": ((11, 2, 4, 4), "float64"),
        "width_m": ((11, 2), "float64"),
    }


def test_both_pointmaps_are_in_the_frame_of_n(item):
    """Back in the world, table pixels of either view lie on the table: only the right X_nm brings m there."""
    X_Wn = RigidTransform(item["X_WC"][0])
    for view in range(2):
        table = item["pointmap"][view][item["valid"][view] & (item["label"][view] == Label.TABLE)]
        heights = X_Wn.multiply(table.T.astype(float))[2]
        assert np.abs(heights).max() < 1e-3


def test_the_relative_pose_is_drakes(item):
    X_Wn, X_Wm = (RigidTransform(X_WC) for X_WC in item["X_WC"])
    np.testing.assert_allclose(item["X_nm"], (X_Wn.inverse() @ X_Wm).GetAsMatrix4(), atol=1e-12)


def test_invalid_pixels_of_the_second_view_do_not_become_the_translation_between_cameras(dataset):
    near = WindowDataset(dataset, "train", max_depth_m=1.0)[9]
    invalid = ~near["valid"][1]
    assert 0.1 < invalid.mean() < 0.9
    assert (near["pointmap"][1][invalid] == 0).all()
    assert np.linalg.norm(near["X_nm"][:3, 3]) > 0.05  # what they would have become


def test_the_cache_never_changes_what_is_read(dataset):
    small, large = (WindowDataset(dataset, "train", cache_gib=size) for size in (0.0, 1.0))
    for index in (0, 40, 0, 71):
        first, second = small[index], large[index]
        assert all(np.array_equal(first[name], second[name]) for name in first)
    first["rgb"][:] = 0
    assert small[71]["rgb"].any()
