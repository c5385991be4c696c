"""What a trajectory may ask of a robot, and a video policy fed by a ray caster: no simulator, no model."""

from types import SimpleNamespace

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, pose_error, render, shell_camera, table
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry import invert, transform, unproject
from geo4d_lite.perception import ColourSegmenter, SdfTracker
from geo4d_lite.policies import CONFIGS, Observation, SafetyLimits, StandStill, VideoPolicy, safe_trajectory

LIMITS = SafetyLimits(min_score=0.35, max_speed=0.3, max_turn_speed=1.0)
CAMERAS = np.stack([shell_camera(0.3), shell_camera(-0.4, 1.05)])
START = [(-0.05, 0.16, 0.25), (-0.05, -0.16, 0.25)]
GOAL = [(-0.05, 0.16, 0.25), (0.08, -0.05, 0.15)]  # the left arm rests


def states(frames: int = 5):
    """The true grippers over time: poses (T, 2, 4, 4) and widths (T, 2); the right one closes halfway."""
    share = np.linspace(0, 1, frames)
    poses = [
        [gripper_pose(np.array(START[a]) * (1 - s) + np.array(GOAL[a]) * s, 0.4 * s * a, 0.4) for a in (0, 1)]
        for s in share
    ]
    return np.array(poses), np.stack([np.full(frames, 0.15), np.where(share < 0.5, 0.15, 0.044)], axis=1)


def shoot(X_WG, width_m):
    scene = table().add_box((0.1, 0.1, 0.12), (0.0, -0.3, 0.06), (0.45, 0.55, 0.55))
    for arm in (0, 1):
        scene.add_gripper(arm, X_WG[arm], width_m[arm])
    return [render(scene, X_WC, LITE)[0] for X_WC in CAMERAS]


def observed(poses, widths) -> tuple[Observation, SimpleNamespace]:
    """The first state as an observation and the later ones as a video, view m moved into n."""
    X_nm = invert(CAMERAS[0]) @ CAMERAS[1]
    shots = [shoot(*state) for state in zip(poses, widths, strict=True)]
    maps = [[unproject(view.depth_m, view.K) for view in pair] for pair in shots[1:]]
    video = SimpleNamespace(
        rgb=np.array([[pair[view].rgb for pair in shots[1:]] for view in (0, 1)]),
        pointmap=np.array(
            [[pair[0][0] for pair in maps], [transform(X_nm, pair[1][0]) for pair in maps]], dtype=np.float32
        ),
        valid=np.array([[pair[view][1] for pair in maps] for view in (0, 1)]),
    )
    return Observation(*shots[0], CAMERAS[0], poses[0], widths[0]), video


@pytest.fixture(scope="module")
def case():
    poses, widths = states()
    return (*observed(poses, widths), poses, widths)


def policy_for(video, threshold_m=0.06, views="confident") -> VideoPolicy:
    segmenter = ColourSegmenter()
    return VideoPolicy(
        lambda view_n, view_m: video, segmenter, lambda arm: SdfTracker(arm, segmenter), threshold_m, CONFIGS[views]
    )


@pytest.mark.parametrize("views", CONFIGS)
def test_video_policy_follows_both_grippers_in_the_world(case, views):
    observation, video, poses, widths = case
    answer = policy_for(video, views=views).predict_action(observation)
    errors = [pose_error(answer.X_WG[t, a], poses[t + 1, a]) for t in range(len(poses) - 1) for a in (0, 1)]
    assert np.max(errors, axis=0)[0] < 0.006 and np.max(errors, axis=0)[1] < 4.0
    assert (answer.score > 0.5).all() and np.isin(answer.view, (0, 1)).all()
    np.testing.assert_array_equal(answer.width_m > 0.1, widths[1:] > 0.06)


