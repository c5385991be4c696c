"""One dependency list, told three ways; the set-up's messages; the environment that notebooks and tests share."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from book.tools import bootstrap, environment, lock

ROOT = Path(__file__).resolve().parents[1]
LARGEST_TREE_BYTES = 45_000_000


def locked() -> dict[str, str]:
    """Name → version of every line of requirements.txt."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") for pin in pins)
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def test_the_lock_satisfies_every_direct_requirement():
    pins = locked()
    for requirement in lock.direct_requirements():
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is in pyproject.toml but not in requirements.txt: run `make lock`"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{requirement} against {pins[name]}"


def test_the_lock_pins_all_that_is_pulled_in_and_nothing_else():
    pins, closure = locked(), lock.closure(lock.direct_requirements())
    assert {name: pins.get(name) for name in closure} == closure
    for name in pins.keys() - closure.keys():  # another platform may need it: then it is not installed here
        with pytest.raises(PackageNotFoundError):
            version(name)


def test_the_lock_names_no_build_of_torch_and_no_index():
    text = (ROOT / "requirements.txt").read_text()
    assert "+" not in re.sub(r"#.*", "", text) and "://" not in text and "--" not in re.sub(r"#.*", "", text)
    assert locked()["torch"] == "2.13.0"


def test_conda_gets_the_same_environment():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert "-r requirements.txt" in pip
    assert not [line for line in pip if "==" in line], "versions belong in the lock"
    python = next(entry for entry in conda["dependencies"] if str(entry).startswith("python="))
    assert Version(python.removeprefix("python=")) in SpecifierSet(requires_python())


def requires_python() -> str:
    """`requires-python` of pyproject.toml."""
    return re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text())[1]


def test_this_python_and_the_set_up_agree_with_requires_python():
    assert sys.version.split()[0] in SpecifierSet(requires_python())
    assert requires_python() == f">={'.'.join(map(str, bootstrap.OLDEST_PYTHON))}"


@pytest.mark.parametrize(("found", "word"), [((3, 10, 4), "3.10"), ((3, 8, 0), "3.8")])
def test_an_old_python_is_named_with_the_mend(found, word):
    with pytest.raises(bootstrap.SetupError, match=rf"Python {word} .*make book PYTHON=python3.11"):
        bootstrap.check_python(found)


def test_a_python_without_venv_is_named_with_the_mend():
    with pytest.raises(bootstrap.SetupError, match="apt-get install python3.11-venv"):
        bootstrap.check_python((3, 11, 7), has_venv=False)


LINUX, MAC = ("linux", "x86_64"), ("darwin", "arm64")


@pytest.mark.parametrize(
    ("python", "system", "release", "word"),
    [
        ((3, 15), LINUX, None, r"Python 3\.11 to 3\.14 on Linux"),
        ((3, 11), MAC, None, r"Python 3\.13 to 3\.14 on macOS.*PYTHON=python3\.13"),
        ((3, 13), ("darwin", "x86_64"), None, "no wheel for macOS on x86_64"),
        ((3, 11), ("linux", "aarch64"), None, "no wheel for Linux on aarch64"),
        ((3, 11), ("win32", "AMD64"), None, "on Windows use WSL 2"),
        ((3, 11), LINUX, (2, 31), r"glibc 2\.31; .* glibc 2\.34"),
        ((3, 13), MAC, (14, 6), r"macOS 14\.6; .* macOS 15\.0"),
    ],
)
def test_a_system_without_drake_is_named_with_the_mend_in_one_line(python, system, release, word):
    with pytest.raises(bootstrap.SetupError, match=word) as caught:
        bootstrap.check_wheels(python, *system, release)
    assert "\n" not in str(caught.value)


def test_systems_with_drake_pass_and_this_is_one():
    for python, system, release in (((3, 11), LINUX, (2, 34)), ((3, 14), LINUX, (2, 40)), ((3, 13), MAC, (15, 1))):
        bootstrap.check_wheels(python, *system, release)
    bootstrap.check_wheels()


