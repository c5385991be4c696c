"""What we wanted the lite model to reach, and what each recipe reaches of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geo4d_lite.evaluation.claims import cell, compared
from geo4d_lite.evaluation.comparison import METHODS, TASKS, held_out_name
from geo4d_lite.evaluation.results import read_json

ASKED = ("plain", "no_hint", "", "cloud")  # methods, from the paper's recipe to the one with the most help
LATER = ("3", "5", "10")  # frames; in the first the hand has hardly moved
NO_BREAK = "\N{NO-BREAK SPACE}"
MARKS = {"target": f"{NO_BREAK}✓✓", "must": f"{NO_BREAK}✓", "missed": f"{NO_BREAK}✗", "open": ""}


@dataclass(frozen=True)
class Goal:
    """A number to reach. `must` and `target` are bounds, None where there is none; `high`: more is better."""

    title: str
    read: Callable[[dict], float | None]
    must: float | None
    target: float | None
    high: bool = False
    decimals: int = 1

    def verdict(self, value: float) -> str:
        """ "target", "must" or "missed"; "open" where there is only a target, and it is not reached."""
        for name in ("target", "must"):
            bound = getattr(self, name)
            if bound is not None and (value >= bound if self.high else value <= bound):
                return name
        return "open" if self.must is None else "missed"


def worse(video: dict, name: str, high: bool = False) -> float | None:
    """The worse of both views' values of a metric; None where it is not known of both."""
    values = [video[f"{name}_{view}"]["value"] for view in ("n", "m")]
    return None if None in values else min(values) if high else max(values)


def mean(name: str, video: str = "model", factor: float = 1.0, high: bool = False) -> Callable[[dict], float]:
    """Reads a metric's mean over all frames, of the worse view."""

    def read(result: dict) -> float | None:
        value = worse(result["metrics"][video], name, high)
        return None if value is None else factor * value

    return read


def at(name: str, frame: str) -> Callable[[dict], float]:
    """Reads a metric of one frame, of the worse view."""
    return lambda result: worse(result["by_frame"]["model"][frame], name)


def of_repeat(name: str) -> Callable[[dict], float]:
    """Reads a metric as a share of what repeating the last frame reaches, where that share is largest."""

    def read(result: dict) -> float | None:
        videos = [result["by_frame"][video] for video in ("model", "repeat")]
        pairs = [[video[t][f"{name}_{view}"]["value"] for video in videos] for t in LATER for view in ("n", "m")]
        return None if any(None in pair for pair in pairs) else max(model / repeat for model, repeat in pairs)

    return read


def single(name: str) -> Callable[[dict], float]:
    """Reads a metric that is of both views together."""
    return lambda result: result["metrics"]["model"][name]["value"]


GOALS = (
    Goal("pointmap autoencoder, cm", mean("points_cm", "autoencoders"), 0.3, 0.1, decimals=3),
    Goal("the same on the gripper, cm", mean("gripper_points_cm", "autoencoders"), 1.0, 0.5, decimals=2),
    Goal("finger midpoint after the autoencoders, cm", mean("fingers_cm", "autoencoders"), 1.0, 0.5, decimals=2),
    Goal("AbsRel, share of repeating's", of_repeat("abs_rel"), 1.0, None, decimals=2),
    Goal("the same on the gripper", of_repeat("gripper_abs_rel"), 1.0, None, decimals=2),
    Goal("AbsRel, n", single("abs_rel_n"), None, 0.02, decimals=3),
    Goal("AbsRel, m", single("abs_rel_m"), None, 0.03, decimals=3),
    Goal("δ1", mean("delta1", high=True), None, 0.99, True, decimals=3),
    Goal("gripper's centroid, share of repeating's", of_repeat("gripper_cm"), 0.7, None, decimals=2),
    *(
        Goal(f"gripper's centroid, frame {t}, cm", at("gripper_cm", t), None, goal)
        for t, goal in zip(LATER, (1.5, 1.5, 2.5), strict=True)
    ),
    Goal("finger midpoint where both are found, cm", mean("fingers_cm"), 5.0, 2.0),
    Goal("both fingers found, %", mean("fingers_found", factor=100, high=True), 80, 95, True, decimals=0),
    Goal("cross-view IoU of the moving gripper", single("cross_view_iou"), 0.40, 0.70, True, decimals=2),
    Goal("IoU with m's true mask", single("true_mask_iou"), 0.30, 0.60, True, decimals=2),
)
SECONDS = Goal("seconds for ten frames, {few_steps} sampler steps", lambda cost: cost["seconds_few"], 3.0, 1.0)
ATTENTION = ("plain", "plain_alone")  # with and without cross-view attention, an equal budget
ATTENTION_TARGET = 0.15
COSTS = {"": "best", "plain": "plain"}  # methods whose speed was measured on a quiet machine, in resources.json


