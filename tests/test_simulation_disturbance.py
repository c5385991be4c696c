"""A disturbed station stands somewhere on its task's way, a gripper off it, and the demonstration finds back."""

import numpy as np
import pytest

from geo4d_lite.simulation import TASKS, ScriptedDemonstration, disturb, make_station
from geo4d_lite.simulation.disturbance import CLOSED_M, MAX_OFFSET_M, MAX_TURN


@pytest.fixture(scope="module")
def disturbed():
    """A station disturbed on its way to the spatula, another of the same seed just before that, and the push's seed."""
    for seed in range(20):  # the moment is drawn; take one early enough
        if (until_s := np.random.default_rng([seed, 2]).uniform(0.0, 10.0)) < 2.0:
            break
    station, before = make_station("PutSpatulaOnTable", seed), make_station("PutSpatulaOnTable", seed)
    demonstration = ScriptedDemonstration(before)
    while before.time_s < until_s:
        demonstration.step(0.1)
    disturb(station, np.random.default_rng([seed, 2]))
    return station, before, seed


def test_the_gripper_on_its_way_is_pushed_and_the_waiting_one_is_not(disturbed):
    station, before, _ = disturbed
    X, Y = before.commanded_X_WG(), station.commanded_X_WG()
    moved_m = np.linalg.norm((Y - X)[:, :3, 3], axis=1)
    turned = np.arccos(np.clip((np.trace(Y[:, :3, :3] @ X[:, :3, :3].swapaxes(1, 2), axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert moved_m[0] < 1e-3 and turned[0] < 1e-2
    assert 5e-3 < moved_m[1] < MAX_OFFSET_M + 1e-3 and turned[1] < MAX_TURN + 1e-2


def test_the_same_numbers_disturb_alike(disturbed):
    station, _, seed = disturbed
    again = make_station("PutSpatulaOnTable", seed)
    disturb(again, np.random.default_rng([seed, 2]))
    np.testing.assert_array_equal(again.positions(), station.positions())


def test_some_grippers_are_closed_on_nothing():
    station, widths = make_station("PutSpatulaOnTable", 0), []
    for seed in range(12):
        station.reset(seed)
        disturb(station, np.random.default_rng([seed, 2]))
        if station.phase() in ("reach", "approach"):
            widths.append(station.commanded_width_m()[1])
    assert CLOSED_M in widths and max(widths) > 0.15


@pytest.mark.parametrize("task", TASKS)
def test_the_demonstration_finds_back(task):
    station = make_station(task, 3)
    disturb(station, np.random.default_rng([3, 2]))
    demonstration = ScriptedDemonstration(station)
    while not demonstration.done:
        demonstration.step()
    station.advance(1.0)
    assert station.success()
