"""The installation of the real trackers, on stub programs: it checks first, prints what it does, resumes, and repeats
nothing. Nothing of this reaches the network or a graphics card."""

import hashlib
import re
import sys
from pathlib import Path

import pytest

from data_scripts import install_trackers, machine_checks, tracker_plan
from data_scripts.install_trackers import InstallTrackers, main
from data_scripts.machine_checks import check_machine
from geo4d_lite.perception.worker_process import TrackerEnvironment

SITE = '"$(dirname "$0")/../lib/python3.11/site-packages"'
STUBS = {
    "nvidia-smi": 'echo "NVIDIA GeForce RTX 4090, 24564, 8.9"',
    "nvcc": 'echo "Cuda compilation tools, release 12.8, V12.8.93"',
    "git": """
        case "$*" in
        --version) echo git version 2.43.0;;
        *init*) mkdir -p "$3";;
        *checkout*) cd "$2"; touch estimater.py requirements.txt
            echo 'cd $(dirname $0); mkdir -p mycpp/build; touch mycpp/build/mycpp.cpython-311.so' > build_all_conda.sh;;
        esac""",
    "micromamba": """
        if [ "$1" = --version ]; then echo 2.0.5; exit; fi
        mkdir -p "$4/bin"; cp "$(dirname "$0")/python-of-env" "$4/bin/python" """,
    "python-of-env": f"""
        site={SITE}
        case "$*" in
        *requirements.txt*|*--check*) ;;
        *nvdiffrast*) [ -e "$BROKEN" ] && exit 9; mkdir -p $site/nvdiffrast; touch $site/nvdiffrast/__init__.py;;
        *pytorch3d*) [ "$CUDA_HOME$TORCH_CUDA_ARCH_LIST" ] || exit 8
            mkdir -p $site/pytorch3d; touch $site/pytorch3d/__init__.py;;
        *torch==*) mkdir -p $site/torch; touch $site/torch/version.py;;
        esac""",
    "hf": 'while [ "$1" != --local-dir ]; do shift; done; cp "$WEIGHTS_ON_HUB"/* "$2"',
    "python-of-ours": "true",
}
FILES = {
    "sam2": ("config.json", "model.safetensors"),
    "foundationpose": tuple(
        f"{run}/{file}"
        for run in ("2023-10-28-18-33-37", "2024-01-11-20-02-45")
        for file in ("config.yml", "model_best.pth")
    ),
}


