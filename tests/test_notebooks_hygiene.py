"""What nbval does not see: notebooks that were never run, stored errors, muted outputs, cells too long to read."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from book.tools.tolerance import Tolerance
from geo4d_lite import __version__

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
IGNORE = "# NBVAL_IGNORE_OUTPUT"
LARGEST_BYTES = 1_500_000
LONGEST_CELL = 25
MOST_IMPORTS = 8
IGNORED_SHARE = 0.02

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@dataclass(frozen=True)
class CodeCell:
    """A code cell with its place in the notebook; `str()` of it names it in a message."""

    notebook: str
    index: int
    cell: nbformat.NotebookNode

    def __str__(self) -> str:
        return f"{self.notebook} cell {self.index}: {self.cell.source[:60]!r}"


def code_cells(path: Path) -> list[CodeCell]:
    """The code cells of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [CodeCell(path.name, index, cell) for index, cell in enumerate(cells) if cell.cell_type == "code"]


def must_show_something(source: str) -> bool:
    """Whether a cell prints or displays something at its top level, so that a run leaves an output."""
    body = ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE)).body
    calls = [node.value for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return any(isinstance(call.func, ast.Name) and call.func.id in ("print", "display") for call in calls)


@each_notebook
def test_every_code_cell_was_run_in_order(path):
    counts = [code.cell.execution_count for code in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), f"{path.name}: run it from the top with `make refresh`"


@each_notebook
def test_every_cell_that_prints_has_its_output_stored(path):
    silent = [str(code) for code in code_cells(path) if must_show_something(code.cell.source) and not code.cell.outputs]
    assert not silent, "nbval would compare nothing here"


@each_notebook
def test_no_error_and_no_stderr_is_stored(path):
    bad = [
        str(code)
        for code in code_cells(path)
        for output in code.cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert not bad


def test_few_outputs_are_ignored_and_each_says_why():
    codes = [code for path in NOTEBOOKS for code in code_cells(path)]
    ignored = [code for code in codes if IGNORE in code.cell.source]
    assert len(ignored) <= IGNORED_SHARE * len(codes), [str(code) for code in ignored]
    for code in ignored:
        after_marker = code.cell.source.split(IGNORE, 1)[1].splitlines()
        reason = after_marker[1] if len(after_marker) > 1 else ""
        assert reason.startswith("# ") and len(reason) > 20, f"{code}: the line after the marker says why"


@each_notebook
def test_no_cell_is_skipped_or_muted_out_of_sight(path):
    for code in code_cells(path):
        assert "NBVAL_SKIP" not in code.cell.source, str(code)
        hidden = [tag for tag in code.cell.metadata.get("tags", []) if tag.startswith(("nbval", "raises-"))]
        assert not hidden, f"{code}: mute with a comment and its reason, not with a tag"


@each_notebook
def test_no_cell_ends_in_a_semicolon(path):
    assert not [str(code) for code in code_cells(path) if code.cell.source.rstrip().endswith(";")]


@each_notebook
def test_cells_are_short_enough_to_read(path):
    long = [str(code) for code in code_cells(path) if len(code.cell.source.splitlines()) > LONGEST_CELL]
    assert not long
    for code in code_cells(path):
        imports = [line for line in code.cell.source.splitlines() if re.match(r"(import|from)\s", line)]
        assert len(imports) <= MOST_IMPORTS, str(code)


@each_notebook
def test_words_stand_between_any_two_code_cells(path):
    kinds = [cell.cell_type for cell in nbformat.read(path, as_version=4).cells]
    assert kinds[0] == "markdown"
    neighbours = [i for i in range(1, len(kinds)) if kinds[i - 1] == kinds[i] == "code"]
    assert not neighbours, f"{path.name}: cells {neighbours} follow code without a sentence"


@each_notebook
def test_the_first_code_cell_prints_the_version_that_the_package_has(path):
    first = code_cells(path)[0].cell
    printed = "".join(output.get("text", "") for output in first.outputs)
    assert "__version__" in first.source and f"geo4d_lite {__version__}" in printed, path.name


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem[0].isdigit()], ids=lambda path: path.stem)
def test_every_chapter_has_the_same_rhythm(path):
    words = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    sections = [line[3:] for text in words for line in text.splitlines() if line.startswith("## ")]
    assert "**After this chapter you can**" in words[0] and "**You need**" in words[0]
    assert sections[0].startswith("The one picture") and sections[-3:] == ["Summary", "Exercises", "Where to read on"]
    assert any(title.startswith("Where it breaks") for title in sections)


@each_notebook
def test_a_notebook_is_small_and_holds_no_empty_cell(path):
    assert path.stat().st_size <= LARGEST_BYTES
    assert all(cell.source.strip() for cell in nbformat.read(path, as_version=4).cells)


@each_notebook
def test_tolerances_are_spelled_correctly(path):
    for code in code_cells(path):
        Tolerance.of_cell(code.cell.source)


@each_notebook
def test_the_kernel_is_the_environments_own(path):
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"
