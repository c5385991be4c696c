"""`geo4d rollout`: the closed loop over many unseen initial poses, resumable, with an interval on the success rate."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Rollout:
    """Roll a policy out from unseen initial poses and cameras. Run the same command again to go on after a kill."""

    task: str = "PutSpatulaOnTable"
    """Name of the task."""
    policy: Literal["oracle", "video", "path", "stand-still", "diffusion_policy", "dp3", "dreamitate"] = "video"
    """"video": generated videos. "oracle": true futures instead. "path": what --path-model reads, acted without a
    video. "stand-still": the lower bound. The others: baselines, which need --weights."""
    episodes: int = 10
    """How many rollouts, with the seeds `seed`, `seed` + 1, ..."""
    preset: Literal["lite", "paper"] = "lite"
    """Image size of the two cameras: lite 128 x 160, paper 256 x 320. Weights must be of the same scale."""
    seed: int = 9_000_000
    """First seed of the initial poses and cameras; data sets use smaller ones, so none of these was trained on."""
    execute_frames: int = 10
    """Frames of each video that are acted before looking again; the paper acts all ten. Diffusion Policy and DP3 give
    eight, as in their papers."""
    weights: Path | None = None
    """For "video": folder written by `geo4d train --export`; without it, the weights that come with the package. For
    "dreamitate": the same, trained with `--modalities rgb`. For "diffusion_policy" and "dp3": folder written by
    `python -m data_scripts.train_policy --export`."""
    steps: int = 4
    """For "video" and "dreamitate": steps of the sampler; the paper takes 25."""
    views: Literal["confident", "both"] = "confident"
    """For "video" and "oracle": follow in each frame the more confident view, as the paper does, or what both say
    together, smoothed over time."""
    redraws: int = 0
    """For "video" with a path model or the true path: how often each film is drawn again, along a corrected path,
    because it does not show the path it was to show."""
    path_model: Path | None = None
    """For "video": folder written by `data_scripts.train_path`, such as geo4d_lite/assets/weights/path_model. The hands
    are then drawn along the path that it reads from the points of both views, not along that of the frame tokens. For
    "path": without it, the one that comes with the package."""
    true_path: bool = False
    """For "video": draw the hands along the path that the scripted demonstration will take from here. No policy, as it
    looks into the future: it shows what drawing a film and following it cost by themselves."""
    seen: Path | None = None
    """Data set: start as its training episodes did, seen by two of their training cameras, instead of unseen ones. What
    a policy reaches there bounds what it can reach on held-out ones; `seed` then only draws the policy's noise."""
    workers: int = 1
    """Processes that roll out side by side."""
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
    from joblib import Parallel, delayed

    from geo4d_lite.evaluation.baselines import ACTION_MODELS
    from geo4d_lite.evaluation.results import fingerprint, provenance, read_json, same_settings, write_json
    from geo4d_lite.evaluation.rollouts import RolloutRecord, summarise_rollouts
    from geo4d_lite.policies.action_policy import ActionPolicyConfig

    check(options)
    for kind, path in learned(options).items():
        print(f"{kind.replace('_', ' ')}: {path}", flush=True)
    name = f"{options.task}_{options.policy}" + ("_seen" if options.seen else "")
    folder = (options.out or Path("runs/rollouts") / name).absolute()
    varying = ("episodes", "workers", "out", "result")  # the seed draws the policy's noise as well
    kept = {name: value for name, value in asdict(options).items() if name not in varying}
    begun = same_settings(folder, kept | {f"of_{name}": fingerprint(path) for name, path in learned(options).items()})
    wanted = {folder / f"seed_{seed}.json": (seed, X_WC) for seed, X_WC in situations(options)}
    jobs = [delayed(record_rollout)(options, path, *of_path) for path, of_path in wanted.items() if not path.exists()]
    done = len(wanted) - len(jobs)
    for record in Parallel(options.workers, batch_size=1, return_as="generator_unordered")(jobs):
        done += 1
        print(f"{done}/{options.episodes}  {record}", flush=True)
    records = [RolloutRecord(**read_json(path)) for path in wanted]
    summary = summarise_rollouts(records)
    print(f"{options.policy}: {summary['successes']} of {summary['n']}, 95% interval {summary['interval']}")
    if options.result is not None:
        settings = {"task": options.task, "policy": options.policy, "preset": options.preset, "seed": options.seed}
        given = ActionPolicyConfig().execute_frames if options.policy in ACTION_MODELS else options.execute_frames
        settings |= {
            "execute_frames": min(options.execute_frames, given),
            "situations": "seen" if options.seen else "held out",
        }
        rows = [asdict(record) for record in records]
        write_json(options.result, settings | summary | provenance(command_line(options), begun) | {"rollouts": rows})
        print(f"wrote {options.result}")


