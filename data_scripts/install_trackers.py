"""Install the real SAM 2 and FoundationPose on a Linux workstation with an NVIDIA card. See book/workstation.md.

    python -m data_scripts.install_trackers --dry-run
    python -m data_scripts.install_trackers --foundationpose-weights ~/Downloads/foundationpose

The machine is checked first; where something is missing nothing is begun. Finished steps are remembered in
`steps.json` of each tracker's folder, so the same command goes on after a failure, and does nothing once all is done.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_scripts.command_line import run
from data_scripts.machine_checks import Check, check_disk, check_files, check_machine
from data_scripts.tracker_plan import DISK_GB, SUMS, Plan, Step, foundationpose_plan, sam2_plan
from geo4d_lite.evaluation.results import read_json, write_json
from geo4d_lite.perception.worker_process import ENVIRONMENT_FILE, OURS

STEPS_FILE = "steps.json"
BY_HAND = (
    "download the folders 2023-10-28-18-33-37 and 2024-01-11-20-02-45 by hand from the shared drive that "
    "FoundationPose's README links to under 'Data prepare' (research licence), and name the folder that holds both: "
    "--foundationpose-weights FOLDER"
)


@dataclass(frozen=True)
class InstallTrackers:
    """Install SAM 2's weights and FoundationPose, or print how."""

    folder: Path = Path("runs/trackers")
    """Each tracker gets a folder of its own in here."""
    only: Literal["both", "sam2", "foundationpose"] = "both"
    dry_run: bool = False
    """Check the machine and print all commands; change nothing."""
    foundationpose_weights: Path | None = None
    """Folder that you downloaded FoundationPose's weights to."""
    sam2_weights: Path | None = None
    """Folder that holds SAM 2's config.json and model.safetensors already; without it they come from the Hub."""


def main(options: InstallTrackers) -> None:
    """Check, print, and unless `dry_run` run what is not done yet.

    Raises ValueError naming all that is missing, ChildProcessError naming the step that failed.
    """
    wanted = ("sam2", "foundationpose") if options.only == "both" else (options.only,)
    plans = [(plan, list(checks)) for plan, checks in (_prepared(name, options) for name in wanted)]
    missing = []
    for plan, checks in plans:
        print(_described(plan, checks), flush=True)
        missing += [f"{check.name}: {check.found}; {check.mend}" for check in checks if check.mend]
    if options.dry_run:
        print(f"dry run: nothing was changed; {len(missing)} missing" if missing else "dry run: nothing was changed")
        return
    if missing:
        raise ValueError("nothing was begun, as this is missing:\n" + "\n".join(missing))
    for plan, _ in plans:
        install(plan)


def _prepared(name: str, options: InstallTrackers) -> tuple[Plan, list[Check]]:
    """The plan of one tracker, and the checks of what its remaining steps need; none once all is done."""
    folder = options.folder.resolve() / name
    if name == "sam2":
        weights = options.sam2_weights and options.sam2_weights.resolve()
        plan, checks = sam2_plan(folder, weights), []
        if weights is not None:
            checks = [check_files("weights", weights, SUMS[name], "name a folder that holds them by --sam2-weights")]
    else:
        weights = options.foundationpose_weights and options.foundationpose_weights.resolve()
        machine, checks = check_machine()
        plan = foundationpose_plan(folder, weights, machine)
        if "weights" in [step.name for step, done in progress(plan) if not done]:
            there = folder / "source" / "weights"
            checks.append(check_files("weights", weights or (there if there.exists() else None), SUMS[name], BY_HAND))
    if all(done for _, done in progress(plan)):
        return plan, []
    return plan, [check_disk(folder, DISK_GB[name]), *checks]


def progress(plan: Plan) -> Iterator[tuple[Step, bool]]:
    """Every step and whether it is done: run before as it is, with all before it, and what it makes is there."""
    path, done = plan.folder / STEPS_FILE, True
    finished = read_json(path) if path.exists() else {}
    for step, fingerprint in zip(plan.steps, plan.fingerprints(), strict=True):
        there = not step.makes or any(plan.folder.glob(step.makes))
        done = done and finished.get(step.name) == fingerprint and there
        yield step, done


def install(plan: Plan) -> None:
    """Run the steps that are not done, remembering each, and then write down where the tracker is."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    states = list(progress(plan))
    if all(done for _, done in states):
        return
    (plan.folder / ENVIRONMENT_FILE).unlink(missing_ok=True)
    path = plan.folder / STEPS_FILE
    finished = read_json(path) if path.exists() else {}
    for (step, done), fingerprint in zip(states, plan.fingerprints(), strict=True):
        if done:
            continue
        print(f"{plan.name}, {step.name}: {step.why}", flush=True)
        for command in step.commands:
            _call(command, step, plan)
        if step.makes and not any(plan.folder.glob(step.makes)):
            raise ChildProcessError(f"{plan.name}, step {step.name}: its commands left no {step.makes}")
        finished[step.name] = fingerprint
        write_json(path, finished)
    if plan.environment is not None:
        plan.environment.write(plan.folder)
    print(f"{plan.name} is installed in {plan.folder}", flush=True)


def _call(command: tuple[str, ...], step: Step, plan: Plan) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    for name, value in step.variables.items():
        environment[name] = value.replace("$PATH", os.environ["PATH"])
    print(f"  $ {shlex.join(command)}", flush=True)
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise ChildProcessError(
            f"{plan.name}, step {step.name}: exit code {code}; the lines above say why. What was done before is kept: "
            "the same command goes on from here"
        )


def _described(plan: Plan, checks: list[Check]) -> str:
    """The checks, and every command of the plan with the state of its step."""
    lines = [f"{plan.name}, in {plan.folder}", *map(str, checks)]
    shown: dict[str, str] = {}
    for step, done in progress(plan):
        lines.append(f"  {'done' if done else 'run '}  {step.name}: {step.why}")
        if step.variables != shown and step.variables:
            lines += [f"        export {name}={value}" for name, value in step.variables.items()]
            shown = step.variables
        lines += [f"        $ {shlex.join(command)}" for command in step.commands]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
