"""Make one mistake in a copy of the repository and ask whether the tests that should notice it do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("geo4d_lite", "tests", "book/tools", "conftest.py", "pyproject.toml", "requirements.txt", "environment.yml")
ALL_PASSED, SOME_FAILED = 0, 1  # pytest's exit codes; any other means that the tests could not run


@dataclass(frozen=True)
class Mutant:
    """One mistake: how to make it in `file`, and the tests (pytest arguments) that must notice."""

    name: str
    file: str
    change: Callable[[Path], None]
    tests: tuple[str, ...]


def replace(old: str, new: str) -> Callable[[Path], None]:
    """The mistake of writing `new` where the file says `old`, at its only occurrence."""

    def change(path: Path) -> None:
        text = path.read_text()
        assert text.count(old) == 1, f"{path.name} holds {text.count(old)} times {old!r}: bring the mutant up to date"
        path.write_text(text.replace(old, new))

    return change


def edit(mistake: Callable[[nbformat.NotebookNode], None]) -> Callable[[Path], None]:
    """A mistake made in a notebook by changing its parsed form."""

    def change(path: Path) -> None:
        notebook = nbformat.read(path, as_version=4)
        before = nbformat.writes(notebook)
        mistake(notebook)
        assert nbformat.writes(notebook) != before, f"{path.name} gave the mutant nothing to change"
        nbformat.write(notebook, path)

    return change


def copy_repository(target: Path, *extra: str) -> Path:
    """Copy what tests need, and the `extra` files, into the empty folder `target`; return it."""
    for name in (*COPIED, *extra):
        source, place = ROOT / name, target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy2(source, place)
    return target


def run_tests(root: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess:
    """Run pytest in the copy `root`, against the copy's own package."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environ = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)


def assert_noticed(mutant: Mutant, root: Path) -> None:
    """Make the mistake in the copy `root` and require that its tests fail (and not that they could not run)."""
    mutant.change(root / mutant.file)
    run = run_tests(root, mutant.tests)
    assert run.returncode == SOME_FAILED, f"{mutant.name}: pytest ended with {run.returncode}\n{run.stdout[-3000:]}"


def assert_sound(mutants: list[Mutant], root: Path) -> None:
    """Require that all the tests the mutants name pass on the copy `root` as it is."""
    tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    run = run_tests(root, tests)
    assert run.returncode == ALL_PASSED, run.stdout[-3000:]
