"""A notebook that was tampered with, left unrun or muted: each must be noticed by nbval or by the hygiene tests."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output

from book.tools.tolerance import NUMBER
from tests.mutation.mutants import Mutant, assert_noticed, assert_sound, copy_repository, edit, replace

CHAPTER = "notebooks/01_camera_sampling.ipynb"
NBVAL = ("--nbval", CHAPTER)
INTEGER = re.compile(r"(?<![\w.])\d+(?![\w.])")


def hygiene(test: str) -> tuple[str, ...]:
    """The hygiene test `test`, for the chapter."""
    return (f"tests/test_notebooks_hygiene.py::{test}[01_camera_sampling]",)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def bump_first(pattern: re.Pattern) -> Callable[[NotebookNode], None]:
    """Change the leading digit of the first number in a stored text that matches `pattern`."""

    def mistake(notebook: NotebookNode) -> None:
        for cell in code_cells(notebook)[1:]:  # the first one prints the version
            for output in cell.outputs:
                if output.output_type == "stream" and (found := pattern.search(output.text)):
                    place = found.start() + re.search(r"[1-9]", found[0]).start()
                    digit = str(int(output.text[place]) % 9 + 1)
                    output.text = output.text[:place] + digit + output.text[place + 1 :]
                    return

    return mistake


def keep_the_opening(notebook: NotebookNode, count: int = 4) -> None:
    last = notebook.cells.index(code_cells(notebook)[count - 1])
    del notebook.cells[last + 1 :]


def delete_an_output(notebook: NotebookNode) -> None:
    next(cell for cell in code_cells(notebook)[1:] if cell.outputs).outputs.clear()


def clear_everything(notebook: NotebookNode) -> None:
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None


def store(output: NotebookNode) -> Callable[[NotebookNode], None]:
    return lambda notebook: code_cells(notebook)[0].outputs.append(output)


def append_to_first_code_cell(text: str) -> Callable[[NotebookNode], None]:
    def mistake(notebook: NotebookNode) -> None:
        code_cells(notebook)[0].source += text

    return mistake


def take_out_the_words(notebook: NotebookNode) -> None:
    kinds = [cell.cell_type for cell in notebook.cells]
    between = next(i for i in range(1, len(kinds) - 1) if kinds[i - 1 : i + 2] == ["code", "markdown", "code"])
    del notebook.cells[between]


MUTANTS = [
    Mutant("a stored digit of a float flipped", CHAPTER, edit(bump_first(NUMBER)), NBVAL),
    Mutant("a stored integer changed", CHAPTER, edit(bump_first(INTEGER)), NBVAL),
    Mutant("an output deleted", CHAPTER, edit(delete_an_output), NBVAL),
    Mutant(
        "never run, which nbval passes",
        CHAPTER,
        edit(clear_everything),
        hygiene("test_every_code_cell_was_run_in_order"),
    ),
    Mutant(
        "a warning stored",
        CHAPTER,
        edit(store(new_output("stream", name="stderr", text="UserWarning: …"))),
        hygiene("test_no_error_and_no_stderr_is_stored"),
    ),
    Mutant(
        "an error stored",
        CHAPTER,
        edit(store(new_output("error", ename="ValueError", evalue="no", traceback=[]))),
        hygiene("test_no_error_and_no_stderr_is_stored"),
    ),
    Mutant(
        "an output muted without a reason",
        CHAPTER,
        edit(append_to_first_code_cell("\n# NBVAL_IGNORE_OUTPUT")),
        ("tests/test_notebooks_hygiene.py::test_few_outputs_are_ignored_and_each_says_why",),
    ),
    Mutant(
        "a trailing semicolon",
        CHAPTER,
        edit(append_to_first_code_cell(";")),
        hygiene("test_no_cell_ends_in_a_semicolon"),
    ),
    Mutant(
        "no words between two code cells",
        CHAPTER,
        edit(take_out_the_words),
        hygiene("test_words_stand_between_any_two_code_cells"),
    ),
    Mutant(
        "a chapter left out of the contents",
        "_toc.yml",
        replace("      - file: notebooks/01_camera_sampling\n", ""),
        ("tests/test_book.py::test_every_chapter_is_in_the_table_of_contents_in_order_and_nothing_else",),
    ),
]


@pytest.fixture
def root(tmp_path) -> Path:
    """A copy of the repository in which the chapter is only its opening, so that a run takes seconds."""
    copy = copy_repository(tmp_path, "_toc.yml", "notebooks")
    edit(keep_the_opening)(copy / CHAPTER)
    return copy


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_tampered_notebook_is_noticed(mutant, root):
    assert_noticed(mutant, root)


def test_the_same_tests_pass_where_nothing_was_changed(root):
    assert_sound([mutant for mutant in MUTANTS if mutant.tests == NBVAL], root)
    assert_sound([mutant for mutant in MUTANTS if mutant.tests != NBVAL], root)
