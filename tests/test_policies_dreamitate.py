"""Dreamitate's stereo: two rays from a known point, and grippers followed through a ray-cast video without depth."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from perception_scene import LITE, pose_error, shell_camera
from scipy.spatial.transform import Rotation
from test_policies_safety import CAMERAS, observed, states

from geo4d_lite.geometry import invert, project, transform
from geo4d_lite.geometry.labels import gripper_labels
from geo4d_lite.perception import ColourSegmenter
from geo4d_lite.policies import Dreamitate, PolicyFailure
from geo4d_lite.policies.stereo import MAX_GAP_M, Camera, StereoGripper, closest_midpoint

THRESHOLD_M = 0.06


def unit(vector) -> np.ndarray:
    return np.asarray(vector, float) / np.linalg.norm(vector)


def test_two_rays_that_meet_give_their_point():
    point = np.array([0.1, -0.2, 0.05])
    a, b = np.array([0.5, 0.4, 0.9]), np.array([0.6, -0.5, 1.0])
    middle, gap_m = closest_midpoint(a, unit(point - a), b, unit(point - b))
    np.testing.assert_allclose(middle, point, atol=1e-12)
    assert gap_m < 1e-12


def test_two_rays_that_pass_each_other_give_the_middle_between_them():
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    middle, gap_m = closest_midpoint(np.array([-3.0, 0, 0]), x, np.array([0, -2.0, 0.04]), y)
    np.testing.assert_allclose(middle, (0, 0, 0.02), atol=1e-12)
    assert gap_m == pytest.approx(0.04)


def test_rays_that_say_nothing_are_given_up():
    x = np.array([1.0, 0, 0])
    assert closest_midpoint(np.zeros(3), x, np.array([0, 0.1, 0]), x)[1] == np.inf, "parallel"
    assert closest_midpoint(np.zeros(3), x, np.array([-1.0, -1, 0]), np.array([0, 1.0, 0]))[1] == np.inf, "behind"


def test_a_camera_sees_a_point_along_the_ray_of_its_pixel():
    X_WC, p_W = shell_camera(0.3), np.array([[0.05, -0.1, 0.1]])
    pixels, _ = project(transform(invert(X_WC), p_W), LITE.matrix)
    ray = Camera(LITE.matrix, X_WC).ray(pixels[0])
    np.testing.assert_allclose(np.cross(ray, unit(p_W[0] - X_WC[:3, 3])), 0, atol=1e-9)


def parts_of(X_WG: np.ndarray, width_m: float, gap_m: float = 0.0) -> dict:
    """Points of hand, left and right finger of the left arm, off their middles as what is visible of them would be."""
    of_G = {"hand": (0.01, 0.0, -0.07), "left": (0.005, width_m / 2, -0.01), "right": (0.005, -width_m / 2, -0.01)}
    points = (X_WG[:3, :3] @ np.array(p_G) + X_WG[:3, 3] for p_G in of_G.values())
    return {int(label): (point, gap_m) for label, point in zip(gripper_labels(0), points, strict=True)}


def moved_gripper() -> tuple[np.ndarray, np.ndarray]:
    """Two poses some centimetres and 20 degrees apart."""
    X, Y = np.eye(4), np.eye(4)
    X[:3, :3], X[:3, 3] = Rotation.from_euler("xyz", (175, 10, 30), degrees=True).as_matrix(), (0.1, 0.2, 0.3)
    Y[:3, :3], Y[:3, 3] = X[:3, :3] @ Rotation.from_rotvec((0.2, 0.1, 0.3)).as_matrix(), (0.14, 0.17, 0.26)
    return X, Y


def test_three_points_carry_the_whole_pose_and_the_width():
    X, Y = moved_gripper()
    gripper = StereoGripper(0, X)
    gripper.register(parts_of(X, 0.15), X)
    X_WG, score, width_m = gripper.track(parts_of(Y, 0.05, gap_m=MAX_GAP_M / 4))
    np.testing.assert_allclose(X_WG, Y, atol=1e-9)
    assert score == pytest.approx(0.75) and width_m == pytest.approx(0.05)


def test_what_is_hidden_is_held():
    X, Y = moved_gripper()
    hand, left, right = (int(label) for label in gripper_labels(0))
    gripper = StereoGripper(0, X)
    gripper.register(parts_of(X, 0.15), X)
    shifted = X.copy()
    shifted[:3, 3] += (0.03, -0.02, 0.01)
    X_WG, score, width_m = gripper.track({hand: parts_of(shifted, 0.15)[hand]})
    np.testing.assert_allclose(X_WG, shifted, atol=1e-9, err_msg="the hand alone moves it without turning it")
    assert score == 1.0 and width_m is None
    X_WG, score, _ = gripper.track({left: parts_of(Y, 0.15)[left]})
    np.testing.assert_allclose(X_WG, shifted, atol=1e-9)
    assert score == 0.0
    fingers = {label: point for label, point in parts_of(Y, 0.15).items() if label != hand}
    X_WG, _, _ = gripper.track(fingers)
    np.testing.assert_allclose(X_WG[:3, 1], Y[:3, 1], atol=1e-9, err_msg="the axis of the fingers is seen")
    np.testing.assert_allclose(X_WG[:3, :3] @ X_WG[:3, :3].T, np.eye(3), atol=1e-9)
    right_angle = unit(shifted[:3, 2] - (shifted[:3, 2] @ Y[:3, 1]) * Y[:3, 1])
    assert np.rad2deg(np.arccos(np.clip(X_WG[:3, 2] @ right_angle, -1, 1))) < 2.0, "the approach is held"


@pytest.fixture(scope="module")
def case():
    poses, widths = states()
    observation, video = observed(poses, widths)
    return replace(observation, X_WC_m=CAMERAS[1]), video, poses, widths


def policy_for(rgb) -> Dreamitate:
    return Dreamitate(lambda view_n, view_m: SimpleNamespace(rgb=rgb), ColourSegmenter(), THRESHOLD_M)


def test_both_grippers_are_followed_in_the_world_by_colour_alone(case):
    observation, video, poses, widths = case
    answer = policy_for(video.rgb).predict_action(observation)
    errors = [pose_error(answer.X_WG[t, a], poses[t + 1, a]) for t in range(len(poses) - 1) for a in (0, 1)]
    assert np.max(errors, axis=0)[0] < 0.015 and np.max(errors, axis=0)[1] < 10.0, np.round(errors, 3)
    np.testing.assert_array_equal(answer.width_m > 0.1, widths[1:] > 0.06)
    assert (answer.score > 0.35).all() and (answer.view == -1).all()


def test_without_the_second_cameras_pose_there_is_no_answer(case):
    observation, video, _, _ = case
    with pytest.raises(PolicyFailure, match="X_WC_m"):
        policy_for(video.rgb).predict_action(replace(observation, X_WC_m=None))


def test_one_blank_view_is_enough_to_hold_still(case):
    observation, video, poses, _ = case
    rgb = video.rgb.copy()
    rgb[1] = 0
    answer = policy_for(rgb).predict_action(observation)
    assert answer.is_blind
    np.testing.assert_allclose(answer.X_WG, np.repeat(poses[:1], 4, axis=0), atol=1e-9)
