"""What running one of these scripts means: options from its `main`, and one line where it refuses."""

import sys
from collections.abc import Callable
from typing import get_type_hints

import tyro


def run(main: Callable[..., None], arguments: list[str] | None = None) -> None:
    """Read the options that `main` takes from the command line and call it.

    Exits with code 1 and one line on stderr for input that `main` rejects (ValueError, OSError).
    """
    name = f"python -m {sys.modules[main.__module__].__spec__.name}"
    options = tyro.cli(get_type_hints(main)["options"], prog=name, args=arguments)
    try:
        main(options)
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
