"""The grading table: its lines are those of the guide, and a line that is not as it must be says so and fails."""

import dataclasses
import sys

import pytest
from course_submissions import PUBLIC, QUICK, reference

from book.tools.course import grading_table
from book.tools.course.mutants import MUTANTS, changed
from book.tools.course.sources import ASSIGNMENTS, CourseError

NAME = ASSIGNMENTS[0]
FIRST = MUTANTS[0]  # loses both cells of the first task, a point each


@pytest.fixture
def command(monkeypatch):
    """The command, with these mutants of the first assignment only."""

    def run(*mutants):
        monkeypatch.setattr(grading_table, "ASSIGNMENTS", (NAME,))
        monkeypatch.setattr(grading_table, "MUTANTS", mutants)
        monkeypatch.setattr(sys, "argv", ["grading_table"])
        grading_table.main()

    return run


def test_the_guide_shows_what_the_command_prints(command, capsys):
    command(*MUTANTS)
    told = capsys.readouterr().out
    table = told.split("\n\n")[1]
    assert table.count("\n") == 2 + len([mutant for mutant in MUTANTS if mutant.assignment == NAME])
    assert f"\n```\n{table}\n```\n" in (PUBLIC / "guide.md").read_text()
    assert "every row lost exactly what it must lose" in told


def test_the_guide_counts_the_notebooks():
    guide, cases = (PUBLIC / "guide.md").read_text(), len(MUTANTS) + 2 * len(ASSIGNMENTS)
    assert f"grades {cases} notebooks" in guide and f"each of {len(MUTANTS)} listed mistakes" in guide


@pytest.mark.parametrize(
    ("loses", "words"),
    [
        ({"hidden_calibration"}, "1     2  lost test_calibration"),
        ({"test_calibration", "hidden_calibration", "hidden_verdicts"}, "2  kept hidden_verdicts"),
    ],
)
def test_a_mutant_that_loses_other_cells_is_named_and_fails(command, capsys, loses, words):
    with pytest.raises(SystemExit, match="1 of 3 rows"):
        command(dataclasses.replace(FIRST, loses=frozenset(loses)))
    told = capsys.readouterr().out
    assert f"{FIRST.fault:54}" in told and words in told and "every row" not in told


def test_a_reference_that_is_wrong_is_named(monkeypatch):
    wrong = changed(reference(NAME), FIRST.task, FIRST.old, FIRST.new)
    monkeypatch.setattr(grading_table, "load", lambda name, term: wrong)
    row = grading_table.table_of(NAME, [], QUICK)[0]
    assert (row.case.name, row.points(row.lost)) == ("reference", 2)
    assert row.differences == ["lost hidden_calibration", "lost test_calibration"]


def test_a_grader_that_has_something_to_note_is_named(monkeypatch):
    whole = grading_table.student_version

    def cut(instructor):
        notebook = whole(instructor)
        notebook.cells = [
            cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") != FIRST.task
        ]
        return notebook

    monkeypatch.setattr(grading_table, "student_version", cut)
    blank = grading_table.table_of(NAME, [], QUICK)[1]
    assert blank.lost == blank.case.must_lose and "was deleted" in blank.differences[0]


def test_a_mutant_of_an_answer_that_is_gone_says_what_to_mend(monkeypatch):
    elsewhere = changed(reference(NAME), FIRST.task, FIRST.old, "focal = 0.5 * width")
    monkeypatch.setattr(grading_table, "load", lambda name, term: elsewhere)
    with pytest.raises(
        CourseError, match=f"no cell '{FIRST.task}' with '{FIRST.old}' in it: bring book/tools/course/mutants"
    ):
        grading_table.cases_of(NAME, MUTANTS)
