"""Write requirements.txt: this environment's version of every package that pyproject.toml asks for, directly or not.

Usage: python -m book.tools.lock
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKED_EXTRAS = ("book", "test", "course")
HEADER = "# Written by `make lock` from pyproject.toml. Versions carry no build suffix: see TORCH= in the Makefile.\n"


def direct_requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """The requirements that pyproject.toml names and the lock covers."""
    project = tomllib.loads(pyproject.read_text())["project"]
    lines = list(project["dependencies"])
    for extra in LOCKED_EXTRAS:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Name → public version of every installed package that `requirements` pull in on this machine.

    Raises:
        PackageNotFoundError: a required package is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(requirement, frozenset()) for requirement in requirements]
    while waiting:
        requirement, parent_extras = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in parent_extras | {""}):
            continue
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        package = distribution(name)
        found[name] = Version(package.version).public
        waiting += [(Requirement(line), extras) for line in package.requires or []]
    return found


def lock_text(versions: dict[str, str]) -> str:
    """The text of requirements.txt."""
    return HEADER + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))


def main() -> None:
    """Write the lock."""
    try:
        text = lock_text(closure(direct_requirements()))
    except PackageNotFoundError as error:
        raise SystemExit(f"lock: {error.name} is in pyproject.toml but not installed: pip install it first") from error
    (ROOT / "requirements.txt").write_text(text)


if __name__ == "__main__":
    main()
