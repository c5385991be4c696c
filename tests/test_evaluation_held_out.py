"""Comparing videos on windows: the truth is perfect, repeating errs by the motion, and all are read with one mask."""

from types import SimpleNamespace

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, render, shell_camera, table

from geo4d_lite.commands.evaluate import table as printed
from geo4d_lite.evaluation.held_out import compare, moving_arm, repeat_last_frame, summarise, true_future
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
def scores(item):
    segmenter = ColourSegmenter()
    videos = {"truth": true_future(item), "repeat": repeat_last_frame(item)}
    return {name: compare(video, item, segmenter) for name, video in videos.items()}


def test_the_true_future_makes_no_error(scores):
    truth = scores["truth"]
    for view in "nm":
        assert truth[f"abs_rel_{view}"] == 0.0 and truth[f"delta1_{view}"] == 1.0
        assert truth[f"gripper_cm_{view}"] == 0.0 and truth[f"fingers_cm_{view}"] == 0.0
        assert truth[f"fingers_found_{view}"] == 1.0
    assert truth["cross_view_iou"] > 0.4


def test_repeating_errs_by_the_motion_of_the_gripper(item, scores):
    midpoints = item["X_WG"][:, 0, :3, 3]
    travelled_cm = 100 * np.linalg.norm(midpoints[1:] - midpoints[0], axis=1).mean()
    repeat = scores["repeat"]
    for view in "nm":
        assert repeat[f"abs_rel_{view}"] > 0.002
        assert repeat[f"fingers_cm_{view}"] == pytest.approx(travelled_cm, rel=0.25)
        assert repeat[f"gripper_abs_rel_{view}"] > 3 * repeat[f"abs_rel_{view}"], "whole images hide the gripper"


def test_a_shifted_video_errs_by_the_shift(item):
    truth = true_future(item)
    moved = SimpleNamespace(rgb=truth.rgb, pointmap=truth.pointmap + np.float32([0.03, 0, 0]), valid=truth.valid)
    result = compare(moved, item, ColourSegmenter())
    assert result["gripper_cm_n"] == pytest.approx(3.0, abs=0.01)
    assert result["fingers_cm_m"] == pytest.approx(3.0, abs=0.01)
    assert result["abs_rel_n"] == 0.0, "the shift is sideways in n"


def test_fingers_that_a_video_does_not_show_lower_the_share_found(item):
    truth = true_future(item)
    rgb = truth.rgb.copy()
    rgb[:, 5:] = 128
    result = compare(SimpleNamespace(rgb=rgb, pointmap=truth.pointmap, valid=truth.valid), item, ColourSegmenter())
    assert result["fingers_found_n"] == pytest.approx(0.5) and result["fingers_cm_n"] == 0.0


def test_the_moving_arm_is_the_one_that_travels(item):
    assert moving_arm(item["X_WG"]) == 0
    assert moving_arm(item["X_WG"][:, ::-1]) == 1


def test_summary_keeps_nan_out_and_counts_windows():
    rows = [{"a": 1.0, "b": float("nan")}, {"a": 3.0, "b": 2.0}, {"a": 5.0, "b": float("nan")}]
    summary = summarise(rows, ["one", "two", "three"])
    assert summary["a"]["value"] == 3.0 and summary["a"]["n"] == 3
    assert summary["a"]["interval"][0] < 3.0 < summary["a"]["interval"][1]
    assert summary["b"] == {"value": 2.0, "interval": summary["b"]["interval"], "n": 1}
    assert "3.000" in printed({"model": summary})
