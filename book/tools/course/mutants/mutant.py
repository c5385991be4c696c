"""One wrong answer: what it changes in the instructor's notebook, and which cells that must cost."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from nbformat import NotebookNode

from book.tools.course.sources import CourseError
from book.tools.course.submission import grade_id


@dataclass(frozen=True)
class Mutant:
    """The reference answer of the cell `task` with `old` replaced by `new`; it loses the cells in `loses`."""

    assignment: str
    fault: str
    task: str
    old: str
    new: str
    loses: frozenset[str]

    def __str__(self) -> str:
        return f"{self.assignment[0]}: {self.fault}"

    def made_in(self, instructor: NotebookNode) -> NotebookNode:
        """The submission of a student who makes this mistake and no other.

        Raises:
            CourseError: the answer that it changes is not in the notebook.
        """
        return changed(instructor, self.task, self.old, self.new)


def mutants_of(assignment: str, *rows: tuple[str, str, str, str, str]) -> list[Mutant]:
    """Rows of fault, task, old text, new text, lost cells (separated by blanks)."""
    return [Mutant(assignment, *row[:4], frozenset(row[4].split())) for row in rows]


def changed(notebook: NotebookNode, name: str, old: str, new: str) -> NotebookNode:
    """A copy in which the cell of that name reads otherwise.

    Raises:
        CourseError: there is no such cell, or the old text is not in it.
    """
    notebook = copy.deepcopy(notebook)
    cell = next((cell for cell in notebook.cells if grade_id(cell) == name), None)
    if cell is None or old not in cell.source:
        raise CourseError(f"no cell {name!r} with {old!r} in it: bring book/tools/course/mutants up to date")
    cell.source = cell.source.replace(old, new)
    return notebook
