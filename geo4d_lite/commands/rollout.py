"""`geo4d rollout`: the closed loop over many unseen initial poses, resumable, with an interval on the success rate."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Rollout:
    """Roll a policy out from unseen initial poses and cameras. Run the same command again to go on after a kill."""

    task: str = "PutSpatulaOnTable"
    """Name of the task."""
    policy: Literal["oracle", "video", "stand-still"] = "video"
    """"video": generated videos. "oracle": true futures instead. "stand-still": the lower bound."""
    episodes: int = 10
    """How many rollouts, with the seeds `seed`, `seed` + 1, ..."""
    seed: int = 9_000_000
    """First seed of the initial poses and cameras; data sets use smaller ones, so none of these was trained on."""
    execute_frames: int = 10
    """Frames of each video that are acted before looking again; the paper acts all ten."""
    weights: Path | None = None
    """For "video": folder written by `geo4d train --export`; without it, the weights that come with the package."""
    steps: int = 4
    """For "video": steps of the sampler; the paper takes 25."""
    out: Path | None = None
    """Folder of the records, one JSON a rollout; runs/rollouts/<task>_<policy> if not given."""
    result: Path | None = None
    """File to write the summary to, such as book/results/rollout_oracle.json."""
    foundationpose: Path | None = None
    """Track by FoundationPose, in the environment that `data_scripts.install_trackers` made in this folder, instead of
    the lite tracker."""
    sam2: str | None = None
    """Segment by SAM 2, with weights from this folder or by this name on the Hub, instead of by colour."""


def main(options: Rollout) -> None:
    """Run `options`; prints a line for each rollout and the rate with its interval."""
    from geo4d_lite.evaluation.results import provenance, read_json, same_settings, write_json
    from geo4d_lite.evaluation.rollouts import RolloutOptions, RolloutRecord, rollout, summarise_rollouts
    from geo4d_lite.simulation.tasks import get_task

    if options.episodes < 1:
        raise ValueError(f"episodes is {options.episodes}; expected at least 1")
    task = get_task(options.task)
    folder = options.out or Path("runs/rollouts") / f"{options.task}_{options.policy}"
    varying = ("episodes", "seed", "out", "result")
    same_settings(folder, {name: value for name, value in asdict(options).items() if name not in varying})
    make_policy = policy_maker(options, task.gripper_threshold_m)
    records = []
    for seed in range(options.seed, options.seed + options.episodes):
        path = folder / f"seed_{seed}.json"
        if not path.exists():
            record = rollout(options.task, seed, make_policy, options=RolloutOptions(options.execute_frames))
            write_json(path, asdict(record))
        records.append(RolloutRecord(**read_json(path)))
        print(f"{len(records)}/{options.episodes}  {records[-1]}", flush=True)
    summary = summarise_rollouts(records)
    print(f"{options.policy}: {summary['successes']} of {summary['n']}, 95% interval {summary['interval']}")
    if options.result is not None:
        settings = {"task": options.task, "policy": options.policy, "preset": "lite", "seed": options.seed}
        settings |= {"execute_frames": options.execute_frames}
        rows = [asdict(record) for record in records]
        write_json(options.result, settings | summary | provenance(command_line(options)) | {"rollouts": rows})
        print(f"wrote {options.result}")


def policy_maker(options: Rollout, threshold_m: float):
    """A function of (station, camera poses) that gives the policy `options` ask for; loads weights once."""
    from geo4d_lite.evaluation.perception_choice import PerceptionChoice
    from geo4d_lite.policies import StandStill

    if options.policy == "stand-still":
        return lambda station, X_WC: StandStill()
    perception = PerceptionChoice(options.foundationpose, options.sam2)
    print(perception, flush=True)
    if options.policy == "oracle":
        return perception.oracle_policy(threshold_m)
    import torch

    from geo4d_lite.models import Geo4DPipeline
    from geo4d_lite.models.weights import shipped

    pipeline = Geo4DPipeline.from_pretrained(options.weights or shipped())

    def imagine(view_n, view_m):
        return pipeline(view_n, view_m, options.steps, torch.Generator().manual_seed(options.seed))

    policy = perception.video_policy(imagine, threshold_m)
    return lambda station, X_WC: policy


def command_line(options: Rollout) -> str:
    """The command that makes this run again."""
    words = [f"geo4d rollout --task {options.task} --policy {options.policy} --episodes {options.episodes}"]
    chosen = {name: getattr(options, name) for name in ("foundationpose", "sam2")}
    words += [f"--{name} {value}" for name, value in chosen.items() if value is not None]
    words.append(f"--seed {options.seed} --execute-frames {options.execute_frames}")
    if options.policy == "video":
        words.append(f"--steps {options.steps}" + (f" --weights {options.weights}" if options.weights else ""))
    return " ".join(words)
