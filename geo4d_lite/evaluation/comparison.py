"""Tables over all methods: the paper's Table 1 and its table of costs, ours beside the paper's."""

from pathlib import Path

from geo4d_lite.evaluation.results import read_json
from geo4d_lite.evaluation.tables import METRICS, footnote, shown

TASKS = {"cereal_box": "cereal box", "spatula": "spatula", "apple": "apple"}
METHODS = {  # end of a result's name -> title, and the method's name in paper.json, where it is there
    "": ("ours, best recipe", "ours"),
    "cloud": ("ours, best recipe, hands drawn along a path read from points", None),
    "depth_noise": ("ours, best recipe, given a depth camera's noise", None),
    "no_hint": ("ours, an earlier best recipe, without hand_rays", None),
    "plain": ("ours, plain recipe", "ours"),
    "plain_alone": ("ours, plain, without cross-view attention", "alone"),
    "gaussians": ("4D Gaussians", "gaussians"),
    "rgb": ("SVD, colours only", "svd"),
    "rgb_attention": ("SVD with cross-view attention", "svd_attention"),
}
COLUMNS = {  # metric -> title, decimals, whether more is better
    "fvd_n": ("FVD-n", 1, False),
    "fvd_m": ("FVD-m", 1, False),
    "abs_rel_n": ("AbsRel-n", 3, False),
    "abs_rel_m": ("AbsRel-m", 3, False),
    "delta1_n": ("δ1-n", 3, True),
    "delta1_m": ("δ1-m", 3, True),
    "cross_view_iou": ("mIoU", 2, True),
    "true_mask_iou": ("true mask", 2, True),
}
OF_STEPS = (
    "abs_rel_n",
    "abs_rel_m",
    "gripper_cm_n",
    "gripper_cm_m",
    "fingers_found_n",
    "fingers_cm_n",
    "true_mask_iou",
)
NOT_YET = "not measured yet"
REFERENCES = {"repeat": "*repeat the last frame*", "truth": "*true video*"}


def held_out_name(method: str, task: str) -> str:
    """The result of a method ("" for the shipped weights) on a task's held-out windows, without `.json`."""
    return "_".join(part for part in ("held_out", method, task) if part)


def comparison_page(folder: Path) -> str:
    """Table 1 for each task, and where they are recorded, sampler steps (`sampler_steps_*.json`) and costs.

    `METHODS` names the files that Table 1 reads.
    """
    if not (folder / "paper.json").exists():
        return ""
    paper = read_json(folder / "paper.json")
    parts = [table1(folder, task, paper["methods"], i) for i, task in enumerate(TASKS)]
    parts.append(steps_table([read_json(path) for path in folder.glob("sampler_steps_*.json")]))
    if (folder / "resources.json").exists():
        parts.append(resource_table(read_json(folder / "resources.json"), paper["methods"]))
    return "\n".join(parts)


def table1(folder: Path, task: str, paper: dict, index: int) -> str:
    """Rows: methods; columns: metrics with their intervals, and the paper's mIoU. `index`: of the task in its lists."""
    found = {method: folder / f"{held_out_name(method, task)}.json" for method in METHODS}
    found = {method: read_json(path) for method, path in found.items() if path.exists()}
    if not found:
        return ""
    titles = [title for title, _, _ in COLUMNS.values()]
    most = max(len(result["windows"]) for result in found.values())
    lines = [f"## Table 1: {TASKS[task]}", "", "| | " + " | ".join(titles) + " | paper's mIoU |"]
    lines += ["|---|" + "---|" * (len(titles) + 1)]
    for method, (title, in_paper) in METHODS.items():
        theirs = paper[in_paper].get("cross_view_iou") if in_paper else None
        last = "–" if theirs is None else f"{theirs[index]:.2f}"
        if method in found:
            cells, count = _cells(found[method]["metrics"]["model"]), len(found[method]["windows"])
            title += f" ({count} windows)" if count != most else ""
        else:
            title, cells = f"{title}: *{NOT_YET}*", ["–"] * len(titles)
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {last} |")
    reference = next(iter(found.values()))
    for video, title in REFERENCES.items():
        lines.append(f"| {title} | " + " | ".join(_cells(reference["metrics"][video])) + " | – |")
    features = sorted({result["features"] for result in found.values() if result.get("features")})
    note = ""
    if features:
        note += f"FVD with {', '.join(features)}, over as many clips as windows: compare it within this table only. "
        note += "Its interval is for very many clips and mostly lies below the number (chapter 9). "
    if any(len(result["windows"]) != most for result in found.values()):
        note += "Rows of fewer windows are of other windows: compare them with each other only. "
    floor = reference["metrics"]["truth"].get("fvd_floor")
    note += "" if floor is None else f"True films of n and of m are {shown(floor, 1, 1)} apart. "
    lines += [
        "",
        note + "mIoU: the gripper's mask of n, lifted and seen from m, against the video's mask of m; "
        "*true mask*: against m's true one.",
        "",
    ]
    return "\n".join([*lines, *(footnote(result) for result in found.values()), ""])


