"""Metrics and intervals against hand-made cases, SciPy's matrix root, brute force and known coverage."""

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, render, shell_camera, table
from scipy import stats
from scipy.linalg import sqrtm

from geo4d_lite.evaluation import (
    abs_rel,
    bootstrap_interval,
    box_iou,
    cross_view_iou,
    delta1,
    frechet_distance,
    mask_iou,
    mean_rate_interval,
    wilson_interval,
)
from geo4d_lite.geometry import invert, unproject
from geo4d_lite.geometry.labels import gripper_labels


def test_depth_metrics_by_hand():
    true, predicted = np.array([[1.0, 2.0], [4.0, 0.0]]), np.array([[1.1, 1.0], [4.0, 9.0]])
    valid = np.array([[True, True], [True, False]])
    assert abs_rel(predicted, true, valid) == pytest.approx((0.1 + 0.5 + 0.0) / 3)
    assert delta1(predicted, true, valid) == pytest.approx(2 / 3)


def test_invalid_pixels_do_not_change_depth_metrics():
    rng = np.random.default_rng(0)
    true, valid = rng.uniform(0.5, 2, (4, 8, 8)), rng.random((4, 8, 8)) < 0.6
    predicted = true * rng.uniform(0.9, 1.4, true.shape)
    clean = abs_rel(predicted, true, valid), delta1(predicted, true, valid)
    dirty_true, dirty_predicted = np.where(valid, true, 0.0), np.where(valid, predicted, np.nan)
    assert (abs_rel(dirty_predicted, dirty_true, valid), delta1(dirty_predicted, dirty_true, valid)) == clean


def test_predictions_that_are_not_finite_count_as_wrong():
    true, valid = np.ones((1, 4)), np.ones((1, 4), bool)
    predicted = np.array([[1.0, np.nan, np.inf, 1.0]])
    assert abs_rel(predicted, true, valid) == pytest.approx(0.5)
    assert delta1(predicted, true, valid) == pytest.approx(0.5)


def test_depth_metrics_name_what_is_wrong():
    one = np.ones((2, 2))
    with pytest.raises(ValueError, match="one shape"):
        abs_rel(np.ones((2, 3)), one, one > 0)
    with pytest.raises(ValueError, match="no valid pixel"):
        delta1(one, one, one < 0)
    with pytest.raises(ValueError, match="true z <= 0"):
        abs_rel(one, 0 * one, one > 0)


def test_iou_of_masks_and_boxes_by_hand():
    a, b, none = np.zeros((3, 10, 10), bool)
    a[2:6, 2:6] = True
    b[4:8, 2:6] = True
    assert mask_iou(a, b) == pytest.approx(8 / 24)
    assert box_iou(a, b) == pytest.approx(8 / 24)
    b[0, 9] = True  # one stray pixel: little for the mask, much for the box
    assert mask_iou(a, b) == pytest.approx(8 / 25)
    assert box_iou(a, b) == pytest.approx(16 / 64)
    assert mask_iou(a, none) == 0.0 and box_iou(a, none) == 0.0
    assert mask_iou(none, none) is None and box_iou(none, none) is None


def two_views():
    scene = table().add_gripper(0, gripper_pose((0.0, 0.1, 0.2), 0.3, 0.3), 0.12)
    cameras = shell_camera(0.3), shell_camera(-0.4)
    (view_n, label_n), (view_m, label_m) = (render(scene, X_WC, LITE) for X_WC in cameras)
    masks = [np.isin(label, gripper_labels(0)) for label in (label_n, label_m)]
    return view_n, view_m, *masks, invert(cameras[1]) @ cameras[0]


def test_cross_view_iou_is_high_for_true_views_and_falls_with_a_shifted_pointmap():
    view_n, view_m, mask_n, mask_m, X_mn = two_views()
    points, _ = unproject(view_n.depth_m, view_n.K)
    true = cross_view_iou(mask_n, points, mask_m, X_mn, view_m.K)
    moved = [cross_view_iou(mask_n, points + [d, 0, 0], mask_m, X_mn, view_m.K) for d in (0.03, 0.08, 0.3)]
    assert true > 0.55, "a part of the gripper is seen from one side only"
    assert true > moved[0] > moved[1] > moved[2]
    assert moved[2] < 0.05


def test_cross_view_iou_needs_the_transform_the_right_way_round():
    view_n, view_m, mask_n, mask_m, X_mn = two_views()
    points, _ = unproject(view_n.depth_m, view_n.K)
    inverted = cross_view_iou(mask_n, points, mask_m, invert(X_mn), view_m.K)
    assert inverted < 0.5 * cross_view_iou(mask_n, points, mask_m, X_mn, view_m.K)


