"""What every conversion needs: common times, units, sizes and the test of extrinsics, each against an oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_arrays, make_info

from geo4d_lite.data import SourceError, decode_depth, open_episode, write_dataset
from geo4d_lite.data.convert import (
    camera_split,
    depth_in_metres,
    depth_residual,
    fixed_pose,
    nearest,
    resize_colour,
    resize_nearest,
    resized_matrix,
    synchronised_frames,
)
from geo4d_lite.geometry import Intrinsics, look_at, relative_pose

TIMES = st.lists(st.floats(0, 100), min_size=1, max_size=20, unique=True).map(lambda values: np.array(sorted(values)))


@given(times=TIMES, wanted=st.lists(st.floats(-10, 110), min_size=1, max_size=10))
def test_the_nearest_frame_is_the_one_a_search_finds(times, wanted):
    got = nearest(times, np.array(wanted))
    for index, moment in zip(got, wanted, strict=True):
        assert abs(times[index] - moment) == min(abs(times - moment))


def test_streams_of_different_rates_meet_at_common_times():
    streams = {"fast": np.arange(5.0, 8.0, 0.01), "slow": 5.02 + np.arange(60) / 30}
    wanted, frames = synchronised_frames(streams, hz=2, tolerance_s=0.03)
    np.testing.assert_allclose(wanted, 5.02 + np.array([0, 0.5, 1.0, 1.5]))
    for name, times in streams.items():
        assert np.all(np.abs(times[frames[name]] - wanted) < 0.017)


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ({"a": [0.0, 1.0], "b": []}, "stream b has no frames"),
        ({"a": [0.0, 1.0], "b": [0.0, 1.0, 0.5]}, "time stamps of stream b do not increase"),
        ({"a": [0.0, 1.0], "b": [5.0, 6.0]}, r"a \(ends at 1.000 s\) and b \(begins at 5.000 s\) share no time"),
        ({"a": [0.0, 0.5, 1.0], "b": [0.0, 0.1, 1.0]}, "a and b are not synchronised|b and a are not synchronised"),
    ],
)
def test_streams_that_do_not_go_together_are_refused(streams, message):
    with pytest.raises(SourceError, match=message):
        synchronised_frames({name: np.array(times) for name, times in streams.items()}, hz=2, tolerance_s=0.1)


def test_depth_counts_become_metres_and_what_is_out_of_range_nothing():
    depth = np.array([[[0, 900, 65535, 1100]]], np.uint16)
    np.testing.assert_allclose(depth_in_metres(depth, 0.001, "left"), [[[0, 0.9, 0, 1.1]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("counts", "unit_m", "mend"),
    [
        (900, 1.0, "a unit of 0.001 m would give 0.9 m"),  # millimetres read as metres
        (0.9, 0.001, "a unit of 1 m would give 0.9 m"),  # metres read as millimetres
        (9000, 0.001, "a unit of 0.0001 m would give 0.9 m"),
        (0, 0.001, "no depth at all"),
        (1e-9, 0.001, "no usual unit fits"),
    ],
)
def test_a_wrong_depth_unit_is_refused_with_one_that_fits(counts, unit_m, mend):
    with pytest.raises(SourceError, match=f"camera left .*{mend}"):
        depth_in_metres(np.full((2, 4, 5), counts), unit_m, "left")


def test_a_camera_that_moves_is_refused_and_one_that_trembles_is_not():
    X_WC = np.tile(np.eye(4), (5, 1, 1))
    X_WC[3, 0, 3] = 0.0005
    np.testing.assert_array_equal(fixed_pose(X_WC, "left"), np.eye(4))
    X_WC[3, 0, 3] = 0.2
    with pytest.raises(SourceError, match="camera left moves by 0.200 m"):
        fixed_pose(X_WC, "left")


@pytest.mark.parametrize("size", [(20, 16), (13, 11), (80, 64)])
def test_resized_colour_keeps_the_mean_and_whole_factors_are_block_means(size):
    rgb = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3)).astype(np.uint8)
    small = resize_colour(rgb, size)
    assert small.shape == (2, size[1], size[0], 3)
    np.testing.assert_allclose(small.mean((1, 2)), rgb.mean((1, 2)), atol=0.5)
    if size == (20, 16):
        np.testing.assert_allclose(small, rgb.reshape(2, 16, 2, 20, 2, 3).mean((2, 4)), atol=0.5)


def test_resized_depth_takes_pixels_over_as_they_are():
    depth = np.arange(32 * 40).reshape(32, 40)
    for size in ((20, 16), (32, 25)):
        small = resize_nearest(depth, size)
        assert small.shape == size[::-1] and set(small.ravel()) <= set(depth.ravel())
        v, u = np.divmod(small, 40)
        expected_u, expected_v = ((np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, (40, 32), strict=True))
        assert np.abs(u - expected_u).max() <= 0.5 and np.abs(v - expected_v[:, None]).max() <= 0.5


def test_a_resized_camera_sees_the_same_rays_at_its_corners():
    K = np.array([[600.0, 0, 320.0], [0, 610.0, 250.0], [0, 0, 1]])
    small = resized_matrix(K, (640, 480), (320, 256))
    for corner, corner_small in (((-0.5, -0.5), (-0.5, -0.5)), ((639.5, 479.5), (319.5, 255.5))):
        ray, ray_small = (np.linalg.solve(k, [*c, 1.0]) for k, c in ((K, corner), (small, corner_small)))
        np.testing.assert_allclose(ray, ray_small)


def test_depth_residuals_are_nought_for_true_extrinsics_and_show_an_offset():
    """Two cameras look down on a plane from 1.0 and 1.2 m: depth is known without any renderer."""
    K = Intrinsics.from_fov(40, 32, np.deg2rad(42)).matrix
    X_Wn, X_Wm = (look_at((0.02, 0, z), (0.02, 0, 0), up=(1, 0, 0)) for z in (1.0, 1.2))
    images = np.full((32, 40), 1.0), np.full((32, 40), 1.2)
    residual = depth_residual(*images, K, K, relative_pose(X_Wm, X_Wn))
    assert len(residual) == 32 * 40 and np.abs(residual).max() < 1e-9
    seen = depth_residual(*images[::-1], K, K, relative_pose(X_Wn, X_Wm))  # m looks past the rim of n's image
    assert 0 < len(seen) < 32 * 40 and np.abs(seen).max() < 1e-9
    X_Wm[2, 3] += 0.03
    np.testing.assert_allclose(depth_residual(*images, K, K, relative_pose(X_Wm, X_Wn)), 0.03)
    images[1][:16] = 0  # nothing measured in half of m
    assert 0 < len(depth_residual(*images, K, K, relative_pose(X_Wm, X_Wn))) < 32 * 40


def test_fewer_than_four_cameras_belong_to_the_split_of_their_episode():
    assert camera_split(2, "test") == ("test", "test") and camera_split(3, "train") == ("train",) * 3
    assert camera_split(16, "test") == ("train",) * 12 + ("test",) * 4


def test_only_missing_episodes_are_read_and_the_last_are_held_out(tmp_path):
    read = []

    def reader(number):
        def one(split):
            read.append((number, split))
            return make_arrays(number, 3, 4), make_info(number, split, 4)

        return one

    dataset = write_dataset(tmp_path, [reader(0), reader(1)], test_episodes=1)
    assert [episode.info.split for episode in dataset.episodes] == ["train", "test"]
    (tmp_path / ".episode_0002.zarr.partial-7").mkdir()
    write_dataset(tmp_path, [reader(0), reader(1), reader(2)], test_episodes=2)
    assert read == [(0, "train"), (1, "test"), (2, "test")] and not list(tmp_path.glob(".*partial*"))
    depth = open_episode(tmp_path / "episode_0002.zarr").read_camera(0)[1]
    assert 0.5 < np.median(decode_depth(depth)) < 1.5


def test_a_conversion_goes_on_only_with_the_options_and_splits_it_was_begun_with(tmp_path):
    def reader(number):
        return lambda split: (make_arrays(number, 3, 4), make_info(number, split, 4))

    def refuses(split):
        raise SourceError("no calibration")

    with pytest.raises(SourceError, match="no calibration"):
        write_dataset(tmp_path, [refuses], 0, {"hz": 10})
    write_dataset(tmp_path, [reader(0)], 0, {"hz": 2, "labels": {44: "OBJECT"}})  # nothing had been written yet
    write_dataset(tmp_path, [reader(0), reader(1)], 1, {"hz": 2, "labels": {44: "OBJECT"}})
    with pytest.raises(SourceError, match=r"begun with other options \(hz, labels\); convert into another folder"):
        write_dataset(tmp_path, [reader(0), reader(1)], 1, {"hz": 10, "labels": {}})
    with pytest.raises(SourceError, match=r"episode_0001.zarr was converted for the test split and would now be train"):
        write_dataset(tmp_path, [reader(0), reader(1), reader(2)], 1, {"hz": 2, "labels": {44: "OBJECT"}})
    assert len(list(tmp_path.glob("episode_*.zarr"))) == 2


@pytest.mark.parametrize(("episodes", "held_out"), [(0, 0), (1, 1), (2, 3)])
def test_too_few_episodes_are_refused(tmp_path, episodes, held_out):
    with pytest.raises(SourceError, match=f"{episodes} episodes found, {held_out} to hold out"):
        write_dataset(tmp_path, [lambda split: None] * episodes, held_out)
