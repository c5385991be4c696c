"""The program `geo4d`: quick help, clear refusals, one module a command."""

import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from geo4d_lite import __version__, cli

COMMANDS = Path(cli.__file__).parent / "commands"


def test_every_command_module_is_listed_and_every_listed_command_is_a_module():
    assert set(cli.COMMANDS) == {path.stem for path in COMMANDS.glob("[a-z]*.py")}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_takes_frozen_documented_options(name):
    options = get_type_hints(import_module(f"geo4d_lite.commands.{name}").main)["options"]
    assert is_dataclass(options) and options.__dataclass_params__.frozen and options.__doc__
    assert fields(options)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([name, "--help"])
    assert exit.value.code == 0
    assert f"geo4d {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments, capsys):
    cli.main(arguments)
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text and summary in text for name, summary in cli.COMMANDS.items())


def test_help_loads_nothing_heavy():
    program = "import sys; from geo4d_lite import cli; cli.main(['--help']); print(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "pydrake", "numpy", "tyro", "diffusers"} & set(run.stderr.split())


def test_the_version_is_the_packages(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_an_unknown_command_is_refused_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["tarin"])
    assert exit.value.code == 2
    assert capsys.readouterr().err == "geo4d: there is no command 'tarin'; did you mean train?\n"


def test_a_command_far_from_all_is_refused_with_the_list(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fly"])
    assert ", ".join(cli.COMMANDS) in capsys.readouterr().err


@dataclass(frozen=True)
class Refusing:
    """Options of a command that refuses."""

    task: str = "JuggleKnives"


@pytest.mark.parametrize("error", [ValueError("no task JuggleKnives"), FileNotFoundError("no data in data/sample")])
def test_what_a_command_refuses_ends_in_one_line(error, capsys, monkeypatch):
    def main(options: Refusing) -> None:
        raise error

    monkeypatch.setattr(cli.importlib, "import_module", lambda name: SimpleNamespace(main=main))
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", "--task", "JuggleKnives"])
    assert exit.value.code == 1
    assert capsys.readouterr().err == f"geo4d train: {error}\n"
