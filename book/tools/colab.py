"""Copies of the chapters for Google Colab: in front of each, one cell that installs this version of the package.

Usage: GEO4D_REPOSITORY=https://github.com/OWNER/NAME python -m book.tools.colab FOLDER

The workflow pushes FOLDER to the branch `colab`, where the book's buttons look for it. The chapters themselves stay as
they are; outputs are left out of the copies, since Colab computes them anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

from book.tools.edition import ROOT, Edition, read_edition

BRANCH = "colab"
SETUP_TAG = "colab-setup"
WORDS = """**On Colab only:** the cell below fetches version {version} of the book and installs its package and what
that needs, as locked; a few minutes. If Colab then asks to restart the session, do so and run the cell once more.
Turnable figures are files beside the notebook, which Colab does not show: turn them in the book."""
CELL = """import os, sys
repository, commit = "{repository}", "{commit}"
folder = "/content/geo4d-lite"
if not os.path.exists(folder):
    !git clone --quiet {{repository}} {{folder}} && git -C {{folder}} checkout --quiet {{commit}}
    !apt-get -qq install libegl1 libegl-mesa0 libgl1-mesa-dri > /dev/null
    %pip install --quiet --constraint {{folder}}/requirements.txt {{folder}}
sys.path.insert(0, folder)
from book.tools import environment
environment.apply()
%cd -q {{folder}}/notebooks"""


def colab_address(edition: Edition, chapter: str) -> str:
    """Where Colab opens the copy of a chapter; "" for an edition that has no public address or no commit."""
    if not (edition.repository and edition.commit):
        return ""
    path = edition.repository.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{path}/blob/{BRANCH}/{chapter}.ipynb"


def colab_copy(notebook: nbformat.NotebookNode, edition: Edition) -> nbformat.NotebookNode:
    """A copy of a chapter without outputs, with the set-up cell between its title and its first code.

    Raises:
        ValueError: the edition has no public address or no commit, so that nothing could be installed.
    """
    if not (edition.repository and edition.commit):
        raise ValueError("Colab needs GEO4D_REPOSITORY, and a git repository to take the commit from")
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    first = next(index for index, cell in enumerate(copy.cells) if cell.cell_type == "code")
    source = CELL.format(repository=edition.repository, commit=edition.commit)
    copy.cells[first:first] = [
        nbformat.v4.new_markdown_cell(WORDS.format(version=edition.version), id="colab-words"),
        nbformat.v4.new_code_cell(source, id=SETUP_TAG, metadata={"tags": [SETUP_TAG]}),
    ]
    return copy


def write_copies(folder: Path, edition: Edition) -> list[Path]:
    """Write a copy of every chapter into `folder` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        written.append(folder / path.name)
        nbformat.write(colab_copy(nbformat.read(path, as_version=4), edition), written[-1])
    return written


def main() -> None:
    """Write the copies into the folder of the command line."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(f"colab: {len(write_copies(Path(sys.argv[1]), read_edition()))} notebooks in {sys.argv[1]}")
    except ValueError as error:
        sys.exit(f"colab: {error}")


if __name__ == "__main__":
    main()
