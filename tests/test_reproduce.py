"""The commands behind the numbers: each one parses, needs only what was made before, and is skipped once done."""

import importlib
import json
import shlex
import sys
from typing import get_type_hints

import pytest
import tyro

from data_scripts import reproduce
from data_scripts.reproduce import MAIN_STEPS, Reproduce, Step, main, steps
from geo4d_lite.commands.train import Train, variant_of
from geo4d_lite.models.stages import unet_name

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


@pytest.mark.parametrize("step", ALL, ids=[step.name for step in ALL])
def test_every_command_is_one_that_its_program_takes(step):
    options = options_of(step.command)
    made = str(step.makes)
    words = [str(value) for value in vars(options).values()]
    assert made in words or step.makes.parent.as_posix() in words, "what it makes is among its options"


def test_weights_and_features_are_made_before_they_are_used():
    made = set()
    for step in ALL:
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
