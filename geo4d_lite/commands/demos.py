"""`geo4d demos`: record scripted demonstrations from cameras all around into a data set.

Every episode has its own seeds, so it comes out the same whether it is recorded first or last, alone or in parallel,
and a collection that was interrupted goes on where it stopped.

Episodes are joblib tasks, so another machine room is another joblib backend. With Dask, whose workers see the same
folder under the same path:

    dask scheduler                                                    # on one machine
    dask worker tcp://HOST:8786 --nworkers 8 --nthreads 1             # on every machine
    geo4d demos --root /shared/spatula --backend dask --scheduler tcp://HOST:8786

Drake's renderer belongs to the thread that made it, therefore one thread a worker. With Ray (`pip install ray`), whose
cluster is named by the variable RAY_ADDRESS, the last line ends in `--backend ray --workers 64`.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

import geo4d_lite
from geo4d_lite.commands._episode import MAX_ATTEMPTS, SIMULATION_HZ, Recipe, episode_path, record_episode
from geo4d_lite.data import IMAGE_SIZES, Dataset, check_dataset, open_dataset, open_episode, write_manifest
from geo4d_lite.simulation import get_task

RECIPE = "recipe.json"
FIRST_RESERVED_SEED = 5_000_000  # scenes of `count_successes`, and from 9,000,000 on of `geo4d rollout`


@dataclass(frozen=True)
class Demos:
    """Record demonstrations into a data set; a collection that was interrupted goes on where it stopped."""

    root: Path | None = None
    """Folder of the data set to record."""
    check: Path | None = None
    """Record nothing; look through the data set in this folder for damage and leaks. Exit code 1 if there are any."""
    task: str = "PutSpatulaOnTable"
    episodes: int = 25
    """Training episodes."""
    test_episodes: int = 5
    """Held-out episodes, recorded beside the training episodes."""
    cameras: int = 16
    """Cameras an episode; the last quarter is held out."""
    preset: Literal["lite", "paper"] = "lite"
    """Image size: lite 128 x 160, paper 256 x 320."""
    hz: int = 10
    """Frames a second: 1, 2, 5 or 10. Below 10 each episode starts at a random phase. Training and evaluation take
    windows at 2 Hz, so from 2 or 10."""
    seed: int = 0
    disturbed: bool = False
    """Start each training episode on the way, with a gripper pushed off its path: it shows how to come back."""
    led_by: Path | None = None
    """Folder of a path model (`data_scripts.train_path`): start each training episode where that model, acting by
    itself, has come to. It shows how to go on from there."""
    workers: int = 1
    """Processes that record side by side; Dask takes all that the scheduler has."""
    backend: Literal["loky", "dask", "ray"] = "loky"
    """joblib's backend: loky records on this machine, dask and ray on their clusters, one thread a worker."""
    scheduler: str | None = None
    """Address of Dask's scheduler, such as tcp://HOST:8786; Ray's cluster is named by RAY_ADDRESS."""


def main(options: Demos) -> None:
    """Collect what `options` asks for and print where it is, or look through a data set and print what is wrong."""
    if options.check is not None:
        problems = check_dataset(options.check)
        print("\n".join([*map(str, problems), f"{options.check}: {len(problems)} problem(s)"]))
        if problems:
            raise SystemExit(1)
        return
    if options.root is None:
        raise ValueError("no folder given; name one with --root to record into, or with --check to look through")
    dataset = collect(**{name: value for name, value in vars(options).items() if name != "check"})
    frames = sum(episode.frames for episode in dataset.episodes)
    failed = sum(len(episode.info.failed_seeds) for episode in dataset.episodes)
    print(
        f"{dataset.root}: {len(dataset.episodes)} episodes, {frames} frames, {options.cameras} cameras each; "
        f"{failed} demonstrations failed and were drawn again"
    )


