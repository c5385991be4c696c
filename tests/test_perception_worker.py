"""FoundationPose in a process of its own: the same answers as in ours, and a clear end to whatever goes wrong there."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from perception_scene import LITE, gripper_pose, render, shell_camera, table
from tracker_stand_in import write_stand_in

from geo4d_lite.geometry import invert, load_gripper
from geo4d_lite.geometry.labels import gripper_labels
from geo4d_lite.perception import ColourSegmenter, FoundationPoseTracker, PerceptionError, TrackerError
from geo4d_lite.perception import foundation_pose as adapter
from geo4d_lite.perception.foundation_pose import FoundationPoseConfig, RemoteFoundationPose, mesh_arrays
from geo4d_lite.perception.foundation_pose_worker import Message, read_message, write_message
from geo4d_lite.perception.worker_process import WORKER, TrackerEnvironment, WorkerProcess

CRASH, SLEEP, NOT_A_NUMBER, FAIL, TALK = range(101, 106)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    X_CG = invert(shell_camera()) @ gripper_pose((0.0, 0.1, 0.2))
    return write_stand_in(tmp_path_factory.mktemp("trackers") / "source", X_CG)


@pytest.fixture(scope="module")
def environment(source):
    """A folder as the installation leaves it, with this Python as its environment's."""
    TrackerEnvironment(sys.executable, str(source), "a" * 40).write(source.parent)
    return source.parent


@pytest.fixture(scope="module")
def film():
    """Three frames of a moving gripper: views and masks."""
    shots = [
        render(table().add_gripper(0, gripper_pose((0.0, y, 0.2)), 0.155), shell_camera(), LITE)
        for y in (0.1, 0.07, 0.04)
    ]
    return [view for view, _ in shots], [np.isin(label, gripper_labels(0)) for _, label in shots]


@pytest.fixture
def remote(environment, film):
    """A function of a number of iterations that gives a registered tracker; its workers end with the test."""
    workers = []

    def make(track_iterations=2, timeout_s=120.0):
        workers.append(WorkerProcess(TrackerEnvironment.read(environment).command(), timeout_s))
        config = FoundationPoseConfig(track_iterations=track_iterations)
        estimator = RemoteFoundationPose(workers[-1], mesh_arrays(load_gripper(), config.width_m, 0), "left")
        tracker = FoundationPoseTracker(0, ColourSegmenter(), estimator, config)
        (view, *_), (mask, *_) = film
        tracker.register(view.rgb, view.depth_m, mask, view.K)
        return tracker

    yield make
    for worker in workers:
        worker.close()


def follow(tracker, film):
    """Estimates of all frames: one registration, then tracking."""
    (first, *later), (mask, *_) = film
    found = [tracker.register(first.rgb, first.depth_m, mask, first.K)]
    return found + [tracker.track(view.rgb, view.depth_m, view.K) for view in later]


def track(tracker, film):
    view = film[0][1]
    return tracker.track(view.rgb, view.depth_m, view.K)


def test_both_ways_to_reach_foundation_pose_agree_to_the_bit(environment, source, film, monkeypatch):
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(source))
        adapter._estimators.cache_clear()
        here = [follow(FoundationPoseTracker(arm, ColourSegmenter()), film) for arm in (0, 1)]
    adapter._estimators.cache_clear()
    for name in ("estimater", "nvdiffrast", "nvdiffrast.torch"):
        sys.modules.pop(name)
    estimators = adapter.remote_estimators(environment)
    try:
        there = [follow(FoundationPoseTracker(arm, ColourSegmenter(), estimators[arm]), film) for arm in (0, 1)]
        assert estimators[0].worker is estimators[1].worker
    finally:
        estimators[0].worker.close()
    for ours, theirs in zip(here[0] + here[1], there[0] + there[1], strict=True):
        np.testing.assert_array_equal(ours.X_CG, theirs.X_CG)
        assert ours.score == theirs.score
    assert here[0][0].score > 0.5 > here[0][2].score, "the film's gripper moves away from the stand-in's pose"
    assert not np.array_equal(here[0][0].X_CG, here[1][0].X_CG), "the arms' meshes differ, by their colours"


def test_from_environment_gives_a_tracker(environment, film):
    tracker = FoundationPoseTracker.from_environment(environment, 0, ColourSegmenter())
    try:
        assert len(follow(tracker, film)) == 3
    finally:
        tracker.estimator.worker.close()


def test_a_missing_environment_is_named_with_the_way_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_scripts.install_trackers --only foundationpose"):
        FoundationPoseTracker.from_environment(tmp_path, 0, ColourSegmenter())
    TrackerEnvironment(str(tmp_path / "python"), "", "").write(tmp_path)
    with pytest.raises(TrackerError, match="does not start.*run the installation again"):
        FoundationPoseTracker.from_environment(tmp_path, 0, ColourSegmenter())


def test_what_foundation_pose_prints_does_not_disturb_the_answers(remote, film):
    tracker = remote(track_iterations=TALK)
    assert np.isfinite(track(tracker, film).X_CG).all() and np.isfinite(track(tracker, film).X_CG).all()


