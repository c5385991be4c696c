"""Notation, glossary and figures of the book: what they say is what the code has and the chapters teach."""

import importlib
import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import get_type_hints

import nbformat
import numpy as np
import pytest
import tyro
from synthetic import make_dataset

from book.tools import draw_frames
from geo4d_lite.data import WindowDataset, open_dataset
from geo4d_lite.data.store import LAYOUT
from geo4d_lite.evaluation.table2 import average_rate, rollout_results

BOOK = Path(__file__).resolve().parents[1] / "book"
NOTEBOOKS = BOOK.parent / "notebooks"
ENTRY = re.compile(r"^(\S.*)\n((?:  .*\n?)+)", re.MULTILINE)


def arrays_of(title):
    """Name → (shape, type) of the rows of the notation page's table that follows a bold title."""
    text = (BOOK / "notation.md").read_text()
    table = text[text.index(f"**{title}**") :].split("\n\n")[1]
    rows = re.findall(r"^\| `(\w+)` \| \(([^)]*)\) \| (\w+) \|", table, re.MULTILINE)
    return {name: (shape, dtype) for name, shape, dtype in rows}


def test_the_notation_page_has_an_episodes_arrays_as_they_are_stored():
    expected = {name: (", ".join(letters), np.dtype(dtype).name) for name, (letters, dtype) in LAYOUT.items()}
    assert arrays_of("An episode") == expected


def test_the_notation_page_has_a_windows_arrays_as_they_come(tmp_path):
    item = WindowDataset(open_dataset(make_dataset(tmp_path / "set", width=20, height=16)), "train")[0]
    sizes = {"H": "16", "W": "20"}
    found = {
        name: (tuple(int(sizes.get(size, size)) for size in shape.split(", ")), dtype)
        for name, (shape, dtype) in arrays_of("A window").items()
    }
    assert found == {name: (array.shape, array.dtype.name) for name, array in item.items()}


@pytest.mark.parametrize("name", ["frames", "gripper_and_pixels"])
def test_the_figures_of_frames_are_those_that_the_package_draws(name):
    stored = (BOOK / "figures" / f"{name}.svg").read_text()
    ElementTree.fromstring(stored)
    assert stored == getattr(draw_frames, name)(), "run python -m book.tools.draw_frames"


def test_everything_that_the_page_for_contributors_names_is_there():
    text = (BOOK / "contributing.md").read_text()
    files = re.findall(r"\b(?:tests|geo4d_lite|data_scripts)/[\w/]+\.py|notebooks/\d\w+\.ipynb", text)
    assert len(files) > 20 and [name for name in files if not (BOOK.parent / name).is_file()] == []
    tools = re.findall(r"python -m ([\w.]+)", text)
    places = [BOOK.parent / tool.replace(".", "/") for tool in tools]
    assert tools and all(place.with_suffix(".py").is_file() or (place / "__main__.py").is_file() for place in places)


def test_the_walk_for_contributors_finds_what_it_says():
    text, root = (BOOK / "contributing.md").read_text(), BOOK.parent
    names = re.search(r"git grep -lw ((?:-e \w+ ?)+)", text)[1].replace("-e ", "").split()
    word = re.compile(rf"\b(?:{'|'.join(names)})\b")
    folders = {"geo4d_lite": "*.py", "tests": "*.py", "notebooks": "*.ipynb"}
    files = [path.relative_to(root) for folder, kind in folders.items() for path in (root / folder).rglob(kind)]
    found = {str(path) for path in files if word.search((root / path).read_text())}
    callers = {"evaluation/held_out", "evaluation/tracking", "policies/video_policy"}
    room = {"perception/__init__", f"perception/{names[1]}"}
    assert found == {
        *(f"geo4d_lite/{name}.py" for name in callers | room),
        "notebooks/07_pose_extraction.ipynb",
        "tests/test_perception_width.py",
    }
    failing = re.search(r"One fails, `(\w+)`", text)[1]
    assert f"def {failing}(" in (root / "tests" / "test_perception_width.py").read_text()


