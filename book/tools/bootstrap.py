"""Set up `.venv` from the lock, once; standard library only, run by the system's Python.

Usage: python3.11 book/tools/bootstrap.py [--torch default|cpu|cu130|...]

The set-up is skipped while nothing it depends on has changed: the lock, pyproject.toml, the torch build, the Python.
A missing prerequisite ends in one line that says what to install.
"""

import argparse
import ctypes
import hashlib
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
CHANNEL_NOTE = "geo4d-torch"  # in `.venv`: the build of torch that it was made with
OLDEST_PYTHON = (3, 11)
DRAKE = "1.51.1"  # the lock's; another version may have wheels for other systems
WHEELS = {  # system -> machine, oldest and newest Python of Drake's wheels that this book takes, oldest system
    "linux": ("x86_64", (3, 11), (3, 14), (2, 34)),  # glibc
    "darwin": ("arm64", (3, 13), (3, 14), (15, 0)),  # macOS
}
EGL_MEND = (
    "install it (Debian, Ubuntu: sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri; "
    "Fedora: sudo dnf install mesa-libEGL mesa-dri-drivers) and run make again"
)


class SetupError(Exception):
    """Something on this machine is missing; the message is the whole story."""


def check_python(version=sys.version_info, has_venv=None):
    """Raise SetupError unless this Python is new enough and can make virtual environments."""
    if tuple(version[:2]) < OLDEST_PYTHON:
        raise SetupError(
            f"this is Python {version[0]}.{version[1]} ({sys.executable}); the book needs Python 3.11 or newer: "
            "install it and name it, as in: make book PYTHON=python3.11"
        )
    if has_venv is None:
        try:
            import ensurepip  # noqa: F401  (Debian ships it apart from Python)

            has_venv = True
        except ImportError:
            has_venv = False
    if not has_venv:
        package = f"python{version[0]}.{version[1]}-venv"
        raise SetupError(f"this Python cannot make virtual environments: sudo apt-get install {package}")


def system_version(system):
    """Version of what a wheel is built against: glibc on Linux, macOS itself there; None where it is not known."""
    text = platform.mac_ver()[0] if system == "darwin" else platform.libc_ver()[1]
    numbers = re.findall(r"\d+", text)[:2]
    return tuple(int(number) for number in [*numbers, "0"][:2]) if numbers else None


def check_wheels(version=sys.version_info, system=sys.platform, machine=None, release=None):
    """Raise SetupError where Drake has no wheel for this system and Python; pip would say only that it finds none."""
    mends = "the page How to use this book has the list of systems and Pythons"
    if system not in WHEELS:
        raise SetupError(f"there is no Drake for {system}; on Windows use WSL 2, which is Linux: {mends}")
    wanted, oldest, newest, least = WHEELS[system]
    machine = machine or platform.machine()
    name = {"linux": "Linux", "darwin": "macOS"}[system]
    if machine != wanted:
        raise SetupError(f"Drake {DRAKE} has no wheel for {name} on {machine}, only on {wanted}: {mends}")
    if not oldest <= tuple(version[:2]) <= newest:
        span = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
        raise SetupError(
            f"this is Python {version[0]}.{version[1]}; Drake {DRAKE} has wheels for Python {span} on {name}: "
            f"install one and name it, as in: make book PYTHON=python{oldest[0]}.{oldest[1]}"
        )
    release = release or system_version(system)
    if release and release < least:
        what = "macOS" if system == "darwin" else "glibc"
        found = f"{what} {release[0]}.{release[1]}"
        raise SetupError(f"this system has {found}; Drake's wheels need {what} {least[0]}.{least[1]} or newer: {mends}")


def check_egl(platform=sys.platform, load=ctypes.CDLL):
    """Raise SetupError where the library behind Drake's headless renderer cannot be loaded (Linux only)."""
    if not platform.startswith("linux"):
        return
    try:
        load("libEGL.so.1")
    except OSError as error:
        raise SetupError(f"Drake's renderer needs the system library libEGL.so.1: {EGL_MEND}") from error


def check_rendering(python):
    """Raise SetupError unless Drake renders one tiny image; a broken driver crashes only the child."""
    script = ROOT / "book" / "tools" / "render_once.py"
    run = subprocess.run([str(python), str(script)], capture_output=True, text=True)
    if run.returncode:
        raise SetupError(f"Drake could not render an image (software OpenGL through EGL): {EGL_MEND}")


def torch_options(channel):
    """Options for pip that make `torch==…` resolve to the wanted build."""
    if channel == "default":
        return []
    if not re.fullmatch(r"cpu|cu\d+|rocm[\d.]+|xpu", channel):
        raise SetupError(f"TORCH={channel} is unknown; say default, cpu, or a CUDA channel of PyTorch such as cu130")
    return ["--extra-index-url", f"https://download.pytorch.org/whl/{channel}"]


def remembered_channel(folder=VENV):
    """The build of torch that the environment in `folder` was made with; "default" where there is none."""
    note = folder / CHANNEL_NOTE
    return note.read_text() if note.exists() else "default"


def python_of(folder=VENV):
    """Version of the Python in `folder`, such as "3.11", whichever Python runs this; its own where there is none."""
    settings = folder / "pyvenv.cfg"
    found = re.search(r"^version\s*=\s*(\d+\.\d+)", settings.read_text(), re.MULTILINE) if settings.exists() else None
    return found.group(1) if found else "{}.{}".format(*sys.version_info[:2])


def fingerprint(channel):
    """Hash of everything the set-up depends on."""
    state = hashlib.sha256(f"{channel} {python_of()} {ROOT}".encode())
    for name in ("requirements.txt", "pyproject.toml"):
        state.update((ROOT / name).read_bytes())
    return state.hexdigest()


def call(command, what):
    """Run `command`, its output visible; raise SetupError when it fails."""
    if subprocess.run([str(word) for word in command]).returncode:
        raise SetupError(f"{what} failed; the lines above say why (is the package index reachable?)")


def install(channel):
    """Create or update `.venv` so that it holds exactly the lock's versions and this package, editable."""
    options = torch_options(channel)
    python = VENV / "bin" / "python"
    if not python.exists():
        print("set-up: creating .venv", flush=True)
        call([sys.executable, "-m", "venv", VENV], "creating .venv")
    print("set-up: installing the packages of requirements.txt, a few minutes the first time", flush=True)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *options]
    call([*pip, "-r", ROOT / "requirements.txt"], "installing requirements.txt")
    call([*pip, "-qq", "--no-deps", "--editable", ROOT], "installing geo4d-lite itself")
    check_rendering(python)


def main():
    """Check the machine, then set up `.venv` unless it already stands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--torch",
        default=None,
        help="torch build: default (what the package index gives), cpu, or a CUDA channel of PyTorch such as cu130; "
        "without it, the one that .venv was made with",
    )
    channel = parser.parse_args().torch or remembered_channel()
    stamp = VENV / "geo4d-setup.sha256"
    try:
        check_python()
        check_wheels()
        check_egl()
        wanted = fingerprint(channel)
        if not (stamp.exists() and stamp.read_text() == wanted):
            install(channel)
            (VENV / CHANNEL_NOTE).write_text(channel)
            stamp.write_text(fingerprint(channel))
    except SetupError as error:
        sys.exit(f"set-up: {error}")


if __name__ == "__main__":
    main()
