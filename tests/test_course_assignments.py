"""The assignments and their tests: the reference gets everything, a blank nothing, a mutant loses exactly its own."""

import re

import pytest
from course_submissions import blank, cell_named, graded, graded_here, lost, reference

from book.tools.course.mutants import MUTANTS
from book.tools.course.submission import kind_of

NAMES = sorted({mutant.assignment for mutant in MUTANTS})
POINTS = 20
TERMS = ["", "autumn", "spring", "summer", "a resit", "a second resit"]
each_assignment = pytest.mark.parametrize("name", NAMES)


def graded_cells(name: str) -> set[str]:
    """Names of the cells that are graded by running them."""
    return {cell.metadata.nbgrader.grade_id for cell in reference(name).cells if kind_of(cell) == "test"}


@each_assignment
def test_the_reference_gets_full_marks_behind_the_walls(name, tmp_path):
    report = graded(tmp_path, name, reference(name))
    assert report.notes == [] and lost(report) == set(), [score for score in report.scores if score.points == 0]
    assert report.maximum == POINTS
    waiting = [score.name for score in report.scores if score.points is None]
    assert len(waiting) == 1 and waiting[0].startswith("written")


@each_assignment
@pytest.mark.parametrize("term", TERMS)
def test_the_reference_gets_full_marks_in_every_term(name, term, tmp_path):
    report = graded_here(tmp_path, name, reference(name, term), term)
    assert lost(report) == set(), [score for score in report.scores if score.points == 0]


@each_assignment
def test_a_blank_notebook_gets_nothing(name, tmp_path):
    report = graded(tmp_path, name, blank(name))
    assert report.total(False) + report.total(True) == 0 and report.is_marked
    assert lost(report) == {score.name for score in report.scores}


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_loses_exactly_its_own_points_in_every_term(mutant, term, tmp_path):
    report = graded_here(tmp_path, mutant.assignment, mutant.made_in(reference(mutant.assignment, term)), term)
    assert lost(report) == mutant.loses
    for score in report.scores:
        if score.points == 0.0:
            assert len(score.message) > 20, f"{score.name} says nothing that helps: {score.message!r}"


@each_assignment
def test_every_graded_cell_is_lost_by_some_mutant(name):
    killed = set().union(*(mutant.loses for mutant in MUTANTS if mutant.assignment == name))
    assert killed == graded_cells(name)


@each_assignment
def test_there_are_five_mutants_or_more(name):
    assert len([mutant for mutant in MUTANTS if mutant.assignment == name]) >= 5


@each_assignment
def test_tasks_have_visible_and_hidden_tests_and_one_written_question(name):
    cells = [cell for cell in reference(name).cells if kind_of(cell) in ("test", "written")]
    hidden = [cell for cell in cells if "BEGIN HIDDEN TESTS" in cell.source]
    assert len(hidden) >= 5 and len(cells) - len(hidden) >= 5
    assert [kind_of(cell) for cell in cells].count("written") == 1


@each_assignment
def test_no_task_needs_an_answer_to_another(name):
    """A solution that called another would lose points that a mutant test counts as another task's."""
    solutions = [cell for cell in reference(name).cells if kind_of(cell) == "solution"]
    defined = {cell.metadata.nbgrader.grade_id: set(re.findall(r"^def (\w+)", cell.source, re.M)) for cell in solutions}
    for cell in solutions:
        others = set().union(*(names for task, names in defined.items() if task != cell.metadata.nbgrader.grade_id))
        assert not others & set(re.findall(r"\w+", cell.source.split("### BEGIN SOLUTION")[1]))


@each_assignment
def test_the_set_up_offers_this_terms_numbers_first_as_written(name):
    setup = cell_named(reference(name), "setup").source
    lines = re.findall(r"^\w+ = (.+?)  # one of ([^;\n]+)", setup, re.M)
    assert lines and all(value in [option.strip() for option in options.split(",")] for value, options in lines)
