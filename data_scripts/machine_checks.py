"""What a workstation must have before a tracker is installed on it, each with its mend in one line."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIN_GPU_MIB = 6000
MIN_CAPABILITY = 7.5  # of PyTorch's wheels for CUDA 12.8
MIN_CUDA = (12, 4)  # the oldest that takes GCC 13, which the environment brings
MIN_CUDA_BLACKWELL, BLACKWELL = (12, 8), 10.0
CONDAS = ("micromamba", "mamba", "conda")


@dataclass(frozen=True)
class Check:
    """One thing looked for: what was found, and what to do where that is not enough (empty where it is)."""

    name: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return (
            f"  missing  {self.name}: {self.found}; {self.mend}"
            if self.mend
            else f"  ok       {self.name}: {self.found}"
        )


@dataclass(frozen=True)
class Machine:
    """The parts of this machine that commands name; where a part is missing, what its command would be."""

    conda: str = "conda"
    cuda_home: Path = Path("/usr/local/cuda")
    capability: str = ""


def check_machine(system: str = platform.system(), processor: str = platform.machine()) -> tuple[Machine, list[Check]]:
    """Look at this machine: its system, graphics card, CUDA compiler, git and conda. Changes nothing."""
    gpu, capability = _check_gpu()
    nvcc, cuda_home = _check_nvcc(capability)
    conda, program = _check_conda()
    checks = [_check_system(system, processor), gpu, nvcc, _check_git(), conda]
    return Machine(program, cuda_home, f"{capability:.1f}" if capability else ""), checks


def check_disk(folder: Path, needed_gb: int) -> Check:
    """Is there room where `folder` is or will be?"""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    found = f"{free_gb:.0f} GB free, about {needed_gb} GB wanted"
    return Check("disk", found, "" if free_gb >= needed_gb else "make room, or name a folder elsewhere by --folder")


def check_files(name: str, folder: Path | None, sums: Path, mend: str) -> Check:
    """Does `folder` hold the files that `sums` lists (as sha256sum writes them), unchanged?"""
    if folder is None:
        return Check(name, "no folder given", mend)
    for line in sums.read_text().splitlines():
        expected, file = line.split("  ")
        path = folder / file
        if not path.is_file():
            return Check(name, f"{path} does not exist", mend)
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != expected:
                return Check(name, f"{path} is another file than was published (SHA-256)", mend)
    return Check(name, f"{folder} holds the published files")


def _check_system(system: str, processor: str) -> Check:
    found = f"{system} on {processor}"
    fits = system == "Linux" and processor == "x86_64"
    return Check("system", found, "" if fits else "FoundationPose is installed on Linux on x86_64 only")


def _check_gpu() -> tuple[Check, float | None]:
    """The first NVIDIA card, and its compute capability."""
    mend = f"an NVIDIA card with {MIN_GPU_MIB / 1000:.0f} GB and compute capability {MIN_CAPABILITY} or newer is needed"
    text = _output("nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")
    if text is None:
        return Check("graphics card", "nvidia-smi does not run", f"install NVIDIA's driver; {mend}"), None
    cells = [cell.strip() for cell in text.splitlines()[0].split(",")] if text else []
    try:
        name, mib, capability = cells[0], int(cells[1]), float(cells[2])
    except (IndexError, ValueError):
        return Check("graphics card", f"nvidia-smi says {text!r}", f"update NVIDIA's driver; {mend}"), None
    found = f"{name}, {mib} MiB, compute capability {capability}"
    enough = mib >= MIN_GPU_MIB and capability >= MIN_CAPABILITY
    return Check("graphics card", found, "" if enough else mend), capability


def _check_nvcc(capability: float | None) -> tuple[Check, Path]:
    """The CUDA compiler on the path or in CUDA_HOME, and the folder of its toolkit."""
    oldest = MIN_CUDA_BLACKWELL if capability and capability >= BLACKWELL else MIN_CUDA
    mend = (
        f"install NVIDIA's CUDA toolkit 12.8 (any from {oldest[0]}.{oldest[1]} to 12.9 will do) and put the folder of "
        "nvcc on PATH"
    )
    home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    program = shutil.which("nvcc") or str(home / "bin" / "nvcc")
    text = _output(program, "--version")
    release = re.search(r"release (\d+)\.(\d+)", text or "")
    if release is None:
        return Check("CUDA compiler", "nvcc does not run", mend), home
    version = (int(release[1]), int(release[2]))
    found = f"nvcc {version[0]}.{version[1]} ({program})"
    fits = oldest <= version < (13, 0)
    return Check("CUDA compiler", found, "" if fits else mend), Path(program).resolve().parents[1]


def _check_git() -> Check:
    text = _output("git", "--version")
    return Check("git", text or "git does not run", "" if text else "install git")


def _check_conda() -> tuple[Check, str]:
    """The first of micromamba, mamba and conda: it brings Python 3.11, the C++ compiler (GCC 13), Eigen and Boost."""
    for name in CONDAS:
        text = _output(name, "--version")
        if text:
            return Check("conda", f"{name} {text.removeprefix(f'{name} ')}"), name
    mend = "install one: it brings Python 3.11, the C++ compiler, Eigen and Boost"
    return Check("conda", f"none of {', '.join(CONDAS)} is on PATH", mend), Machine.conda


def _output(*command: str) -> str | None:
    """What a command prints, None if it fails or does not exist."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if run.returncode else run.stdout.strip()
