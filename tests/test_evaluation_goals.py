"""The table of goals: bounds are judged in the right direction, on the worse view and the worst frame."""

import pytest

from geo4d_lite.evaluation.comparison import held_out_name
from geo4d_lite.evaluation.goals import GOALS, LATER, Goal, goals_table
from geo4d_lite.evaluation.results import write_json

NAMES = ("points_cm", "gripper_points_cm", "abs_rel", "gripper_abs_rel", "delta1", "gripper_cm", "fingers_cm")
METRICS = [f"{name}_{view}" for name in (*NAMES, "fingers_found") for view in "nm"] + [
    "cross_view_iou",
    "true_mask_iou",
]


def result(value: float, **changes: float) -> dict:
    """All metrics `value`, of repeating 1; changes: metric or metric_frame -> the model's."""

    def row(of: float, frame: str = "") -> dict:
        default = {metric: {"value": of} for metric in METRICS}
        suffix = f"_{frame}" if frame else ""
        told = {m: {"value": changes[m + suffix]} for m in METRICS if of == value and m + suffix in changes}
        return default | told

    films = {"model": value, "autoencoders": value, "repeat": 1.0}
    return {
        "metrics": {film: row(of) for film, of in films.items()},
        "by_frame": {film: {t: row(of, t) for t in ("1", *LATER)} for film, of in films.items()},
    }


def goal(title: str) -> Goal:
    (found,) = (goal for goal in GOALS if goal.title == title)
    return found


@pytest.mark.parametrize(
    ("value", "high", "verdict"),
    [(5.0, False, "must"), (5.1, False, "missed"), (2.0, False, "target"), (5.0, True, "must"), (4.9, True, "missed")],
)
def test_bounds_are_met_from_their_side_and_at_the_bound(value, high, verdict):
    bounds = (5.0, 8.0) if high else (5.0, 2.0)
    assert Goal("", lambda _: 0.0, *bounds, high=high).verdict(value) == verdict


def test_the_worse_view_and_the_worst_frame_count():
    one = result(0.3, fingers_cm_m=7.0, fingers_found_n=0.1, gripper_cm_m_5=0.8, abs_rel_n=0.015)
    assert goal("finger midpoint, cm").read(one) == 7.0
    assert goal("both fingers found, %").read(one) == pytest.approx(10)
    assert goal("gripper's centroid, share of repeating's").read(one) == 0.8
    assert goal("gripper's centroid, frame 5, cm").read(one) == 0.8
    assert goal("gripper's centroid, frame 10, cm").read(one) == 0.3
    assert (goal("AbsRel, n").read(one), goal("AbsRel, m").read(one)) == (0.015, 0.3)


def test_each_recipe_has_a_cell_with_all_tasks_and_its_marks(tmp_path):
    assert goals_table(tmp_path) == ""
    for task, fingers in (("cereal_box", 1.0), ("spatula", 4.0), ("apple", 6.0)):
        write_json(tmp_path / f"{held_out_name('plain', task)}.json", result(0.3, fingers_cm_n=fingers))
    page = goals_table(tmp_path)
    assert "| finger midpoint, cm | ≤ 5 | ≤ 2 | 1.0 ✓✓ · 4.0 ✓ · 6.0 ✗ |" in page
    assert "| AbsRel, n | – | ≤ 0.02 | 0.300 · 0.300 · 0.300 |" in page
    assert "Not measured yet: ours, best recipe without a path hint; ours, best recipe; " in page
    assert "seconds" not in page
    write_json(tmp_path / "resources.json", {"methods": {"plain": {"seconds_few": 0.9}, "best": {"seconds_few": 3.1}}})
    assert "| seconds for ten frames | ≤ 3 | ≤ 1 | 0.9 ✓✓ |" in goals_table(tmp_path)
