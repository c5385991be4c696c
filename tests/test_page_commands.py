"""Commands that the pages tell a reader to type: each has options that its program knows."""

import re
import shlex
from pathlib import Path

import pytest
from test_reproduce import options_of

ROOT = Path(__file__).parents[1]
# What was typed then, with the options of then.
RECORDED = ("results.md", "held_out.md", "claims.md", "lab_notebook.md")
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "book").glob("*.md")) if page.name not in RECORDED)]
PROGRAM = r"(?:geo4d|torchrun|python -m data_scripts\.)"


def commands(text: str) -> list[str]:
    """Lines of fenced blocks and spans of code that begin with a program of ours and have an option."""
    *around, last = re.split(r"^```.*$", text.replace("\\\n", " "), flags=re.MULTILINE)
    lines = [line for block in around[1::2] for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", " ".join([*around[::2], last]))
    found = [part.strip() for part in (*lines, *spans)]
    return [part for part in found if re.match(rf"{PROGRAM}.* --(?!help)", part) and "…" not in part]


FOUND = [(page.name, command) for page in PAGES for command in commands(page.read_text())]


def test_the_pages_have_commands():
    assert len(FOUND) > 10 and {"README.md", "paper_scale.md", "workstation.md"} <= {page for page, _ in FOUND}


@pytest.mark.parametrize(("page", "command"), FOUND)
def test_every_option_of_a_page_is_one_that_its_program_has(page, command):
    assert options_of(command) is not None


def test_every_option_that_stands_alone_on_the_page_of_paper_scale_exists():
    spans = re.findall(r"`(--[a-z0-9][^`\n]*)`", (ROOT / "book" / "paper_scale.md").read_text())
    spans = [span for span in spans if len(shlex.split(span)) > 1 or span.startswith("--no-")]  # with their values
    assert "--no-samples" in spans and len(spans) > 5
    for span in spans:
        program = "geo4d rollout" if span.startswith("--steps") else "geo4d train --data data"
        assert options_of(f"{program} {span}") is not None
