"""Gripper width and the open-or-closed decision; the rigid fit; the adapter to FoundationPose."""

from itertools import product

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, pose_error, render, shell_camera, table
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry import invert, load_gripper
from geo4d_lite.geometry.labels import ARMS, FINGERS, gripper_labels
from geo4d_lite.perception import (
    ColourSegmenter,
    FoundationPoseTracker,
    GripperState,
    PerceptionError,
    gripper_width,
    rigid_fit,
    settled_openings,
)
from geo4d_lite.perception.foundation_pose import gripper_mesh, load_foundation_pose
from geo4d_lite.perception.observation import organised_points


@pytest.mark.parametrize("width_m", [0.045, 0.09, 0.15])
def test_width_read_from_an_image_is_within_a_centimetre(width_m):
    X_WG = gripper_pose((0.0, 0.1, 0.2), 0.2, 0.4)
    view, label = render(table().add_gripper(0, X_WG, width_m), shell_camera(), LITE)
    points, _ = organised_points(view.depth_m, view.K)
    left, right = (points[label == finger] for finger in FINGERS[0])
    assert gripper_width(left, right) == pytest.approx(width_m, abs=0.01)


def test_width_ignores_pixels_that_fell_on_the_background():
    rng = np.random.default_rng(0)
    left = rng.normal((0.0, 0.05, 0.8), 0.004, (40, 3))
    right = rng.normal((0.0, -0.05, 0.8), 0.004, (40, 3))
    left[:6, 2] += 0.6
    right[:3] = np.nan
    assert gripper_width(left, right) == pytest.approx(0.1, abs=0.003)


def test_the_centroid_is_the_mean_of_what_is_near_and_not_the_median():
    along = np.array([0.0, 0.0, 0.0, 0.002, 0.004, 0.012])  # more pixels on one side of the finger than on the other
    left = np.stack([0 * along, 0.05 + along, 0 * along + 0.8], axis=1)
    right = np.tile((0.0, -0.04, 0.8), (6, 1))
    assert gripper_width(left, right) == pytest.approx(0.05 + along.mean() + 0.04, abs=1e-12)


def test_no_width_from_too_few_points():
    points = np.zeros((30, 3))
    assert gripper_width(points[:4], points) is None
    assert gripper_width(points, np.empty((0, 3))) is None
    assert gripper_width(points, np.full((30, 3), np.nan)) is None


def test_state_keeps_its_mind_near_the_threshold_and_while_nothing_is_seen():
    state = GripperState(0.06, is_open=True, margin_m=0.005)
    decisions = [state.update(width) for width in (0.08, 0.058, None, 0.054, float("nan"), 0.063, None, 0.07)]
    assert decisions == [True, True, True, False, False, False, False, True]


def test_state_rejects_a_threshold_that_is_no_distance():
    with pytest.raises(ValueError, match="threshold_m is 0"):
        GripperState(0.0)


def test_fingers_that_look_half_open_for_two_frames_have_not_let_go():
    read_m = [0.055, 0.049, 0.079, 0.075, 0.046, 0.055, 0.053, 0.082, 0.145, 0.145]  # of a generated film
    assert settled_openings(read_m, 0.06, is_open=False).tolist() == 7 * [False] + 3 * [True]
    assert settled_openings(read_m[:7], 0.06, is_open=False).tolist() == 7 * [False]
    assert settled_openings([0.05, 0.09, 0.09, 0.09, 0.05], 0.06, is_open=False)[1:4].all()
    frame_by_frame = GripperState(0.06, is_open=False)
    assert frame_by_frame.update(read_m[0]) != frame_by_frame.update(read_m[2])


@pytest.mark.parametrize("is_open", [True, False])
def test_openings_settle_on_what_costs_least_of_all_courses(is_open):
    rng = np.random.default_rng(5)
    for _ in range(20):
        read_m = rng.uniform(0.02, 0.12, 7)

        def price(course, read_m=read_m):
            states = np.array([is_open, *course])
            wrong = np.where(course, 0.06 - read_m, read_m - 0.06) / 0.005
            return wrong.clip(0.0, 1.0).sum() + 1.5 * np.count_nonzero(np.diff(states))

        courses = [np.array(course, bool) for course in product((False, True), repeat=7)]
        found = settled_openings(read_m, 0.06, is_open)
        assert price(found) == pytest.approx(min(map(price, courses)), abs=1e-12)


