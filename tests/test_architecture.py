"""The rooms of the package: who may import whom, and which room may know torch or Drake."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from book.tools import draw_rooms

PACKAGE = Path(__file__).resolve().parents[1] / "geo4d_lite"
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = {"geometry", "simulation", "data", "models", "perception", "policies", "evaluation", "figures"}
MAY_IMPORT = {
    "geometry": set(),
    "simulation": {"geometry"},
    "data": {"geometry"},
    "models": {"geometry", "data"},
    "perception": {"geometry"},
    "policies": ROOMS - {"simulation", "evaluation"},
    "evaluation": ROOMS,
    "figures": {"geometry"},
    "commands": ROOMS,
    "cli": set(),  # reaches the commands by name, when one is called
    "__main__": {"cli"},
}
FORBIDDEN = {
    "geometry": {"pydrake"},
    "simulation": {"torch", "diffusers", "transformers"},
    "data": {"pydrake"},
    "models": {"pydrake"},
    "perception": {"pydrake"},
}
LONGEST_FILE = 300
BOOK = PACKAGE.parent / "book"


def room_of(path: Path) -> str:
    """The room a file of the package belongs to: its folder, or its own name at the top level."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_modules(path: Path, top_level_only: bool = False) -> set[str]:
    """Absolute names of everything `path` imports; `from a import b` counts as `a.b`."""
    tree = ast.parse(path.read_text(), filename=str(path))
    package = ["geo4d_lite", *path.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path) -> set[str]:
    """Rooms of the package that `path` imports from, its own not counted."""
    parts = (name.split(".") for name in imported_modules(path) if name.startswith("geo4d_lite."))
    return {part[1] for part in parts} & (ROOMS | {"commands", "cli"}) - {room_of(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_the_rooms_its_own_room_may_know(path):
    allowed = MAY_IMPORT.get(room_of(path), set())
    assert rooms_imported(path) <= allowed, f"{path}: {room_of(path)} may import {sorted(allowed) or 'none of ours'}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_simulation_never_knows_torch_and_models_never_know_drake(path):
    modules = {name.split(".")[0] for name in imported_modules(path)}
    assert not modules & FORBIDDEN.get(room_of(path), set())


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("geometry", {"torch", "pydrake"}),
        ("simulation", {"torch"}),
        ("models", {"pydrake"}),
        ("perception", {"pydrake"}),
    ],
)
def test_importing_a_room_does_not_load_what_it_must_not_know(room, absent):
    program = f"import sys, geo4d_lite.{room}; print(*[name for name in {sorted(absent)} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_reader_of_imports_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    room = tmp_path / "simulation"
    room.mkdir()
    file = room / "station.py"
    file.write_text(
        "import torch.nn as nn\nfrom ..models import unet\nfrom . import panda\n"
        "def f():\n    from geo4d_lite.policies.base import Policy\n"
    )
    assert imported_modules(file) == {
        "torch.nn",
        "geo4d_lite.models.unet",
        "geo4d_lite.simulation.panda",
        "geo4d_lite.policies.base.Policy",
    }
    assert rooms_imported(file) == {"models", "policies"}
    assert "geo4d_lite.policies.base.Policy" not in imported_modules(file, top_level_only=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_idea_and_says_so(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE, "split it: a file holds one idea"
    assert ast.get_docstring(ast.parse(text)), "the first line of a file says what it is for"


def test_the_picture_of_the_rooms_shows_the_rule():
    drawn = {room: draw_rooms.below(room) for room in draw_rooms.ROOMS}
    assert drawn == {room: MAY_IMPORT[room] - {room} for room in ROOMS | {"commands"}}
    assert (BOOK / "figures" / "rooms.svg").read_text() == draw_rooms.rooms(), "run python -m book.tools.draw_rooms"


def test_the_wall_has_no_gap_and_no_room_lies_on_another():
    places = [
        (column, row)
        for room in draw_rooms.ROOMS.values()
        for column in range(room.left, room.right)
        for row in range(room.top, room.bottom)
    ]
    assert len(places) == len(set(places)) == (len(draw_rooms.COLUMNS) - 1) * (len(draw_rooms.ROWS) - 1)


def test_the_table_of_the_map_says_the_rule():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", (BOOK / "architecture.md").read_text(), re.MULTILINE)
    assert {room for room, _ in rows} == ROOMS | {"commands", "assets"}
    for room, words in rows:
        named = set(re.findall(r"`(\w+)`", words))
        said = {"everything": ROOMS, "nothing of ours": set(), "holds no code": set()}.get(words, named)
        assert (ROOMS - named if words.startswith("all but") else said) - {room} == MAY_IMPORT.get(room, set()) - {room}
