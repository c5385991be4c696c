"""The lite tracker against an independent ray caster: accuracy, honesty when it cannot see, and its parts by hand."""

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, pose_error, render, shell_camera, table
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from geo4d_lite.geometry import invert, load_gripper, unproject
from geo4d_lite.geometry.labels import gripper_labels
from geo4d_lite.perception import ColourSegmenter, PerceptionError, SdfTracker, agreement
from geo4d_lite.perception.gripper_surface import GripperSurface
from geo4d_lite.perception.observation import observe
from geo4d_lite.perception.refinement import Hypotheses, RefinementConfig, _residuals, refine, rotation_from_vector

X_WC = shell_camera()


def motion(steps: int):
    """A gripper that flies 30 cm, turns 80 degrees and closes: its poses and widths."""
    for share in np.linspace(0, 1, steps):
        position = np.array([-0.05, -0.15, 0.28]) * (1 - share) + np.array([0.05, 0.12, 0.12]) * share
        yield gripper_pose(position, -0.6 + 1.4 * share, 0.5 - 0.6 * share), 0.15 - 0.1 * share


def shoot(X_WG, width_m, arm=0, crowd=()):
    scene = table().add_gripper(arm, X_WG, width_m)
    for size_m, center_W in crowd:
        scene.add_box(size_m, center_W, (0.5, 0.5, 0.5))
    return render(scene, X_WC, LITE)


def registered(view, label, arm=0) -> tuple[SdfTracker, np.ndarray]:
    tracker = SdfTracker(arm, ColourSegmenter())
    estimate = tracker.register(view.rgb, view.depth_m, np.isin(label, gripper_labels(arm)), view.K)
    return tracker, estimate


def test_registers_and_follows_a_moving_gripper_to_millimetres():
    errors, widths = [], []
    for arm in (0, 1):
        tracker = None
        for X_WG, width_m in motion(8):
            view, label = shoot(X_WG, width_m, arm)
            if tracker is None:
                tracker, estimate = registered(view, label, arm)
            else:
                estimate = tracker.track(view.rgb, view.depth_m, view.K)
            errors.append(pose_error(X_WC @ estimate.X_CG, X_WG))
            widths.append(estimate.width_m - width_m)
            assert estimate.score > 0.7
    metres, degrees = np.array(errors).T
    assert np.median(metres) < 0.002 and metres.max() < 0.006
    assert np.median(degrees) < 1.0 and degrees.max() < 4.0
    assert np.abs(widths).max() < 0.005


def test_an_organised_pointmap_serves_as_well_as_depth():
    X_WG, width_m = next(motion(2))
    view, label = shoot(X_WG, width_m)
    points, valid = unproject(view.depth_m, view.K)
    points[~valid] = np.nan
    tracker = SdfTracker(0, ColourSegmenter())
    estimate = tracker.register(view.rgb, points, np.isin(label, gripper_labels(0)), view.K)
    assert pose_error(X_WC @ estimate.X_CG, X_WG)[0] < 0.004


def test_a_half_hidden_gripper_is_not_lost():
    tracker = None
    for X_WG, width_m in motion(8):
        toward_camera = (X_WC[:3, 3] - X_WG[:3, 3]) / np.linalg.norm(X_WC[:3, 3] - X_WG[:3, 3])
        screen = X_WG[:3, 3] + 0.18 * toward_camera + X_WC[:3, 0] * 0.09  # over about half of it
        free, label = shoot(X_WG, width_m)
        hidden, hidden_label = shoot(X_WG, width_m, crowd=[((0.12, 0.12, 0.12), screen)])
        if tracker is None:
            tracker, _ = registered(free, label)
            continue
        seen = np.isin(hidden_label, gripper_labels(0)).sum() / np.isin(label, gripper_labels(0)).sum()
        estimate = tracker.track(hidden.rgb, hidden.depth_m, hidden.K)
        assert 0.15 < seen < 0.9
        assert pose_error(X_WC @ estimate.X_CG, X_WG)[0] < 0.02, f"{seen:.0%} in sight"


def test_finds_the_gripper_again_after_it_was_out_of_sight():
    poses = list(motion(6))
    view, label = shoot(*poses[0])
    tracker, first = registered(view, label)
    blank = np.full_like(view.rgb, 90)
    lost = tracker.track(blank, view.depth_m, view.K)
    assert lost.score == 0.0
    np.testing.assert_array_equal(lost.X_CG, first.X_CG)
    view, _ = shoot(*poses[5])
    found = tracker.track(view.rgb, view.depth_m, view.K)
    assert pose_error(X_WC @ found.X_CG, poses[5][0])[0] < 0.006


def test_never_makes_up_a_pose_when_nothing_is_seen():
    X_WG, width_m = next(motion(2))
    view, label = shoot(X_WG, width_m)
    mask = np.isin(label, gripper_labels(0))
    for rgb, depth_m, where in [
        (np.zeros_like(view.rgb), view.depth_m, mask),
        (view.rgb, np.zeros_like(view.depth_m), mask),
        (view.rgb, view.depth_m, np.zeros_like(mask)),
    ]:
        with pytest.raises(PerceptionError, match="in sight"):
            SdfTracker(0, ColourSegmenter()).register(rgb, depth_m, where, view.K)
    with pytest.raises(PerceptionError, match="before register"):
        SdfTracker(0, ColourSegmenter()).track(view.rgb, view.depth_m, view.K)