def test_where_no_width_is_read_the_fingers_stay_as_they_are():
    for is_open in (True, False):
        assert (settled_openings([None, float("nan"), None], 0.06, is_open) == is_open).all()
    assert settled_openings([], 0.06, True).shape == (0,)


def test_rigid_fit_finds_the_pose_although_a_third_of_the_points_moved():
    rng = np.random.default_rng(3)
    X_AB = np.eye(4)
    X_AB[:3, :3] = Rotation.from_rotvec((0.3, -0.8, 0.5)).as_matrix()
    X_AB[:3, 3] = (0.4, -0.3, 0.2)
    p_B = rng.uniform(-0.5, 0.5, (900, 3))
    p_A = p_B @ X_AB[:3, :3].T + X_AB[:3, 3] + rng.normal(0, 0.002, p_B.shape)
    p_A[:300] += (0.2, 0.1, 0.0)
    p_A[300:320] = np.nan
    metres, degrees = pose_error(rigid_fit(p_A, p_B), X_AB)
    assert metres < 0.002 and degrees < 0.3


def test_rigid_fit_says_when_there_is_nothing_to_fit():
    with pytest.raises(PerceptionError, match="only 0 pixels"):
        rigid_fit(np.full((100, 3), np.nan), np.zeros((100, 3)))


class StandIn:
    """The published signatures of NVlabs' FoundationPose, which answer with a pose known beforehand."""

    def __init__(self, X_CG):
        self.X_CG, self.calls = X_CG, []

    def register(self, K, rgb, depth, ob_mask, ob_id=None, glctx=None, iteration=5):
        self.calls.append(("register", K, rgb, depth, ob_mask, iteration))
        return self.X_CG.astype(np.float32)

    def track_one(self, rgb, depth, K, iteration, extra=None):
        self.calls.append(("track_one", K, rgb, depth, iteration))
        return self.X_CG.astype(np.float32)[None]


def test_foundation_pose_adapter_meets_both_contracts():
    X_WG, X_WC = gripper_pose((0.0, 0.1, 0.2), 0.2, 0.4), shell_camera()
    view, label = render(table().add_gripper(0, X_WG, 0.155), X_WC, LITE)
    stand_in = StandIn(invert(X_WC) @ X_WG)
    tracker = FoundationPoseTracker(0, ColourSegmenter(), stand_in)
    first = tracker.register(view.rgb, view.depth_m, np.isin(label, gripper_labels(0)), view.K)
    again = tracker.track(view.rgb, view.depth_m, view.K)
    assert [call[0] for call in stand_in.calls] == ["register", "track_one"]
    assert stand_in.calls[0][3].dtype == np.float32 and stand_in.calls[0][4].dtype == bool
    np.testing.assert_allclose(again.X_CG, invert(X_WC) @ X_WG, atol=1e-6)
    assert again.X_CG.shape == (4, 4) and again.width_m is None
    assert first.score > 0.8
    stand_in.X_CG[0, 3] += 0.05
    assert tracker.track(view.rgb, view.depth_m, view.K).score < 0.5 * first.score


def test_foundation_pose_adapter_guards_its_entrance():
    tracker = FoundationPoseTracker(0, ColourSegmenter(), StandIn(np.eye(4)))
    image, K = np.zeros((8, 8, 3), np.uint8), LITE.matrix
    with pytest.raises(PerceptionError, match="before register"):
        tracker.track(image, np.zeros((8, 8)), K)
    with pytest.raises(PerceptionError, match="mask is empty"):
        tracker.register(image, np.zeros((8, 8)), np.zeros((8, 8)), K)


def test_missing_foundation_pose_names_the_way_to_get_it():
    with pytest.raises(ImportError, match="github.com/NVlabs/FoundationPose"):
        load_foundation_pose(load_gripper(), 0.155)


def test_mesh_has_the_volume_of_the_boxes():
    gripper = load_gripper()
    volume = sum(box.size_m.prod() for box in gripper.boxes(0.1))
    assert gripper_mesh(gripper, 0.1).volume == pytest.approx(volume)


def test_mesh_has_the_colours_of_its_arm():
    gripper = load_gripper()
    for arm, name in enumerate(ARMS):
        found = np.unique(gripper_mesh(gripper, 0.1, arm).visual.vertex_colors[:, :3], axis=0) / 255
        painted = np.unique(np.array(list(gripper.colours[name].values())), axis=0)
        np.testing.assert_allclose(found, painted, atol=1 / 255)
