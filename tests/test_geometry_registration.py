"""Registration finds the pose that drew the two images, knows when it did not, and needs no known aim point."""

import time

import numpy as np
import pytest
import synthetic
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry import RGBD, Intrinsics, invert, look_at, register_views, relative_pose, sample_camera_poses
from geo4d_lite.geometry.registration import TRUSTWORTHY_SCORE

K = Intrinsics.from_fov(160, 128, np.deg2rad(42))
COLOURS = [(0.9, 0.5, 0.1), (0.1, 0.7, 0.8), (0.3, 0.3, 0.35), (0.5, 0.1, 0.1), (0.8, 0.8, 0.8), (0.2, 0.3, 0.6)]


def boxes_on_table(seed: int, count: int = 6) -> list[tuple]:
    """Coloured boxes of random size, turned about the vertical, within 25 cm of the middle of the table."""
    rng = np.random.default_rng(seed)
    scene = []
    for colour in COLOURS[:count]:
        size = rng.uniform((0.03, 0.03, 0.04), (0.12, 0.12, 0.25))
        X_WB = np.eye(4)
        X_WB[:3, :3] = Rotation.from_euler("z", rng.uniform(0, np.pi)).as_matrix()
        X_WB[:3, 3] = [*rng.uniform(-0.25, 0.25, 2), size[2] / 2]
        scene.append((X_WB, np.zeros(3), size, 11, colour))
    return scene


def view(X_WC: np.ndarray, scene: list[tuple], camera: Intrinsics = K) -> RGBD:
    rgb, depth_m, _ = synthetic.render(scene, X_WC, camera)
    return RGBD(rgb, depth_m.astype(np.float32), camera.matrix)


def errors(X: np.ndarray, X_true: np.ndarray) -> tuple[float, float]:
    """Distance of the camera centres in metres, angle between the orientations in degrees."""
    turn = Rotation.from_matrix(X[:3, :3] @ X_true[:3, :3].T)
    return float(np.linalg.norm(X[:3, 3] - X_true[:3, 3])), float(np.degrees(turn.magnitude()))


def assert_close(X: np.ndarray, X_true: np.ndarray) -> None:
    metres, degrees = errors(X, X_true)
    assert metres < 0.01 and degrees < 1.0, f"off by {100 * metres:.2f} cm and {degrees:.2f} degrees"


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_pose_between_two_cameras_of_the_shell(seed):
    X_Wn, X_Wm = sample_camera_poses(2, np.random.default_rng(seed))
    scene = boxes_on_table(seed)
    found = register_views(view(X_Wn, scene), view(X_Wm, scene))
    assert_close(found.X_nm, relative_pose(X_Wn, X_Wm))
    assert found.score > TRUSTWORTHY_SCORE


def test_does_not_rely_on_where_the_cameras_aim():
    X_Wn = look_at((0.5, -0.4, 0.9), (0.1, 0.1, 0.0))
    X_Wm = look_at((0.4, 0.5, 0.8), (-0.1, -0.05, 0.1), up=(0.3, 0.1, 1.0))  # another aim, and rolled
    scene = boxes_on_table(3)
    assert_close(register_views(view(X_Wn, scene), view(X_Wm, scene)).X_nm, relative_pose(X_Wn, X_Wm))


def test_the_same_view_gives_the_identity_and_full_score():
    (X_WC,) = sample_camera_poses(1, np.random.default_rng(1))
    image = view(X_WC, boxes_on_table(1))
    found = register_views(image, image)
    np.testing.assert_allclose(found.X_nm, np.eye(4), atol=1e-3)
    assert found.score > 0.99


def test_swapping_the_views_inverts_the_pose():
    X_Wn, X_Wm = sample_camera_poses(2, np.random.default_rng(4))
    n, m = (view(X_WC, boxes_on_table(4)) for X_WC in (X_Wn, X_Wm))
    there, back = register_views(n, m), register_views(m, n)
    assert_close(there.X_nm, invert(back.X_nm))
    assert there.score == pytest.approx(back.score, abs=0.1)


