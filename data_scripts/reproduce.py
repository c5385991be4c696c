"""Everything from nothing: data, training, and the commands behind every recorded number, one after the other.

    python -m data_scripts.reproduce --dry-run     what would be run
    nice python -m data_scripts.reproduce          run it; the same command goes on after a kill

Each step leaves a file or a folder and is skipped where that exists; steps that take long resume by themselves. Results
and their tables land in a folder of their own, to be compared with the recorded book/results; how long each step took,
in times.json. Every method is trained once, at one budget and on the same demonstrations. Where a recorded row has
another history (the shipped weights grew in steps, DP3 had forty demonstrations), the lab notebook tells it.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from data_scripts.command_line import run
from geo4d_lite.evaluation.comparison import held_out_name
from geo4d_lite.evaluation.results import write_json
from geo4d_lite.evaluation.table2 import rollout_name

TASKS = {  # folder of the data -> the paper's name
    "cereal_box": "StoreCerealBoxUnderShelf",
    "spatula": "PutSpatulaOnTable",
    "apple": "PlaceAppleFromBowlIntoBin",
}
MAIN_STEPS, ABLATION_STEPS = 18_000, 3_200  # of WINDOWS windows, over all processes
WINDOWS = 8
ABLATIONS = {  # name -> switches of `geo4d train`; all at one budget, and the main recipe at the same beside them
    "plain": "--recipe plain",
    "plain_alone": "--recipe plain --no-cross-view-attention",
    "short": "--recipe best --name short",
    "rgb": "--recipe plain --modalities rgb --no-cross-view-attention --shared-decoder",
    "rgb_attention": "--recipe plain --modalities rgb",
    "shared_decoder": "--recipe plain --shared-decoder",
    "no_gripper_weighting": "--recipe plain --gripper-weighting none",
    "no_validity_mask": "--recipe plain --no-validity-mask",
}
SAMPLER_STEPS = (25, 10, 5, 4, 2, 1)


@dataclass(frozen=True)
class Reproduce:
    """Run all commands of the book, or print them."""

    dry_run: bool = False
    data: Path = Path("data/tabletop")
    out: Path = Path("runs/reproduce")
    processes: int = 2
    """For training, one a core, or one a card where there are cards; and for rollouts."""
    windows: int = 100
    """Held-out windows of each task."""
    rollouts: int = 30
    """Episodes in closed loop of each policy and task."""


@dataclass(frozen=True)
class Step:
    """A command, and what exists once it is done."""

    name: str
    command: str
    makes: Path


def steps(options: Reproduce) -> Iterator[Step]:
    """All commands in order; each needs only what those before it made."""
    data, out, results = options.data, options.out, options.out / "results"
    for task, name in TASKS.items():
        command = f"geo4d demos --root {data / task} --task {name} --hz 2 --episodes 60 --test-episodes 20 --seed 1"
        yield Step(f"demonstrations of {task}", command, data / task / "manifest.json")
        way_back = data / f"{task}_disturbed"
        command = f"geo4d demos --root {way_back} --task {name} --hz 2 --episodes 140 --test-episodes 0 --cameras 8"
        yield Step(f"disturbed ones of {task}", f"{command} --seed 2 --disturbed", way_back / "manifest.json")
    cards = torch.cuda.device_count()
    together = min(options.processes, cards) if cards else options.processes  # two processes cannot share a card
    launch = f"torchrun --standalone --nproc-per-node {together} -m geo4d_lite train"
    settings = f"--data {data} --out {out / 'train'} --autoencoder-steps 6000 --autoencoder-batch 8"
    settings += f" --unet-batch {max(1, WINDOWS // together)} --unet-learning-rate 1e-3"
    for name, switches in {"best": "--recipe best", **ABLATIONS}.items():
        count = MAIN_STEPS if name == "best" else ABLATION_STEPS
        command = f"{launch} {settings} --unet-steps {count} {switches} --export {out / name}"
        yield Step(f"training: {name}", command, out / name)
    features = out / "video_encoder"
    command = f"python -m data_scripts.train_video_features --data {data} --out {out / 'train_video_encoder'}"
    yield Step("training: video features", f"{command} --export {features}", features)
    for task in TASKS:
        folder = out / f"gaussians_{task}"
        command = f"python -m data_scripts.train_gaussians --data {data / task} --out {out / f'train_gaussians_{task}'}"
        yield Step(f"training: 4D Gaussians, {task}", f"{command} --export {folder}", folder)
    for task in TASKS:
        for method in ("", *ABLATIONS, "gaussians"):
            weights = out / (method or "best") if method != "gaussians" else out / f"gaussians_{task}"
            yield _held_out(options, method, task, f"--weights {weights}")
        yield _held_out(options, "depth_noise", task, f"--weights {out / 'best'} --depth-noise")
    for count in SAMPLER_STEPS:
        evaluate = f"geo4d evaluate --data {data / 'spatula'} --windows 40 --weights {out / 'best'} --steps {count}"
        yield _evaluation(evaluate, f"sampler_steps_{count}", results)
    command = f"python -m data_scripts.measure_resources --data {data / 'spatula'}"
    yield Step("costs", f"{command} --result {results / 'resources.json'}", results / "resources.json")
    yield from closed_loop(options)
    for file in ("results/paper.json", "claims.json"):
        yield Step(f"the paper's side, {file}", f"cp book/{file} {out / file}", out / file)
    command = f"geo4d tables --results {results} --page {out / 'results.md'} --claims {out / 'claims.json'}"
    yield Step("tables", command, out / "results.md")


def closed_loop(options: Reproduce) -> Iterator[Step]:
    """The policies that learn from each task alone, and the rollouts of all policies."""
    data, out = options.data, options.out
    first, path_model = out / "path_model_first", out / "path_model"
    train_path = f"python -m data_scripts.train_path --data {data}"
    yield Step("training: first path model", f"{train_path} --out {out / 'train_path_first'} --export {first}", first)
    for task, name in TASKS.items():
        led = data / f"{task}_led"
        command = f"geo4d demos --root {led} --task {name} --hz 2 --episodes 70 --test-episodes 0 --cameras 5 --seed 3"
        yield Step(f"states it leads to, {task}", f"{command} --led-by {first}", led / "manifest.json")
    yield Step("training: path model", f"{train_path} --out {out / 'train_path'} --export {path_model}", path_model)
    for task in TASKS:
        yield _held_out(options, "cloud", task, f"--weights {out / 'best'} --path-model {path_model}")
    for task, name in TASKS.items():
        for policy in ("diffusion_policy", "dp3"):
            folder = out / f"{policy}_{task}"
            command = f"python -m data_scripts.train_policy --policy {policy} --data {data} --task {name}"
            command += f" --export {folder}"
            yield Step(f"training: {policy}, {task}", f"{command} --out {out / f'train_{policy}_{task}'}", folder)
    along_a_path = f"--policy video --views both --redraws 1 --weights {out / 'best'}"
    for task, name in TASKS.items():
        policies = {  # as in Table 2 -> options of `geo4d rollout`
            "oracle": "--policy oracle",
            "stand-still": "--policy stand-still",
            "video": f"--policy video --weights {out / 'best'}",
            "video_cloud": f"{along_a_path} --path-model {path_model}",
            "video_true_path": f"{along_a_path} --true-path",
            "path": f"--policy path --path-model {path_model}",
            "video_plain": f"--policy video --weights {out / 'plain'}",
            "video_plain_alone": f"--policy video --weights {out / 'plain_alone'}",
            "dreamitate": f"--policy dreamitate --weights {out / 'rgb_attention'}",
            "diffusion_policy": f"--policy diffusion_policy --weights {out / f'diffusion_policy_{task}'}",
            "dp3": f"--policy dp3 --weights {out / f'dp3_{task}'}",
        }
        for row, policy in policies.items():
            result = out / "results" / f"{rollout_name(row, task)}.json"
            command = f"geo4d rollout --task {name} {policy} --episodes {options.rollouts}"
            command += f" --workers {options.processes}"
            command += f" --out {out / 'rollouts' / f'{row}_{task}'} --result {result}"
            yield Step(f"closed loop: {row}, {task}", command, result)


def _held_out(options: Reproduce, method: str, task: str, switches: str) -> Step:
    """A row of Table 1."""
    command = f"geo4d evaluate --data {options.data / task} --windows {options.windows}"
    command += f" --features {options.out / 'video_encoder'} {switches}"
    return _evaluation(command, held_out_name(method, task), options.out / "results")


def _evaluation(command: str, name: str, results: Path) -> Step:
    records = results.parent / "records" / name
    return Step(
        f"evaluation: {name}", f"{command} --out {records} --result {results / name}.json", results / f"{name}.json"
    )


def main(options: Reproduce) -> None:
    """Run what is not done yet, one command after the other. Stops at the first that fails, with its exit code."""
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    times_path = options.out / "times.json"
    times = json.loads(times_path.read_text()) if times_path.exists() else {}
    for step in steps(options):
        done = step.makes.exists()
        print(f"{'done' if done else 'run '}  {step.name}\n      {step.command}", flush=True)
        if done or options.dry_run:
            continue
        started = time.monotonic()
        threads = {"OMP_NUM_THREADS": "1"} if step.command.startswith("torchrun") else {}
        code = subprocess.run(shlex.split(step.command), env=environment | threads, check=False).returncode
        if code:
            raise SystemExit(code)
        times[step.name] = times.get(step.name, 0.0) + time.monotonic() - started
        write_json(times_path, times)


if __name__ == "__main__":
    run(main)
