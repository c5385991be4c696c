"""A class in which some mean harm and some have bad luck: a message for each, and nobody else's grade changes."""

import copy
import csv

import pytest
from course_submissions import PUBLIC, QUICK, blank, cell_named, hand_in, lost, reference
from nbformat.v4 import new_code_cell

from book.tools.course import grade, sandbox
from book.tools.course.mutants import changed
from book.tools.course.sources import ASSIGNMENTS, CourseError

NAME = ASSIGNMENTS[0]
CALIBRATION = {"test_calibration", "hidden_calibration"}
INSTRUCTOR = PUBLIC / f"{NAME}.ipynb"
LIBC_READ = f"""
import ctypes
print("opened", ctypes.CDLL(None).open({str(INSTRUCTOR).encode()!r}, 0) >= 0)
"""
STUBBORN = """    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
NETWORK = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
    print("connected")
except OSError as error:
    print("refused", error)
print([name for _, name in socket.if_nameindex() if name != "lo"])
"""

WHO = """
from pathlib import Path
capabilities = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
print("powers", int(capabilities[0], 16))
for folder in ("/", "/etc", "/usr", "/var"):
    try:
        Path(folder, "written-by-a-student").write_text("x")
        print("wrote into", folder)
    except OSError:
        print("closed", folder)
"""


def with_first_lines(lines: str):
    """The reference with other lines at the top of its first function."""
    return changed(reference(NAME), "calibration", "    ### BEGIN SOLUTION\n", lines)


def with_own_cell(source: str, notebook=None):
    """The reference with a cell of the student's own after the set-up."""
    notebook = copy.deepcopy(notebook or reference(NAME))
    notebook.cells.insert(notebook.cells.index(cell_named(notebook, "setup")) + 1, new_code_cell(source))
    return notebook


def without(*names: str):
    """The reference without some of its cells."""
    notebook = copy.deepcopy(reference(NAME))
    for name in names:
        notebook.cells.remove(cell_named(notebook, name))
    return notebook


def doubled():
    """The reference, its first answer once more at the end, wrong."""
    notebook = copy.deepcopy(reference(NAME))
    again = copy.deepcopy(cell_named(notebook, "calibration"))
    again.source = "def calibration(width, height, fov_x):\n    return None"
    notebook.cells.append(again)
    return notebook


def hostile_class() -> dict[str, object]:
    """Student -> what they hand in for the first assignment."""
    wrong = changed(reference(NAME), "calibration", "focal = width / 2", "focal = height / 2")
    return {
        "ada": reference(NAME),
        "blank": blank(NAME),
        "c_forks": with_own_cell("import ctypes\nfor _ in range(3):\n    ctypes.CDLL(None).fork()"),
        "deleted": without("test_calibration", "hidden_verdicts", "verdicts"),
        "doubled": doubled(),
        "endless": with_first_lines("    while True:\n        pass\n"),
        "exits": with_own_cell("import os\nos._exit(0)"),
        "forks": with_own_cell("import os\nfor _ in range(20):\n    os.fork()"),
        "who": with_own_cell(WHO),
        "hungry": with_own_cell("x = bytearray(10**11)"),
        "latin": b'{"cells": [], "author": "\xe9"}',
        "libc": with_own_cell(LIBC_READ),
        "list": b"[1, 2]",
        "network": with_own_cell(NETWORK),
        "package": with_own_cell("from geo4d_lite.geometry import unproject"),
        "reader": with_first_lines(f"    print(open({str(INSTRUCTOR)!r}).read())\n"),
        "shadow": with_own_cell("check = lambda *a, **k: None", wrong),
        "shadow_late": with_first_lines("    global check\n    check = print\n    return np.eye(3)\n"),
        "stubborn": with_first_lines(STUBBORN),
        "torn": b'{"cells": [{"cell_type": "code", "sour',
        "utf16": "{}".encode("utf-16"),
        "wordy": with_own_cell("while len('endless') == 7:\n    print('word ' * 10_000)"),
        "zoe": reference(NAME),
    }


@pytest.fixture(scope="module")
def graded_class(tmp_path_factory):
    """Reports by student, and the folder of the grades."""
    folder, target = tmp_path_factory.mktemp("submissions"), tmp_path_factory.mktemp("grades")
    for student, notebook in hostile_class().items():
        hand_in(folder, student, NAME, notebook)
    (folder / "linked").mkdir()
    (folder / "linked" / f"{NAME}.ipynb").symlink_to(INSTRUCTOR)
    reports = grade.grade_all(folder, target, limits=QUICK)
    return {report.student: report for report in reports if report.assignment == NAME}, target


@pytest.mark.parametrize(
    "student", ["ada", "zoe", "c_forks", "doubled", "exits", "forks", "hungry", "libc", "network", "package", "who"]
)
def test_whoever_answered_everything_has_all_points(graded_class, student):
    assert lost(graded_class[0][student]) == set(), graded_class[0][student].notes


@pytest.mark.parametrize("student", ["endless", "reader", "shadow", "shadow_late", "stubborn"])
def test_a_fault_costs_its_own_task_only(graded_class, student):
    assert lost(graded_class[0][student]) == CALIBRATION