def goals_table(folder: Path) -> str:
    """Rows: goals; columns: what must be and should be reached, and what each recipe reaches, task by task."""
    found = {}
    for method in ASKED:
        paths = [folder / f"{held_out_name(method, task)}.json" for task in TASKS]
        if all(path.exists() for path in paths):
            found[method] = [read_json(path) for path in paths]
    if not found:
        return ""
    titles = [f"{METHODS[method][0]} ({len(results[0]['windows'])} windows)" for method, results in found.items()]
    lines = ["## What we set out to reach", "", "| | must | target | " + " | ".join(titles) + " |"]
    lines.append("|---|" + "---|" * (2 + len(titles)))
    for goal in GOALS:
        bounds = (_bound(goal, bound) for bound in (goal.must, goal.target))
        cells = (" · ".join(_told(goal, result) for result in results) for results in found.values())
        lines.append(f"| {goal.title} | " + " | ".join((*bounds, *cells)) + " |")
    if (folder / "resources.json").exists():
        costs = read_json(folder / "resources.json")
        of_method = {method: costs["methods"][name] for method, name in COSTS.items()}
        cells = ("–" if method not in COSTS else _told(SECONDS, of_method[method]) for method in found)
        bounds = (_bound(SECONDS, bound) for bound in (SECONDS.must, SECONDS.target))
        lines.append(f"| {SECONDS.title.format_map(costs)} | " + " | ".join((*bounds, *cells)) + " |")
    gains = " · ".join(_gain(folder, task) for task in TASKS)
    cells = (gains if method == ATTENTION[0] else "–" for method in found)
    cells = ("> 0, intervals apart", f"≥ {ATTENTION_TARGET}", *cells)
    lines.append("| IoU that cross-view attention adds, equal budget | " + " | ".join(cells) + " |")
    missing = [METHODS[method][0] for method in ASKED if method not in found]
    lines += [
        "",
        f"The bounds are our own. Means over the held-out windows of each task, {' · '.join(TASKS.values())};"
        f"{MARKS['target']} reaches the target,{MARKS['must']} what must be,{MARKS['missed']} neither; without a mark "
        "there is only a target, and it is not reached. Of a measure of each view the worse one counts, of a share of "
        "repeating's the worst of frames 3, 5 and 10. The columns differ in the length of training as well: they say "
        "how far each came, not what made the difference. Where hands are drawn along a path, in the last two, they "
        "owe their motion to that path, and what must be was meant to be reached without one."
        + (f" Not measured yet: {'; '.join(missing)}." if missing else ""),
        "",
    ]
    return "\n".join(lines)


def _told(goal: Goal, result: dict) -> str:
    value = goal.read(result)
    return "–" if value is None else f"{value:.{goal.decimals}f}{MARKS[goal.verdict(value)]}"


def _gain(folder: Path, task: str) -> str:
    """How much higher the cross-view IoU is with attention than without, in a task; a dash where it is not known."""
    names = [held_out_name(method, task) for method in ATTENTION]
    _, status, _ = compared(folder, *names, "cross_view_iou", higher=True)
    if status == "not measured yet":
        return "–"
    ours, alone = (cell(folder, name, "cross_view_iou")["value"] for name in names)
    apart = status == "ordering reproduced"
    return (
        f"{ours - alone:+.3f}"
        + MARKS["missed" if not apart else "target" if ours - alone >= ATTENTION_TARGET else "must"]
    )


def _bound(goal: Goal, bound: float | None) -> str:
    return "–" if bound is None else f"{'≥' if goal.high else '≤'} {bound:g}"
