"""Pointmaps against Drake's camera and rigid transforms, brute-force loops, and torch against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydrake.common.value import Value
from pydrake.math import RigidTransform, RotationMatrix
from pydrake.perception import DepthImageToPointCloud
from pydrake.systems.sensors import CameraInfo, ImageDepth32F
from scipy.ndimage import binary_closing
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry import (
    Intrinsics,
    PointmapRange,
    invert,
    project,
    relative_pose,
    reproject_mask,
    transform,
    unproject,
    valid_depth,
)

K = Intrinsics(7, 5, 8.0, 6.0, 2.5, 2.25)
NO_DEPTH = [0.0, -0.5, np.nan, np.inf, -np.inf, 2.0001]
depth_images = arrays.arrays(np.float64, (5, 7), elements=st.floats(0.1, 2.0))
masks = arrays.arrays(bool, (5, 7))
seeds = st.integers(0, 2**32 - 1)


def random_pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return RigidTransform(
        RotationMatrix(Rotation.random(rng=rng).as_matrix()), rng.uniform(-1, 1, size=3)
    ).GetAsMatrix4()


@given(depth_m=depth_images)
def test_unprojected_pixels_project_back_to_themselves(depth_m):
    points, valid = unproject(depth_m, K.matrix)
    pixels, z = project(points, K.matrix)
    v, u = np.indices(depth_m.shape)
    assert valid.all()
    np.testing.assert_allclose(pixels, np.stack([u, v], axis=-1), atol=1e-9)
    np.testing.assert_allclose(z, depth_m)


def test_unproject_is_drakes_point_cloud():
    depth_m = np.random.default_rng(0).uniform(0.2, 1.9, (5, 7)).astype(np.float32)
    camera = CameraInfo(K.width, K.height, K.fx, K.fy, K.cx, K.cy)
    drake = DepthImageToPointCloud(camera)
    image = ImageDepth32F(7, 5)
    image.mutable_data[:, :, 0] = depth_m
    context = drake.CreateDefaultContext()
    drake.depth_image_input_port().FixValue(context, Value(image))
    cloud = drake.point_cloud_output_port().Eval(context).xyzs().T.reshape(5, 7, 3)
    np.testing.assert_allclose(unproject(depth_m, K.matrix)[0], cloud, atol=1e-6)


def test_unproject_is_the_inverse_camera_matrix_pixel_by_pixel():
    depth_m = np.random.default_rng(1).uniform(0.2, 1.9, (5, 7))
    points, _ = unproject(depth_m, K.matrix)
    for row in range(5):
        for column in range(7):
            expected = depth_m[row, column] * np.linalg.inv(K.matrix) @ [column, row, 1]
            np.testing.assert_allclose(points[row, column], expected)


@pytest.mark.parametrize("depth_m", NO_DEPTH)
def test_invalid_depth_never_becomes_a_point(depth_m):
    image = np.full((2, 5, 7), 0.8)
    image[1, 3, 4] = depth_m
    points, valid = unproject(image, K.matrix)
    assert np.isfinite(points).all()
    assert points[1, 3, 4].tolist() == [0, 0, 0]
    assert np.argwhere(~valid).tolist() == [[1, 3, 4]]
    assert (points[valid][:, 2] == 0.8).all()


def test_the_depth_limit_can_be_moved_and_counts_as_valid():
    depth_m = np.array([[1.0, 2.0, 2.5, 3.0, 3.1]])
    assert valid_depth(depth_m).tolist() == [[True, True, False, False, False]]
    assert unproject(depth_m, K.matrix, max_depth_m=3.0)[1].tolist() == [[True, True, True, True, False]]


def test_unproject_takes_a_camera_for_each_image():
    depth_m = np.random.default_rng(2).uniform(0.2, 1.9, (2, 3, 5, 7))
    cameras = np.stack([K.matrix, K.matrix * [[2], [3], [1]]])
    points, _ = unproject(depth_m, cameras[:, None])
    for view in range(2):
        for frame in range(3):
            np.testing.assert_allclose(points[view, frame], unproject(depth_m[view, frame], cameras[view])[0])


@pytest.mark.parametrize(
    ("depth", "matrix", "message"),
    [
        (np.full((5, 7), 912, np.uint16), np.eye(3), r"uint16; expected floating metres.*0\.001"),
        (np.ones(7), np.eye(3), r"depth has shape \(7,\); expected \(..., H, W\)"),
        (np.ones((5, 7)), np.eye(4), r"K has shape \(4, 4\); expected \(..., 3, 3\)"),
    ],
)
def test_unproject_refuses_what_is_not_metres_or_not_a_camera(depth, matrix, message):
    with pytest.raises(ValueError, match=message):
        unproject(depth, matrix)


@given(seed=seeds)
def test_transform_is_drakes_rigid_transform(seed):
    X_BA = random_pose(seed)
    p_A = np.random.default_rng(seed).normal(size=(4, 5, 3))
    drake = RigidTransform(X_BA).multiply(p_A.reshape(-1, 3).T).T.reshape(p_A.shape)
    np.testing.assert_allclose(transform(X_BA, p_A), drake, atol=1e-12)
    np.testing.assert_allclose(transform(X_BA, p_A[0, 0]), drake[0, 0], atol=1e-12)


@given(seed=seeds)
def test_transform_by_the_inverse_comes_back(seed):
    X_BA = random_pose(seed)
    p_A = np.random.default_rng(seed).normal(size=(4, 5, 3))
    np.testing.assert_allclose(invert(X_BA), RigidTransform(X_BA).inverse().GetAsMatrix4(), atol=1e-12)
    np.testing.assert_allclose(transform(invert(X_BA), transform(X_BA, p_A)), p_A, atol=1e-12)


def test_a_pose_for_each_image_moves_each_image():
    X_BA = np.stack([random_pose(seed) for seed in range(3)])
    p_A = np.random.default_rng(3).normal(size=(3, 5, 7, 3))
    expected = [[[X[:3, :3] @ p + X[:3, 3] for p in row] for row in image] for X, image in zip(X_BA, p_A, strict=True)]
    np.testing.assert_allclose(transform(X_BA, p_A), expected)


def test_the_relative_pose_takes_points_of_m_into_n():
    X_Wn, X_Wm = random_pose(1), random_pose(2)
    p_m = np.array([0.1, -0.2, 0.9])
    p_W = RigidTransform(X_Wm).multiply(p_m)
    np.testing.assert_allclose(
        transform(relative_pose(X_Wn, X_Wm), p_m), RigidTransform(X_Wn).inverse().multiply(p_W), atol=1e-12
    )


@pytest.mark.parametrize(
    ("X", "p", "message"), [(np.eye(3), np.zeros(3), "X_BA has shape"), (np.eye(4), np.zeros(4), "points have shape")]
)
def test_transform_refuses_what_is_neither_pose_nor_point(X, p, message):
    with pytest.raises(ValueError, match=message):
        transform(X, p)


def test_points_behind_the_camera_have_no_pixel():
    pixels, z = project(np.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), K.matrix)
    assert np.isnan(pixels[:2]).all()
    assert pixels[2].tolist() == [K.cx, K.cy]
    assert z.tolist() == [-1.0, 0.0, 1.0]


@given(mask=masks, depth_m=depth_images)
def test_a_mask_reprojected_into_its_own_view_is_the_same_mask(mask, depth_m):
    points, _ = unproject(depth_m, K.matrix)
    np.testing.assert_array_equal(reproject_mask(mask, points, np.eye(4), K.matrix, (5, 7)), mask)


def test_a_mask_leaves_out_pixels_without_a_point():
    depth_m = np.array([NO_DEPTH + [1.0]] * 5)
    points, _ = unproject(depth_m, K.matrix)
    X_mn = np.eye(4)
    X_mn[2, 3] = 0.5  # moved like this, the (0, 0, 0) of an invalid pixel lies in front of camera m
    mask_m = reproject_mask(np.ones((5, 7), bool), points, X_mn, K.matrix, (5, 7))
    expected, _ = project(transform(X_mn, points[:, 6]), K.matrix)
    assert sorted(map(tuple, np.argwhere(mask_m))) == sorted({(round(v), round(u)) for u, v in expected})


@given(seed=seeds, splat=st.sampled_from([1, 3, 5]))
def test_a_reprojected_mask_is_the_loop_over_its_pixels_closed_by_scipy(seed, splat):
    rng = np.random.default_rng(seed)
    mask, depth_m = rng.random((5, 7)) < 0.5, rng.uniform(0.0, 2.5, (5, 7))
    points, valid = unproject(depth_m, K.matrix)
    X_mn = RigidTransform(RotationMatrix(Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix()), [0.1, 0.05, 0.1])
    canvas = np.zeros((9 + 8, 11 + 8), bool)  # the image and four pixels around it
    for point in points[mask & valid]:
        x, y, z = X_mn.multiply(point)
        if z > 0:
            u, v = round(K.fx * x / z + K.cx) + 4, round(K.fy * y / z + K.cy) + 4
            if 0 <= v < canvas.shape[0] and 0 <= u < canvas.shape[1]:
                canvas[v, u] = True
    expected = binary_closing(canvas, np.ones((splat, splat)))[4:-4, 4:-4]
    got = reproject_mask(mask, points, X_mn.GetAsMatrix4(), K.matrix, (9, 11), splat)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("splat", [0, 2])
def test_reprojection_refuses_a_splat_without_a_centre(splat):
    with pytest.raises(ValueError, match=f"splat is {splat}"):
        reproject_mask(np.ones((5, 7), bool), np.ones((5, 7, 3)), np.eye(4), K.matrix, (5, 7), splat)


def test_reprojection_refuses_a_mask_of_another_size():
    with pytest.raises(ValueError, match=r"mask_n has shape \(7, 5\)"):
        reproject_mask(np.ones((7, 5), bool), np.ones((5, 7, 3)), np.eye(4), K.matrix, (5, 7))


@given(p=arrays.arrays(np.float64, (4, 3), elements=st.floats(-5, 5)))
def test_the_pointmap_range_decodes_what_it_encoded(p):
    scale = PointmapRange()
    np.testing.assert_allclose(scale.decode(scale.encode(p)), p, atol=1e-12)


def test_the_pointmap_range_is_the_releases_formula():
    p = np.array([-1.0, 0.0, 0.5, 2.0, 3.0])
    np.testing.assert_allclose(PointmapRange().encode(p), 2 * (p + 1) / 3 - 1)  # 3 m is not clipped
    np.testing.assert_allclose(PointmapRange(0.0, 4.0).encode(np.array([0.0, 4.0])), [-1, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_gives_what_numpy_gives_in_the_precision_of_the_tensor(dtype):
    depth_m = np.random.default_rng(5).uniform(0.0, 2.5, (5, 7))
    depth_m[0, :6] = NO_DEPTH
    mask, X_mn = depth_m < 1.2, random_pose(6)
    tensor = torch.as_tensor(depth_m, dtype=dtype)
    points, valid = unproject(depth_m, K.matrix)
    points_t, valid_t = unproject(tensor, torch.as_tensor(K.matrix))
    pixels_t, z_t = project(points_t, K.matrix)
    results = [
        (points_t, points),
        (valid_t, valid),
        (transform(X_mn, points_t), transform(X_mn, points)),
        (invert(torch.as_tensor(X_mn)), invert(X_mn)),
        (pixels_t, project(points, K.matrix)[0]),
        (PointmapRange().encode(points_t), PointmapRange().encode(points)),
        (
            reproject_mask(torch.as_tensor(mask), points_t, np.eye(4), K.matrix, (5, 7), 3),
            reproject_mask(mask, points, np.eye(4), K.matrix, (5, 7), 3),
        ),
    ]
    for tensor_result, array_result in results:
        assert isinstance(tensor_result, torch.Tensor)
        np.testing.assert_allclose(tensor_result.numpy(), array_result, atol=1e-5)
    assert points_t.dtype == pixels_t.dtype == z_t.dtype == dtype


def test_gradients_pass_through_the_projection_of_a_pointmap():
    depth_m = torch.full((5, 7), 0.9, requires_grad=True)
    points, valid = unproject(depth_m, K.matrix)
    transform(random_pose(0), points)[valid].sum().backward()
    assert torch.isfinite(depth_m.grad).all()
    assert (depth_m.grad != 0).any()


@given(seed=seeds)
def test_float32_stays_float32(seed):
    points, _ = unproject(np.full((5, 7), 0.9, np.float32), K.matrix)
    assert (
        points.dtype == transform(random_pose(seed), points).dtype == project(points, K.matrix)[0].dtype == np.float32
    )
