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
FILMS = {"model": 0.3, "autoencoders": 0.6, "repeat": 2.0}  # all their metrics


def result(**changes: float | None) -> dict:
    """Metrics as in `FILMS`; changes: metric or metric_frame -> the model's."""

    def row(film: str, frame: str = "") -> dict:
        told = {metric: FILMS[film] for metric in METRICS}
        suffix = f"_{frame}" if frame else ""
        told |= {
            metric: changes[metric + suffix] for metric in METRICS if film == "model" and metric + suffix in changes
        }
        return {metric: {"value": value, "interval": [value, value]} for metric, value in told.items()}

    return {
        "metrics": {film: row(film) for film in FILMS},
        "by_frame": {film: {t: row(film, t) for t in ("1", *LATER)} for film in FILMS},
        "windows": [{"episode": "a"}, {"episode": "b"}],
    }


def shown(folder) -> str:
    """The table with plain spaces before its marks, which keep to their numbers."""
    page = goals_table(folder)
    assert not any(f" {mark}" in page for mark in "✓✗")
    return page.replace("\N{NO-BREAK SPACE}", " ")


def goal(title: str) -> Goal:
    (found,) = (goal for goal in GOALS if goal.title == title)
    return found


@pytest.mark.parametrize(
    ("value", "high", "verdict"),
    [
        (5.0, False, "must"),
        (5.1, False, "missed"),
        (2.0, False, "target"),
        (5.0, True, "must"),
        (4.9, True, "missed"),
        (8.0, True, "target"),
    ],
)
def test_bounds_are_met_from_their_side_and_at_the_bound(value, high, verdict):
    assert Goal("", lambda _: 0.0, 5.0, 8.0 if high else 2.0, high=high).verdict(value) == verdict


def test_a_target_alone_cannot_be_missed():
    assert Goal("", lambda _: 0.0, None, 1.0).verdict(2.0) == "open"


def test_the_worse_view_and_the_worst_frame_count():
    one = result(fingers_cm_m=7.0, fingers_found_n=0.1, gripper_cm_m_5=0.8, abs_rel_n=0.015)
    assert goal("finger midpoint where both are found, cm").read(one) == 7.0
    assert goal("both fingers found, %").read(one) == pytest.approx(10)
    assert goal("gripper's centroid, share of repeating's").read(one) == 0.4
    assert goal("gripper's centroid, frame 5, cm").read(one) == 0.8
    assert goal("gripper's centroid, frame 10, cm").read(one) == 0.3
    assert (goal("AbsRel, n").read(one), goal("AbsRel, m").read(one)) == (0.015, 0.3)
    of_autoencoders = (
        "pointmap autoencoder, cm",
        "the same on the gripper, cm",
        "finger midpoint after the autoencoders, cm",
    )
    assert [goal(title).read(one) for title in of_autoencoders] == [0.6] * 3


def test_each_recipe_has_a_cell_with_all_tasks_and_its_marks(tmp_path):
    assert goals_table(tmp_path) == ""
    for task, fingers in (("cereal_box", 1.0), ("spatula", 4.0), ("apple", None)):
        write_json(tmp_path / f"{held_out_name('plain', task)}.json", result(fingers_cm_n=fingers))
    page = shown(tmp_path)
    assert "| | must | target | ours, plain recipe (2 windows) |" in page
    assert "| finger midpoint where both are found, cm | ≤ 5 | ≤ 2 | 1.0 ✓✓ · 4.0 ✓ · – |" in page
    assert "| AbsRel, n | – | ≤ 0.02 | 0.300 · 0.300 · 0.300 |" in page
    assert "Not measured yet: ours, an earlier best recipe, without hand_rays; ours, best recipe; " in page
    assert "seconds" not in page
    costs = {"few_steps": 4, "methods": {"plain": {"seconds_few": 0.9}, "best": {"seconds_few": 3.1}}}
    write_json(tmp_path / "resources.json", costs)
    assert "| seconds for ten frames, 4 sampler steps | ≤ 3 | ≤ 1 | 0.9 ✓✓ |" in shown(tmp_path)


def test_what_attention_adds_is_judged_by_the_intervals(tmp_path):
    for task, alone in (("cereal_box", 0.1), ("spatula", 0.25), ("apple", 0.35)):
        write_json(tmp_path / f"{held_out_name('plain', task)}.json", result())
        write_json(tmp_path / f"{held_out_name('plain_alone', task)}.json", result(cross_view_iou=alone))
    row = "| IoU that cross-view attention adds, equal budget | > 0, intervals apart | ≥ 0.15 |"
    assert f"{row} +0.200 ✓✓ · +0.050 ✓ · -0.050 ✗ |" in shown(tmp_path)