def test_reference_extrinsics_are_only_used_to_leave_the_camera_frame(case):
    observation, video, _, _ = case
    X_WV = np.eye(4)  # the same scene in a world that is turned and shifted
    X_WV[:3, :3], X_WV[:3, 3] = Rotation.from_rotvec((0.1, 0.2, 0.8)).as_matrix(), (0.3, -0.2, 0.1)
    moved = Observation(
        observation.view_n, observation.view_m, X_WV @ observation.X_WC_n, X_WV @ observation.X_WG, observation.width_m
    )
    video = SimpleNamespace(rgb=video.rgb[:, :2], pointmap=video.pointmap[:, :2], valid=video.valid[:, :2])
    here, there = (policy_for(video).predict_action(seen) for seen in (observation, moved))
    np.testing.assert_allclose(there.X_WG, X_WV @ here.X_WG, atol=1e-6)
    np.testing.assert_allclose(there.score, here.score, atol=1e-6)


@pytest.mark.parametrize("views", CONFIGS)
def test_the_other_view_takes_over_where_one_is_blank(case, views):
    observation, video, poses, _ = case
    for blind in (0, 1):
        rgb = video.rgb.copy()
        rgb[blind] = 200
        one_eyed = SimpleNamespace(rgb=rgb, pointmap=video.pointmap, valid=video.valid)
        answer = policy_for(one_eyed, views=views).predict_action(observation)
        assert (answer.view == 1 - blind).all()
        assert pose_error(answer.X_WG[-1, 1], poses[-1, 1])[0] < 0.006


def test_blank_images_make_it_hold_still_without_confidence(case):
    observation, video, poses, _ = case
    for blank in (
        SimpleNamespace(rgb=np.zeros_like(video.rgb), pointmap=video.pointmap, valid=video.valid),
        SimpleNamespace(rgb=video.rgb, pointmap=0 * video.pointmap, valid=np.zeros_like(video.valid)),
        SimpleNamespace(rgb=video.rgb, pointmap=np.full_like(video.pointmap, np.nan), valid=video.valid),
    ):
        answer = policy_for(blank).predict_action(observation)
        assert answer.is_blind
        assert np.isfinite(answer.X_WG).all()
        np.testing.assert_allclose(answer.X_WG, np.repeat(poses[:1], 4, axis=0), atol=1e-9)


def test_stand_still_stays():
    poses, widths = states(2)
    answer = StandStill(frames=4).predict_action(Observation(None, None, None, poses[0], widths[0]))
    np.testing.assert_array_equal(answer.X_WG, np.repeat(poses[:1], 4, axis=0))
    assert not answer.is_blind


def test_doubtful_and_broken_poses_are_replaced_by_the_pose_before():
    X = np.tile(np.eye(4), (4, 1, 1))
    X[:, 0, 3] = (0.05, 9.0, np.nan, 0.10)
    safe, score = safe_trajectory(X, np.array([0.9, 0.1, 0.9, 0.8]), np.eye(4), 0.5, LIMITS)
    np.testing.assert_allclose(safe[:, 0, 3], (0.05, 0.05, 0.05, 0.10))
    np.testing.assert_allclose(score, (0.9, 0.0, 0.0, 0.8))


def test_steps_are_clamped_in_speed_and_stay_rigid():
    goal = np.eye(4)
    goal[:3, 3] = (0.6, 0.0, 0.8)
    goal[:3, :3] = Rotation.from_rotvec((0, 0, 2.0)).as_matrix()
    safe, _ = safe_trajectory(np.tile(goal, (8, 1, 1)), np.ones(8), np.eye(4), 0.5, LIMITS)
    before = np.eye(4)
    for X in safe:
        turn = Rotation.from_matrix(X[:3, :3] @ before[:3, :3].T).magnitude()
        assert np.linalg.norm(X[:3, 3] - before[:3, 3]) <= 0.15 + 1e-9
        assert turn <= 0.5 + 1e-9
        np.testing.assert_allclose(X[:3, :3] @ X[:3, :3].T, np.eye(3), atol=1e-12)
        before = X
    np.testing.assert_allclose(safe[-1], goal, atol=1e-9)