def _cells(metrics: dict) -> list[str]:
    cells = [(metrics.get(metric), decimals) for metric, (_, decimals, _) in COLUMNS.items()]
    return ["–" if cell is None else shown(cell, 1, decimals) for cell, decimals in cells]


def steps_table(results: list[dict]) -> str:
    """Rows: numbers of sampler steps, from many to few; columns: seconds for a film and what it is worth."""
    if not results:
        return ""
    results = sorted(results, key=lambda result: -result["sampler_steps"])
    titles = [METRICS[metric][0] for metric in OF_STEPS]
    lines = [
        f"## How many sampler steps? ({results[0]['task']})",
        "",
        "| steps | seconds | " + " | ".join(titles) + " |",
    ]
    lines.append("|---|" + "---|" * (1 + len(titles)))
    for result in results:
        cells = [shown(result["metrics"]["model"][metric], *METRICS[metric][1:]) for metric in OF_STEPS]
        lines.append(f"| {result['sampler_steps']} | {result['seconds_per_video']:.2f} | " + " | ".join(cells) + " |")
    of_commit = {result["commit"]: result for result in reversed(results)}  # one command speaks for each commit's rows
    return "\n".join([*lines, "", *(footnote(result) for result in of_commit.values()), ""])


def resource_table(resources: dict, paper: dict) -> str:
    """Rows: methods; measured at lite scale, counted at paper scale, and the paper's own."""
    steps, few = resources["sampler_steps"], resources["few_steps"]
    titles = [f"10 frames, {steps} steps", f"{few} steps", f"training step, batch {resources['batch']}"]
    titles += ["peak memory of the process", "parameters", "paper scale: parameters", "training, card + processor"]
    titles += ["paper: 10 frames", "paper: memory", "paper: parameters"]
    lines = ["## What every method costs", "", "| | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for name, cost in resources["methods"].items():
        title, in_paper = METHODS["" if name == "best" else name]
        large, theirs = cost.get("paper_scale"), paper[in_paper]
        cells = [f"{cost['seconds']:.1f} s", f"{cost['seconds_few']:.1f} s", f"{cost['seconds_per_step']:.2f} s"]
        cells += [f"{cost['peak_memory_gb']:.1f} GB", _count(cost["parameters"])]
        cells += (
            ["–", "–"]
            if large is None
            else [_count(large["parameters"]), f"{large['card_gb']:.0f} + {large['processor_gb']:.0f} GB"]
        )
        cells += [f"{theirs['seconds']:g} s", f"{theirs['memory_gb']:g} GB", _count(theirs["parameters"])]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "The first five columns are measured at lite scale, seconds a few times only: differences of less than a fifth "
        "between two methods mean nothing. The Gaussians' training step is of one view of one window. "
        "Paper scale, counted and calculated: bfloat16 weights, one "
        "window a step, gradient checkpointing, the optimizer in the processor's memory; the paper trains with a batch "
        "of four on four cards.",
        "",
    ]
    return "\n".join([*lines, footnote(resources | {"seed": 0}), ""])


def _count(parameters: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if parameters >= size:
            return f"{parameters / size:.4g} {unit}"
    return f"{int(parameters):,}"
