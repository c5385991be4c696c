"""Collect and grade submissions, offline: feedback pages, grades.csv, and written.csv for the marks that people give.

Usage: python -m book.tools.course.grade SUBMISSIONS [--term WORD] [--out runs/course/grades] [--jobs 2]

SUBMISSIONS holds a folder for each student, with the notebooks in it under their own names, at any depth. Fill in the
points of written answers in written.csv and run it again: they are kept, and added.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbformat import NotebookNode

from book.tools.course.feedback import Report, Score, page
from book.tools.course.sandbox import Isolation, Limits, Outcome, run, secret_folders, strongest_isolation
from book.tools.course.sources import ASSIGNMENTS, FOLDER_VARIABLE, ROOT, CourseError, load, source_folder
from book.tools.course.submission import Cell, Submission, SubmissionError, assemble, kind_of

STUDENT = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}")
GRADE_COLUMNS = ("student", "assignment", "automatic", "written", "total", "maximum", "state", "notes")
WRITTEN_COLUMNS = ("student", "assignment", "question", "maximum", "points", "comment")
USUAL_LIMITS = Limits()
Marks = Mapping[tuple[str, str, str], tuple[str, str]]  # (student, assignment, question) -> points, comment as typed


def students(folder: Path) -> list[Path]:
    """The students' folders, in order.

    Raises:
        CourseError: there is none, or a name that does not fit a file and a table.
    """
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    odd = [path.name for path in found if not STUDENT.fullmatch(path.name)]
    if odd:
        raise CourseError(f"rename {odd}: a student's folder has letters, digits and . _ @ - in its name")
    if not found:
        raise CourseError(f"{folder} holds no folder of a student")
    return found


def handed_in(folder: Path, name: str) -> tuple[Path | None, list[str]]:
    """The student's notebook of this assignment, and what to say about it."""
    found = sorted(
        path for path in folder.rglob(f"{name}.ipynb") if ".ipynb_checkpoints" not in path.relative_to(folder).parts
    )
    if len(found) > 1:
        return found[0], [f"{len(found)} files have this name; {found[0].relative_to(folder)} was graded"]
    return (found[0] if found else None), []


def scores_of(
    instructor: NotebookNode, submission: Submission | None, outcomes: list[Outcome | None], marks: dict[str, tuple]
) -> list[Score]:
    """The points of every graded cell; all of them 0 without a submission. marks: question -> points, comment."""
    by_name: dict[str, Outcome | None] = {}
    answered: set[str] = set()
    if submission is not None:
        pairs = list(zip(submission.cells, outcomes, strict=True))
        by_name = {cell.name: outcome for cell, outcome in pairs if cell.kind == "test"}
        answered = {cell.name for cell in submission.cells if cell.kind == "written" and is_answer(cell)}
    scores = []
    for cell in instructor.cells:
        kind = kind_of(cell)
        if kind not in ("test", "written"):
            continue
        name, maximum = cell.metadata.nbgrader.grade_id, float(cell.metadata.nbgrader.points)
        if kind == "written":
            points, comment = marks.get(name, (None, "")) if name in answered else (0.0, "no answer")
            scores.append(Score(name, points, maximum, comment))
        else:
            outcome = by_name.get(name) or Outcome(False, "not run")
            scores.append(Score(name, maximum if outcome.ok else 0.0, maximum, outcome.error))
    return scores


def is_answer(cell: Cell) -> bool:
    """Whether a written cell holds more than the stub."""
    return bool(cell.source.replace("YOUR ANSWER HERE", "").strip())


def grade_one(
    instructor: NotebookNode,
    folder: Path,
    marks: dict[str, tuple],
    limits: Limits,
    isolation: Isolation,
    hidden: tuple[Path, ...],
) -> Report:
    """Grade one assignment of one student. Whatever is wrong with the file ends in a note, never in an exception."""
    name = instructor.metadata.geo4d_course.assignment
    submission, outcomes = None, []
    path, notes = handed_in(folder, name)
    try:
        if path is None:
            raise SubmissionError("not handed in")
        submission = assemble(instructor, path)
        outcomes, more = run(submission.cells, limits, isolation, hidden)
        notes += submission.notes + more
    except SubmissionError as error:
        notes.append(str(error))
    except Exception as error:  # one student's file must not stop the others
        submission, outcomes = None, []
        notes.append(f"the grader failed on this file, a person has to look: {type(error).__name__}: {error}")
    scores = scores_of(instructor, submission, outcomes, marks)
    return Report(folder.name, name, scores, notes, submission.cells if submission else [], outcomes)


