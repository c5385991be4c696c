"""Collecting demonstrations: complete, held-out splits, killed and resumed to the same bytes, refusing misfits.

What a killed and a Dask collection record is compared with the data set `root`, recorded in one go in this process.
"""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import geo4d_lite
from geo4d_lite.commands import _episode as recording
from geo4d_lite.commands import demos
from geo4d_lite.data import EpisodeArrays, check_dataset, open_dataset, open_episode
from geo4d_lite.evaluation import visited_states
from geo4d_lite.geometry import Label, sample_camera_poses

OPTIONS = {"episodes": 1, "test_episodes": 1, "cameras": 3, "hz": 2, "progress": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of one training and one held-out episode."""
    root = tmp_path_factory.mktemp("demos") / "set"
    demos.collect(root, **OPTIONS)
    return root


def recorded_hash(root: Path) -> str:
    """The content hash in the manifest of a data set."""
    return json.loads((root / "manifest.json").read_text())["content_hash"]


def test_episodes_are_split_and_complete(root):
    dataset = open_dataset(root)
    assert [episode.info.split for episode in dataset.episodes] == ["train", "test"]
    assert len({episode.info.seed for episode in dataset.episodes}) == 2
    for episode in dataset.episodes:
        assert episode.info.success and episode.info.hz == 2
        assert episode.info.camera_split == ("train", "test", "test")
        np.testing.assert_allclose(np.diff(episode.time_s), 0.5, atol=1e-9)
        assert 0.0 <= episode.time_s[0] < 0.5 and 10.0 < episode.time_s[-1] < 16.0
        assert np.all(episode.K[:, :2, 2] == [79.5, 63.5])
        assert len(episode.info.phase) == episode.frames and len(set(episode.info.phase)) > 4
        for camera in range(3):
            rgb, depth, label = episode.read_camera(camera)
            assert rgb.shape == (episode.frames, 128, 160, 3) and rgb.std() > 10
            assert np.any(label == Label.OBJECT) and np.median(depth) > 5000


def test_cameras_differ_between_episodes(root):
    first, second = open_dataset(root).episodes
    assert np.abs(first.X_WC - second.X_WC).max() > 0.01


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hz": 10}, "choose another folder"),
        ({"seed": 5}, "choose another folder"),
        ({"disturbed": True}, "choose another folder"),
        ({"led_by": "anywhere"}, "choose another folder"),
        ({"led_by": "anywhere", "disturbed": True}, "exclude each other"),
        ({"preset": "huge"}, "known presets: lite, paper"),
        ({"hz": 3}, "divisor of 10"),
        ({"seed": 25}, "scenes that rollouts are evaluated on"),
        ({"episodes": OPTIONS["episodes"] + 1}, "was recorded for test"),
        ({"task": "FlyToTheMoon"}, "known tasks: .*PutSpatulaOnTable"),
    ],
)
def test_options_that_do_not_fit_are_refused(root, change, message):
    with pytest.raises(ValueError, match=message):
        demos.collect(root, **OPTIONS | change)


class FakeStation:
    """A station whose demonstrations succeed as told."""

    def __init__(self, outcomes: list[bool]):
        self.outcomes, self.seeds = outcomes, []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def success(self) -> bool:
        return self.outcomes[len(self.seeds) - 1]


def fake_record(station, recipe, rng) -> tuple[EpisodeArrays, tuple[str, ...]]:
    frames, cameras, size = 2, recipe.cameras, (4, 6)
    arrays = EpisodeArrays(
        rgb=np.zeros((frames, cameras, *size, 3), np.uint8),
        depth=np.zeros((frames, cameras, *size), np.uint16),
        label=np.zeros((frames, cameras, *size), np.uint8),
        K=np.tile(np.eye(3), (cameras, 1, 1)),
        X_WC=sample_camera_poses(cameras, rng),
        X_WG=np.tile(np.eye(4), (frames, 2, 1, 1)),
        width_m=np.ones((frames, 2)),
        joint_positions=rng.normal(size=(frames, 2, 7)),
        time_s=np.arange(frames) / 2.0,
    )
    return arrays, ("reach", "retreat")


def test_a_failed_demonstration_is_drawn_again_with_the_next_seed(tmp_path, monkeypatch):
    station = FakeStation([False, False, True])
    monkeypatch.setattr(recording, "_station", lambda task: station)
    monkeypatch.setattr(recording, "record", fake_record)
    recipe = recording.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0)
    recording.record_episode(tmp_path, recipe, 4, "test")
    first = station.seeds[0]
    assert station.seeds == [first, first + 1, first + 2]
    info = open_episode(recording.episode_path(tmp_path, 4)).info
    assert info.seed == first + 2 and info.failed_seeds == (first, first + 1)
    assert info.phase == ("reach", "retreat")


def test_only_training_episodes_of_a_disturbed_data_set_are_disturbed(tmp_path, monkeypatch):
    station, disturbed = FakeStation([True] * 3), []
    monkeypatch.setattr(recording, "_station", lambda task: station)
    monkeypatch.setattr(recording, "record", fake_record)
    monkeypatch.setattr(recording, "disturb", lambda station, rng: disturbed.append(station.seeds[-1]))
    recipe = recording.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0, disturbed=True)
    recording.record_episode(tmp_path, recipe, 0, "train")
    recording.record_episode(tmp_path, recipe, 1, "test")
    recording.record_episode(tmp_path, recording.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0), 2, "train")
    assert disturbed == station.seeds[:1] and len(station.seeds) == 3


def test_a_led_episode_begins_where_the_policy_has_come_to_unless_the_demonstrator_gives_up(tmp_path, monkeypatch):
    station, led = FakeStation([True] * 3), []
    station.phase = lambda: "lost" if len(led) == 1 else "reach"
    monkeypatch.setattr(recording, "_station", lambda task: station)
    monkeypatch.setattr(recording, "record", fake_record)
    monkeypatch.setattr(recording, "_leader", lambda folder, task: folder)
    monkeypatch.setattr(visited_states, "lead", lambda station, policy, rng: led.append((policy, station.seeds[-1])))
    recipe = recording.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0, led_by="folder")
    recording.record_episode(tmp_path, recipe, 0, "train")
    recording.record_episode(tmp_path, recipe, 1, "test")
    assert led == [("folder", station.seeds[0]), ("folder", station.seeds[1])]
    info = open_episode(recording.episode_path(tmp_path, 0)).info
    assert info.seed == station.seeds[1] == station.seeds[0] + 1 and info.failed_seeds == (station.seeds[0],)
    assert len(station.seeds) == 3


def test_a_demonstration_that_never_succeeds_stops_the_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_station", lambda task: FakeStation([False] * recording.MAX_ATTEMPTS))
    monkeypatch.setattr(recording, "record", fake_record)
    with pytest.raises(RuntimeError, match="episode 4"):
        recording.record_episode(tmp_path, recording.Recipe("PutSpatulaOnTable", 3, "lite", 2, 0), 4, "test")


def start_command(root: Path) -> subprocess.Popen:
    """`geo4d demos` with OPTIONS, in a process of its own."""
    options = ["--episodes", "1", "--test-episodes", "1", "--cameras", "3", "--hz", "2"]
    command = [sys.executable, "-m", "geo4d_lite", "demos", "--root", root, *options]
    return subprocess.Popen(command, cwd=Path(geo4d_lite.__file__).parents[1])


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_content(root, tmp_path):
    """Once while the first episode is recorded, once after it; both moments drawn."""
    rng, killed = np.random.default_rng(0), tmp_path / "set"
    for sign in (killed / "recipe.json", killed / "episode_0000.zarr"):
        process = start_command(killed)
        while not sign.exists():
            assert process.poll() is None, "the command ended before it was killed"
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 2.0))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "manifest.json").exists()
    assert start_command(killed).wait() == 0
    assert recorded_hash(killed) == recorded_hash(root)
    assert not check_dataset(killed)


@pytest.fixture()
def fast(monkeypatch):
    """Recording without a simulation: what is left is what `collect` does to files."""
    monkeypatch.setattr(recording, "_station", lambda task: FakeStation([True] * 100))
    monkeypatch.setattr(recording, "record", fake_record)


def test_a_lost_episode_is_recorded_again_and_the_rest_is_kept(fast, tmp_path):
    demos.collect(tmp_path, **OPTIONS)
    kept, lost = tmp_path / "episode_0000.zarr", tmp_path / "episode_0001.zarr"
    written, manifest = kept.stat().st_mtime_ns, (tmp_path / "manifest.json").read_text()
    shutil.rmtree(lost)
    leftover = tmp_path / ".episode_0001.zarr.partial-1"
    leftover.mkdir()
    demos.collect(tmp_path, **OPTIONS)
    assert kept.stat().st_mtime_ns == written and lost.exists() and not leftover.exists()
    assert (tmp_path / "manifest.json").read_text() == manifest


def collect_until(root: Path, operation: int | None, operations: multiprocessing.Value) -> None:
    """Collect, counting operations on files under `root`; at number `operation` the process kills itself."""

    def count(event: str, args: tuple) -> None:
        if not (event == "open" or event.startswith("os.")) or not str(args[0]).startswith(str(root)):
            return
        operations.value += 1
        if operations.value == operation:
            if event == "open" and args[2] & os.O_CREAT:  # opened, nothing written yet
                os.open(args[0], args[2])
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    demos.collect(root, **OPTIONS)


def test_killed_at_any_operation_on_a_file_the_next_run_ends_in_the_same_content(fast, tmp_path):
    fork, rng = multiprocessing.get_context("fork"), np.random.default_rng(0)

    def run(root: Path, operation: int | None) -> tuple[int, int]:
        operations = fork.Value("i", 0)
        process = fork.Process(target=collect_until, args=(root, operation, operations))
        process.start()
        process.join()
        return process.exitcode, operations.value

    exit_code, all_operations = run(tmp_path / "whole", None)
    assert exit_code == 0 and all_operations > 50
    for operation in [*range(1, 9), *rng.integers(9, all_operations + 1, 12)]:  # the first eight begin the folder
        root = tmp_path / str(operation)
        exit_code, _ = run(root, int(operation))
        assert exit_code == -signal.SIGKILL
        demos.collect(root, **OPTIONS)
        assert recorded_hash(root) == recorded_hash(tmp_path / "whole"), f"killed at operation {operation}"
        left = {path.name for path in root.iterdir()} - {path.name for path in (tmp_path / "whole").iterdir()}
        assert not left and not check_dataset(root), f"killed at operation {operation}"


@pytest.mark.slow
def test_a_dask_cluster_records_the_same_content(root, tmp_path):
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    with dask_cluster(tmp_path) as address:
        demos.collect(tmp_path / "set", **OPTIONS, backend="dask", scheduler=address)
    assert recorded_hash(tmp_path / "set") == recorded_hash(root)


@contextmanager
def dask_cluster(folder):
    """Address of a scheduler with two workers, each a process that can be killed: a LocalCluster may refuse to end."""
    place = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    common = ["--scheduler-file", str(place), "--no-dashboard"]
    worker = [*dask, "worker", *common, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    running = [subprocess.Popen([*dask, "scheduler", *common, "--port", "0"], **silent)]
    try:
        running += [subprocess.Popen(worker, **silent) for _ in range(2)]
        until = time.monotonic() + 120
        while not place.exists() and time.monotonic() < until:
            time.sleep(0.2)
        yield json.loads(place.read_text())["address"]
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_the_bar_tells_episodes_done_and_time_left_and_can_be_silenced(fast, tmp_path, monkeypatch, capfd):
    options = OPTIONS | {"progress": True}
    demos.collect(tmp_path / "silent", **options)  # TQDM_DISABLE is set in all tests
    assert capfd.readouterr() == ("", "")
    monkeypatch.delenv("TQDM_DISABLE")
    demos.collect(tmp_path / "heard", **options)
    shutil.rmtree(tmp_path / "heard/episode_0001.zarr")
    demos.collect(tmp_path / "heard", **options)
    out, err = capfd.readouterr()
    first, again = (run.strip().split("\r") for run in err.strip().split("\n"))
    assert out == "" and first[0].startswith("recording PutSpatulaOnTable:   0%") and "0/2 [00:00<?" in first[0]
    assert "2/2" in first[-1] and "1/2" in again[0] and "2/2" in again[-1]


def test_the_manifest_counts_the_demonstrations_that_failed(tmp_path, monkeypatch):
    station = FakeStation([False, True, False, False, True])
    monkeypatch.setattr(recording, "_station", lambda task: station)
    monkeypatch.setattr(recording, "record", fake_record)
    demos.collect(tmp_path, **OPTIONS)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["failed_demonstrations"] == 3
    assert [entry["failed_seeds"] for entry in manifest["episodes"]] == [[0], [20, 21]]


def test_the_sample_is_kept_until_the_simulation_changes(tmp_path, monkeypatch):
    recorded = []

    def fake_collect(root, **options):
        recorded.append(options)
        root.mkdir()
        (root / "manifest.json").write_text("{}")

    monkeypatch.setattr(geo4d_lite, "__file__", str(tmp_path / "geo4d_lite" / "__init__.py"))
    monkeypatch.setattr(demos, "collect", fake_collect)
    monkeypatch.setattr(demos, "open_dataset", lambda root: root)
    monkeypatch.setattr(demos, "simulation_fingerprint", lambda: "one")
    assert demos.sample_dataset() == demos.sample_dataset() == tmp_path / "data" / "sample"
    assert len(recorded) == 1
    monkeypatch.setattr(demos, "simulation_fingerprint", lambda: "two")
    demos.sample_dataset()
    assert len(recorded) == 2


def test_the_fingerprint_reads_sources_and_models():
    files = demos.simulation_files()
    names = {path.name for path in files}
    assert {"station.py", "spatula.py", "panda.urdf", "spatula.urdf", "apple.obj", "gripper.json"} <= names
    assert {"cameras.py", "store.py", "_episode.py"} <= names, "what films and writes"
