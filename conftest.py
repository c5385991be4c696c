"""What every pytest run in this repository shares: the fixed environment, and nbval with a numeric tolerance.

nbval never compares PNG and JPEG outputs; a figure is checked through the numbers printed beside it.
"""

import os
import tempfile

from book.tools import environment

environment.apply()  # before any kernel starts and before torch or NumPy read their thread counts
scratch = tempfile.TemporaryDirectory(prefix="geo4d-viewers-")
os.environ["GEO4D_VIEWERS"] = scratch.name  # chapters run by a test leave notebooks/viewers alone

import pytest  # noqa: E402
from nbval.plugin import IPyNbCell  # noqa: E402

from book.tools.tolerance import Tolerance, TolerantText  # noqa: E402


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a notebook cell compare its outputs within the cell's own tolerance (see book/tools/tolerance.py)."""
    if isinstance(item, IPyNbCell):
        tolerance = Tolerance.of_cell(item.cell.source)
        clean = item.sanitize
        item.sanitize = lambda output: TolerantText(clean(output), tolerance) if isinstance(output, str) else output
