"""Which edition of the book this is: version, commit, and the public address of the repository, if there is one.

The address is set in one place: the environment variable GEO4D_REPOSITORY, such as https://github.com/OWNER/NAME. The
workflow that publishes the book sets it to the repository it runs in. Without it no page offers Colab.

Usage: python -m book.tools.edition        prints the line of the book's footer
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from geo4d_lite import __version__

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Edition:
    """Version of the package, commit of the repository ("" outside git), its address ("" where it has none)."""

    version: str
    commit: str
    changed: bool = False  # the tree holds something that the commit does not
    repository: str = ""

    def __str__(self) -> str:
        commit = self.commit[:10] or "unknown"
        return f"geo4d-lite {self.version}, commit {commit}{' with later changes' if self.changed else ''}"


def git(root: Path, *words: str) -> str:
    """What a git command prints in the folder `root`; "" where git or a repository is missing."""
    try:
        run = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return "" if run.returncode else run.stdout.strip()


def stored_at(file: Path, root: Path = ROOT) -> str:
    """Which commit last changed a file, in words; "" outside git and in a clone without its history."""
    top = git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root.resolve() or git(root, "rev-parse", "--is-shallow-repository") == "true":
        return ""
    commit = git(root, "log", "-1", "--format=%H", "--", str(file))
    changed = git(root, "status", "--porcelain", "--", str(file))
    return f"commit {commit[:10]}{' with later changes' if changed else ''}" if commit else ""


def read_edition(root: Path = ROOT) -> Edition:
    """The edition in the folder `root`. A repository further up, in which `root` is only unpacked, does not count.

    Raises:
        ValueError: GEO4D_REPOSITORY is no address of a GitHub repository, the only kind that Colab opens.
    """
    repository = os.environ.get("GEO4D_REPOSITORY", "").removesuffix("/").removesuffix(".git")
    if repository and not ADDRESS.fullmatch(repository):
        raise ValueError(f"GEO4D_REPOSITORY is {repository!r}; expected https://github.com/OWNER/NAME, or nothing")
    top = git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root.resolve():
        return Edition(__version__, "", repository=repository)
    changed = bool(git(root, "status", "--porcelain", "--untracked-files=no"))
    return Edition(__version__, git(root, "rev-parse", "HEAD"), changed, repository)


if __name__ == "__main__":
    print(read_edition())
