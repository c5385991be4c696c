"""The comparison behind `pytest --nbval`: text and integers exactly, floats within a tolerance."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.tools.environment import FIXED
from book.tools.tolerance import Tolerance, TolerantText, outputs_agree

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = Tolerance()


@pytest.mark.parametrize(
    ("stored", "computed"),
    [
        ("AbsRel 0.05130", "AbsRel 0.05132"),
        ("x = -1.2345e-07 m", "x = -1.2346e-07 m"),
        ("[ 0.1    0.25 ]", "[ 0.10001 0.25 ]"),
        ("12.500cm and 3.1000.", "12.501cm and 3.1001."),
        ("1e3", "1.0005e3"),
        ("same text", "same text"),
    ],
)
def test_floats_agree_within_the_tolerance(stored, computed):
    assert outputs_agree(stored, computed, DEFAULT)


@pytest.mark.parametrize(
    ("stored", "computed"),
    [
        ("AbsRel 0.0513", "AbsRel 0.0523"),
        ("0.5", "-0.5"),
        ("valid 20480", "valid 20481"),
        ("valid 1000000", "valid 1000001"),
        ("torch 2.13.0", "torch 2.13.1"),
        ("v0.1", "v0.10001"),
        ("shape (10, 4)", "shape (10, 5)"),
        ("left", "right"),
        ("1.0", "1"),
        ("nan", "0.0"),
        ("0.1 0.2", "0.1"),
        ("0.0", "1e-9"),
    ],
)
def test_everything_else_must_be_the_same(stored, computed):
    assert not outputs_agree(stored, computed, DEFAULT)


@given(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-3), st.floats(0.0, 0.1))
def test_the_tolerance_is_relative(number, change):
    agree = outputs_agree(f"x = {number:.12f}", f"x = {number * (1 + change):.12f}", Tolerance(rtol=0.01))
    assert agree if change < 0.0099 else not agree or change < 0.0102


def test_a_cell_sets_its_own_tolerance():
    assert Tolerance.of_cell("x = 1\nprint(x)") == DEFAULT
    assert Tolerance.of_cell("# nbval: rtol=0.05\nprint(x)") == Tolerance(rtol=0.05)
    assert Tolerance.of_cell("# nbval: rtol=0.05 atol=1e-6\n") == Tolerance(0.05, 1e-6)
    assert outputs_agree("loss 0.50", "loss 0.52", Tolerance(rtol=0.05))
    assert outputs_agree("0.0", "1e-9", Tolerance(atol=1e-6))


@pytest.mark.parametrize("comment", ["# nbval: tolerance=0.1", "# nbval:", "# nbval: rtol"])
def test_a_misspelled_tolerance_is_an_error(comment):
    with pytest.raises(ValueError):
        Tolerance.of_cell(comment)


def test_tolerant_text_compares_by_value_in_both_directions():
    stored = TolerantText("0.50000", DEFAULT)
    assert stored == "0.50001" and not stored != "0.50001" and stored != "0.6" and stored != 0.5


def notebook_printing(folder: Path, source: str, stored: str) -> Path:
    """A one-cell notebook in a copy of the repository's test set-up."""
    cell = nbformat.v4.new_code_cell(source, execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
    for name in ("conftest.py", "pyproject.toml"):
        (folder / name).write_text((ROOT / name).read_text())
    (folder / "book").symlink_to(ROOT / "book")
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "01_tiny.ipynb")
    return folder


@pytest.mark.parametrize(("stored", "outcome"), [("0.50020 7\n", 0), ("0.51000 7\n", 1)])
def test_bare_nbval_compares_this_way_from_another_folder_too(tmp_path, stored, outcome):
    source = "import os\nprint('0.50000', 6 + int(os.environ['OMP_NUM_THREADS']))"
    (tmp_path / "repository").mkdir()
    root = notebook_printing(tmp_path / "repository", source, stored)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", str(root / "notebooks")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=bare_environment())
    assert run.returncode == outcome, run.stdout


def bare_environment() -> dict[str, str]:
    """This process's environment as a shell would have it, without what conftest.py fixed."""
    return {name: value for name, value in os.environ.items() if name not in FIXED}