def by_matrix_root(a, b):
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(cov_a @ cov_b)
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * np.real(root))


def test_frechet_distance_agrees_with_the_matrix_root():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12))
    b = rng.normal(size=(150, 12)) @ rng.normal(size=(12, 12)) + 0.5
    assert frechet_distance(a, b) == pytest.approx(by_matrix_root(a, b), rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))


def test_frechet_distance_of_one_dimensional_gaussians_is_known():
    a, b = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None], None
    b = 3.0 + 2.0 * a
    spread = a.std(ddof=1)
    assert frechet_distance(a, b) == pytest.approx(9.0 + (2.0 * spread - spread) ** 2, rel=1e-6)


def test_frechet_distance_holds_with_fewer_samples_than_dimensions():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(10, 400)), rng.normal(size=(12, 400)) + 1.0
    distance = frechet_distance(a, b)
    assert np.isfinite(distance) and distance > 400 * 0.5
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-8)
    assert frechet_distance(a, a + 2.0) == pytest.approx(1600.0, rel=1e-9)


def test_frechet_distance_names_bad_features():
    with pytest.raises(ValueError, match="N, M >= 2"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        frechet_distance(np.full((4, 3), np.nan), np.zeros((5, 3)))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (9, 10), (10, 10), (27, 30)])
def test_wilson_interval_agrees_with_scipy(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_one_rate_is_its_own():
    assert mean_rate_interval([0.3], [wilson_interval(3, 10)]) == pytest.approx(wilson_interval(3, 10))


def test_the_interval_of_a_mean_weighs_each_rate_by_its_trials():
    """By hand: lower ends 0.1 and 0.4 below, upper ends 0.3 and 0.4 above the rates 0.5 and 0.6."""
    low, high = mean_rate_interval([0.5, 0.6], [[0.4, 0.8], [0.2, 1.0]])
    assert (low, high) == pytest.approx((0.55 - np.hypot(0.1, 0.4) / 2, 0.55 + np.hypot(0.3, 0.4) / 2))


@pytest.mark.parametrize(("truth", "trials"), [((0.1, 0.5, 0.2), (30, 30, 10)), ((0.8, 0.9, 0.75), (30, 30, 30))])
def test_the_interval_of_a_mean_covers_it_as_often_as_it_says(truth, trials):
    """Pooling all trials would centre on another mean where the tasks were tried differently often."""
    rng = np.random.default_rng(0)
    covered = []
    for successes in rng.binomial(trials, truth, size=(2000, 3)):
        intervals = [wilson_interval(int(k), n) for k, n in zip(successes, trials, strict=True)]
        low, high = mean_rate_interval(successes / trials, intervals)
        covered.append(low <= np.mean(truth) <= high)
    assert 0.93 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(
    ("rates", "intervals"), [([], np.zeros((0, 2))), ([0.5], [0.4, 0.6]), ([0.5], [[0.1, 0.2]] * 2)]
)
def test_the_interval_of_a_mean_rejects_other_shapes(rates, intervals):
    with pytest.raises(ValueError, match="expected"):
        mean_rate_interval(rates, intervals)


def test_wilson_interval_rejects_impossible_counts():
    with pytest.raises(ValueError, match="11 successes of 10"):
        wilson_interval(11, 10)


def test_bootstrap_draws_episodes_and_not_windows():
    rng = np.random.default_rng(0)
    episodes = np.repeat(np.arange(8), 50)
    values = rng.normal(size=8)[episodes] + 0.01 * rng.normal(size=400)  # windows of an episode are nearly equal
    low, high = bootstrap_interval(values, episodes)
    low_windows, high_windows = bootstrap_interval(values, np.arange(400))
    assert low < values.mean() < high
    assert high - low > 4 * (high_windows - low_windows)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        values = rng.normal(size=30)
        low, high = bootstrap_interval(values, np.arange(30), draws=400, seed=trial)
        hits += low < 0.0 < high
    assert 0.87 < hits / 200 < 0.99


def test_bootstrap_leaves_out_nan_and_admits_when_it_cannot_know():
    values, episodes = np.array([1.0, np.nan, 3.0, 5.0]), np.array([0, 0, 1, 2])
    low, high = bootstrap_interval(values, episodes)
    assert 1.0 <= low <= 3.0 <= high <= 5.0
    assert np.isnan(bootstrap_interval(np.ones(5), np.zeros(5))).all()
