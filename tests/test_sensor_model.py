"""The stereo depth camera: errors grow with distance squared, holes sit where geometry puts them, seeds repeat."""

from dataclasses import replace

import numpy as np
import pytest

from geo4d_lite.data import D415, D435, add_depth_noise
from geo4d_lite.data.sensor_model import incidence_deg, shadowed
from geo4d_lite.geometry import Intrinsics

LITE = Intrinsics.from_fov(160, 128, np.deg2rad(42)).matrix
NATIVE = Intrinsics.from_fov(160, 128, 2 * np.arctan(64 / D415.focal_px)).matrix  # a crop at the sensor's own pixels
NOISE_ONLY = replace(D415, speckle_share=0.0, edge_px=np.inf, disparity_step=1e-9)


def wall(z_m, shape=(128, 160)):
    return np.full(shape, z_m)


def tilted_plane(angle_deg, K=LITE, z_m=0.8):
    """Depth of a plane through (0, 0, z) whose normal is turned by an angle about the vertical; steep ones end."""
    normal = np.array([np.sin(np.deg2rad(angle_deg)), 0.0, -np.cos(np.deg2rad(angle_deg))])
    v, u = np.indices((128, 160))
    rays = np.stack([u, v, np.ones(u.shape)], -1) @ np.linalg.inv(K).T
    with np.errstate(divide="ignore"):
        depth = (normal @ (0, 0, z_m)) / (rays @ normal)
    return np.where((depth > 0.5) & (depth < 2.0), depth, 0.0), rays, normal


@pytest.mark.parametrize("K", [LITE, NATIVE])
@pytest.mark.parametrize("z_m", [0.6, 1.2, 2.4])
@pytest.mark.parametrize("sensor", [D415, D435])
def test_a_wall_has_no_bias_and_the_stated_noise(z_m, sensor, K):
    """The formula of the manufacturer's paper, whatever the image's own resolution."""
    rng, walls = np.random.default_rng(0), wall(z_m, (6, 128, 160))
    sensor = replace(sensor, speckle_share=0.0)
    error = add_depth_noise(walls, K, rng, sensor) - z_m
    f, b = (1280 / 2 / np.tan(np.deg2rad(65 / 2)), 0.055) if sensor.baseline_m > 0.052 else (848 / 2, 0.050)
    expected = z_m**2 * 0.08 / (f * b)
    assert np.std(error) == pytest.approx(expected, rel=0.05)
    assert sensor.depth_noise_m(z_m) == pytest.approx(expected, rel=1e-3)
    assert abs(np.mean(error)) < 0.1 * expected


def test_depth_comes_in_steps_that_grow_with_the_square_of_distance():
    def step_m(z_m):
        measured = np.unique(add_depth_noise(wall(z_m), LITE, np.random.default_rng(1), D415))
        return np.median(np.diff(measured[measured > 0]))

    for z_m in (0.6, 1.2, 2.4):
        assert step_m(z_m) == pytest.approx(z_m**2 / 32 / (D415.focal_px * 0.055), rel=0.03)
    assert step_m(2.4) / step_m(0.6) == pytest.approx(16, rel=0.05)


def test_noise_is_alike_over_a_window_of_the_sensor():
    """Neighbours agree at the sensor's own resolution; lite pixels are six apart and differ."""

    def correlation(K, lag):
        error = add_depth_noise(wall(1.0, (4, 128, 160)), K, np.random.default_rng(2), NOISE_ONLY) - 1.0
        return np.corrcoef(error[..., :-lag].ravel(), error[..., lag:].ravel())[0, 1]

    assert correlation(NATIVE, 1) > 0.9 and correlation(NATIVE, 3) > 0.4
    assert abs(correlation(NATIVE, 20)) < 0.1
    assert correlation(LITE, 1) < 0.2


def test_the_shadow_of_a_step_lies_on_its_left_and_is_as_wide_as_geometry_says():
    """A near board before a far wall: the band that the right imager cannot see, computed with two pinhole cameras."""
    near, far = 0.7, 1.4
    depth = wall(far)
    depth[30:90, 60:110] = near
    quiet = replace(NOISE_ONLY, window_px=1e-6, edge_px=np.inf)
    lost = add_depth_noise(depth, LITE, np.random.default_rng(0), quiet) == 0
    left_edge_x = (60 - LITE[0, 2]) / LITE[0, 0] * near  # of the board, metres
    right_eye = D415.baseline_m
    hidden_x = right_eye + (left_edge_x - right_eye) * far / near  # where the ray from the right eye meets the wall
    first_hidden = hidden_x / far * LITE[0, 0] + LITE[0, 2]
    band = 60 - np.ceil(first_hidden)
    assert band == 6 and np.all(lost[30:90].sum(axis=1) == band)
    assert np.all(lost[30:90, 60 - int(band) : 60]) and not lost[:30].any() and not lost[90:].any()