def collect(
    root: str | Path,
    task: str = "PutSpatulaOnTable",
    episodes: int = 25,
    cameras: int = 16,
    preset: str = "lite",
    hz: int = 10,
    seed: int = 0,
    test_episodes: int = 5,
    disturbed: bool = False,
    led_by: str | Path | None = None,
    workers: int = 1,
    backend: str = "loky",
    scheduler: str | None = None,
    progress: bool = True,
) -> Dataset:
    """Record `episodes` training and `test_episodes` held-out demonstrations of `task` into `root`.

    Episodes already there are kept. `disturbed`: see `simulation.disturb`; `led_by`, a folder: see
    `evaluation.visited_states`; held-out ones are neither. `workers`,
    `backend` and `scheduler` (Dask's address) are joblib's. `progress` shows a bar on stderr unless TQDM_DISABLE is
    set. Raises ValueError for an unknown task, preset or rate, and where
    `root` holds episodes recorded with other options; RuntimeError if a demonstration keeps failing.
    """
    get_task(task)
    if preset not in IMAGE_SIZES:
        raise ValueError(f"unknown preset {preset!r}; known presets: {', '.join(IMAGE_SIZES)}")
    last_seed = (10_000 * seed + episodes + test_episodes) * MAX_ATTEMPTS
    if last_seed > FIRST_RESERVED_SEED:
        raise ValueError(f"seed {seed} draws scenes that rollouts are evaluated on; expected at most 24")
    if hz < 1 or SIMULATION_HZ % hz:
        raise ValueError(f"hz is {hz}; expected a divisor of {SIMULATION_HZ}")
    if disturbed and led_by is not None:
        raise ValueError("disturbed and led_by exclude each other; record two data sets")
    leader = None if led_by is None else str(Path(led_by).absolute())
    root = Path(root).absolute()  # workers stand elsewhere
    recipe = Recipe(task, cameras, preset, hz, seed, disturbed, leader)
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        _check_recipe(root, recipe)
        splits = ["train"] * episodes + ["test"] * test_episodes
        _check_splits(root, splits)
        numbers = [number for number in range(len(splits)) if not episode_path(root, number).exists()]
        jobs = [delayed(record_episode)(root, recipe, number, splits[number]) for number in numbers]
        silent = not (progress and jobs) or bool(os.environ.get("TQDM_DISABLE"))
        count = {"initial": len(splits) - len(jobs), "total": len(splits), "unit": "episode"}
        with (
            _parallel_config(backend, workers, scheduler),
            tqdm(desc=f"recording {task}", **count, disable=silent) as bar,
        ):
            _ParallelWithBar(bar)(jobs)
        for lock in root.glob(".episode_*.lock"):
            lock.unlink()
        write_manifest(root)
    return open_dataset(root)


def _parallel_config(backend: str, workers: int, scheduler: str | None) -> parallel_config:
    """joblib's own switch of where tasks run; it knows loky and Dask, and Ray once Ray has registered."""
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    address = {} if scheduler is None else {"scheduler_host": scheduler}
    return parallel_config(backend, n_jobs=workers, **address)


def _check_splits(root: Path, splits: list[str]) -> None:
    """Raise ValueError where an episode that is there already would change sides."""
    for path in sorted(root.glob("episode_*.zarr")):
        number, is_now = int(path.stem.removeprefix("episode_")), open_episode(path).info.split
        if number < len(splits) and splits[number] != is_now:
            wanted = f"{splits.count('train')} + {splits.count('test')}"
            raise ValueError(
                f"{path.name} was recorded for {is_now}, and with {wanted} episodes would be for {splits[number]}: "
                "held-out ones are numbered after the others; choose another folder, or the number of before"
            )


class _ParallelWithBar(Parallel):
    """joblib's Parallel, one episode a task, that moves a bar on whenever an episode is done, whatever the backend."""

    def __init__(self, bar: tqdm) -> None:
        super().__init__(batch_size=1)
        self.bar, self.there = bar, bar.n

    def print_progress(self) -> None:
        self.bar.update(self.there + self.n_completed_tasks - self.bar.n)


def _check_recipe(root: Path, recipe: Recipe) -> None:
    """Keep the recipe beside the episodes; raise ValueError if the folder was begun with another one."""
    path = root / RECIPE
    if path.exists():
        if Recipe(**json.loads(path.read_text())) != recipe:
            raise ValueError(f"{root} was recorded with {path.read_text().strip()}; choose another folder or delete it")
        return
    partial = root / f".{RECIPE}.partial"
    partial.write_text(json.dumps(vars(recipe)) + "\n")
    partial.replace(path)


def sample_dataset() -> Dataset:
    """The small data set of the notebooks: 6 training and 2 held-out episodes, 6 cameras, 2 Hz, preset lite.

    Recorded on first use into data/sample of the repository (about a minute), and again when the simulation changes.
    """
    folder = Path(geo4d_lite.__file__).parents[1] / "data"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "sample.lock"):
        root, stamp = folder / "sample", folder / "sample.stamp"
        made_by = simulation_fingerprint()
        if not stamp.exists() or stamp.read_text() != made_by:
            shutil.rmtree(root, ignore_errors=True)
            stamp.write_text(made_by)
        if not (root / "manifest.json").exists():
            collect(root, episodes=6, test_episodes=2, cameras=6, hz=2, workers=2, progress=False)
        return open_dataset(root)


def simulation_files() -> list[Path]:
    """The sources and models that decide what a recorded episode looks like."""
    package = Path(__file__).parents[1]
    assets = [*package.glob("assets/*.urdf"), *package.glob("assets/*.obj"), package / "assets/gripper.json"]
    rooms = {file for room in ("simulation", "geometry") for file in package.glob(f"{room}/**/*.py")}
    files = {*rooms, *assets, package / "data/store.py", package / "commands/_episode.py"}
    return sorted(files - {package / "simulation/recording.py"})  # replays only


def simulation_fingerprint() -> str:
    """A hash of `simulation_files`: data recorded under another one may look different."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in simulation_files())).hexdigest()
