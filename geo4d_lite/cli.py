"""`geo4d`: one program for the stages that run longer than a notebook.

Each sub-command lives in `geo4d_lite/commands/<name>.py`: a frozen dataclass of options and `main(options)`. It is
imported only when it is called, so `geo4d --help` needs neither torch nor Drake.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import get_type_hints

from geo4d_lite import __version__

COMMANDS = {
    "demos": "collect demonstrations of a task into a data set",
    "train": "train autoencoders and U-Net on a data set",
    "generate": "imagine the ten frames after one observation",
    "evaluate": "measure generated videos on held-out windows, beside repeating the last frame",
    "rollout": "close the loop from unseen initial poses and count successes",
    "tables": "write the book's pages of recorded results from book/results",
}


def usage() -> str:
    """The text of `geo4d --help`."""
    rows = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
    return (
        f"geo4d {__version__}: from a camera to a closed loop in Drake\n\n"
        f"usage: geo4d COMMAND [OPTIONS]\n\n{rows}\n\n`geo4d COMMAND --help` lists the options of one command."
    )


def main(arguments: list[str] | None = None) -> None:
    """Run one sub-command; `arguments` defaults to the command line's.

    Raises:
        SystemExit: 2 for an unknown command, 1 for input that a command rejects (ValueError, OSError).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
        return
    if name == "--version":
        print(__version__)
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        print(f"geo4d: there is no command {name!r}; {hint}", file=sys.stderr)
        raise SystemExit(2)
    _run(name, arguments[1:])


def _run(name: str, arguments: list[str]) -> None:
    """Import the command `name`, parse its options (the type that its `main` takes) and call it."""
    import tyro

    command = importlib.import_module(f"geo4d_lite.commands.{name}")
    options = tyro.cli(get_type_hints(command.main)["options"], prog=f"geo4d {name}", args=arguments)
    try:
        command.main(options)
    except (ValueError, OSError) as error:
        print(f"geo4d {name}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
