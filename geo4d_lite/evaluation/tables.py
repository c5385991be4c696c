"""Recorded results as Markdown tables. A table holds nothing that is not in a JSON file of `book/results`."""

import re

METRICS = {  # name in the result -> row title, factor, decimals
    "abs_rel_n": ("AbsRel, view n", 1, 3),
    "abs_rel_m": ("AbsRel, view m in the frame of n", 1, 3),
    "delta1_n": ("δ1, view n", 1, 3),
    "delta1_m": ("δ1, view m", 1, 3),
    "points_cm_n": ("median distance of points, n, cm", 1, 2),
    "points_cm_m": ("median distance of points, m, cm", 1, 2),
    "gripper_abs_rel_n": ("AbsRel on the moving gripper, n", 1, 3),
    "gripper_abs_rel_m": ("AbsRel on the moving gripper, m", 1, 3),
    "gripper_points_cm_n": ("median distance of the gripper's points, n, cm", 1, 2),
    "gripper_points_cm_m": ("median distance of the gripper's points, m, cm", 1, 2),
    "gripper_cm_n": ("centroid of the moving gripper, n, cm", 1, 1),
    "gripper_cm_m": ("centroid of the moving gripper, m, cm", 1, 1),
    "object_abs_rel_n": ("AbsRel on the object, n", 1, 3),
    "object_abs_rel_m": ("AbsRel on the object, m", 1, 3),
    "object_cm_n": ("centroid of the object, n, cm", 1, 1),
    "object_cm_m": ("centroid of the object, m, cm", 1, 1),
    "fingers_cm_n": ("finger midpoint where found, n, cm", 1, 1),
    "fingers_cm_m": ("finger midpoint where found, m, cm", 1, 1),
    "fingers_found_n": ("both fingers found, n, % of frames", 100, 0),
    "fingers_found_m": ("both fingers found, m, % of frames", 100, 0),
    "cross_view_iou": ("cross-view IoU of the moving gripper", 1, 2),
    "cross_view_box_iou": ("the same of bounding boxes", 1, 2),
    "true_mask_iou": ("IoU with m's true mask", 1, 2),
    "true_box_iou": ("the same of bounding boxes", 1, 2),
    "with_fakes_abs_rel_m": ("AbsRel of m without a validity mask, as in the release", 1, 3),
    "fvd_n": ("FVD, view n", 1, 2),
    "fvd_m": ("FVD, view m", 1, 2),
}
BY_FRAME = ("abs_rel_n", "abs_rel_m", "gripper_cm_n", "gripper_cm_m", "fingers_cm_n", "fingers_cm_m")
VIDEOS = {
    "model": "generated",
    "repeat": "repeat the last frame",
    "repeat_registered": "repeat, m registered",
    "autoencoders": "autoencoders alone",
    "truth": "true video",
    "model_minus_repeat": "generated minus repeat, in pairs",
}


def video_table(name: str, result: dict) -> str:
    """One held-out evaluation: rows metrics; columns the generated video, repeating the last frame, the true video."""
    columns = [video for video in VIDEOS if video in result["metrics"]]
    lines = [f"## Held-out windows: `{name}`", ""]
    n = max(cell["n"] for cell in result["metrics"]["model"].values())
    of_split = "held-out episodes seen by held-out cameras" if result["split"] == "test" else "training episodes"
    drawn = "" if result["sampler_steps"] is None else f", {result['sampler_steps']} sampler steps"
    lines += [
        f"{result['task']}, preset {result['preset']}, {n} windows of {result['episodes']} {of_split}{drawn}. "
        "Means over the ten generated frames.",
        "",
        "| | " + " | ".join(VIDEOS[video] for video in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for metric, (title, factor, decimals) in METRICS.items():
        if metric not in result["metrics"]["model"]:
            continue
        title += f" ({result['features']})" if metric.startswith("fvd") else ""
        found = (result["metrics"][video].get(metric) for video in columns)
        cells = ["–" if cell is None else shown(cell, factor, decimals) for cell in found]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *frame_table(result), footnote(result), ""])


def frame_table(result: dict) -> list[str]:
    """Rows: metrics; columns: frames 1 to 10, generated and, behind it, repeating the last frame."""
    if "by_frame" not in result:
        return []
    model, repeat = result["by_frame"]["model"], result["by_frame"]["repeat"]
    lines = [
        "Frame by frame: generated, and in brackets what repeating the last frame reaches.",
        "",
        "| | " + " | ".join(f"frame {t}" for t in model) + " |",
        "|---|" + "---|" * len(model),
    ]
    for metric in BY_FRAME:
        title, factor, decimals = METRICS[metric]
        cells = [
            " ".join(
                form.format("–" if cell["value"] is None else f"{factor * cell['value']:.{decimals}f}")
                for form, cell in (("{}", model[t][metric]), ("({})", repeat[t][metric]))
            )
            for t in model
        ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def rollout_table(results: list[dict], titles: list[str]) -> str:
    """Success in closed loop: a row for each result, called by its title."""
    lines = ["## Closed loop", "", "| policy | task | successes | rate | failed in phase |", "|---|---|---|---|---|"]
    for result, title in zip(results, titles, strict=True):
        failed = ", ".join(f"{phase} {count}" for phase, count in result["failed_in_phase"].items()) or "–"
        successes = f"{result['successes']} of {result['n']}"
        lines.append(f"| {title} | {result['task']} | {successes} | {shown(result, 1, 2)} | {failed} |")
    lines += [
        "",
        "A failed rollout's *phase* is what the scripted demonstration would have done next when time was over or the "
        "arms were stopped; in *lost* it knows no way on, since the object has fallen over or out of reach.",
        "",
    ]
    return "\n".join([*lines, *(footnote(result) for result in results), ""])


def shown(cell: dict, factor: float, decimals: int) -> str:
    """Value and interval of a result; a dash where nothing could be measured, or no interval drawn from one episode."""
    value, low, high = ("–" if x is None else f"{factor * x:.{decimals}f}" for x in (cell["value"], *cell["interval"]))
    return "–" if cell["value"] is None else f"{value} [{low}, {high}]"


def in_one_line(page: str) -> str:
    """The page with every interval kept in one line, by a no-break space."""
    return re.sub(r"\[([+-]?[\d.]+), ([+-]?[\d.]+)\]", "[\\1,\N{NO-BREAK SPACE}\\2]", page)


def footnote(result: dict) -> str:
    """What made a result, and the result's own "note", where it has one."""
    note = f" {result['note']}." if "note" in result else ""
    return f"*`{result['command']}`, commit {result['commit']}, {result['device']}, seed {result['seed']}.{note}*\n"