def read_marks(path: Path) -> Marks:
    """What people have typed into written.csv so far."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        return {
            (row["student"], row["assignment"], row["question"]): (row["points"], row["comment"])
            for row in csv.DictReader(file)
        }


def marks_of(marks: Marks, student: str, instructor: NotebookNode) -> dict[str, tuple]:
    """The marks of one student's written answers: question -> points or None, comment.

    Raises:
        CourseError: points that are not a number between 0 and the maximum.
    """
    assignment, found = instructor.metadata.geo4d_course.assignment, {}
    for cell in instructor.cells:
        if kind_of(cell) != "written":
            continue
        question, maximum = cell.metadata.nbgrader.grade_id, float(cell.metadata.nbgrader.points)
        typed, comment = marks.get((student, assignment, question), ("", ""))
        try:
            points = float(typed.replace(",", ".")) if typed.strip() else None
        except ValueError:
            points = -1.0
        if points is not None and not 0 <= points <= maximum:
            raise CourseError(f"written.csv: {student}, {assignment}: {typed!r} is no number from 0 to {maximum:g}")
        found[question] = points, comment
    return found


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    """Write a table, whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    partial.replace(path)


def grade_row(report: Report) -> dict:
    """A line of grades.csv."""
    automatic, written = report.total(False), report.total(True)
    return {
        "student": report.student,
        "assignment": report.assignment,
        "automatic": f"{automatic:g}",
        "written": f"{written:g}",
        "total": f"{automatic + written:g}",
        "maximum": f"{report.maximum:g}",
        "state": "complete" if report.is_marked else "written answers to mark",
        "notes": "; ".join(report.notes),
    }


def written_rows(report: Report, marks: Marks) -> list[dict]:
    """The lines of written.csv: one for each answer that a person marks."""
    answers = {cell.name for cell in report.cells if cell.kind == "written" and is_answer(cell)}
    rows = []
    for score in report.scores:
        if score.name in answers:
            points, comment = marks.get((report.student, report.assignment, score.name), ("", ""))
            values = report.student, report.assignment, score.name, f"{score.maximum:g}", points, comment
            rows.append(dict(zip(WRITTEN_COLUMNS, values, strict=True)))
    return rows


def grade_all(folder: Path, target: Path, term: str = "", limits: Limits = USUAL_LIMITS, jobs: int = 2) -> list[Report]:
    """Grade every student in `folder`; write feedback/<student>/<assignment>.html, grades.csv and written.csv.

    Raises:
        CourseError: something the instructor has to mend first; nothing is written then.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder} is no folder; SUBMISSIONS names the one with the students' folders")
    notebooks, people, isolation = [load(name, term) for name in ASSIGNMENTS], students(folder), strongest_isolation()
    target.mkdir(parents=True, exist_ok=True)
    marks = read_marks(target / "written.csv")
    hidden = secret_folders(source_folder(), folder, target)
    tasks = [(book, person, marks_of(marks, person.name, book)) for person in people for book in notebooks]
    with ThreadPoolExecutor(jobs) as pool:
        reports = list(pool.map(lambda task: grade_one(*task, limits, isolation, hidden), tasks))
    for report in reports:
        path = target / "feedback" / report.student / f"{report.assignment}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(report), encoding="utf-8")
    write_table(target / "grades.csv", GRADE_COLUMNS, [grade_row(report) for report in reports])
    rows = [row for report in reports for row in written_rows(report, marks)]
    write_table(target / "written.csv", WRITTEN_COLUMNS, rows)
    return reports


def main() -> None:
    """Grade as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submissions", type=Path, help="a folder with one folder for each student")
    parser.add_argument("--term", default="", help="the secret word that the release was made with")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "course" / "grades")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    options = parser.parse_args()
    try:
        print(f"assignments from {source_folder()} ({FOLDER_VARIABLE} names another folder)")
        print(f"student code runs as: {strongest_isolation()}", flush=True)
        reports = grade_all(options.submissions, options.out, options.term, jobs=options.jobs)
    except CourseError as error:
        sys.exit(f"grade: {error}")
    for report in reports:
        row = grade_row(report)
        print(f"{row['student']:20} {row['assignment']:30} {row['total']:>5} of {row['maximum']}  {row['notes'][:100]}")
    print(f"grades: {options.out / 'grades.csv'}; feedback pages beside it; written answers to mark: written.csv")


if __name__ == "__main__":
    main()
