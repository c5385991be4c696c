"""A path acted without a film: from its numbers to poses, into the world, made safe; and where it leads a station."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geo4d_lite.evaluation import visited_states
from geo4d_lite.evaluation.visited_states import lead
from geo4d_lite.models.latents import path_in_n
from geo4d_lite.policies import Observation, PathPolicy, PolicyFailure, StandStill, poses_of_path
from geo4d_lite.simulation import make_station

THRESHOLD_M, TASK = 0.06, "PutSpatulaOnTable"
X_WC = np.eye(4)
X_WC[:3, :3], X_WC[:3, 3] = Rotation.from_euler("xyz", [2.0, 0.3, -0.5]).as_matrix(), (0.4, -0.2, 0.9)


def moving(frames: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Both grippers sink by 1 cm a frame, turned in any way; the right one closes at the fifth."""
    X_WG = np.tile(np.eye(4), (frames, 2, 1, 1))
    X_WG[..., :3, :3] = Rotation.random(2, rng=1).as_matrix()
    X_WG[..., 1, 3] = (0.2, -0.2)
    X_WG[..., 2, 3] = 0.3 - 0.01 * np.arange(1, frames + 1)[:, None]
    width_m = np.full((frames, 2), 0.12)
    width_m[4:, 1] = 0.04
    return X_WG, width_m


def path_of(X_WG: np.ndarray, width_m: np.ndarray) -> np.ndarray:
    tensors = (torch.from_numpy(x)[None] for x in (np.linalg.inv(X_WC), X_WG, width_m))
    return path_in_n(*tensors)[0].numpy()


def observation() -> Observation:
    X_WG, width_m = moving(1)
    return Observation("n", "m", X_WC, X_WG[0], width_m[0])


def test_a_path_says_the_poses_and_widths_that_it_was_made_from():
    X_WG, width_m = moving()
    X_nG, said_m = poses_of_path(path_of(X_WG, width_m))
    np.testing.assert_allclose(X_WC @ X_nG, X_WG, atol=1e-12)
    np.testing.assert_allclose(said_m, width_m)


def test_directions_that_are_neither_long_nor_square_become_a_rotation():
    path = path_of(*moving())
    bent = path.copy()
    bent[..., 3:6] *= 0.7
    bent[..., 6:9] = 1.3 * bent[..., 6:9] + 0.2 * bent[..., 3:6]
    np.testing.assert_allclose(poses_of_path(bent)[0], poses_of_path(path)[0], atol=1e-12)


def test_the_path_is_acted_in_the_world_with_fingers_open_or_closed():
    X_WG, width_m = moving()
    asked = []
    policy = PathPolicy(lambda *views: asked.append(views) or path_of(X_WG, width_m), THRESHOLD_M)
    answer = policy.predict_action(observation())
    assert asked == [("n", "m")], "no camera pose goes in"
    np.testing.assert_allclose(answer.X_WG, X_WG, atol=1e-9)
    np.testing.assert_allclose(answer.width_m[:, 1], 4 * [0.12] + 6 * [policy.config.closed_m])
    assert not answer.is_blind and answer.step_s == 0.5


def test_a_leap_is_slowed_down_to_what_is_safe():
    X_WG, width_m = moving()
    X_WG[3:, 0, :3, 3] += (0.0, 0.0, 2.0)
    policy = PathPolicy(lambda *views: path_of(X_WG, width_m), THRESHOLD_M)
    p_WG = policy.predict_action(observation()).X_WG[:, 0, :3, 3]
    assert np.linalg.norm(np.diff(p_WG, axis=0), axis=1).max() <= policy.config.limits.max_speed * 0.5 + 1e-9


@pytest.mark.parametrize("path", [None, np.full((10, 2, 10), np.nan)])
def test_no_path_is_no_answer(path):
    with pytest.raises(PolicyFailure, match="no path"):
        PathPolicy(lambda *views: path, THRESHOLD_M).predict_action(observation())


class Rising:
    """Lifts both grippers by `step_m` a frame."""

    def __init__(self, step_m: float):
        self.step_m = step_m

    def predict_action(self, observation):
        answer = StandStill().predict_action(observation)
        rise_m = self.step_m * np.arange(1, 11)
        X_WG = answer.X_WG.copy()
        X_WG[..., 2, 3] += rise_m[:, None]
        return replace(answer, X_WG=X_WG)


class Failing:
    def predict_action(self, observation):
        raise PolicyFailure("nothing")


def test_a_policy_leads_a_station_until_a_random_moment(monkeypatch):
    monkeypatch.setattr(visited_states, "LATEST", 0.15)  # three seconds at most
    station, heights, times = make_station(TASK, 3), [], []
    for seed in range(4):
        station.reset(3)
        before = station.X_WG()[:, 2, 3]
        lead(station, Rising(0.01), np.random.default_rng(seed))
        heights.append(station.X_WG()[:, 2, 3] - before)
        times.append(station.time_s)
    assert len(set(times)) > 1 and max(times) <= 0.15 * station.task.time_limit_s + 0.5
    rise_m = np.array(heights) - 0.02 * np.array(times)[:, None]
    assert np.abs(rise_m).max() < 3.5 * visited_states.OFFSET_M and np.abs(rise_m).max() > 1e-3
    again = make_station(TASK, 3)
    lead(again, Rising(0.01), np.random.default_rng(3))
    np.testing.assert_array_equal(again.positions(), station.positions())


def test_a_policy_that_fails_leads_nowhere():
    station = make_station(TASK, 3)
    before = station.positions()
    lead(station, Failing(), np.random.default_rng(0))
    np.testing.assert_array_equal(station.positions(), before)
