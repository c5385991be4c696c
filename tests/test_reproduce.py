"""The commands behind the numbers: each one parses, needs only what was made before, and is skipped once done."""

import importlib
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import tyro

from data_scripts import reproduce
from data_scripts.reproduce import MAIN_STEPS, Reproduce, Step, main, steps
from geo4d_lite import cli
from geo4d_lite.commands.train import Train, variant_of
from geo4d_lite.models.stages import unet_name

ROOT = Path(__file__).parents[1]
ALL = list(steps(Reproduce()))


def options_of(command: str):
    """The options that a command's program reads from its words."""
    words = shlex.split(command)
    if words[0] == "torchrun":
        words = words[words.index("geo4d_lite") :]
    if words[0] in ("geo4d", "geo4d_lite"):
        module, words = f"geo4d_lite.commands.{words[1]}", words[2:]
    else:
        assert words[:2] == ["python", "-m"]
        module, words = words[2], words[3:]
    return tyro.cli(get_type_hints(importlib.import_module(module).main)["options"], args=words)


COPIES = [step for step in ALL if step.command.startswith("cp ")]
PROGRAMS = [step for step in ALL if step not in COPIES]


@pytest.mark.parametrize("step", PROGRAMS, ids=[step.name for step in PROGRAMS])
def test_every_command_is_one_that_its_program_takes(step):
    options = options_of(step.command)
    made = str(step.makes)
    words = [str(value) for value in vars(options).values()]
    assert made in words or step.makes.parent.as_posix() in words, "what it makes is among its options"


def test_weights_and_features_are_made_before_they_are_used():
    made = set()
    for step in PROGRAMS:
        options = options_of(step.command)
        for name in ("weights", "features", "path_model", "led_by"):
            needed = getattr(options, name, None)
            if needed is not None and not isinstance(needed, str):
                assert needed in made, f"{step.name} needs {needed}"
        made.add(step.makes)


def test_no_two_trainings_share_their_checkpoints():
    trainings = [options_of(step.command) for step in ALL if "geo4d_lite train" in step.command]
    assert all(isinstance(options, Train) for options in trainings)
    folders = [options.out / unet_name(variant_of(options), options.seed, options.name) for options in trainings]
    assert len(set(folders)) == len(folders)
    assert len({options.unet_steps for options in trainings} - {MAIN_STEPS}) == 1, "ablations have one budget"
    assert len({options.unet_learning_rate for options in trainings}) == 1


@pytest.mark.parametrize(("processes", "cards", "together"), [(1, 0, 1), (2, 0, 2), (2, 1, 1), (2, 4, 2)])
def test_a_step_has_eight_windows_and_a_card_one_process(processes, cards, together, monkeypatch):
    monkeypatch.setattr(reproduce.torch.cuda, "device_count", lambda: cards)
    trainings = [step.command for step in steps(Reproduce(processes=processes)) if "geo4d_lite train" in step.command]
    for command in trainings:
        assert f"--nproc-per-node {together} " in command
        assert options_of(command).unet_batch * together == 8


def test_the_last_step_writes_the_tables_of_what_was_measured(tmp_path):
    """On the recorded results, as they have the names that the steps make; nothing recorded is written over."""
    copied = [Path(shlex.split(step.command)[1]) for step in COPIES]
    assert [path.name for path in copied] == ["paper.json", "claims.json"] and all(path.exists() for path in copied)
    made = {step.makes.name for step in ALL if step.makes.parent.name == "results"}
    (tmp_path / "results").mkdir()
    for path in (ROOT / "book/results").glob("*.json"):
        if path.name in made:
            shutil.copy(path, tmp_path / "results")
    shutil.copy(ROOT / "book/claims.json", tmp_path)
    tables = next(step for step in steps(Reproduce(out=tmp_path)) if step.name == "tables")
    cli.main(shlex.split(tables.command)[1:])
    assert tables.makes.exists() and "Table 2" in tables.makes.read_text()
    assert (tmp_path / "claims.md").exists()


def test_what_is_done_is_skipped_and_a_failure_stops(tmp_path, monkeypatch, capsys):
    log = tmp_path / "log"
    write = f"{shlex.quote(sys.executable)} -c \"open('{log}', 'a').write('ran ')\""
    (tmp_path / "done").touch()
    fake = [
        Step("skipped", write, tmp_path / "done"),
        Step("runs", write, tmp_path / "a"),
        Step("fails", f"{shlex.quote(sys.executable)} -c 'raise SystemExit(3)'", tmp_path / "b"),
        Step("never", write, tmp_path / "c"),
    ]
    monkeypatch.setattr(reproduce, "steps", lambda options: iter(fake))
    with pytest.raises(SystemExit) as stopped:
        main(Reproduce(out=tmp_path / "out"))
    assert stopped.value.code == 3
    assert log.read_text() == "ran "
    assert list(json.loads((tmp_path / "out" / "times.json").read_text())) == ["runs"]
    main(Reproduce(out=tmp_path / "out", dry_run=True))
    assert log.read_text() == "ran " and "never" in capsys.readouterr().out
