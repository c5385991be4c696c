"""The paper's Table 2: success in closed loop of every policy, ours beside the paper's."""

from pathlib import Path

import numpy as np

from geo4d_lite.evaluation.comparison import NOT_YET, TASKS
from geo4d_lite.evaluation.results import read_json
from geo4d_lite.evaluation.statistics import bootstrap_interval, mean_rate_interval
from geo4d_lite.evaluation.tables import shown

OURS = "video"
POLICIES = {  # name in a result's file -> title, and the policy's name in paper.json
    "video": ("ours, best recipe", "ours"),
    "video_cloud": ("ours, best recipe, hands drawn along a path read from points", None),
    "path": ("*that path acted without a film*", None),
    "video_true_path": ("*films drawn along the true path*", None),
    "video_plain": ("ours, plain recipe", None),
    "video_plain_alone": ("ours, plain, without cross-view attention", None),
    "dreamitate": ("Dreamitate (stand-in for its tracker)", "Dreamitate"),
    "diffusion_policy": ("Diffusion Policy", "Diffusion Policy"),
    "dp3": ("DP3", "DP3"),
    "oracle": ("*true video, tracked and acted*", None),
    "stand-still": ("*stand still*", None),
}


def rollout_name(policy: str, task: str) -> str:
    """The result of a policy on a task, without `.json`."""
    return f"rollout_{policy}_{task}"


def policy_title(path: Path) -> str:
    """The title in Table 2 of the policy whose result this file is; its name without the task, if it has none there.

    A policy's name that ends in "_seen" is of a result on the training data's own poses and cameras.
    """
    name = path.stem.removeprefix("rollout_")
    policy = next((name.removesuffix(f"_{task}") for task in TASKS if name.endswith(f"_{task}")), name)
    title = POLICIES.get(policy.removesuffix("_seen"), (policy, None))[0]
    return f"{title}, from poses and cameras of its training" if policy.endswith("_seen") else title


def table2(folder: Path, paper: dict) -> str:
    """Rows: policies that have a result in `folder`; columns: tasks, their mean, and how far from ours, in pairs.

    `paper`: policy -> success rates of the three tasks, as in paper.json.
    """
    found = {policy: rollout_results(folder, policy) for policy in POLICIES}
    if not any(found.values()):
        return ""
    titles = [*TASKS.values(), "average", "minus ours, same episodes", "rollouts a task", "paper"]
    lines = ["## Table 2: success in closed loop", "", "| | " + " | ".join(titles) + " |"]
    lines.append("|---|" + "---|" * len(titles))
    for policy, (title, in_paper) in POLICIES.items():
        if not found[policy]:
            theirs = _rates(paper, in_paper)
            lines.append(f"| {title}: *{NOT_YET}* |" + " – |" * (len(titles) - 1) + f" {theirs} |")
            continue
        cells = [shown(found[policy][task], 1, 2) if task in found[policy] else "–" for task in TASKS]
        average = average_rate(found[policy])
        cells.append("–" if average is None else shown(average, 1, 2))
        cells.append("" if policy == OURS else difference(found[policy], found[OURS]))
        counts = [found[policy][task]["n"] for task in TASKS if task in found[policy]]
        cells.append(str(counts[0]) if len(set(counts)) == 1 else " / ".join(map(str, counts)))
        cells.append(_rates(paper, in_paper))
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Rollouts from unseen initial poses, seen by unseen cameras, with Wilson's intervals, from which that of the "
        "average follows. A rollout may take twice the task's time. Differences are over the rollouts that both have "
        "done, averaged over the tasks, with intervals by bootstrap.",
        "",
    ]
    return "\n".join(lines)


def _rates(paper: dict, policy: str | None) -> str:
    return "–" if policy is None else " / ".join(f"{rate:.2f}" for rate in paper[policy])


def rollout_results(folder: Path, policy: str) -> dict[str, dict]:
    """Task -> result, for the tasks that a policy was run on."""
    paths = {task: folder / f"{rollout_name(policy, task)}.json" for task in TASKS}
    return {task: read_json(path) for task, path in paths.items() if path.exists()}


def average_rate(results: dict[str, dict]) -> dict | None:
    """Mean of the tasks' rates with the interval that follows from theirs; None unless every task was run."""
    if len(results) < len(TASKS):
        return None
    rates, intervals = ([result[key] for result in results.values()] for key in ("value", "interval"))
    return {"value": float(np.mean(rates)), "interval": list(mean_rate_interval(rates, intervals))}


def difference(theirs: dict[str, dict], ours: dict[str, dict]) -> str:
    """Difference of success, theirs minus ours, over rollouts of the same task and seed; a dash without any.

    The mean of the tasks' means, with the interval that follows from theirs, by bootstrap over rollouts.
    """
    of_task = []
    for task in sorted(theirs.keys() & ours.keys()):
        one, other = ({r["seed"]: float(r["success"]) for r in results[task]["rollouts"]} for results in (theirs, ours))
        of_task.append(np.array([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]))
    of_task = [values for values in of_task if len(values)]
    if not of_task:
        return "–"
    mean = np.mean([values.mean() for values in of_task])
    if np.ptp(np.concatenate(of_task)) == 0:
        return f"{mean:+.2f} in each"  # a bootstrap cannot say more
    intervals = [bootstrap_interval(values, np.arange(len(values))) for values in of_task]
    low, high = np.round(mean_rate_interval([values.mean() for values in of_task], intervals), 2) + 0.0  # never -0
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
