"""Comparing videos on windows: the truth is perfect, repeating errs by the motion, and all are read with one mask."""

from types import SimpleNamespace

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, render, shell_camera, table

from geo4d_lite.commands.evaluate import table as printed
from geo4d_lite.evaluation.held_out import (
    Truth,
    compare,
    means,
    moving_arm,
    repeat_last_frame,
    summarise,
    summarise_frames,
    true_future,
)
from geo4d_lite.geometry import invert, transform, unproject
from geo4d_lite.perception import ColourSegmenter


@pytest.fixture(scope="module")
def item():
    """A window as `WindowDataset` gives it: the left gripper flies 20 cm before two cameras, the right one rests."""
    X_WC, frames = np.stack([shell_camera(0.3), shell_camera(-0.4)]), 11
    X_WG = np.array(
        [
            [gripper_pose((0.0, y, 0.18), 0.2, 0.5), gripper_pose((-0.1, -0.25, 0.3))]
            for y in np.linspace(0.2, 0.0, frames)
        ]
    )
    X_nm = invert(X_WC[0]) @ X_WC[1]
    shots = [
        [render(table().add_gripper(0, X[0], 0.12).add_gripper(1, X[1], 0.15), camera, LITE) for X in X_WG]
        for camera in X_WC
    ]
    maps = [[unproject(view.depth_m, view.K) for view, _ in shown] for shown in shots]
    points = np.array([[points for points, _ in shown] for shown in maps])
    valid = np.array([[seen for _, seen in shown] for shown in maps])
    points[1] = transform(X_nm, points[1])
    return {
        "rgb": np.array([[view.rgb for view, _ in shown] for shown in shots]),
        "label": np.array([[label for _, label in shown] for shown in shots]),
        "pointmap": np.where(valid[..., None], points, 0.0).astype(np.float32),
        "valid": valid,
        "K": np.stack([LITE.matrix] * 2),
        "X_nm": X_nm,
        "X_WG": X_WG,
    }


@pytest.fixture(scope="module")
def truth(item):
    return Truth(item, ColourSegmenter())


@pytest.fixture(scope="module")
def scores(item, truth):
    videos = {"truth": true_future(item), "repeat": repeat_last_frame(item)}
    return {name: means(compare(video, truth)) for name, video in videos.items()}


def test_the_true_future_makes_no_error(scores):
    truth = scores["truth"]
    for view in "nm":
        assert truth[f"abs_rel_{view}"] == 0.0 and truth[f"delta1_{view}"] == 1.0
        assert truth[f"gripper_cm_{view}"] == 0.0 and truth[f"fingers_cm_{view}"] == 0.0
        assert truth[f"fingers_found_{view}"] == 1.0
        assert truth[f"points_cm_{view}"] == truth[f"gripper_points_cm_{view}"] == 0.0
    assert truth["cross_view_iou"] > 0.4 and truth["true_mask_iou"] > 0.4


def test_repeating_errs_by_the_motion_of_the_gripper(item, scores):
    midpoints = item["X_WG"][:, 0, :3, 3]
    travelled_cm = 100 * np.linalg.norm(midpoints[1:] - midpoints[0], axis=1).mean()
    repeat = scores["repeat"]
    for view in "nm":
        assert repeat[f"abs_rel_{view}"] > 0.002
        assert repeat[f"fingers_cm_{view}"] == pytest.approx(travelled_cm, rel=0.25)
        assert repeat[f"gripper_abs_rel_{view}"] > 3 * repeat[f"abs_rel_{view}"], "whole images hide the gripper"
    assert repeat["true_mask_iou"] < 0.5 * scores["truth"]["true_mask_iou"]


def test_repeating_is_wrong_in_m_alone_where_the_pose_between_the_views_is(item, truth):
    X_nm = item["X_nm"].copy()
    X_nm[:3, 3] += [0.03, 0.0, 0.0]
    moved, right = (means(compare(repeat_last_frame(item, X), truth)) for X in (X_nm, item["X_nm"]))
    assert moved["points_cm_n"] == right["points_cm_n"]
    assert moved["points_cm_m"] == pytest.approx(3.0, abs=0.05) and right["points_cm_m"] < 1e-3


def test_views_agree_only_where_the_gripper_has_moved_and_a_missing_gripper_counts_zero(item, truth):
    frames = compare(true_future(item), truth)
    assert not truth.moved.all() and truth.moved[-1]
    assert (np.isfinite(frames["cross_view_iou"]) == truth.moved).all()
    real = true_future(item)
    grey = SimpleNamespace(rgb=np.full_like(real.rgb, 128), pointmap=real.pointmap, valid=real.valid)
    assert means(compare(grey, truth))["cross_view_iou"] == 0.0


def test_a_shifted_video_errs_by_the_shift(item, truth):
    real = true_future(item)
    moved = SimpleNamespace(rgb=real.rgb, pointmap=real.pointmap + np.float32([0.03, 0, 0]), valid=real.valid)
    result = means(compare(moved, truth))
    assert result["points_cm_n"] == pytest.approx(3.0, abs=0.01)
    assert result["gripper_cm_n"] == pytest.approx(3.0, abs=0.01)
    assert result["fingers_cm_m"] == pytest.approx(3.0, abs=0.01)
    assert result["abs_rel_n"] == 0.0, "the shift is sideways in n"


def test_fingers_that_a_video_does_not_show_lower_the_share_found(item, truth):
    real = true_future(item)
    rgb = real.rgb.copy()
    rgb[:, 5:] = 128
    frames = compare(SimpleNamespace(rgb=rgb, pointmap=real.pointmap, valid=real.valid), truth)
    assert means(frames)["fingers_found_n"] == pytest.approx(0.5) and means(frames)["fingers_cm_n"] == 0.0
    by_frame = summarise_frames([frames], ["one"])
    assert [by_frame[t]["fingers_found_n"]["value"] for t in (1, 3, 5, 10)] == [1.0, 1.0, 1.0, 0.0]


def test_the_moving_arm_is_the_one_that_travels(item):
    assert moving_arm(item["X_WG"]) == 0
    assert moving_arm(item["X_WG"][:, ::-1]) == 1


@pytest.mark.parametrize("recorded", [0, 1])
def test_an_arm_that_was_not_recorded_does_not_move(item, recorded):
    X_WG = np.repeat(item["X_WG"][:, :1], 2, axis=1)
    X_WG[:, 1 - recorded] = np.nan
    assert moving_arm(X_WG) == recorded


def test_summary_keeps_nan_out_and_counts_windows():
    rows = [{"a": 1.0, "b": float("nan")}, {"a": 3.0, "b": 2.0}, {"a": 5.0, "b": float("nan")}]
    summary = summarise(rows, ["one", "two", "three"])
    assert summary["a"]["value"] == 3.0 and summary["a"]["n"] == 3
    assert summary["a"]["interval"][0] < 3.0 < summary["a"]["interval"][1]
    assert summary["b"] == {"value": 2.0, "interval": summary["b"]["interval"], "n": 1}
    assert "3.000" in printed({"model": summary})
