"""Read what a student handed in, and put it together with the instructor's tests.

Nothing of the student's file is trusted but the text of its cells. The tests, the text and the set-up come from the
instructor's notebook; the student contributes the cells to be filled in, and cells of their own wherever they stand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

LARGEST_BYTES = 5_000_000
FIGURE_TAG = "figure"  # cells that only draw are not run when grading


class SubmissionError(Exception):
    """The file cannot be graded; the message tells the student why."""


@dataclass(frozen=True)
class Cell:
    """One cell to run or to show. kind: setup, given, solution, test, written or own."""

    kind: str
    name: str
    source: str
    points: float = 0.0


@dataclass(frozen=True)
class Submission:
    """The cells to run in order, and what there is to say about the file."""

    cells: list[Cell]
    notes: list[str] = field(default_factory=list)


def read_cells(path: Path) -> tuple[list[dict], dict]:
    """The cells and the metadata of a student's notebook.

    Raises:
        SubmissionError: the file is a link, too large, not UTF-8, not JSON, or not a notebook of format 4.
    """
    if path.is_symlink() or not path.is_file():
        raise SubmissionError("this is not a plain file; hand in the notebook itself")
    if path.stat().st_size > LARGEST_BYTES:
        raise SubmissionError(f"the file is larger than {LARGEST_BYTES // 1_000_000} MB; clear its outputs")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SubmissionError("the file is not UTF-8 text; save it again in Jupyter") from None
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"the file is not valid JSON ({str(error)[:80]}); save it again in Jupyter") from None
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise SubmissionError("the file is JSON, but not a notebook of format 4; save it again in Jupyter")
    metadata = content.get("metadata")
    return [cell for cell in cells if isinstance(cell, dict)], metadata if isinstance(metadata, dict) else {}


def text_of(cell: dict) -> str:
    """The source of a raw cell, which files keep as one text or as a list of lines."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def grade_id(cell: dict) -> str | None:
    """nbgrader's name of a raw cell, or None."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = found.get("grade_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def kind_of(cell: NotebookNode) -> str:
    """What an instructor's cell is for."""
    flags = cell.metadata.get("nbgrader", {})
    if flags.get("grade"):
        return "written" if flags.get("solution") else "test"
    if flags.get("solution"):
        return "solution"
    return "setup" if flags.get("grade_id") == "setup" else "given"


def is_run(cell: NotebookNode) -> bool:
    """Whether grading needs an instructor's cell: code and answers, but no text and no drawings."""
    drawn = FIGURE_TAG in cell.metadata.get("tags", [])
    return kind_of(cell) == "written" or (cell.cell_type == "code" and not drawn)


def assemble(instructor: NotebookNode, path: Path) -> Submission:
    """The instructor's notebook with the student's answers in it.

    Raises:
        SubmissionError: see `read_cells`, or no cell of this assignment is in the file.
    """
    raw, metadata = read_cells(path)
    known = {cell.metadata.nbgrader.grade_id: cell for cell in instructor.cells if "nbgrader" in cell.metadata}
    answers: dict[str, dict] = {}
    own: dict[str | None, list[Cell]] = {}
    notes, anchor = [], None
    for cell in raw:
        name = grade_id(cell)
        if name in known and name not in answers:
            answers[name], anchor = cell, name
        elif name in known:
            notes.append(f"cell {name!r} is there twice; the first one counts")
        elif cell.get("cell_type") == "code":
            own.setdefault(anchor, []).append(Cell("own", "your own cell", text_of(cell)))
    if not answers:
        raise SubmissionError("no cell of this assignment is in the file; fill in the notebook that was handed out")
    theirs = metadata.get("geo4d_course")
    if isinstance(theirs, dict) and theirs.get("term") not in (None, instructor.metadata.geo4d_course.term):
        notes.append("the notebook was handed out for another term; its numbers may differ from this term's")
    cells = own.get(None, [])
    for cell in instructor.cells:
        flags = cell.metadata.get("nbgrader", {})
        name, kind = flags.get("grade_id"), kind_of(cell)
        source = cell.source
        if kind in ("solution", "written"):
            source = text_of(answers[name]) if name in answers else ""
        if name is not None and name not in answers:
            lost = {"test": "restored from the original", "solution": "missing, its tests fail"}
            if kind in lost:
                notes.append(f"cell {name!r} was deleted: {lost[kind]}")
        if is_run(cell):
            cells.append(Cell(kind, name or "given", source, float(flags.get("points", 0))))
        cells += own.get(name, []) if name is not None else []
    return Submission(cells, notes)
