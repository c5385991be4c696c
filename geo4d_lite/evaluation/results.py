"""Recorded results: JSON files that say what made them, where, and how to make them again."""

import hashlib
import json
import math
import os
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def provenance(command: str, begun: dict | None = None) -> dict[str, str]:
    """The command, commit and device that every recorded number carries.

    begun: what `same_settings` returned, of a run that goes on after a kill: then all commits that it ran under.
    """
    commits = [STARTED_FROM] if begun is None else begun["commits"]
    return {"command": command, "commit": ", ".join(commits), "device": _device()}


def fingerprint(path: str | Path) -> str:
    """A short hash of a file, or of all files of a folder: other weights under the same name have another."""
    path = Path(path)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(file.relative_to(path).as_posix().encode() + file.read_bytes())
    return hashed.hexdigest()[:16]


def write_json(path: str | Path, content: dict) -> None:
    """Write `content` in one move, so that a killed run leaves the old file or the new one.

    NaN becomes null and numbers keep seven digits; a line for each entry, and for each item of a list of dicts.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    entries = (f"  {json.dumps(name)}: {_lines(value)}" for name, value in _plain(content).items())
    unfinished.write_text("{\n" + ",\n".join(entries) + "\n}\n")
    unfinished.replace(path)


def read_json(path: str | Path) -> dict:
    """The content of a file written by `write_json`. Raises ValueError naming a file that is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); delete it, and the command that wrote it makes it anew"
        ) from None


def same_settings(folder: Path, settings: dict) -> dict:
    """Remember the settings of a resumable run in its folder, or check that they are the ones it was begun with.

    Returns them with "commits", those that the run has been called under. Raises ValueError naming the settings that
    differ.
    """
    path = folder / "settings.json"
    begun = read_json(path) if path.exists() else settings | {"commits": []}
    changed = [name for name in settings if _plain(begun.get(name)) != _plain(settings)[name]]
    if changed:
        raise ValueError(
            f"{folder} was begun with other settings ({', '.join(changed)}); give another folder by --out, or delete it"
        )
    begun["commits"] = list(dict.fromkeys([*begun["commits"], STARTED_FROM]))
    write_json(path, begun)
    return read_json(path)


def _plain(value):
    """JSON's own types: paths to strings, NaN to None, seven digits of a number, dataclasses to dicts."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return _plain(asdict(value)) if hasattr(value, "__dataclass_fields__") else value


def _lines(value) -> str:
    """JSON of an entry: a list of dicts with a line for each, anything else in one."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return "[\n" + ",\n".join(f"    {json.dumps(item, allow_nan=False)}" for item in value) + "\n  ]"
    return json.dumps(value, allow_nan=False)


def _commit() -> str:
    """The commit of the code, and whether the code has changed since."""
    try:
        head, changes = (
            subprocess.run(["git", *words.split()], cwd=PACKAGE, capture_output=True, text=True, check=False)
            for words in ("rev-parse --short HEAD", "status --porcelain --untracked-files=no -- .")
        )
    except FileNotFoundError:
        return "unknown"
    commit = head.stdout.strip() or "unknown"
    return f"{commit} with changes" if changes.stdout.strip() else commit


STARTED_FROM = _commit()  # when this process began: a commit made while it runs is not what it runs


def _device() -> str:
    """Processor and cores of this machine, and its graphics card where there is one."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    card = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([model, f"{os.cpu_count()} cores", *card])