def test_shadows_agree_with_a_brute_force_look_from_the_right_eye():
    rng = np.random.default_rng(3)
    disparity = np.repeat(rng.uniform(0, 12, (6, 10)), 4, axis=1)
    expected = [
        [any(row[k] > row[u] and k - row[k] <= u - row[u] for k in range(u + 1, row.size)) for u in range(row.size)]
        for row in disparity
    ]
    np.testing.assert_array_equal(shadowed(disparity), expected)


def test_windows_break_on_both_sides_of_an_edge_and_only_there():
    depth = wall(1.2)
    depth[:, 80:] = 0.8
    sensor = replace(D415, speckle_share=0.0)
    lost = np.mean(
        [add_depth_noise(depth, NATIVE, np.random.default_rng(s), sensor) == 0 for s in range(20)], axis=(0, 1)
    )
    shadow = round(D415.focal_px * 0.055 * (1 / 0.8 - 1 / 1.2))
    assert np.all(lost[80 - shadow : 83] > 0.95) and lost[83] == pytest.approx(0.5, abs=0.05)
    assert lost[84:].max() == 0 and lost[: 80 - shadow - 5].max() == 0


@pytest.mark.parametrize(("angle", "low", "high"), [(0, 0, 0), (60, 0, 0), (80, 0.55, 0.8), (84, 0.85, 1.0)])
def test_surfaces_are_lost_as_they_turn_away(angle, low, high):
    """The share of holes on a plane seen at an angle, between none at 70 and all at 85 degrees."""
    sensor = replace(D415, speckle_share=0.0, edge_px=np.inf, subpixel_rms=0.0)
    depth, rays, normal = tilted_plane(angle)
    seen = -(rays @ normal) / np.linalg.norm(rays, axis=-1)
    near_angle = (depth > 0) & (np.abs(np.rad2deg(np.arccos(np.clip(seen, -1, 1))) - angle) < 2)
    inside = near_angle[1:-1, 1:-1]
    lost = add_depth_noise(depth, LITE, np.random.default_rng(0), sensor)[1:-1, 1:-1] == 0
    facing_away = shadowed(LITE[0, 0] * 0.055 * np.where(depth > 0, 1 / np.maximum(depth, 0.1), 0))[1:-1, 1:-1]
    assert inside.sum() > 100 and low <= np.mean(lost[inside & ~facing_away]) <= high


@pytest.mark.parametrize("angle", [0, 35, 60, 75])
def test_the_angle_of_incidence_is_exact_on_planes(angle):
    depth, rays, normal = tilted_plane(angle)
    expected = np.rad2deg(np.arccos(-(rays @ normal) / np.linalg.norm(rays, axis=-1)))
    got = incidence_deg(np.where(depth > 0, 1 / np.maximum(depth, 0.1), 0.0), LITE[None, None])
    inside = np.zeros(depth.shape, bool)
    inside[2:-2, 2:-2] = np.minimum.reduce([np.roll(depth, s, 1)[2:-2, 2:-2] for s in (-1, 0, 1)]) > 0
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-4)


def test_speckle_takes_the_stated_share_in_blobs():
    sensor = replace(D415, speckle_share=0.02)
    lost = add_depth_noise(wall(1.0, (8, 128, 160)), NATIVE, np.random.default_rng(5), sensor) == 0
    assert np.mean(lost) == pytest.approx(0.02, rel=0.2)
    assert np.mean(lost[..., 1:][lost[..., :-1]]) > 0.5  # beside a lost pixel


def test_what_is_no_measurement_stays_none_and_what_is_too_near_becomes_none():
    depth = wall(1.0)
    depth[0, :4] = 0.0, np.nan, np.inf, -1.0
    depth[60:, :] = 0.40  # nearer than a D415 can match
    measured = add_depth_noise(depth, LITE, np.random.default_rng(0), D415)
    assert np.all(np.isfinite(measured)) and np.all(measured[0, :4] == 0) and np.all(measured[60:] == 0)
    assert np.mean(measured[1:55] > 0) > 0.95


def test_a_stack_of_frames_and_cameras_keeps_its_shape_and_type_and_the_seed_repeats_it():
    depth = np.random.default_rng(0).uniform(0.6, 1.4, (3, 2, 1, 1)).astype(np.float32) * np.ones((16, 20), np.float32)
    K = np.stack([LITE, NATIVE])
    first, again, other = (add_depth_noise(depth, K, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert first.shape == depth.shape and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert np.any(first[0] != first[1])


def test_what_is_no_depth_in_metres_is_refused():
    with pytest.raises(ValueError, match="uint16 .* expected floating metres"):
        add_depth_noise(np.ones((4, 4), np.uint16), LITE, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"K has shape \(3,\); expected"):
        add_depth_noise(np.ones((4, 4)), np.ones(3), np.random.default_rng(0))
