"""The scripted demonstration solves the task, from the start and from states on its way."""

import subprocess
import sys

import numpy as np
import pytest
from pydrake.math import RigidTransform

from geo4d_lite.geometry import Intrinsics, look_at, transform, unproject
from geo4d_lite.geometry.labels import FINGERS
from geo4d_lite.simulation import TASKS, Recording, ScriptedDemonstration, make_station
from geo4d_lite.simulation.skill import Snapshot, decide, is_solved

ORDER = ["reach", "approach", "close", "lift", "carry", "lower", "release", "retreat"]
THRESHOLD_M = TASKS["PutSpatulaOnTable"].gripper_threshold_m


@pytest.fixture(scope="module")
def run():
    """A demonstration from its first to its last step: the station and, per step, phase, copy, speed and success."""
    station = make_station("PutSpatulaOnTable", seed=7)
    demonstration, history, recording = ScriptedDemonstration(station), [], Recording(station)
    while not demonstration.done:
        recording.capture()
        history.append((station.phase(), station.X_WG()[1], station.width_m()[1], station.success()))
        if station.phase() == "lift" and "lifting" not in locals():
            lifting = station.copy()
        demonstration.step(0.1)
    return station, history, lifting, recording


def test_the_task_is_unsolved_at_first_and_solved_at_last(run):
    station, history, _, _ = run
    assert not history[0][3] and not any(success for phase, _, _, success in history if phase in ORDER[:6])
    assert station.success() and station.phase() == "retreat"
    assert 9.0 < station.time_s < 15.0


def test_phases_come_in_order(run):
    phases = [phase for phase, *_ in run[1]]
    assert [phase for phase, before in zip(phases, [None, *phases], strict=False) if phase != before] == ORDER


def test_the_gripper_moves_slowly_enough_for_frames_half_a_second_apart(run):
    positions = np.stack([X_WG[:3, 3] for _, X_WG, _, _ in run[1]])
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() / 0.1 < 0.16


def test_it_can_be_taken_up_midway(run):
    copy = run[2].copy()
    demonstration = ScriptedDemonstration(copy)
    while not demonstration.done:
        demonstration.step(0.1)
    assert copy.success()


def test_visible_finger_centres_tell_open_from_holding(run):
    _, _, lifting, _ = run
    opened = make_station("PutSpatulaOnTable", seed=7)
    assert visible_width(opened) > THRESHOLD_M + 0.02
    assert visible_width(lifting) < THRESHOLD_M - 0.01


def visible_width(station) -> float:
    """Median over four cameras of the distance between the right arm's finger centroids, seen in depth and labels."""
    K, widths = Intrinsics.from_fov(160, 128, np.deg2rad(42.0)), []
    for eye in ([0.5, -0.2, 0.8], [0.55, 0.3, 0.75], [0.3, 0.0, 0.9], [0.4, -0.4, 0.8]):
        X_WC = look_at(eye, [0.0, 0.0, 0.1])
        view = station.render(X_WC, K)
        p_W = transform(X_WC, unproject(view.depth_m, K.matrix)[0])
        centres = [p_W[view.label == label].mean(axis=0) for label in FINGERS[1] if (view.label == label).sum() > 8]
        if len(centres) == 2:
            widths.append(np.linalg.norm(centres[0] - centres[1]))
    assert len(widths) >= 2
    return float(np.median(widths))


def test_a_spatula_held_on_the_table_or_moving_or_in_the_crock_is_not_solved(run):
    done = run[0].snapshot()
    assert is_solved(done)
    assert not is_solved(changed(done, width_m=0.042))
    assert not is_solved(changed(done, speed_S=0.3))
    assert not is_solved(changed(done, X_WK=RigidTransform(done.X_WS.translation() * [1, 1, 0])))
    assert not is_solved(changed(done, X_WS=RigidTransform([0, 0, 0.2]) @ done.X_WS))


def test_a_spatula_out_of_hand_in_the_air_is_lost(run):
    done = run[0].snapshot()
    fallen = changed(done, X_WS=RigidTransform([0, 0, 0.2]) @ done.X_WS)
    assert decide(fallen).phase == "lost"


def changed(snapshot: Snapshot, **fields) -> Snapshot:
    return Snapshot(**{**vars(snapshot), **fields})


def test_a_recording_is_one_page_that_needs_no_network(run, tmp_path):
    page = run[3].save_html(tmp_path / "rollout.html").read_text()
    assert "set_animation" in page and len(page) > 1_000_000
    assert 'src="http' not in page and "src='http" not in page
    with pytest.raises(ValueError, match="capture"):
        Recording(run[0]).save_html(tmp_path / "empty.html")


def test_nothing_is_left_that_another_thread_could_destroy(tmp_path):
    """Meshcat aborts the program when it dies in another thread, a renderer complains; so a program of its own."""
    script = f"""
import gc, threading
gc.disable()
from geo4d_lite.geometry import Intrinsics, look_at
from geo4d_lite.simulation import Recording, make_station
station = make_station("PutSpatulaOnTable")
station.copy().render(look_at((1.0, 0.3, 0.6), (0.0, 0.0, 0.1)), Intrinsics.from_fov(160, 128, 0.9))
recording = Recording(station)
recording.capture()
del station
recording.save_html({str(tmp_path / "page.html")!r})
thread = threading.Thread(target=gc.collect)
thread.start()
thread.join()
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "alive\n" and done.stderr == "" and done.returncode == 0
