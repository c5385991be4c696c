"""The station: reproducible, independent copies, commands that are obeyed or refused, pictures that agree with it."""

import ctypes

import numpy as np
import pytest

from geo4d_lite.geometry import Intrinsics, look_at, sample_camera_poses, transform, unproject
from geo4d_lite.geometry.labels import FINGERS, HANDS, Label
from geo4d_lite.simulation import TASKS, ScriptedDemonstration, make_station
from geo4d_lite.simulation.scene import TABLE_CENTER_W, TABLE_SIZE_M, build_scene

K = Intrinsics.from_fov(160, 128, np.deg2rad(42.0))
X_WC = look_at([0.5, -0.2, 0.8], [0.0, 0.0, 0.1])


@pytest.fixture(scope="module")
def shared():
    return make_station("PutSpatulaOnTable", seed=3)


@pytest.fixture
def station(shared):
    return shared.copy()


@pytest.fixture(scope="module")
def frame(shared):
    return shared.render(X_WC, K)


def test_unknown_task_lists_the_known_ones():
    with pytest.raises(ValueError, match=f"PutSpatula.*known tasks: {', '.join(TASKS)}"):
        make_station("PutSpatula")


def test_missing_egl_is_one_line_that_names_the_packages(monkeypatch):
    def not_there(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", not_there)
    with pytest.raises(RuntimeError, match="^.*apt-get install libegl1.*$"):
        build_scene(TASKS["PutSpatulaOnTable"])


def test_stations_share_the_scene_and_not_the_state(station):
    other = make_station("PutSpatulaOnTable", seed=4)
    assert other.scene is station.scene
    before = station.positions()
    other.advance(0.1)
    assert np.array_equal(station.positions(), before) and not np.array_equal(other.positions(), before)


def test_same_seed_same_scene_other_seed_other_scene(station):
    first = station.positions()
    station.reset(4)
    assert np.abs(station.positions() - first).max() > 0.01
    station.reset(3)
    np.testing.assert_array_equal(station.positions(), first)
    assert station.time_s == 0.0


def test_a_copy_goes_its_own_way_and_both_are_deterministic(station):
    before = station.positions()
    copies = [station.copy(), station.copy()]
    for copy in copies:
        demonstration = ScriptedDemonstration(copy)
        for _ in range(5):
            demonstration.step(0.1)
    np.testing.assert_array_equal(station.positions(), before)
    np.testing.assert_array_equal(copies[0].positions(), copies[1].positions())
    assert station.time_s == 0.0 and copies[0].time_s == pytest.approx(0.5)
    demonstration = ScriptedDemonstration(station)
    for _ in range(5):
        demonstration.step(0.1)
    np.testing.assert_array_equal(station.positions(), copies[0].positions())


def test_a_copy_renders_its_own_state(station):
    still, moved = station.render(X_WC, K), station.copy()
    demonstration = ScriptedDemonstration(moved)
    for _ in range(10):
        demonstration.step(0.1)
    assert np.mean(moved.render(X_WC, K).label != still.label) > 0.02
    np.testing.assert_array_equal(station.render(X_WC, K).depth_m, still.depth_m)


def test_a_command_is_reached_along_a_straight_line(station):
    X_WG, width_m = station.commanded_X_WG(), station.commanded_width_m()
    start, goal = X_WG[1, :3, 3].copy(), X_WG[1, :3, 3] + [0.05, 0.04, 0.06]
    X_WG[1, :3, 3] = goal
    station.set_command(X_WG, [width_m[0], 0.08])
    half = station.copy()
    station.advance(0.6)
    np.testing.assert_allclose(station.X_WG()[1], X_WG[1], atol=3e-3)
    np.testing.assert_allclose(station.width_m(), [width_m[0], 0.08], atol=2e-3)
    X_WG[1, :3, 3] = (start + goal) / 2
    half.set_command(X_WG, [width_m[0], (width_m[1] + 0.08) / 2])
    half.advance(0.3)
    np.testing.assert_allclose(half.X_WG()[1, :3, 3], (start + goal) / 2, atol=5e-3)


def test_out_of_reach_the_arm_stops_within_its_limits(station):
    X_WG, width_m = station.commanded_X_WG(), station.commanded_width_m()
    X_WG[:, :3, 3] = [[3.0, 0.0, 1.0], [-0.6, -0.3, 0.2]]  # far away, and inside the arm's own base
    station.set_command(X_WG, width_m)
    station.advance(3.0)
    q = station.joint_positions()
    assert np.isfinite(station.positions()).all()
    for arm in (0, 1):
        lower, upper, _ = station.scene.arms[arm].limits
        assert np.all(q[arm] > lower - 0.02) and np.all(q[arm] < upper + 0.02)


@pytest.mark.parametrize("spoil", ["nan_pose", "nan_width", "scaled", "mirrored", "one_arm", "blank"])
def test_a_command_that_is_no_pose_is_refused_and_changes_nothing(station, spoil):
    X_WG, width_m, before = station.commanded_X_WG(), station.commanded_width_m(), station.positions()
    if spoil == "nan_pose":
        X_WG[1, 0, 3] = np.nan
    elif spoil == "nan_width":
        width_m[0] = np.nan
    elif spoil == "scaled":
        X_WG[0, :3, :3] *= 1.1
    elif spoil == "mirrored":
        X_WG[0, :3, 0] *= -1
    elif spoil == "one_arm":
        X_WG = X_WG[0]
    else:
        X_WG = np.zeros((2, 4, 4))
    with pytest.raises(ValueError, match="command"):
        station.set_command(X_WG, width_m)
    np.testing.assert_array_equal(station.positions(), before)


@pytest.mark.parametrize("duration", [0.0, -0.1, 0.013, 0.005])
def test_advance_refuses_times_off_the_control_grid(station, duration):
    with pytest.raises(ValueError, match="duration_s"):
        station.advance(duration)


def test_every_pixel_of_the_table_lies_on_its_top_or_its_sides(frame):
    points_C, valid = unproject(frame.depth_m, K.matrix)
    p_W = transform(X_WC, points_C)[(frame.label == Label.TABLE) & valid]
    assert len(p_W) > 5000
    assert np.quantile(np.abs(p_W[:, 2]), 0.95) < 2e-4  # the top is z = 0 (seams between planks lie 3 mm deeper)
    assert np.all(np.abs(p_W - TABLE_CENTER_W) < np.array(TABLE_SIZE_M) / 2 + 0.005)


def test_finger_pixels_lie_on_the_fingers_of_the_measured_gripper(shared, frame):
    points_C, _ = unproject(frame.depth_m, K.matrix)
    p_W = transform(X_WC, points_C)
    for side, label in zip((1, -1), FINGERS[1], strict=True):
        seen = p_W[frame.label == label]
        assert len(seen) > 20
        p_G = transform(np.linalg.inv(shared.X_WG()[1]), seen)
        offset = np.abs(p_G - [0.0, side * shared.width_m()[1] / 2, -0.0125])
        assert np.all(offset < np.array([0.030, 0.022, 0.085]) / 2 + 2e-3)


def test_labels_name_everything_that_is_seen(shared):
    views = [shared.render(pose, K) for pose in sample_camera_poses(6, np.random.default_rng(0))]
    seen = set(np.unique(np.stack([view.label for view in views])))
    assert seen == set(Label) - {Label.BACKGROUND} or seen == set(Label)
    assert {*HANDS, *FINGERS[0], *FINGERS[1], Label.OBJECT, Label.FIXTURE} <= seen
    for view in views:
        np.testing.assert_array_equal(view.depth_m == 0, view.label == Label.BACKGROUND)


def test_nothing_but_background_has_no_depth(shared):
    away = shared.render(look_at([0.5, 0.0, 0.8], [3.0, 0.0, 3.0]), K)
    assert not away.depth_m.any() and not away.label.any()


def test_fingers_are_told_apart_by_colour(frame):
    hues = [np.median(frame.rgb[frame.label == label], axis=0) for label in FINGERS[1]]
    magenta, lime = hues
    assert magenta[0] > 1.5 * magenta[1] and lime[1] > 1.5 * lime[0] and lime[1] > 1.5 * lime[2]


def test_frames_have_the_contracted_types(frame):
    assert frame.rgb.shape == (128, 160, 3) and frame.rgb.dtype == np.uint8
    assert frame.depth_m.shape == (128, 160) and frame.depth_m.dtype == np.float32
    assert frame.label.shape == (128, 160) and frame.label.dtype == np.uint8