def test_two_different_scenes_do_not_score_as_one():
    X_Wn, X_Wm = sample_camera_poses(2, np.random.default_rng(0))
    scores = [register_views(view(X_Wn, boxes_on_table(s)), view(X_Wm, boxes_on_table(s + 50))).score for s in range(3)]
    assert max(scores) < TRUSTWORTHY_SCORE


def test_the_same_shapes_in_other_colours_do_not_score_as_one():
    X_Wn, X_Wm = sample_camera_poses(2, np.random.default_rng(0))
    grey, reddish = ([(*box[:4], rgb) for box in boxes_on_table(0)] for rgb in ((0.35, 0.35, 0.35), (0.65, 0.35, 0.35)))
    n = view(X_Wn, grey)
    assert register_views(n, view(X_Wm, grey)).score > TRUSTWORTHY_SCORE
    assert register_views(n, view(X_Wm, reddish)).score < TRUSTWORTHY_SCORE


def test_a_blank_view_or_an_empty_table_scores_zero():
    (X_WC,) = sample_camera_poses(1, np.random.default_rng(0))
    good, empty_table = view(X_WC, boxes_on_table(0)), view(X_WC, [])
    blank = RGBD(np.zeros_like(good.rgb), np.zeros_like(good.depth_m), good.K)
    for pair in ((good, blank), (blank, good), (good, empty_table), (empty_table, empty_table)):
        found = register_views(*pair)
        assert found.score == 0.0
        np.testing.assert_array_equal(found.X_nm, np.eye(4))


def test_larger_images_and_noisy_depth_give_the_same_accuracy():
    X_Wn, X_Wm = sample_camera_poses(2, np.random.default_rng(5))
    large = K.resized(320, 256)
    rng = np.random.default_rng(0)
    noisy = []
    for X_WC in (X_Wn, X_Wm):
        clean = view(X_WC, boxes_on_table(5), large)
        depth_m = clean.depth_m + rng.normal(0.0, 0.002, clean.depth_m.shape) * (clean.depth_m > 0)
        depth_m[rng.random(depth_m.shape) < 0.03] = 0.0
        noisy.append(RGBD(clean.rgb, depth_m.astype(np.float32), clean.K))
    assert_close(register_views(*noisy).X_nm, relative_pose(X_Wn, X_Wm))


def test_a_pair_takes_well_under_a_second():
    X_Wn, X_Wm = sample_camera_poses(2, np.random.default_rng(2))
    n, m = (view(X_WC, boxes_on_table(2)) for X_WC in (X_Wn, X_Wm))
    spent = []
    for _ in range(3):
        start = time.process_time()
        register_views(n, m)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.6  # about 0.1 s on one core


def test_registers_rendered_views_of_the_station():
    from geo4d_lite.simulation import make_station

    station = make_station("PutSpatulaOnTable", seed=7)
    poses = sample_camera_poses(3, np.random.default_rng(7))
    frames = [station.render(X_WC, K) for X_WC in poses]
    views = [RGBD(frame.rgb, frame.depth_m, K.matrix) for frame in frames]
    for a, b in ((0, 1), (1, 2), (2, 0)):
        found = register_views(views[a], views[b])
        assert_close(found.X_nm, relative_pose(poses[a], poses[b]))
        assert found.score > TRUSTWORTHY_SCORE


def test_noise_does_not_let_a_pose_that_is_turned_by_half_win():
    from geo4d_lite.data import add_depth_noise
    from geo4d_lite.evaluation.rollouts import held_out_cameras, look
    from geo4d_lite.simulation import make_station

    seed = 9_000_003  # coarse, the wrong pose agrees better with these two images than the right one
    X_WC, rng = held_out_cameras(seed), np.random.default_rng(seed)
    seen = look(make_station("StoreCerealBoxUnderShelf", seed), X_WC)
    views = [RGBD(v.rgb, add_depth_noise(v.depth_m, v.K, rng), v.K) for v in (seen.view_n, seen.view_m)]
    assert_close(register_views(*views).X_nm, relative_pose(*X_WC))