class Workstation:
    """A folder of stub programs in front of the path, and small files in place of the weights."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder, self.bin, self.log = folder, folder / "toolkit" / "bin", folder / "log"
        self.trackers, self.broken = folder / "trackers", folder / "broken"
        self.bin.mkdir(parents=True)
        for name, script in STUBS.items():
            self.stub(name, script)
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        monkeypatch.setenv("CUDA_HOME", str(folder / "no-toolkit"))
        monkeypatch.setenv("BROKEN", str(self.broken))
        monkeypatch.setenv("WEIGHTS_ON_HUB", str(folder / "sam2"))
        monkeypatch.setattr(sys, "executable", str(self.bin / "python-of-ours"))
        sums = {name: folder / f"{name}.sha256" for name in FILES}
        for name, files in FILES.items():
            lines = []
            for file in files:
                path = folder / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"weights of {file}")
                lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {file}\n")
            sums[name].write_text("".join(lines))
        monkeypatch.setattr(tracker_plan, "SUMS", sums)
        monkeypatch.setattr(install_trackers, "SUMS", sums)
        monkeypatch.setattr(install_trackers, "DISK_GB", {"sam2": 0, "foundationpose": 0})

    def stub(self, name: str, script: str) -> None:
        """A program that notes how it is called, unless only for its version, and then does as `script` says."""
        path = self.bin / name
        path.write_text(
            f'#!/bin/sh\ncase "$*" in --version|--query*) ;; *) echo "{name} $*" >> {self.log};; esac\n{script}\n'
        )
        path.chmod(0o755)

    def options(self, **changes) -> InstallTrackers:
        weights = self.folder / "foundationpose"
        return InstallTrackers(**{"folder": self.trackers, "foundationpose_weights": weights} | changes)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def workstation(tmp_path, monkeypatch):
    return Workstation(tmp_path, monkeypatch)


def test_a_dry_run_prints_the_same_plan_twice_and_changes_nothing(workstation, capsys):
    before = sorted(workstation.folder.rglob("*"))
    main(workstation.options(dry_run=True))
    first = capsys.readouterr().out
    main(workstation.options(dry_run=True))
    assert capsys.readouterr().out == first
    assert sorted(workstation.folder.rglob("*")) == before and workstation.calls() == []
    assert "missing" not in first and first.endswith("dry run: nothing was changed\n")
    assert first.count("run   ") == 2 + 9 and "done" not in first


def test_the_commands_run_are_those_that_the_dry_run_prints_in_their_order(workstation, capsys):
    main(workstation.options(dry_run=True))
    planned = re.findall(r"^ +\$ (.*)$", capsys.readouterr().out, re.MULTILINE)
    main(workstation.options())
    assert re.findall(r"^ +\$ (.*)$", capsys.readouterr().out.split("SAM 2, weights:")[1], re.MULTILINE) == planned
    assert len(workstation.calls()) == len([c for c in planned if not re.match("mkdir|rm|cp|env|bash", c)])


def test_every_source_is_pinned_to_a_whole_commit(workstation):
    plan = tracker_plan.foundationpose_plan(workstation.trackers, None, machine_checks.Machine())
    commands = [" ".join(command) for step in plan.steps for command in step.commands]
    sources = [command for command in commands if "github.com" in command]
    assert len(sources) == 3 and all(re.search(r"[@ ][0-9a-f]{40}$", command) for command in sources)
    assert re.fullmatch("[0-9a-f]{40}", tracker_plan.SAM2[1])


def test_what_is_installed_is_found_by_the_adapter_and_not_installed_again(workstation, capsys):
    main(workstation.options())
    found = TrackerEnvironment.read(workstation.trackers / "foundationpose")
    assert Path(found.python).is_file() and found.commit == tracker_plan.FOUNDATIONPOSE[1]
    assert (Path(found.source) / "weights" / FILES["foundationpose"][3]).is_file()
    assert (workstation.trackers / "sam2" / "model.safetensors").is_file()
    calls = workstation.calls()
    capsys.readouterr()
    main(workstation.options(foundationpose_weights=None))  # the download is not needed any more
    assert workstation.calls() == calls
    printed = capsys.readouterr().out
    assert printed.count("done  ") == 2 + 9 and "run   " not in printed


def test_after_a_failure_the_same_command_goes_on_where_it_stopped(workstation):
    workstation.broken.touch()
    with pytest.raises(ChildProcessError, match="step nvdiffrast: exit code 9.*goes on from here"):
        main(workstation.options(only="foundationpose"))
    assert not (workstation.trackers / "foundationpose" / "environment.json").exists()
    calls = workstation.calls()
    workstation.broken.unlink()
    main(workstation.options(only="foundationpose"))
    again = workstation.calls()[len(calls) :]
    assert [call.split()[0] for call in again] == ["python-of-env"] * 3
    assert "nvdiffrast" in again[0] and "requirements.txt" in again[1] and "--check" in again[2]
    TrackerEnvironment.read(workstation.trackers / "foundationpose")


def test_what_was_deleted_is_made_again_with_all_that_follows(workstation):
    main(workstation.options(only="foundationpose"))
    calls = workstation.calls()
    for file in (workstation.trackers / "foundationpose").glob("env/lib/*/*/nvdiffrast/*"):
        file.unlink()
    main(workstation.options(only="foundationpose"))
    assert ["nvdiffrast" in call for call in workstation.calls()[len(calls) :]] == [True, False, False]


def test_another_pin_or_another_card_is_not_taken_for_done(workstation, monkeypatch, capsys):
    main(workstation.options(only="foundationpose"))
    capsys.readouterr()
    workstation.stub("nvidia-smi", 'echo "NVIDIA RTX 6000, 49140, 8.6"')
    main(workstation.options(only="foundationpose", dry_run=True))
    assert re.findall(r"^  (done|run) ", capsys.readouterr().out, re.MULTILINE) == ["done"] * 3 + ["run"] * 6
    monkeypatch.setattr(tracker_plan, "FOUNDATIONPOSE", (tracker_plan.FOUNDATIONPOSE[0], "b" * 40))
    main(workstation.options(only="foundationpose", dry_run=True))
    assert re.findall(r"^  (done|run) ", capsys.readouterr().out, re.MULTILINE) == ["run"] * 9


@pytest.mark.parametrize(
    ("program", "script", "said"),
    [
        ("nvidia-smi", "exit 9", "graphics card: nvidia-smi does not run; install NVIDIA's driver"),
        ("nvidia-smi", "echo broken", "nvidia-smi says 'broken'; update NVIDIA's driver"),
        ("nvidia-smi", "echo GTX 1650, 4096, 7.5", "GTX 1650, 4096 MiB.*an NVIDIA card with 6 GB"),
        ("nvidia-smi", "echo TITAN Xp, 12288, 6.1", "capability 6.1; .*7.5 or newer is needed"),
        ("nvcc", "exit 1", "CUDA compiler: nvcc does not run; install NVIDIA's CUDA toolkit 12.8"),
        ("nvcc", "echo release 11.8,", "nvcc 11.8 .*any from 12.4 to 12.9 will do"),
        ("nvcc", "echo release 13.0,", "nvcc 13.0 .*any from 12.4 to 12.9 will do"),
        ("git", "exit 1", "git: git does not run; install git"),
        ("micromamba", "exit 1", "conda: none of micromamba, mamba, conda is on PATH; install one"),
    ],
)
def test_whatever_is_missing_is_named_with_its_mend_and_nothing_is_begun(workstation, capsys, program, script, said):
    workstation.stub(program, script)
    with pytest.raises(ValueError, match=f"nothing was begun(.|\n)*{said}"):
        main(workstation.options())
    assert not workstation.trackers.exists()
    capsys.readouterr()
    main(workstation.options(dry_run=True))
    assert re.search(f"  missing  .*{said.split(': ')[-1]}", capsys.readouterr().out)


def test_a_blackwell_card_needs_a_newer_compiler(workstation):
    workstation.stub("nvidia-smi", "echo RTX 5090, 32607, 12.0")
    machine, checks = check_machine()
    assert machine.capability == "12.0" and not any(check.mend for check in checks)
    workstation.stub("nvcc", "echo release 12.4,")
    assert "from 12.8 to 12.9" in next(check.mend for check in check_machine()[1] if check.mend)


def test_other_systems_and_full_disks_are_named(workstation, monkeypatch):
    assert "Linux on x86_64 only" in str(check_machine("Darwin", "arm64")[1][0])
    monkeypatch.setattr(install_trackers, "DISK_GB", {"sam2": 10**9})
    with pytest.raises(ValueError, match="disk: .* GB free, about 1000000000 GB wanted; make room"):
        main(workstation.options(only="sam2"))


def test_weights_that_are_missing_or_other_ones_are_not_taken(workstation):
    with pytest.raises(
        ValueError, match="no folder given; download .* by hand .*README.*--foundationpose-weights FOLDER"
    ):
        main(workstation.options(foundationpose_weights=None))
    file = workstation.folder / "foundationpose" / FILES["foundationpose"][1]
    file.write_text("something else")
    with pytest.raises(ValueError, match="model_best.pth is another file than was published"):
        main(workstation.options())
    file.unlink()
    with pytest.raises(ValueError, match="model_best.pth does not exist"):
        main(workstation.options())
    (workstation.folder / "sam2" / "config.json").write_text("{}")  # what the Hub gives is compared as well
    with pytest.raises(ChildProcessError, match="SAM 2, step weights: exit code 1"):
        main(workstation.options(only="sam2"))


def test_sam2_comes_from_a_folder_where_there_is_no_network(workstation):
    workstation.stub("hf", "exit 1")
    main(workstation.options(only="sam2", sam2_weights=workstation.folder / "sam2"))
    assert not any(call.startswith("hf") for call in workstation.calls())
    assert (workstation.trackers / "sam2" / "config.json").is_file()


def test_a_step_that_leaves_nothing_has_failed(workstation):
    workstation.stub("micromamba", 'if [ "$1" = --version ]; then echo 2.0.5; fi')
    with pytest.raises(ChildProcessError, match="step environment: its commands left no env/bin/python"):
        main(workstation.options(only="foundationpose"))


def test_the_published_sums_are_whole():
    for path in Path(tracker_plan.__file__).parent.glob("*_weights.sha256"):
        lines = [line.split("  ") for line in path.read_text().splitlines()]
        assert tuple(file for _, file in lines) == FILES[path.name.removesuffix("_weights.sha256")]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest, _ in lines)