def test_the_systems_are_those_of_the_drake_in_the_lock_and_of_the_page():
    """A new Drake has other wheels: look them up, then bring WHEELS and the page up to date with the pin."""
    assert locked()["drake"] == bootstrap.DRAKE
    page = (ROOT / "book" / "how_to_use.md").read_text()
    assert f"Drake {bootstrap.DRAKE}" in page
    for _, oldest, newest, least in bootstrap.WHEELS.values():
        assert f"3.{oldest[1]} to 3.{newest[1]}" in page or f"3.{oldest[1]} and 3.{newest[1]}" in page
        assert re.search(rf"(glibc|macOS) {least[0]}(\.{least[1]})? or newer", page)
    workflow = (ROOT / ".github" / "workflows" / "book.yml").read_text()
    assert 'python-version: "3.11"' in workflow


def test_a_missing_egl_is_named_with_the_mend_in_one_line():
    def no_library(name):
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(bootstrap.SetupError, match=r"libEGL\.so\.1.*apt-get install libegl1") as caught:
        bootstrap.check_egl("linux", no_library)
    assert "\n" not in str(caught.value)
    bootstrap.check_egl("darwin", no_library)  # macOS renders without EGL


def test_the_set_up_refuses_in_one_line_and_without_a_traceback():
    run = subprocess.run(
        [sys.executable, ROOT / "book/tools/bootstrap.py", "--torch", "gpu"], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert run.stderr.startswith("set-up: TORCH=gpu is unknown") and run.stderr.count("\n") == 1


def test_the_torch_switch_adds_pytorchs_own_index_and_nothing_by_default():
    assert bootstrap.torch_options("default") == []
    assert bootstrap.torch_options("cpu") == ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]
    assert bootstrap.torch_options("cu130")[1].endswith("/cu130")


def test_later_commands_need_neither_word(tmp_path):
    """What `make book TORCH=cpu PYTHON=python3.12` made, `make lab` takes as it is."""
    assert bootstrap.remembered_channel(tmp_path) == "default"
    (tmp_path / bootstrap.CHANNEL_NOTE).write_text("cpu")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.3\nexecutable = /usr/bin/python3.12\n")
    assert bootstrap.remembered_channel(tmp_path) == "cpu"
    assert bootstrap.python_of(tmp_path) == "3.12"
    assert bootstrap.python_of(tmp_path / "none") == "{}.{}".format(*sys.version_info[:2])
    assert bootstrap.fingerprint("cpu") != bootstrap.fingerprint("default")


def test_the_set_up_runs_on_pythons_too_old_for_the_book():
    """Its job is to say so; the syntax of a newer Python would end in a traceback instead."""
    ast.parse((ROOT / "book/tools/bootstrap.py").read_text(), feature_version=(3, 7))


def test_the_fixed_environment_reaches_this_process():
    assert {name: os.environ.get(name) for name in environment.FIXED} == environment.FIXED
    assert not [name for name in environment.UNSET if name in os.environ]


def test_applying_the_environment_overrides_what_a_user_has_set():
    mine = {"OMP_NUM_THREADS": "64", "MPLBACKEND": "Agg", "HOME": "/home/reader"}
    environment.apply(mine)
    assert mine["OMP_NUM_THREADS"] == "1" and "MPLBACKEND" not in mine and mine["HOME"] == "/home/reader"


def test_any_command_can_be_run_in_the_environment():
    command = [sys.executable, "-m", "book.tools.environment", sys.executable, "-c"]
    program = "import os; print(os.environ['OMP_NUM_THREADS'], 'MPLBACKEND' in os.environ)"
    environ = os.environ | {"OMP_NUM_THREADS": "64", "MPLBACKEND": "Agg"}
    run = subprocess.run([*command, program], cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "False"]


def test_drake_renders_on_this_machine():
    bootstrap.check_rendering(sys.executable)


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK) and "make test" in script.read_text()


def test_every_make_target_that_the_pages_name_exists():
    pages = [ROOT / "README.md", *(ROOT / "book").glob("*.md")]
    named = {target for page in pages for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"book", "test"} <= named <= targets


def test_the_repository_stays_small_enough_to_clone():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git working tree")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.exists()) < LARGEST_TREE_BYTES
