"""Execute the chapters, two at a time, with visible progress.

Usage:
    python -m book.tools.run_notebooks --live           run into runs/book and build the book from those runs
    python -m book.tools.run_notebooks --store [NAME…]  run and store the outputs in notebooks/

`--live` leaves the stored notebooks alone and takes over a chapter's earlier run while nothing it depends on changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from book.tools import environment, stills
from book.tools.browser import MISSING, find_chromium
from book.tools.build import ROOT, BuildError, build_book, stage_book

NOTEBOOKS = ROOT / "notebooks"
LIVE = ROOT / "runs" / "book"
CELL_TIMEOUT_S = 600
INPUTS_KEY = "geo4d_inputs"  # metadata of a live run: the fingerprint of what it was made from


@dataclass
class Progress:
    """Prints one line for each section that starts: chapter k of N, elapsed time, what it is doing."""

    count: int
    started: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, number: int, name: str, doing: str) -> None:
        """Print one progress line for chapter `number` (1-based)."""
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        with self.lock:
            print(f"[chapter {number} of {self.count} | {minutes:02d}:{seconds:02d}] {name}: {doing}", flush=True)


def heading_before(cells: list[NotebookNode], index: int) -> str:
    """The last Markdown heading above cell `index`, without its marks."""
    for cell in reversed(cells[: index + 1]):
        headings = re.findall(r"^#+\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        if headings:
            return headings[-1]
    return "start"


def execute(notebook: NotebookNode, folder: Path, on_section=lambda heading: None) -> NotebookNode:
    """Run every cell of `notebook` in a fresh kernel started in `folder`; call `on_section` as sections begin.

    Raises:
        CellExecutionError: a cell raised.
    """
    shown = []

    def cell_started(cell: NotebookNode, cell_index: int) -> None:
        heading = heading_before(notebook.cells, cell_index)
        if cell.cell_type == "code" and shown[-1:] != [heading]:
            shown.append(heading)
            on_section(heading)

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT_S,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own start-up notes stay out of the progress lines
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=cell_started,
    )
    return client.execute()


def inputs_fingerprint(notebook: NotebookNode, root: Path = ROOT) -> str:
    """Hash of what a chapter's results depend on: its cells, the package with its weights, recorded results, lock,
    environment."""
    state = hashlib.sha256(repr([(cell.cell_type, cell.source) for cell in notebook.cells]).encode())
    state.update(repr((sys.version_info[:2], environment.FIXED)).encode())
    files = [p for p in (root / "geo4d_lite").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    for path in [*sorted(files), *sorted((root / "book" / "results").glob("*.json")), root / "requirements.txt"]:
        state.update(str(path.relative_to(root)).encode())
        state.update(path.read_bytes())
    return state.hexdigest()


def read(path: Path) -> NotebookNode:
    """Read a notebook in format 4."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook without what differs from machine to machine."""
    notebook.metadata.get("language_info", {}).pop("version", None)
    partial = path.with_suffix(".partial")
    nbformat.write(notebook, partial)
    partial.replace(path)  # an interrupted run leaves the earlier file


def run_chapter(path: Path, target: Path, number: int, progress: Progress, reuse: bool) -> str | None:
    """Run the chapter `path` and write it to `target`; return None, or the text of its error."""
    notebook = read(path)
    fingerprint = inputs_fingerprint(notebook)
    if reuse and target.exists() and read(target).metadata.get(INPUTS_KEY) == fingerprint:
        progress.say(number, path.stem, "nothing changed, the earlier run is used")
        return None
    started = time.monotonic()
    try:
        execute(notebook, path.parent, lambda heading: progress.say(number, path.stem, heading))
    except CellExecutionError as error:
        progress.say(number, path.stem, "FAILED")
        return f"{path.name}: {error}"
    if reuse:
        notebook.metadata[INPUTS_KEY] = fingerprint
    write(notebook, target)
    progress.say(number, path.stem, f"done in {time.monotonic() - started:.0f} s")
    return None


def run_all(paths: list[Path], target: Path, jobs: int, reuse: bool) -> None:
    """Run the chapters `paths` into the folder `target`, `jobs` at a time; exit with the errors if there are any."""
    environment.apply()
    target.mkdir(parents=True, exist_ok=True)
    progress = Progress(len(paths))
    with ThreadPoolExecutor(jobs) as pool:
        runs = [
            pool.submit(run_chapter, path, target / path.name, number, progress, reuse)
            for number, path in enumerate(paths, start=1)
        ]
    errors = [error for run in runs if (error := run.result())]
    if errors:
        sys.exit("\n\n".join(errors))


def renew_stills() -> None:
    """Take the still pictures of turnable figures that a run has changed, where there is a browser to look with."""
    old = stills.out_of_date()
    if old and find_chromium() is None:
        print(f"stills: {', '.join(old)}: the page changed, its picture did not; {MISSING}")
    elif old:
        stills.take(old)


def main() -> None:
    """Run the chapters as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--live", action="store_true", help="run into runs/book, then build the book from the runs")
    mode.add_argument("--store", action="store_true", help="store the outputs in notebooks/")
    parser.add_argument("--jobs", type=int, default=2, help="chapters at a time")
    parser.add_argument("names", nargs="*", help="only chapters whose file name starts so, such as 03")
    options = parser.parse_args()
    paths = sorted(p for p in NOTEBOOKS.glob("*.ipynb") if p.name.startswith(tuple(options.names) or ""))
    if not paths:
        sys.exit(f"no chapter in {NOTEBOOKS} starts with {' or '.join(options.names)}")
    if options.store:
        run_all(paths, NOTEBOOKS, options.jobs, reuse=False)
        renew_stills()
        return
    os.environ["GEO4D_VIEWERS"] = str(LIVE / "notebooks" / "viewers")
    run_all(paths, LIVE / "notebooks", options.jobs, reuse=True)
    stage_book(LIVE)
    try:
        print(f"book: {build_book(LIVE, quiet=True)}")
    except BuildError as error:
        sys.exit(f"book: {error}")


if __name__ == "__main__":
    main()