@pytest.mark.parametrize(
    ("student", "word"),
    [
        ("latin", "not UTF-8"),
        ("utf16", "not UTF-8"),
        ("torn", "not valid JSON"),
        ("list", "not a notebook"),
        ("linked", "not a plain file"),
    ],
)
def test_a_broken_file_gets_nothing_and_is_told_why(graded_class, student, word):
    report = graded_class[0][student]
    assert report.total(False) == 0 and any(word in note for note in report.notes)


@pytest.mark.parametrize(
    ("student", "word"),
    [
        ("deleted", "'test_calibration' was deleted: restored"),
        ("deleted", "'verdicts' was deleted: missing"),
        ("doubled", "'calibration' is there twice"),
        ("exits", "ended the process"),
        ("stubborn", "did not react"),
    ],
)
def test_what_was_odd_about_a_file_is_said(graded_class, student, word):
    assert any(word in note for note in graded_class[0][student].notes)


def messages(report) -> str:
    """Everything that was said or printed while grading."""
    said = [score.message for score in report.scores] + [f"{o.error} {o.output}" for o in report.outcomes if o]
    return " ".join(said)


@pytest.mark.parametrize(
    ("student", "word"),
    [
        ("endless", "a loop that never ends"),
        ("forks", "may not start other programs or processes"),
        ("hungry", "MemoryError"),
        ("package", "geo4d_lite is closed"),
        ("reader", "this folder is closed"),
    ],
)
def test_a_closed_door_says_so(graded_class, student, word):
    assert word in messages(graded_class[0][student])


def test_a_deleted_test_is_put_back_and_a_deleted_answer_costs_its_task(graded_class):
    assert lost(graded_class[0]["deleted"]) == {"test_verdicts", "hidden_verdicts", "hidden_verdicts_unknown"}


def test_a_flood_of_words_is_cut_and_harms_nobody(graded_class):
    report = graded_class[0]["wordy"]
    assert lost(report) == set()
    assert max(len(outcome.output) for outcome in report.outcomes if outcome) <= 20_000


def test_no_solution_can_be_read_and_no_network_reached_where_namespaces_work(graded_class):
    if not sandbox.strongest_isolation().namespaces:
        pytest.skip("this system gives us no user namespaces")
    assert "opened False" in messages(graded_class[0]["libc"])
    said = messages(graded_class[0]["network"])
    assert "refused" in said and "connected" not in said and "[]" in said
    said = messages(graded_class[0]["who"])
    assert "powers 0" in said and "wrote into" not in said and said.count("closed") == 4


def test_the_tables_and_pages_hold_everybody(graded_class):
    reports, target = graded_class
    with (target / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["student"] for row in rows} == set(reports) and len(rows) == len(reports) * len(ASSIGNMENTS)
    by_student = {row["student"]: row for row in rows if row["assignment"] == NAME}
    assert by_student["ada"]["automatic"] == "18" and by_student["blank"]["total"] == "0"
    assert "not handed in" in [row for row in rows if row["assignment"] == ASSIGNMENTS[1]][0]["notes"]
    page = (target / "feedback" / "endless" / f"{NAME}.html").read_text()
    assert "a loop that never ends" in page and "http" not in page and "<script" not in page


def test_marks_for_written_answers_are_kept_and_added(tmp_path):
    folder, target = tmp_path / "submissions", tmp_path / "grades"
    hand_in(folder, "ada", NAME, b"torn")
    hand_in(folder, "bob", NAME, reference(NAME))
    nothing = sandbox.Limits(total_seconds=0.0, restarts=0)
    grade.grade_all(folder, target, limits=nothing)
    table = (target / "written.csv").read_text()
    assert "bob" in table and "ada" not in table, "only answers are marked"
    (target / "written.csv").write_text(table.replace("written_contradiction,2,,", "written_contradiction,2,1.5,clear"))
    report = grade.grade_all(folder, target, limits=nothing)[len(ASSIGNMENTS)]
    assert report.student == "bob" and report.total(True) == 1.5 and report.is_marked
    assert "1.5,clear" in (target / "written.csv").read_text()
    (target / "written.csv").write_text(table.replace("written_contradiction,2,,", "written_contradiction,2,7,"))
    with pytest.raises(CourseError, match="bob.*'7' is no number from 0 to 2"):
        grade.grade_all(folder, target, limits=nothing)


def test_a_notebook_of_another_term_is_noted(tmp_path):
    folder = tmp_path / "submissions"
    hand_in(folder, "ada", NAME, reference(NAME, "last year"))
    limits = sandbox.Limits(total_seconds=0.0, restarts=0)
    notes = grade.grade_all(folder, tmp_path / "grades", term="this year", limits=limits)[0].notes
    assert any("another term" in note for note in notes)


def test_odd_folders_are_named(tmp_path):
    with pytest.raises(CourseError, match="no folder"):
        grade.grade_all(tmp_path / "nowhere", tmp_path / "grades")
    with pytest.raises(CourseError, match="holds no folder of a student"):
        grade.grade_all(tmp_path, tmp_path / "grades")
    (tmp_path / "=cmd()").mkdir()
    with pytest.raises(CourseError, match="rename"):
        grade.grade_all(tmp_path, tmp_path / "grades")
