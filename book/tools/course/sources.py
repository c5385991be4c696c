"""The instructor's assignments: where they lie, and how a term's secret word turns them into this term's variant.

A line such as `WIDTH = 160  # one of 120, 160, 200` in the set-up cell takes one of its values, and a line
`HIDDEN_SEED = 0` in a hidden test a number of its own; both follow from the word. Without a word the sources stay as
they are written.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[3]
FOLDER_VARIABLE = "GEO4D_INSTRUCTOR"
ASSIGNMENTS = (
    "1_cameras_and_pointmaps",
    "2_diffusion_and_sampling",
    "3_attention_and_consistency",
    "4_video_to_action",
)
CHOICE = re.compile(r"^(?P<name>\w+) = (?P<value>.+?)  # one of (?P<options>[^;\n]+)", re.MULTILINE)
HIDDEN_SEED = re.compile(r"^(?P<indent> *)HIDDEN_SEED = \d+", re.MULTILINE)


class CourseError(Exception):
    """Something the instructor has to mend; the message is the whole story."""


def source_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the instructor's notebooks: the one that GEO4D_INSTRUCTOR names, or the public one.

    Raises:
        CourseError: the variable names a folder that lacks an assignment.
    """
    folder = Path(environ.get(FOLDER_VARIABLE) or ROOT / "notebooks" / "assignments").expanduser().resolve()
    missing = [name for name in ASSIGNMENTS if not (folder / f"{name}.ipynb").is_file()]
    if missing:
        raise CourseError(f"{folder} lacks {', '.join(missing)}; {FOLDER_VARIABLE} names the instructor's folder")
    return folder


def draw(term: str, *what: str) -> int:
    """A number that follows from the term's word and what it is for."""
    return int.from_bytes(hashlib.sha256("\n".join((term, *what)).encode()).digest()[:6], "big")


def fingerprint(term: str) -> str:
    """Ten characters that tell terms apart without telling the word."""
    return hashlib.sha256(f"geo4d course {term}".encode()).hexdigest()[:10]


def with_term(source: str, term: str, name: str) -> str:
    """One cell of the assignment `name`, in the variant of the term."""
    if not term:
        return source

    def choose(line: re.Match) -> str:
        options = [option.strip() for option in line["options"].split(",")]
        value = options[draw(term, name, line["name"]) % len(options)]
        return f"{line['name']} = {value}  # one of {line['options']}"

    source = CHOICE.sub(choose, source)
    return HIDDEN_SEED.sub(lambda line: f"{line['indent']}HIDDEN_SEED = {draw(term, name, 'hidden')}", source)


def load(name: str, term: str = "", folder: Path | None = None) -> NotebookNode:
    """The instructor's notebook of the assignment `name`, in the variant of the term, solutions and all."""
    notebook = nbformat.read((folder or source_folder()) / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = with_term(cell.source, term, name)
    notebook.metadata["geo4d_course"] = {"assignment": name, "term": fingerprint(term)}
    return notebook
