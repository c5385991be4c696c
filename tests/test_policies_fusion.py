"""Two views of a gripper made one pose, and a film's poses made one motion."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geo4d_lite.perception import Estimate
from geo4d_lite.policies import VideoPolicyConfig
from geo4d_lite.policies.fusion import fuse, smooth

EYES = [np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0])]  # the gripper at (0, 0, 1) is seen at a right angle


def pose(place, turn=(0.0, 0.0, 0.0)) -> np.ndarray:
    X = np.eye(4)
    X[:3, :3], X[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), place
    return X


def test_what_one_view_gets_wrong_along_its_ray_the_other_one_knows():
    off = 0.06
    first = Estimate(pose([0.0, 0.0, 1.0 + off]), 0.5)  # too far
    second = Estimate(pose([0.0 - off, 0.0, 1.0]), 0.5)  # too far, seen from the side
    fused = fuse([first, second], EYES, 0.25).X_CG[:3, 3]
    halfway = (first.X_CG[:3, 3] + second.X_CG[:3, 3]) / 2
    truth = np.array([0.0, 0.0, 1.0])
    assert np.linalg.norm(fused - truth) < 0.3 * np.linalg.norm(halfway - truth)


def test_the_better_view_counts_more_and_lends_score_and_width():
    first, second = Estimate(pose([0, 0, 1.0]), 0.8, None), Estimate(pose([0, 0.04, 1.0], (0.4, 0, 0)), 0.4, 0.05)
    fused = fuse([first, second], EYES, 0.25)
    assert fused.score == 0.8 and fused.width_m == 0.05
    assert 0 < fused.X_CG[1, 3] < 0.02
    assert 0 < Rotation.from_matrix(fused.X_CG[:3, :3]).magnitude() < 0.2


def test_a_view_without_confidence_does_not_count():
    first, second = Estimate(pose([0, 0, 1.0]), 0.5), Estimate(pose([0.3, 0.3, 1.0]), 0.1)
    np.testing.assert_allclose(fuse([first, second], EYES, 0.25).X_CG, first.X_CG, atol=1e-12)
    assert fuse([None, second], EYES, 0.25) is None and fuse([None, None], EYES, 0.25) is None


def test_smoothing_takes_noise_out_and_leaves_an_even_motion_alone():
    T, rng = 10, np.random.default_rng(0)
    straight = np.stack([pose([0.05 * t, 0.0, 0.3], (0.0, 0.0, 0.1)) for t in range(T + 1)])
    known = np.ones(T, bool)
    even = smooth(straight[1:], known, straight[0], 0.8)
    np.testing.assert_allclose(even, straight[1:], atol=1e-9)
    noisy = straight[1:].copy()
    noisy[:, :3, 3] += rng.normal(0, 0.03, (T, 3))
    noisy[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.3, (T, 3))).as_matrix() @ noisy[:, :3, :3]
    found = smooth(noisy, known, straight[0], 0.8)

    def errors(X):
        turn = Rotation.from_matrix(X[:, :3, :3] @ straight[1:, :3, :3].swapaxes(1, 2)).magnitude()
        return np.array([np.linalg.norm(X[:, :3, 3] - straight[1:, :3, 3], axis=1).mean(), turn.mean()])

    assert (errors(found) < 0.8 * errors(noisy)).all()


def test_frames_in_which_nothing_was_found_are_left_out_and_left_alone():
    straight = np.stack([pose([0.05 * t, 0.0, 0.3]) for t in range(7)])
    known = np.array([True, True, False, True, False, True])
    X = np.where(known[:, None, None], straight[1:], pose([9.0, 9.0, 9.0]))
    found = smooth(X, known, straight[0], 0.8)
    np.testing.assert_allclose(found[known], straight[1:][known], atol=1e-9)
    np.testing.assert_array_equal(found[~known], X[~known])
    np.testing.assert_array_equal(smooth(X, np.zeros(6, bool), straight[0], 0.8), X)


def test_an_unknown_way_to_use_the_views_is_refused():
    with pytest.raises(ValueError, match="views is .all.; expected"):
        VideoPolicyConfig(views="all")


def test_rotations_can_be_smoothed_over_more_frames_than_positions():
    rng = np.random.default_rng(0)
    X = np.stack([pose(rng.normal(size=3), rng.normal(0, 0.2, 3)) for _ in range(7)])
    known = np.ones(6, bool)
    alike, turned = (smooth(X[1:], known, X[0], 0.5, turn_frames) for turn_frames in (None, 2.0))
    np.testing.assert_array_equal(alike, smooth(X[1:], known, X[0], 0.5, 0.5))
    np.testing.assert_array_equal(turned[:, :3, 3], alike[:, :3, 3])
    np.testing.assert_array_equal(turned[:, :3, :3], smooth(X[1:], known, X[0], 2.0)[:, :3, :3])