def test_a_crash_is_told_with_its_code_and_last_words(remote, film):
    tracker = remote(track_iterations=CRASH)
    with pytest.raises(TrackerError, match=r"exit code 7 \(asked to track_one\)(.|\n)*illegal memory access"):
        track(tracker, film)
    with pytest.raises(TrackerError, match="ended with exit code 7 before it was asked to track_one"):
        track(tracker, film)


def test_an_exception_over_there_is_told_with_its_traceback_and_the_worker_goes_on(remote, film):
    tracker = remote(track_iterations=FAIL)
    with pytest.raises(TrackerError, match="(?s)failed when asked to track_one.*RuntimeError: CUDA out of memory"):
        track(tracker, film)
    assert len(follow(FoundationPoseTracker(0, ColourSegmenter(), tracker.estimator), film)) == 3


def test_a_worker_that_does_not_answer_is_killed(remote, film):
    tracker = remote(track_iterations=SLEEP)
    tracker.estimator.worker.timeout_s = 1.0
    with pytest.raises(TrackerError, match="no answer within 1 s and was killed"):
        track(tracker, film)
    assert tracker.estimator.worker._process.poll() == -signal.SIGKILL


def test_a_pose_that_is_not_finite_never_passes(remote, film):
    with pytest.raises(TrackerError, match="not finite.*another graphics card"):
        track(remote(track_iterations=NOT_A_NUMBER), film)


def test_a_mask_without_depth_is_no_registration(remote, film):
    tracker = remote()
    view, mask = film[0][0], film[1][0]
    with pytest.raises(PerceptionError, match="fewer than four pixels"):
        tracker.register(view.rgb, np.zeros_like(view.depth_m), mask, view.K)
    with pytest.raises(PerceptionError, match="before register"):
        track(tracker, film)


def test_a_worker_ends_when_nobody_holds_it(environment):
    worker = WorkerProcess(TrackerEnvironment.read(environment).command())
    process = worker._process
    del worker
    assert process.poll() is not None
    with WorkerProcess(TrackerEnvironment.read(environment).command()) as worker:
        process = worker._process
        assert process.poll() is None
    assert process.poll() == 0, "a polite end"


ORPHAN_MAKER = """
import subprocess, sys, time
import numpy as np
sys.path.insert(0, sys.argv[2])
from foundation_pose_worker import read_message, write_message
worker = subprocess.Popen(sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
box = {"vertices": np.eye(3), "faces": np.array([[0, 1, 2]]), "normals": np.eye(3), "colours": np.zeros((3, 4), "u1")}
write_message(worker.stdin, "load", {"mesh": "a"}, box)
assert read_message(worker.stdout).name == "done"
images = {"K": np.eye(3), "rgb": np.zeros((4, 4, 3), "u1"), "depth": np.ones((4, 4), "f4")}
write_message(worker.stdin, "register", {"mesh": "a", "iteration": 5}, images | {"ob_mask": np.ones((4, 4), bool)})
assert read_message(worker.stdout).name == "done"
write_message(worker.stdin, "track_one", {"mesh": "a", "iteration": int(sys.argv[1])}, images)
print(worker.pid, flush=True)
time.sleep(600)
"""


def test_a_busy_worker_dies_with_its_parent(environment):
    command = [sys.executable, "-c", ORPHAN_MAKER, str(SLEEP), str(WORKER.parent)]
    parent = subprocess.Popen([*command, *TrackerEnvironment.read(environment).command()], stdout=subprocess.PIPE)
    worker = int(parent.stdout.readline())
    assert is_running(worker)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_messages_arrive_as_they_were_sent():
    arrays = {
        "mask": np.array([[True, False]]),
        "depth": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3).T,
        "rgb": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "none": np.zeros((0, 3)),
    }
    pipe = io.BytesIO()
    write_message(pipe, "register", {"iteration": 5}, arrays)
    write_message(pipe, "close")
    pipe.seek(0)
    name, settings, received = read_message(pipe)
    assert (name, settings, list(received)) == ("register", {"iteration": 5}, list(arrays))
    for sent, got in zip(arrays.values(), received.values(), strict=True):
        np.testing.assert_array_equal(sent, got)
        assert sent.dtype == got.dtype
    assert read_message(pipe) == Message("close", {}, {})


def test_bytes_that_are_no_message_are_refused():
    with pytest.raises(EOFError, match="ended after 0 of 4"):
        read_message(io.BytesIO())
    with pytest.raises(ValueError, match="something else was written"):
        read_message(io.BytesIO(b"Warp 1.0.2 initialized"))
    pipe = io.BytesIO()
    write_message(pipe, "done", arrays={"pose": np.eye(4)})
    with pytest.raises(EOFError, match="of 128 bytes"):
        read_message(io.BytesIO(pipe.getvalue()[:-1]))
    with pytest.raises(ValueError, match="expected numbers"):
        read_message(io.BytesIO(pipe.getvalue().replace(b'"<f8"', b'"|O8"')))


def test_the_worker_needs_numpy_and_the_standard_library_only():
    program = f"import runpy, sys; runpy.run_path({str(WORKER)!r}); print(*sys.modules)"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, env=clean)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "numpy" in loaded and not loaded & {"geo4d_lite", "scipy", "torch", "trimesh", "estimater"}
