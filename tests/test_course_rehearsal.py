"""A rehearsal of the whole cycle: its class gets the points it must get, and a grader that errs is noticed."""

import csv

import pytest
from course_submissions import QUICK, reference

from book.tools.course import rehearse
from book.tools.course.sources import ASSIGNMENTS, CourseError

TESTED = 18  # points of the tests of an assignment; the written answer has two more


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """A class of three, and the folder of its cycle."""
    target = tmp_path_factory.mktemp("course") / "rehearsal"
    return rehearse.rehearse(target, students=3, term="heron", limits=QUICK), target


def test_everybody_gets_the_points_that_they_must_get(rehearsal):
    found, _ = rehearsal
    assert found.differences == [] and len(found.reports) == 3 * len(ASSIGNMENTS)
    assert found.of("student_01") == TESTED * len(ASSIGNMENTS) and found.of("student_02") == 0
    assert 0 < found.of("student_03") < found.of("student_01")
    assert found.release_s > 0 and found.grade_s > 0


def test_the_cycle_leaves_what_a_real_one_does(rehearsal):
    _, target = rehearsal
    assert (target / "release" / "assignments.zip").is_file()
    with (target / "grades" / "grades.csv").open(newline="") as file:
        states = {row["student"]: row["state"] for row in csv.DictReader(file)}
    assert states["student_01"] == "written answers to mark" and states["student_02"] == "complete"
    assert len(list((target / "grades" / "feedback").rglob("*.html"))) == 3 * len(ASSIGNMENTS)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_points_of_the_tasks_are_all_points_of_the_tests(name):
    assert sum(rehearse.tasks_of(reference(name)).values()) == TESTED


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(CourseError, match=r"thesis\.txt"):
        rehearse.rehearse(tmp_path, students=2)
    assert (tmp_path / "thesis.txt").exists()


def test_a_grader_that_gives_other_points_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        rehearse,
        "grade_all",
        lambda folder, target, *rest: [rehearse.Report("student_01", name, []) for name in ASSIGNMENTS],
    )
    differences = rehearse.rehearse(tmp_path / "rehearsal", students=2).differences
    assert len(differences) == len(ASSIGNMENTS) and "0 points instead of 18" in differences[0]
