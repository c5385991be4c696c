"""The grading table: what the reference, a blank notebook and every listed mistake must lose, and what they lost.

Usage: python -m book.tools.course.grading_table [--jobs 2] [--term heron]

Every row is one notebook, graded behind the walls of `make grade`; `book/tools/course/mutants` lists the mistakes. It
fails where a row lost another cell than it must, or where the grader had something to note about the file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from book.tools.course.feedback import Report
from book.tools.course.grade import USUAL_LIMITS, grade_one
from book.tools.course.mutants import MUTANTS, Mutant
from book.tools.course.release import student_version
from book.tools.course.sandbox import Limits, secret_folders, strongest_isolation
from book.tools.course.sources import ASSIGNMENTS, CourseError, load, source_folder
from book.tools.course.submission import kind_of


@dataclass(frozen=True)
class Case:
    """A notebook that is handed in, and the names of the cells that it must lose."""

    name: str
    notebook: NotebookNode
    must_lose: frozenset[str]


@dataclass(frozen=True)
class Row:
    """One case after grading."""

    case: Case
    report: Report

    @property
    def lost(self) -> frozenset[str]:
        """The cells that did not bring all their points; an answer that waits for a person is not lost."""
        scores = self.report.scores
        return frozenset(score.name for score in scores if score.points is not None and score.points < score.maximum)

    @property
    def differences(self) -> list[str]:
        """What is not as it must be, in words."""
        wrong, kept = sorted(self.lost - self.case.must_lose), sorted(self.case.must_lose - self.lost)
        return [f"lost {name}" for name in wrong] + [f"kept {name}" for name in kept] + self.report.notes

    def points(self, cells: frozenset[str]) -> float:
        """The points that these cells bring at most."""
        return sum(score.maximum for score in self.report.scores if score.name in cells)

    def __str__(self) -> str:
        must, lost = self.points(self.case.must_lose), self.points(self.lost)
        return f"{self.case.name:54}{must:>9g}{lost:>6g}  {'; '.join(self.differences)}".rstrip()


def cases_of(assignment: str, mutants: Sequence[Mutant], term: str = "") -> list[Case]:
    """The reference, the blank notebook, and the mutants of one assignment, in the variant of a term.

    Raises:
        CourseError: a mutant changes an answer that the instructor's notebook does not have.
    """
    instructor = load(assignment, term)
    graded = (cell for cell in instructor.cells if kind_of(cell) in ("test", "written"))
    everything = frozenset(cell.metadata.nbgrader.grade_id for cell in graded)
    return [
        Case("reference", instructor, frozenset()),
        Case("blank", student_version(instructor), everything),
        *(Case(m.fault, m.made_in(instructor), m.loses) for m in mutants if m.assignment == assignment),
    ]


def table_of(
    assignment: str, mutants: Sequence[Mutant], limits: Limits = USUAL_LIMITS, jobs: int = 2, term: str = ""
) -> list[Row]:
    """Grade every case of one assignment.

    Raises:
        CourseError: see `cases_of`, or no process for student code starts.
    """
    instructor, isolation, cases = load(assignment, term), strongest_isolation(), cases_of(assignment, mutants, term)
    with tempfile.TemporaryDirectory(prefix="geo4d-table-") as folder, ThreadPoolExecutor(jobs) as pool:
        hidden = secret_folders(source_folder(), Path(folder))

        def graded(number: int) -> Row:
            place = Path(folder) / f"case_{number:02d}"
            place.mkdir()
            nbformat.write(cases[number].notebook, place / f"{assignment}.ipynb")
            return Row(cases[number], grade_one(instructor, place, {}, limits, isolation, hidden))

        return list(pool.map(graded, range(len(cases))))


def main() -> None:
    """Print the table of every assignment; fail where a row differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    parser.add_argument("--term", default="", help="word of the term whose variant is graded")
    options = parser.parse_args()
    begun, rows = time.monotonic(), []
    try:
        print(f"student code runs as: {strongest_isolation()}", flush=True)
        for assignment in ASSIGNMENTS:
            table = table_of(assignment, MUTANTS, jobs=options.jobs, term=options.term)
            print(f"\n{assignment + f', {table[0].report.maximum:g} points':54}must lose  lost")
            print(*table, sep="\n", flush=True)
            rows += table
    except CourseError as error:
        sys.exit(f"grading table: {error}")
    print(f"\n{len(rows)} notebooks graded in {time.monotonic() - begun:.0f} s")
    different = sum(bool(row.differences) for row in rows)
    if different:
        sys.exit(f"grading table: {different} of {len(rows)} rows are not as they must be")
    print("every row lost exactly what it must lose")


if __name__ == "__main__":
    main()