def entries():
    """Term → its explanation, of the glossary."""
    return dict(ENTRY.findall((BOOK / "glossary.md").read_text().split("```{glossary}\n")[1].split("```")[0]))


def taught():
    """All words of the chapters and of the book's other pages, in lower case and on one line."""
    pages = [path.read_text() for path in BOOK.glob("*.md") if path.name != "glossary.md"]
    cells = [cell for path in NOTEBOOKS.glob("*.ipynb") for cell in json.loads(path.read_text())["cells"]]
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return " ".join(" ".join(pages + prose).lower().split())


def test_every_term_of_the_glossary_is_used_in_the_book():
    text = taught().replace("*", "").replace("_", " ")
    assert [term for term in entries() if term.lower() not in text] == []


def test_every_term_leads_to_a_page_or_to_another_term():
    names = {path.stem for folder in (BOOK, NOTEBOOKS) for path in folder.glob("*.*")}
    for term, text in entries().items():
        places = re.findall(r"\{doc\}`([^`]+)`", text)
        others = [other.split("<")[-1].rstrip(">") for other in re.findall(r"\{term\}`([^`]+)`", text)]
        assert places or others, f"{term} leads nowhere"
        assert {Path(place).name for place in places} <= names
        assert set(others) <= entries().keys() - {term}


def test_the_glossary_is_in_order_and_says_each_word_once():
    text = (BOOK / "glossary.md").read_text()
    terms = [term for term, _ in ENTRY.findall(text.split("```{glossary}\n")[1])]
    order = [term.lower().replace("δ", "delta") for term in terms]
    assert order == sorted(set(order)) and len(order) >= 50


def printed_commands() -> list[tuple[str, str]]:
    """(page, command) of every line in a fenced block of a page or a chapter that calls a program of ours."""
    texts = {page.name: page.read_text() for page in (*BOOK.glob("*.md"), BOOK.parent / "README.md")}
    for path in sorted((BOOK.parent / "notebooks").glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        texts[path.name] = "\n\n".join(cells)
    found = []
    for name, text in texts.items():
        fences = re.split(r"^```.*\n", text.replace("\\\n", " "), flags=re.MULTILINE)
        lines = [line for block in fences[1::2] for line in block.splitlines()]
        found += [(name, line) for line in lines if line.startswith(("geo4d ", "python -m data_scripts."))]
    return found


@pytest.mark.parametrize(("page", "line"), printed_commands())
def test_a_command_on_a_page_is_understood(page, line):
    words = [word for word in shlex.split(line, comments=True) if word != "…"]
    if words[0] == "geo4d":
        module, arguments = f"geo4d_lite.commands.{words[1]}", words[2:]
    else:
        module, arguments = words[2], words[3:]
    options = get_type_hints(importlib.import_module(module).main)["options"]
    assert isinstance(tyro.cli(options, args=arguments), options)


def test_pages_print_commands_and_a_wrong_option_would_be_seen():
    assert len({page for page, _ in printed_commands()}) > 4
    with pytest.raises(SystemExit):
        test_a_command_on_a_page_is_understood("", "geo4d generate --data data/sample --no-such-option 1")


def test_the_code_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    make_dataset(tmp_path / "data" / "sample", train=1, test=1, frames=14, cameras=5, hz=2, width=160, height=128)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (BOOK.parent / "README.md").read_text(), re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "(2, 10, 128, 160, 3)\n"


@pytest.mark.parametrize("page", [BOOK.parent / "README.md", BOOK / "index.md"], ids=lambda page: page.name)
def test_the_front_pages_say_what_the_results_say(page):
    found = (rollout_results(BOOK / "results", policy) for policy in ("video", "path", "dp3", "oracle"))
    video, path, dp3, oracle = (f"{average_rate(results)['value']:.2f}" for results in found)
    text = " ".join(page.read_text().split())
    assert f"follows its films solves {video} of the unseen scenes, averaged over three tasks" in text
    assert f"following the true future {oracle}; a small network that predicts the hands' path" in text
    assert f"no film {path}; the rival DP3, which draws none either, {dp3}. No trained result of the paper" in text
    assert " 0 are outcomes of training" in " ".join((BOOK / "claims.md").read_text().split())
