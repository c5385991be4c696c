"""The path that a film shows against the path it was to show: no error in a true film, and known errors as they are."""

import numpy as np
import pytest
from test_policies_safety import CAMERAS, observed, states

from data_scripts.measure_drawing import READINGS, errors, of_window
from geo4d_lite.evaluation.held_out import summarise
from geo4d_lite.geometry import invert


@pytest.fixture(scope="module")
def case():
    """A window as `WindowDataset` gives it, of five states, and its true film."""
    poses, widths = states()
    observation, video = observed(poses, widths)
    views = observation.view_n, observation.view_m
    item = {
        "rgb": np.stack([view.rgb for view in views])[:, None],
        "depth_m": np.stack([view.depth_m for view in views])[:, None],
        "K": np.stack([view.K for view in views]),
        "X_WC": np.stack(CAMERAS),
        "X_nm": invert(CAMERAS[0]) @ CAMERAS[1],
        "X_WG": poses,
    }
    return item, video


def test_a_true_film_shows_its_path(case):
    rows = errors(*case)
    assert set(rows) == set(READINGS) and all(len(frames) == 4 for frames in rows.values()), "the right hand moves"
    for frames in rows.values():
        position, along, turn = np.array(frames).T
        assert position.max() < 0.006 and (along <= position).all() and turn.max() < 4.0


def test_a_hand_that_is_not_where_it_should_be_is_as_far_off_as_that(case):
    item, video = case
    eye, X_WG = CAMERAS[0][:3, 3], item["X_WG"].copy()
    rays = X_WG[..., :3, 3] - eye
    X_WG[..., :3, 3] += 0.02 * rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    for frames in errors(item | {"X_WG": X_WG}, video).values():
        position, along, _ = np.median(np.array(frames), axis=0)
        assert position == pytest.approx(0.02, abs=0.003) and along == pytest.approx(0.02, abs=0.003)


def test_a_view_that_shows_no_hand_finds_none_and_the_other_one_speaks_for_both(case):
    item, video = case
    valid, video.valid = video.valid, video.valid * np.array([True, False])[:, None, None, None]
    rows = errors(item, video)
    video.valid = valid
    assert np.isnan(rows["m"]).all()
    np.testing.assert_allclose(rows["both"], rows["n"], atol=1e-9)
    window = of_window(rows["m"])
    assert window["found"] == 0 and np.isnan(window["position_cm"])
    told = summarise([window, of_window(rows["n"])], ["a", "b"])
    assert told["found"]["value"] == 0.5 and told["position_cm"]["value"] < 0.6


def test_a_hand_that_rests_is_not_asked_about(case):
    item, video = case
    rests = np.broadcast_to(item["X_WG"][:1], item["X_WG"].shape)
    assert errors(item | {"X_WG": rests}, video)["both"] == []