def test_score_falls_as_the_pose_moves_away_from_the_truth():
    X_WG, width_m = next(motion(2))
    view, label = shoot(X_WG, width_m)
    seen, surface = observe(label, view.depth_m, view.K, 0), GripperSurface(load_gripper())
    X_CG = invert(X_WC) @ X_WG

    def score(shift_m=(0, 0, 0), turn=(0, 0, 0)):
        X = X_CG.copy()
        X[:3, 3] += shift_m
        X[:3, :3] = X[:3, :3] @ Rotation.from_rotvec(turn).as_matrix()
        return agreement(X, width_m, seen, surface)

    assert score() > 0.85
    assert score() > score((0.01, 0, 0)) > score((0.02, 0, 0)) > score((0.04, 0, 0))
    assert score((0, 0, 0.03)) < 0.3, "3 cm nearer or farther is outside the depth tolerance everywhere"
    assert score(turn=(0, 0, np.pi)) < 0.6, "half a turn swaps the fingers' colours"


def test_distance_to_the_visible_surface_agrees_with_numerical_minimisation():
    gripper = load_gripper()
    surface, width = GripperSurface(gripper), 0.1
    rng = np.random.default_rng(1)
    eye = np.array([0.5, 0.3, -0.7])
    points = rng.uniform([-0.08, -0.15, -0.15], [0.08, 0.15, 0.06], (12, 3))
    for part, name in enumerate(("hand", "finger_left", "finger_right")):
        found = surface.distance(points[None], eye[None], np.array([width]), part).length[0]
        for point, length in zip(points, found, strict=True):
            nearest = min(
                _distance_to_visible_faces(box, point, eye) for box in gripper.boxes(width) if box.part == name
            )
            assert length == pytest.approx(nearest, abs=1e-5)


def _distance_to_visible_faces(box, point, eye) -> float:
    """Smallest distance to a face the eye sees, by bounded minimisation over the face's two coordinates."""
    half, best = box.size_m / 2, np.inf
    for axis in range(3):
        for sign in (-1.0, 1.0):
            if sign * (eye - box.center_G)[axis] <= half[axis]:
                continue
            others = [i for i in range(3) if i != axis]

            def squared(uv, axis=axis, sign=sign, others=others):
                on_face = box.center_G.copy()
                on_face[axis] += sign * half[axis]
                on_face[others] += uv
                return np.sum((on_face - point) ** 2)

            best = min(best, minimize(squared, [0, 0], bounds=[(-half[i], half[i]) for i in others]).fun)
    return float(np.sqrt(best))


def test_jacobians_agree_with_finite_differences():
    X_WG, width_m = next(motion(2))
    view, label = shoot(X_WG, width_m)
    seen, surface, config = observe(label, view.depth_m, view.K, 0), GripperSurface(load_gripper()), RefinementConfig()
    X_CG = invert(X_WC) @ X_WG
    X_CG[:3, 3] += (0.012, -0.007, 0.009)
    base = Hypotheses(X_CG[None], np.array([width_m - 0.01]))
    surface_terms = list(_residuals(base, seen, surface, 0.08, config))[:3]  # the edges' slopes come from an image
    step = 1e-6
    for unknown in range(7):
        change = np.zeros(7)
        change[unknown] = step
        X = X_CG.copy()
        X[:3, 3] += X_CG[:3, :3] @ change[3:6]
        X[:3, :3] = X_CG[:3, :3] @ Rotation.from_rotvec(change[:3]).as_matrix()
        moved = Hypotheses(X[None], base.width_m + change[6])
        for before, after in zip(surface_terms, _residuals(moved, seen, surface, 0.08, config), strict=False):
            numeric = (after[0] - before[0]) / step
            agree = np.isclose(numeric, before[1][..., unknown], atol=1e-4)
            assert agree.mean() > 0.98, "all but points that changed face"


def test_refinement_recovers_from_centimetres_and_tens_of_degrees():
    X_WG, width_m = next(motion(2))
    view, label = shoot(X_WG, width_m)
    seen, surface = observe(label, view.depth_m, view.K, 0), GripperSurface(load_gripper())
    start = invert(X_WC) @ X_WG
    start[:3, 3] += (0.02, -0.02, 0.015)
    start[:3, :3] = start[:3, :3] @ Rotation.from_rotvec((0.15, -0.1, 0.15)).as_matrix()
    found = refine(Hypotheses(start[None], np.array([0.1])), seen, surface, 15, RefinementConfig())
    metres, degrees = pose_error(X_WC @ found.X_CG[0], X_WG)
    assert metres < 0.002 and degrees < 1.0
    assert found.width_m[0] == pytest.approx(width_m, abs=0.003)


def test_rotation_vectors_agree_with_scipy():
    vectors = np.random.default_rng(2).normal(size=(20, 3))
    np.testing.assert_allclose(rotation_from_vector(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(rotation_from_vector(np.zeros(3)), np.eye(3))
