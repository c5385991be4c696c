"""Write the students' notebooks and a zip of them: no solution, no hidden test, no marking scheme.

Usage: python -m book.tools.course.release [--term WORD] [--out runs/course/release]
"""

from __future__ import annotations

import argparse
import copy
import sys
import zipfile
from pathlib import Path

import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from book.tools.course.sources import ASSIGNMENTS, ROOT, CourseError, load

STEPS = (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ClearHiddenTests, ClearMarkScheme, ComputeChecksums)
SECRETS = ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME", "HIDDEN_SEED")
README = """Assignments of the course on geometry-aware 4D video

Unpack this anywhere outside a clone of the book, and open it in a Jupyter with Python 3.11, NumPy, SciPy and
Matplotlib: pip install jupyterlab numpy scipy matplotlib, then jupyter lab in this folder.
Fill in the cells that raise NotImplementedError, write your answer in words into the cell that says YOUR ANSWER HERE,
run the whole notebook from the top, and hand in the notebook files.
Keep the cells that are there; add as many of your own as you like. The package geo4d_lite is closed while your work is
graded: write the functions yourself.
"""
ZIP_TIME = (2026, 1, 1, 0, 0, 0)  # the same release gives the same bytes


def student_version(instructor: NotebookNode) -> NotebookNode:
    """What a student gets of an instructor's notebook.

    Raises:
        CourseError: a marker of something secret is left, as when an END line is missing or misspelt.
    """
    notebook, resources = copy.deepcopy(instructor), ResourcesDict()
    for step in STEPS:
        try:
            notebook, resources = step().preprocess(notebook, resources)
        except (RuntimeError, ValueError) as error:
            raise CourseError(f"{instructor.metadata.geo4d_course.assignment}: {error}") from error
    for cell in notebook.cells:
        left = [word for word in SECRETS if word in cell.source]
        if left:
            raise CourseError(f"{left[0]} is left in the student's version, in a cell that begins {cell.source[:60]!r}")
    return notebook


def release(target: Path, term: str = "", folder: Path | None = None) -> Path:
    """Write the students' notebooks into `target`, and the zip that holds them; return the zip."""
    target.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.ipynb": nbformat.writes(student_version(load(name, term, folder))) for name in ASSIGNMENTS}
    texts["README.txt"] = README
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    bundle = target / "assignments.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(f"geo4d_assignments/{name}", ZIP_TIME), text, zipfile.ZIP_DEFLATED)
    return bundle


def main() -> None:
    """Release as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--term", default="", help="the term's secret word; grading needs the same one")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "course" / "release")
    options = parser.parse_args()
    try:
        print(f"released: {release(options.out, options.term)}")
    except CourseError as error:
        sys.exit(f"release: {error}")


if __name__ == "__main__":
    main()
