"""Build the book with Jupyter Book, strictly: a warning is a failure.

Usage: python -m book.tools.build            builds _build/html from the stored outputs
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_PAGE = Path("_build/html/book/index.html")
SOURCES = ("_config.yml", "_toc.yml", "book", "CHANGELOG.md", "LICENSE")


class BuildError(Exception):
    """The strict build found something to complain about; the message holds its warnings."""


def build_book(source: Path, quiet: bool = False) -> Path:
    """Build the book whose `_config.yml` lies in `source` and return its first page.

    `_build` is deleted first: a failed strict build run again unchanged would report success.

    Raises:
        BuildError: any warning or error of Sphinx.
    """
    shutil.rmtree(source / "_build", ignore_errors=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", source, "-W", "-n", "--keep-going", *(["-q"] if quiet else [])]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}  # a staged copy's pages are signed with this repository's commit
    run = subprocess.run(command, capture_output=quiet, text=True, env=environ)
    if run.returncode:
        raise BuildError(f"the strict build of {source} failed\n{(run.stdout or '') + (run.stderr or '')}".strip())
    return source / FIRST_PAGE


def stage_book(target: Path, *folders: str) -> None:
    """Copy the book's sources into the folder `target`: the prose, and the `folders` named."""
    target.mkdir(parents=True, exist_ok=True)
    for source in (ROOT / name for name in (*SOURCES, *folders)):
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "assignments")
            shutil.copytree(source, target / source.name, dirs_exist_ok=True, ignore=ignore)
        else:
            shutil.copy2(source, target / source.name)


def main() -> None:
    """Build from the repository's root and print where to start reading."""
    start = time.perf_counter()
    try:
        page = build_book(ROOT)
        print(f"book: {page}, built in {time.perf_counter() - start:.0f} s")
    except BuildError as error:
        sys.exit(f"book: {error}")


if __name__ == "__main__":
    main()
