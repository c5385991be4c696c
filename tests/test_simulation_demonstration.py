"""A demonstration drives a station and ends; what it looks like can be recorded, and widths can be seen."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from geo4d_lite.geometry import Intrinsics, look_at, transform, unproject
from geo4d_lite.geometry.labels import FINGERS
from geo4d_lite.simulation import TASKS, Recording, ScriptedDemonstration, make_station

THRESHOLD_M = TASKS["PutSpatulaOnTable"].gripper_threshold_m


@pytest.fixture(scope="module")
def lifting():
    """A station whose right arm lifts the spatula, and the recording of how it came to it."""
    station = make_station("PutSpatulaOnTable", seed=7)
    demonstration, recording = ScriptedDemonstration(station), Recording(station)
    while station.phase() != "lift":
        recording.capture()
        demonstration.step(0.1)
    return station, recording


def test_a_demonstration_ends_when_the_time_is_over(monkeypatch):
    station = make_station("PutSpatulaOnTable", seed=7)
    monkeypatch.setattr(station, "task", replace(station.task, time_limit_s=0.3))
    demonstration = ScriptedDemonstration(station)
    for _ in range(3):
        assert not demonstration.done
        demonstration.step(0.1)
    assert demonstration.done and not station.success()


def test_an_arm_with_nothing_to_do_stands_still(lifting):
    station, waiting = lifting[0], make_station("PutSpatulaOnTable", seed=7)
    np.testing.assert_allclose(station.X_WG()[0], waiting.X_WG()[0], atol=5e-3)
    np.testing.assert_allclose(station.width_m()[0], waiting.width_m()[0], atol=2e-3)


def test_visible_finger_centres_tell_open_from_holding(lifting):
    opened = make_station("PutSpatulaOnTable", seed=7)
    assert visible_width(opened) > THRESHOLD_M + 0.02
    assert visible_width(lifting[0]) < THRESHOLD_M - 0.01


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


def test_a_recording_is_one_page_that_needs_no_network(lifting, tmp_path):
    page = lifting[1].save_html(tmp_path / "rollout.html").read_text()
    assert page.count('<button id="play"') == page.count('<html lang="en">') == 1 and "ArrowLeft" in page
    assert "set_animation" in page and len(page) > 1_000_000
    assert 'src="http' not in page and "src='http" not in page
    with pytest.raises(ValueError, match="capture"):
        Recording(lifting[0]).save_html(tmp_path / "empty.html")


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
