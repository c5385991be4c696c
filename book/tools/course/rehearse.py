"""A whole cycle on a made-up class, to run before the first real one: release, collect, grade, compare.

Usage: python -m book.tools.course.rehearse [--students 30] [--term WORD] [--jobs 2] [--out runs/course/rehearsal]

The class is made from the instructor's notebooks. One student answered everything, one nothing, each of the others left
half of the tasks out. So the points of the tests are known beforehand; where they come out otherwise, it says so.
"""

from __future__ import annotations

import argparse
import copy
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from book.tools.course.feedback import Report
from book.tools.course.grade import USUAL_LIMITS, grade_all
from book.tools.course.release import release, student_version
from book.tools.course.sandbox import Limits, strongest_isolation
from book.tools.course.sources import ASSIGNMENTS, ROOT, CourseError, load
from book.tools.course.submission import kind_of

PARTS = ("release", "submissions", "grades")
Points = dict[tuple[str, str], float]  # (student, assignment) -> points of the tests


@dataclass(frozen=True)
class Rehearsal:
    """How long release and grading took, what came out, and what should have."""

    release_s: float
    grade_s: float
    reports: list[Report]
    expected: Points
    differences: list[str] = field(default_factory=list)

    def of(self, student: str) -> float:
        """The points of one student's tests in all assignments."""
        return sum(report.total(False) for report in self.reports if report.student == student)


def tasks_of(instructor: NotebookNode) -> dict[str, float]:
    """Name of every cell to be filled in → points of the tests that follow it."""
    points, task = {}, None
    for cell in instructor.cells:
        kind = kind_of(cell)
        if kind == "solution":
            task = cell.metadata.nbgrader.grade_id
            points[task] = 0.0
        elif kind == "test" and task is not None:
            points[task] += float(cell.metadata.nbgrader.points)
    return points


def left_out(student: int, instructor: NotebookNode) -> set[str]:
    """The tasks that a student leaves out: none for the first, all for the second, half for the others."""
    tasks = sorted(tasks_of(instructor))
    if student < 2:
        return set(tasks[: student * len(tasks)])
    return set(random.Random(f"{student} {tasks}").sample(tasks, len(tasks) // 2))


def submission(instructor: NotebookNode, without: set[str], everything: bool) -> NotebookNode:
    """What a student hands in who leaves these tasks out, and the written answer unless `everything` is there."""
    handed_in, blank = copy.deepcopy(instructor), student_version(instructor)
    for cell, empty in zip(handed_in.cells, blank.cells, strict=True):
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in without or (kind_of(cell) == "written" and not everything):
            cell.source = empty.source
    return handed_in


def hand_in(folder: Path, students: int, term: str) -> Points:
    """Write a class's submissions into the empty folder; return the points that each must get."""
    expected = {}
    for assignment in ASSIGNMENTS:
        instructor = load(assignment, term)
        points = tasks_of(instructor)
        for number in range(students):
            student, without = f"student_{number + 1:02d}", left_out(number, instructor)
            expected[student, assignment] = sum(value for task, value in points.items() if task not in without)
            path = folder / student / f"{assignment}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(submission(instructor, without, everything=number == 0), path)
    return expected


def rehearse(target: Path, students: int, term: str = "", jobs: int = 2, limits: Limits = USUAL_LIMITS) -> Rehearsal:
    """Run the cycle in the folder `target`, from which an earlier rehearsal is deleted.

    Raises:
        CourseError: something that the instructor has to mend first.
    """
    others = {path.name for path in target.iterdir()} - set(PARTS) if target.is_dir() else set()
    if others:
        raise CourseError(f"{target} holds {sorted(others)[0]!r}, which is no rehearsal's: name a folder of its own")
    for part in PARTS:
        shutil.rmtree(target / part, ignore_errors=True)
    begun = time.monotonic()
    release(target / "release", term)
    released = time.monotonic()
    expected = hand_in(target / "submissions", students, term)
    collected = time.monotonic()
    reports = grade_all(target / "submissions", target / "grades", term, limits, jobs)
    graded = time.monotonic()
    differences = [
        f"{report.student}, {report.assignment}: {report.total(False):g} points instead of {wanted:g}"
        for report in reports
        if report.total(False) != (wanted := expected[report.student, report.assignment])
    ]
    return Rehearsal(released - begun, graded - collected, reports, expected, differences)


def main() -> None:
    """Rehearse as the command line says, and fail where points differ from what they must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--term", default="", help="the term's secret word")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "course" / "rehearsal")
    options = parser.parse_args()
    if options.students < 2:
        sys.exit("rehearse: --students is at least 2, one who answered everything and one who answered nothing")
    try:
        print(f"student code runs as: {strongest_isolation()}", flush=True)
        found = rehearse(options.out, options.students, options.term, options.jobs)
    except CourseError as error:
        sys.exit(f"rehearse: {error}")
    totals = [found.of(f"student_{number + 1:02d}") for number in range(options.students)]
    print(f"released in {found.release_s:.1f} s")
    print(f"{options.students} students, {len(found.reports)} notebooks graded in {found.grade_s:.0f} s", end=", ")
    print(f"{found.grade_s / len(found.reports):.1f} s a notebook, {options.jobs} at a time")
    print(f"points of the tests: everything answered {totals[0]:g}, nothing {totals[1]:g}", end="")
    print(f", half of the tasks {min(totals[2:]):g} to {max(totals[2:]):g}" if totals[2:] else "")
    print(f"grades: {options.out / 'grades' / 'grades.csv'}")
    if found.differences:
        sys.exit("rehearse: " + "\n".join(found.differences))
    print("every notebook got the points that it must get")


if __name__ == "__main__":
    main()
