"""How SAM 2 and FoundationPose are installed, as data: pinned sources, and the commands in their order.

The versions of FoundationPose's parts are those with which others report its pinned commit to run; this plan as a
whole was not exercised here, for want of a graphics card and of the network.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from book.tools.bootstrap import torch_options
from data_scripts.machine_checks import Machine
from geo4d_lite.perception.worker_process import WORKER, TrackerEnvironment

HERE = Path(__file__).parent
FOUNDATIONPOSE = ("https://github.com/NVlabs/FoundationPose", "a1b694b83e633c2cb6115b9063d940a687759392")
PYTORCH3D = "git+https://github.com/facebookresearch/pytorch3d.git@33824be3cbc87a7dd1db0f6a9a9de9ac81b2d0ba"  # 0.7.9
NVDIFFRAST = "git+https://github.com/NVlabs/nvdiffrast.git@253ac4fcea7de5f396371124af597e6cc957bfae"  # 0.4.0
TORCH = (*torch_options("cu128"), "torch==2.8.0+cu128", "torchvision==0.23.0+cu128")
FROM_CONDA = ("python=3.11", "pip", "setuptools<81", "wheel", "cmake", "ninja", "eigen=3.4", "boost-cpp", "pybind11")
COMPILER = "gxx_linux-64=13"  # nvcc 12 takes no newer one than 14
SAM2 = ("facebook/sam2.1-hiera-tiny", "de431c4043854a71d8101e17995dfe596bf101a5")
SUMS = {name: HERE / f"{name}_weights.sha256" for name in ("sam2", "foundationpose")}
DISK_GB = {"sam2": 1, "foundationpose": 25}


@dataclass(frozen=True)
class Step:
    """Commands that belong together, why they are there, and a file in the tracker's folder that they leave (a glob).

    `identity`: what makes the step another one, if that is not its commands.
    """

    name: str
    why: str
    commands: tuple[tuple[str, ...], ...]
    makes: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    identity: str = ""


@dataclass(frozen=True)
class Plan:
    """All steps of one tracker, in order, and where they install it."""

    name: str
    folder: Path
    steps: tuple[Step, ...]
    environment: TrackerEnvironment | None = None

    def fingerprints(self) -> list[str]:
        """For every step a hash of it and of all before it: another pin makes it and what follows to be run again."""
        state, found = hashlib.sha256(), []
        for step in self.steps:
            state.update(json.dumps([step.name, step.identity or [step.commands, step.variables]]).encode())
            found.append(state.hexdigest())
        return found


def sam2_plan(folder: Path, weights: Path | None) -> Plan:
    """SAM 2 for transformers' Sam2VideoModel, in our own environment: only its weights are missing there."""
    files = [line.split("  ")[1] for line in SUMS["sam2"].read_text().splitlines()]
    if weights is None:
        hub, revision = SAM2
        hf = str(Path(sys.executable).with_name("hf"))
        fetch = (hf, "download", hub, *files, "--revision", revision, "--local-dir", str(folder))
    else:
        fetch = ("cp", *(str(weights / file) for file in files), str(folder))
    load = f"from geo4d_lite.perception import Sam2Segmenter; Sam2Segmenter.from_pretrained({str(folder)!r})"
    steps = (
        Step(
            "weights",
            "SAM 2.1 tiny, 156 MB, as published in transformers' layout",
            (("mkdir", "-p", str(folder)), fetch, _compared("sam2", folder)),
            "model.safetensors",
            identity=SUMS["sam2"].read_text(),
        ),
        Step("check", "load them once", ((sys.executable, "-c", load),)),
    )
    return Plan("SAM 2", folder, steps)


def foundationpose_plan(folder: Path, weights: Path | None, machine: Machine) -> Plan:
    """FoundationPose from its repository, with the parts it is compiled against, in an environment of its own."""
    (url, commit), source, env = FOUNDATIONPOSE, folder / "source", folder / "env"
    python, into = str(env / "bin" / "python"), str(source / "weights")
    pip = (python, "-m", "pip", "install")
    variables = _build_variables(env, machine)
    copied = () if weights is None else (("mkdir", "-p", into), ("cp", "-r", f"{weights}/.", into))
    steps = (
        Step(
            "source",
            "NVlabs' repository at one commit",
            (
                ("git", "init", "--quiet", str(source)),
                ("git", "-C", str(source), "fetch", "--depth", "1", url, commit),
                ("git", "-C", str(source), "checkout", "--quiet", "--detach", commit),
            ),
            "source/estimater.py",
        ),
        Step(
            "environment",
            "Python, a C++ compiler that nvcc accepts, and the libraries that FoundationPose's C++ part includes",
            (
                ("rm", "-rf", str(env)),
                (machine.conda, "create", "--yes", "--prefix", str(env), "--override-channels", "--channel")
                + ("conda-forge", *FROM_CONDA, COMPILER),
            ),
            "env/bin/python",
        ),
        Step("PyTorch", "for CUDA 12.8", ((*pip, *TORCH),), "env/lib/python3.11/site-packages/torch/version.py"),
        Step(
            "PyTorch3D",
            "compiled here, the longest step",
            ((*pip, "--no-build-isolation", PYTORCH3D),),
            "env/lib/python3.11/site-packages/pytorch3d/__init__.py",
            variables,
        ),
        Step(
            "nvdiffrast",
            "NVIDIA's rasteriser, compiled here",
            ((*pip, "--no-build-isolation", NVDIFFRAST),),
            "env/lib/python3.11/site-packages/nvdiffrast/__init__.py",
            variables,
        ),
        Step(
            "requirements",
            "FoundationPose's other packages; PyTorch must stay as it is",
            ((*pip, "--requirement", str(source / "requirements.txt"), *TORCH),),
        ),
        Step(
            "mycpp",
            "FoundationPose's C++ part",
            (("bash", str(source / "build_all_conda.sh")),),
            "source/mycpp/build/mycpp*.so",
            variables,
        ),
        Step(
            "weights",
            "refiner and scorer, from the folder you downloaded",
            (*copied, _compared("foundationpose", source / "weights")),
            "source/weights/2024-01-11-20-02-45/model_best.pth",
            identity=SUMS["foundationpose"].read_text(),
        ),
        Step(
            "check",
            "load networks and weights onto the card, as a rollout does",
            ((python, str(WORKER), "--source", str(source), "--check"),),
        ),
    )
    return Plan("FoundationPose", folder, steps, TrackerEnvironment(python, str(source), commit))


def _build_variables(env: Path, machine: Machine) -> dict[str, str]:
    """What conda's activation would set, said openly, and the card to compile for."""
    tools = env / "bin" / "x86_64-conda-linux-gnu"
    variables = {
        "CONDA_PREFIX": str(env),
        "PATH": f"{env / 'bin'}:{machine.cuda_home / 'bin'}:$PATH",
        "CC": f"{tools}-gcc",
        "CXX": f"{tools}-g++",
        "CUDA_HOME": str(machine.cuda_home),
        "CMAKE_PREFIX_PATH": str(env),
        "FORCE_CUDA": "1",
        "MAX_JOBS": "4",  # compilers at a time: each takes some GB
    }
    return variables | ({"TORCH_CUDA_ARCH_LIST": machine.capability} if machine.capability else {})


def _compared(name: str, folder: Path) -> tuple[str, ...]:
    """The command that fails unless the files in `folder` are the published ones."""
    return ("env", "-C", str(folder), "sha256sum", "--check", "--quiet", str(SUMS[name]))
