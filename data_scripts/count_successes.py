"""Counts how often the scripted demonstrations succeed, and how much of the grippers cameras see meanwhile.

    python data_scripts/count_successes.py --seeds 100 --filmed 20 --workers 2

Writes book/results/demonstrations.json, task by task; tasks that are not named keep their numbers.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from joblib import Parallel, delayed

from geo4d_lite.evaluation.results import provenance, read_json, write_json
from geo4d_lite.evaluation.rollouts import LITE_CAMERA, held_out_cameras
from geo4d_lite.evaluation.statistics import wilson_interval
from geo4d_lite.evaluation.visibility import finger_pixels, visible_share
from geo4d_lite.geometry import sample_camera_poses
from geo4d_lite.geometry.labels import ARMS
from geo4d_lite.simulation import TASKS, ScriptedDemonstration, Station, make_station

FIRST_SEED = 5_000_000  # far from the seeds of any data set or rollout
STEP_S, FRAME_EVERY = 0.1, 5  # frames at 2 Hz
TAIL_STEPS = 15
CAMERAS = 4  # of the shell, drawn anew for every seed, beside the two held-out ones
FINGER_PIXELS, HAND_SHARE = 12, 0.30


@dataclass(frozen=True)
class CountSuccesses:
    """Run the demonstration of every task from `seeds` random layouts; film the first `filmed` of them."""

    seeds: int = 100
    filmed: int = 20
    workers: int = 1
    tasks: tuple[str, ...] = tuple(TASKS)
    result: Path = Path("book/results/demonstrations.json")


@dataclass
class Run:
    """One demonstration. `phase`: where it ended. Per frame and acting gripper: the pixels of its fingers in the first
    shell cameras, and the larger share of it that one of the two held-out views shows."""

    seed: int
    success: bool = False
    phase: str = ""
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    finger_pixels: dict[str, list[int]] = field(default_factory=dict)
    hand_share: dict[str, list[float]] = field(default_factory=dict)


def acting_arms(station: Station) -> list[int]:
    """The arms that are to move, close or open now."""
    now = station.snapshot()
    arms = enumerate(station.task.decide(now).arms)
    return [arm for arm, command in arms if command.speed > 0 or abs(command.width_m - now.width_m[arm]) > 1e-3]


def run(task: str, seed: int, filmed: bool) -> Run:
    """The demonstration of `task` from the layout of `seed`, looked at every half second if it is `filmed`."""
    station, result = make_station(task, seed), Run(seed)
    demonstration, steps_left, step = ScriptedDemonstration(station), TAIL_STEPS, 0
    while steps_left:
        if filmed and step % FRAME_EVERY == 0:
            look(station, result)
        start = time.process_time()
        demonstration.step(STEP_S)
        steps_left -= demonstration.done
        result.cpu_s += time.process_time() - start
        step += 1
    result.success, result.phase, result.simulated_s = station.success(), station.phase(), station.time_s
    return result


def look(station: Station, result: Run) -> None:
    """Add what the cameras see of the acting grippers now."""
    X_WG, width_m = station.X_WG(), station.width_m()
    held_out = held_out_cameras(result.seed)
    shell = sample_camera_poses(CAMERAS, np.random.default_rng([result.seed, 1]))
    labels = [station.render(X_WC, LITE_CAMERA).label for X_WC in (*held_out, *shell)]
    for arm in acting_arms(station):
        shares = [visible_share(labels[i], arm, X_WG[arm], width_m[arm], held_out[i], LITE_CAMERA) for i in range(2)]
        result.hand_share.setdefault(ARMS[arm], []).append(max(shares))
        for label in labels[2:]:
            for side, pixels in zip(ARMS, finger_pixels(label, arm), strict=True):
                result.finger_pixels.setdefault(f"{ARMS[arm]} arm, {side} finger", []).append(pixels)


def summarise(runs: list[Run]) -> dict:
    """Counts and shares of one task."""
    successes, failed = sum(r.success for r in runs), [r for r in runs if not r.success]
    fingers = {name for r in runs for name in r.finger_pixels}
    arms = {name for r in runs for name in r.hand_share}
    return {
        "seeds": [runs[0].seed, runs[-1].seed],
        "n": len(runs),
        "successes": successes,
        "interval": list(wilson_interval(successes, len(runs))),
        "failed": {str(r.seed): r.phase for r in failed},
        "simulated_s": float(np.mean([r.simulated_s for r in runs])),
        "cpu_s_per_simulated_s": sum(r.cpu_s for r in runs) / sum(r.simulated_s for r in runs),
        "filmed": sum(bool(r.hand_share) for r in runs),
        f"share_of_frames_with_{FINGER_PIXELS}_pixels_of_a_finger": {
            name: float(np.mean([p >= FINGER_PIXELS for r in runs for p in r.finger_pixels.get(name, [])]))
            for name in sorted(fingers)
        },
        f"share_of_frames_with_{HAND_SHARE:.0%}_of_an_acting_hand_in_a_held_out_view": {
            name: float(np.mean([s >= HAND_SHARE for r in runs for s in r.hand_share.get(name, [])]))
            for name in sorted(arms)
        },
    }


def main(options: CountSuccesses) -> None:
    for task in options.tasks:
        jobs = (delayed(run)(task, FIRST_SEED + i, i < options.filmed) for i in range(options.seeds))
        counted = summarise(Parallel(n_jobs=options.workers)(jobs))
        flags = f"--seeds {options.seeds} --filmed {options.filmed} --tasks {task}"
        counted |= provenance(f"python data_scripts/count_successes.py {flags}")
        content = read_json(options.result) if options.result.exists() else {"tasks": {}}
        content["tasks"][task] = counted
        write_json(options.result, content)
        print(task, counted)


if __name__ == "__main__":
    main(tyro.cli(CountSuccesses))
