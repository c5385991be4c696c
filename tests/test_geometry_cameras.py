"""Intrinsics, look-at poses and the camera shell, against Drake, SciPy and properties that hold for every camera."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydrake.systems.sensors import CameraInfo
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry import RGBD, CameraShell, Intrinsics, look_at, project, sample_camera_poses

coordinate = st.floats(-2.0, 2.0)
sizes = st.integers(2, 400)


@given(width=sizes, height=sizes, fov_y=st.floats(0.2, 2.5))
def test_intrinsics_from_a_field_of_view_are_drakes(width, height, fov_y):
    drake = CameraInfo(width=width, height=height, fov_y=fov_y)
    np.testing.assert_allclose(
        Intrinsics.from_fov(width, height, fov_y).matrix, drake.intrinsic_matrix(), rtol=1e-12, atol=1e-9
    )


@given(width=sizes, height=sizes, new_width=sizes, new_height=sizes, u=st.floats(0, 1), v=st.floats(0, 1))
def test_a_resized_camera_sees_the_same_ray_at_the_same_place_of_its_image(width, height, new_width, new_height, u, v):
    K = Intrinsics(width, height, 0.9 * width, 1.1 * width, 0.4 * width, 0.6 * height)
    p_C = np.array([u - 0.5, v - 0.5, 1.0])
    (u_old, v_old), _ = project(p_C, K.matrix)
    (u_new, v_new), _ = project(p_C, K.resized(new_width, new_height).matrix)
    np.testing.assert_allclose((u_new + 0.5) / new_width, (u_old + 0.5) / width, atol=1e-9)
    np.testing.assert_allclose((v_new + 0.5) / new_height, (v_old + 0.5) / height, atol=1e-9)


def test_resizing_to_twice_the_size_keeps_the_field_of_view():
    small, large = (Intrinsics.from_fov(160 * k, 128 * k, 0.7) for k in (1, 2))
    np.testing.assert_allclose(small.resized(320, 256).matrix, large.matrix)


@pytest.mark.parametrize(
    ("change", "message"), [({"width": 0}, "width is 0"), ({"fx": -1.0}, "fx is -1.0"), ({"fy": np.nan}, "fy is nan")]
)
def test_impossible_intrinsics_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Intrinsics(**{"width": 4, "height": 3, "fx": 2.0, "fy": 2.0, "cx": 1.5, "cy": 1.0} | change)


def test_a_field_of_view_in_degrees_is_refused_with_the_mend():
    with pytest.raises(ValueError, match="42.*np.deg2rad"):
        Intrinsics.from_fov(160, 128, 42.0)


def test_look_at_from_the_front_is_the_matrix_written_by_hand():
    X_WC = look_at((1.0, 0.0, 0.5), (0.0, 0.0, 0.5))
    by_hand = [[0, 0, -1, 1.0], [1, 0, 0, 0.0], [0, -1, 0, 0.5], [0, 0, 0, 1]]  # looks along -x: y of W is to the right
    np.testing.assert_allclose(X_WC, by_hand, atol=1e-15)


@given(eye=st.tuples(coordinate, coordinate, coordinate), target=st.tuples(coordinate, coordinate, coordinate))
def test_look_at_is_a_rotation_with_the_target_ahead_and_the_world_upright(eye, target):
    line = np.subtract(target, eye)
    if np.linalg.norm(line[:2]) < 1e-3:
        return  # above one another: the test below
    R_WC = look_at(eye, target)[:3, :3]
    np.testing.assert_allclose(Rotation.from_matrix(R_WC).as_matrix(), R_WC, atol=1e-9)  # SciPy finds nothing to mend
    np.testing.assert_allclose(R_WC.T @ line, [0, 0, np.linalg.norm(line)], atol=1e-9)
    assert abs(R_WC[2, 0]) < 1e-12  # x of the camera is level
    assert R_WC[2, 1] < 0  # y of the camera points down


@pytest.mark.parametrize(
    ("eye", "target", "up", "message"),
    [
        ((0, 0, 1), (0, 0, 1), (0, 0, 1), "eye and target"),
        ((0, 0, 1), (0, 0, 0), (0, 0, 1), "line of sight"),
        ((0, 0, 1), (1, 0, 0), (0, 0, 0), "zero"),
    ],
)
def test_look_at_without_a_direction_or_a_roll_is_refused(eye, target, up, message):
    with pytest.raises(ValueError, match=message):
        look_at(eye, target, up)


def test_sampled_cameras_obey_the_numbers_of_the_paper_and_look_at_the_workspace():
    X_WC = sample_camera_poses(200, np.random.default_rng(0))
    x, y, z = X_WC[:, :3, 3].T
    radius = np.sqrt(x**2 + y**2 + z**2)
    for values, low, high in ((x, 0.2, 0.6), (y, -0.5, 0.5), (z, 0.7, 1.2), (radius, 0.7, 1.2)):
        assert low <= values.min() < low + 0.15
        assert high - 0.15 < values.max() <= high
    to_center = np.array([0, 0, 0.1]) - X_WC[:, :3, 3]
    distance = np.linalg.norm(to_center, axis=1)
    np.testing.assert_allclose(np.einsum("ni,ni->n", X_WC[:, :3, 2], to_center), distance)  # z axis along the line


def test_the_same_seed_gives_the_same_cameras_however_many_follow():
    few, many = (sample_camera_poses(count, np.random.default_rng(7)) for count in (3, 9))
    np.testing.assert_array_equal(few, many[:3])


def test_the_shell_contains_a_place_only_if_both_radius_and_box_agree():
    places = [(0.4, 0.0, 0.8), (0.2, 0.0, 0.65), (0.6, 0.5, 1.2), (0.1, 0.0, 0.9), (0.4, 0.6, 0.7)]
    assert CameraShell().contains(places).tolist() == [True, False, False, False, False]


def test_a_shell_that_misses_its_box_is_refused_instead_of_sampled_forever():
    with pytest.raises(ValueError, match="no camera place in 500 draws"):
        sample_camera_poses(1, np.random.default_rng(0), CameraShell(low=(2, 2, 2), high=(3, 3, 3)), max_draws=500)


def observation(**change):
    rgb, K = np.zeros((3, 4, 3), np.uint8), Intrinsics.from_fov(4, 3, 0.7).matrix
    return RGBD(**{"rgb": rgb, "depth_m": np.full((3, 4), 0.9), "K": K} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rgb": np.zeros((3, 4, 3))}, "rgb has shape .* float64; expected"),
        ({"rgb": np.zeros((3, 4), np.uint8)}, "rgb has shape"),
        ({"depth_m": np.ones((4, 3))}, r"depth has shape \(4, 3\); expected \(3, 4\)"),
        ({"depth_m": np.full((3, 4), 912.0)}, r"median of 912.*millimetres: pass depth \* 0.001"),
        ({"depth_m": np.full((3, 4), 912, np.uint16)}, r"uint16.*pass depth \* 0.001"),
        ({"K": np.eye(4)}, "K is"),
        ({"K": np.zeros((3, 3))}, "K is"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused_with_the_mend(change, message):
    with pytest.raises(ValueError, match=message):
        observation(**change)


def test_an_observation_may_hold_pixels_without_depth():
    depth_m = np.array([[0.0, np.nan, np.inf, 0.9]] * 3)
    assert observation(depth_m=depth_m).depth_m is depth_m


def test_geometry_leaves_torch_alone():
    code = "import sys, geo4d_lite.geometry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
