"""The one environment in which notebooks and tests run, so that every run prints the same numbers.

Notebook kernels inherit it. `make book`, `make refresh`, `make test` and a bare `pytest --nbval notebooks` come here.
Standard library only: the root conftest.py imports it before anything else.

Usage: python -m book.tools.environment COMMAND…        runs any command in it
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

FIXED = {
    "OMP_NUM_THREADS": "1",  # the order of floating-point sums depends on the thread count
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",  # progress bars go to stderr, and a stored stderr is a fault here
    "HF_HUB_OFFLINE": "1",  # nothing in the book may need the network
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel named python3 is this environment's Python
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # keeps the debugger's start-up note off stderr
}
UNSET = ("MPLBACKEND",)  # a kernel then takes the inline backend; Agg would drop every figure


def apply(environ: MutableMapping[str, str] = os.environ) -> None:
    """Write the fixed environment into `environ` (default: this process and its children)."""
    environ.update(FIXED)
    for name in UNSET:
        environ.pop(name, None)


if __name__ == "__main__":
    apply()
    os.execvp(sys.argv[1], sys.argv[1:])