def check(options: Rollout) -> None:
    """Raise ValueError for options that are out of range, or that this policy would not use."""
    for name in ("episodes", "workers"):
        if getattr(options, name) < 1:
            raise ValueError(f"{name} is {getattr(options, name)}; expected at least 1")
    if options.redraws < 0:
        raise ValueError(f"redraws is {options.redraws}; expected 0 or more")
    if options.true_path and (options.policy != "video" or options.path_model is not None):
        raise ValueError("--true-path says where videos draw the hands; it needs --policy video and no --path-model")
    if options.redraws and (options.policy != "video" or (options.path_model is None and not options.true_path)):
        raise ValueError(
            "--redraws draws films again along a path; it needs --policy video and --path-model or --true-path"
        )
    if options.policy not in ("oracle", "video") and (options.foundationpose or options.sam2):
        raise ValueError(f"--policy {options.policy} takes neither --foundationpose nor --sam2")
    if options.policy in ("oracle", "stand-still", "path") and options.weights is not None:
        raise ValueError(f"--policy {options.policy} takes no --weights")
    if options.policy not in ("video", "path") and options.path_model is not None:
        raise ValueError(f"--policy {options.policy} takes no --path-model")
    if options.policy not in ("oracle", "stand-still", "path", "video") and options.weights is None:
        raise ValueError(f"--policy {options.policy} needs --weights; no weights of it come with the package")


def learned(options: Rollout) -> dict[str, Path]:
    """The folders of weights that the policy acts by, given or shipped, by what they are."""
    from geo4d_lite.models.weights import shipped

    folders = {"weights": options.weights, "path_model": options.path_model}
    if options.policy == "video" and options.weights is None:
        folders["weights"] = shipped()
    if options.policy == "path" and options.path_model is None:
        folders["path_model"] = shipped("path_model")
    return {name: folder for name, folder in folders.items() if folder is not None}


def situations(options: Rollout) -> list[tuple]:
    """Seed of the initial pose and camera poses (2, 4, 4) of every rollout; None for cameras that nobody has seen.

    Raises ValueError if the data set to start from has too few training episodes of the task.
    """
    if options.seen is None:
        return [(seed, None) for seed in range(options.seed, options.seed + options.episodes)]
    from geo4d_lite.data import open_dataset

    episodes = [e for e in open_dataset(options.seen).split("train") if e.info.task == options.task]
    if len(episodes) < options.episodes:
        raise ValueError(f"{options.seen} has {len(episodes)} training episodes of {options.task}; lower --episodes")
    return [(e.info.seed, e.X_WC[e.info.cameras("train")[:2]]) for e in episodes[: options.episodes]]


def record_rollout(options: Rollout, path: Path, seed: int, X_WC):
    """Roll out once and write the record to `path`; returns it."""
    from geo4d_lite.data import CAMERAS
    from geo4d_lite.evaluation.results import write_json
    from geo4d_lite.evaluation.rollouts import RolloutOptions, rollout

    act = RolloutOptions(options.execute_frames)
    record = rollout(options.task, seed, policy_maker(options), X_WC, act, camera=CAMERAS[options.preset])
    write_json(path, asdict(record))
    return record


@lru_cache(maxsize=1)
def policy_maker(options: Rollout):
    """A function of (station, camera poses) that gives the policy `options` ask for; a process loads weights once."""
    from geo4d_lite.data import CAMERAS
    from geo4d_lite.evaluation.perception_choice import PerceptionChoice
    from geo4d_lite.evaluation.rollouts import along_true_path, oracle_policy
    from geo4d_lite.policies import StandStill
    from geo4d_lite.simulation.tasks import get_task

    check(options)
    threshold_m = get_task(options.task).gripper_threshold_m
    if options.policy == "stand-still":
        return lambda station, X_WC: StandStill()
    perception = PerceptionChoice(options.foundationpose, options.sam2, options.views, options.redraws)
    if options.policy in ("oracle", "video"):
        print(perception, flush=True)
    if options.policy == "oracle":
        return oracle_policy(threshold_m, CAMERAS[options.preset], perception.video_policy)
    if options.policy == "path":
        from geo4d_lite.evaluation.baselines import path_policy

        reader = path_policy(learned(options)["path_model"], threshold_m)
        return lambda station, X_WC: reader
    import torch

    from geo4d_lite.evaluation.baselines import ACTION_MODELS, action_policy, dreamitate_policy
    from geo4d_lite.models.weights import load_pipeline

    if options.policy in ACTION_MODELS:
        baseline = action_policy(options.policy, options.weights, threshold_m, options.seed)
        return lambda station, X_WC: baseline
    pipeline = load_pipeline(learned(options)["weights"], options.path_model)

    def imagine(view_n, view_m, path=None):
        return pipeline(view_n, view_m, options.steps, torch.Generator().manual_seed(options.seed), path)

    make = dreamitate_policy if options.policy == "dreamitate" else perception.video_policy
    if options.true_path:
        return along_true_path(imagine, threshold_m, CAMERAS[options.preset], make)
    policy = make(imagine, threshold_m)
    return lambda station, X_WC: policy


def command_line(options: Rollout) -> str:
    """The command that makes this run again."""
    words = [f"geo4d rollout --task {options.task} --policy {options.policy} --episodes {options.episodes}"]
    chosen = {name: getattr(options, name) for name in ("foundationpose", "sam2")}
    words += [f"--{name} {value}" for name, value in chosen.items() if value is not None]
    words += [f"--preset {options.preset}"] if options.preset != "lite" else []
    words.append(f"--seed {options.seed} --execute-frames {options.execute_frames}")
    if options.policy in ("video", "dreamitate"):
        words.append(f"--steps {options.steps}")
    if options.policy in ("video", "oracle") and options.views != "confident":
        words.append(f"--views {options.views}")
    words += [f"--redraws {options.redraws}"] if options.redraws else []
    words += ["--true-path"] if options.true_path else []
    folders = {"weights": options.weights, "path-model": options.path_model, "seen": options.seen}
    words += [f"--{name} {folder}" for name, folder in folders.items() if folder]
    return " ".join(words)
