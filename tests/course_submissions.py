"""Make submissions, the instructor's notebook as it is or blank, and grade them."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from book.tools.course import sources
from book.tools.course.feedback import Report
from book.tools.course.grade import grade_one, scores_of
from book.tools.course.release import student_version
from book.tools.course.sandbox import Limits, Outcome, secret_folders, strongest_isolation
from book.tools.course.submission import assemble

PUBLIC = sources.ROOT / "notebooks" / "assignments"
QUICK = Limits(cell_seconds=2.0, wall_seconds=30.0)


def reference(name: str, term: str = "") -> NotebookNode:
    """The instructor's notebook, which answers every question."""
    return sources.load(name, term, PUBLIC)


def blank(name: str) -> NotebookNode:
    """The student's version as it is handed out."""
    return student_version(reference(name))


def cell_named(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell of that name."""
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def hand_in(folder: Path, student: str, name: str, notebook: NotebookNode | bytes) -> Path:
    """Put a notebook, or the bytes of a broken one, where a student would."""
    path = folder / student / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook if isinstance(notebook, bytes) else nbformat.writes(notebook).encode())
    return path


def graded(folder: Path, name: str, notebook: NotebookNode | bytes, limits: Limits = QUICK, term: str = "") -> Report:
    """Hand in one notebook and grade it."""
    path = hand_in(folder, "ada", name, notebook)
    hidden = secret_folders(PUBLIC)
    return grade_one(reference(name, term), path.parent, {}, limits, strongest_isolation(), hidden)


def graded_here(folder: Path, name: str, notebook: NotebookNode, term: str = "") -> Report:
    """As `graded`, but in this process and without walls: for our own code, a hundred times as fast."""
    instructor = reference(name, term)
    submission = assemble(instructor, hand_in(folder, "ada", name, notebook))
    setup = next(cell.source for cell in submission.cells if cell.kind == "setup")
    outcomes, names = [], {}
    for cell in submission.cells:
        try:
            if cell.kind == "test":
                exec(f"{setup}\n{cell.source}", dict(names))
            elif cell.kind != "written":
                exec(cell.source, names)
            outcomes.append(Outcome(True))
        except Exception as error:
            outcomes.append(Outcome(False, f"{type(error).__name__}: {error}"))
    return Report("ada", name, scores_of(instructor, submission, outcomes, {}), submission.notes)


def lost(report: Report) -> set[str]:
    """The tested cells that did not bring their points."""
    assert all(score.points in (0.0, score.maximum, None) for score in report.scores)
    return {score.name for score in report.scores if score.points == 0.0}
