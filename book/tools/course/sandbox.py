"""Run a student's cells in a process of their own, with as little power as this system lets us take away.

Always: limits of time, memory, file size and open files, an empty environment, a throw-away working folder, and a hook
that refuses new processes and the instructor's folders. On Linux with user namespaces also: no network, a file system
that cannot be written to, the instructor's folders empty, other processes invisible. As root, where others may use this
Python: the user `nobody`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from book.tools import environment
from book.tools.course.sources import ROOT, CourseError
from book.tools.course.submission import Cell

RUNNER = Path(__file__).with_name("runner.py")
NOBODY = 65534
MEGABYTE = 2**20
GRACE_SECONDS = 10.0  # for the message of a cell that was stopped, on a busy machine
# Keep what Python needs, empty what it must not see, forbid all writing, then drop every privilege.
SEAL = """set -e
mount -t tmpfs -o size=64m tmpfs "$WORK"
mkdir "$WORK/.kept"
n=0
for path in $KEEP; do n=$((n + 1)); mkdir "$WORK/.kept/$n"; mount --rbind "$path" "$WORK/.kept/$n"; done
for path in $HIDE; do if [ -d "$path" ]; then mount -t tmpfs tmpfs "$path"; fi; done
n=0
for path in $KEEP; do n=$((n + 1)); mkdir -p "$path"; mount --rbind "$WORK/.kept/$n" "$path"; done
mount -t proc proc /proc
while read -r _ path _; do
  case "$path" in "$WORK"|/proc|/proc/*) ;; *) mount -o remount,bind,ro "$path" 2>/dev/null || true ;; esac
done < /proc/self/mounts
cd "$WORK"
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
"""


@dataclass(frozen=True)
class Limits:
    """What one student's notebook may use.

    cell_seconds counts computing; wall_seconds (a cell) and total_seconds (the notebook) go by the clock. Memory counts
    address space, which is more than what is filled.
    """

    cell_seconds: float = 10.0
    wall_seconds: float = 60.0
    total_seconds: float = 300.0
    memory_mb: int = 3072
    file_mb: int = 16
    processes: int = 64
    restarts: int = 3

    def as_rlimits(self) -> dict[str, int]:
        """The limits the operating system enforces."""
        return {
            "RLIMIT_AS": self.memory_mb * MEGABYTE,
            "RLIMIT_CPU": int(12 * self.cell_seconds),
            "RLIMIT_FSIZE": self.file_mb * MEGABYTE,
            "RLIMIT_NOFILE": 256,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_CORE": 0,
        }


@dataclass(frozen=True)
class Outcome:
    """How a cell went: whether it ran through, its error in a line or two, what it printed."""

    ok: bool
    error: str = ""
    output: str = ""


@dataclass(frozen=True)
class Isolation:
    """Which walls stand on this system."""

    nobody: bool
    namespaces: bool

    def __str__(self) -> str:
        user = "user nobody" if self.nobody else "this user"
        if self.namespaces:
            return f"{user}, no network, nothing writable, the instructor's folders hidden"
        return f"{user}, NETWORK NOT CUT and files readable: this system has no user namespaces for us"


@dataclass
class Child:
    """One running process, and how to speak with it."""

    process: subprocess.Popen
    work: str
    deadline: float
    unread: bytes = field(default=b"")

    def ask(self, message: dict, seconds: float) -> dict | None:
        """Send one line and wait for one; None if the process died or did not answer in time."""
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return None
        until = min(time.monotonic() + seconds, self.deadline)
        while b"\n" not in self.unread:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                return None
            self.unread += chunk
        line, _, self.unread = self.unread.partition(b"\n")
        try:
            reply = json.loads(line)
        except ValueError:
            return None
        return reply if isinstance(reply, dict) else None

    def end(self) -> None:
        """Kill the process and all it started, and clear up."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)


def start(limits: Limits, isolation: Isolation, hidden: tuple[Path, ...], seconds: float) -> Child:
    """Start the runner behind the walls of `isolation`.

    Raises:
        CourseError: it does not come up.
    """
    work = tempfile.mkdtemp(prefix="geo4d-grade-")
    os.chmod(work, 0o777)
    hide = list(dict.fromkeys(str(Path(folder).resolve()) for folder in hidden))
    kept = [str(Path(path)) for path in dict.fromkeys((sys.prefix, sys.base_prefix)) if inside(path, hide)]
    command = [sys.executable, "-s", "-c", RUNNER.read_text()]
    environ = {"PATH": os.defpath, "HOME": work, "IPYTHONDIR": work, "MPLBACKEND": "agg", "LANG": "C.UTF-8"}
    if isolation.namespaces:
        spaces = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]
        command = ["unshare", *spaces, "--", "sh", "-c", SEAL, "sh", *command]
        environ |= {"WORK": work, "KEEP": " ".join(kept), "HIDE": " ".join(hide)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=work,
        env=environment.FIXED | environ,
        start_new_session=True,
        user=NOBODY if isolation.nobody else None,
        group=NOBODY if isolation.nobody else None,
        extra_groups=[] if isolation.nobody else None,
    )
    child = Child(process, work, time.monotonic() + seconds + 30)
    rlimits = limits.as_rlimits()
    if not (isolation.nobody or isolation.namespaces):
        rlimits.pop("RLIMIT_NPROC")  # it would count the instructor's own processes
    if child.ask({"limits": rlimits, "hidden": hide, "kept": kept}, 30) is None:
        child.end()
        raise CourseError("the process for student code does not start")
    child.deadline = time.monotonic() + seconds
    return child


def inside(path: str, folders: list[str]) -> bool:
    """Whether `path` lies in one of the folders."""
    return any(Path(path).is_relative_to(folder) for folder in folders)


@cache
def strongest_isolation() -> Isolation:
    """The most that works on this system, found by trying.

    Raises:
        CourseError: not even a plain process starts.
    """
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    tools = all(shutil.which(tool) for tool in ("unshare", "setpriv"))
    for namespaces in (True, False) if tools else (False,):
        for nobody in (True, False) if root else (False,):
            isolation = Isolation(nobody, namespaces)
            try:
                start(Limits(), isolation, secret_folders(), 30).end()
            except (CourseError, OSError):
                continue
            return isolation
    raise CourseError("no process for student code starts on this system")


def secret_folders(*more: Path) -> tuple[Path, ...]:
    """What student code must not see: the repository, its history, and the folders given."""
    found = [ROOT, *more]
    git = shutil.which("git")
    if git:
        asked = [git, "-C", str(ROOT), "rev-parse", "--path-format=absolute", "--git-common-dir"]
        answer = subprocess.run(asked, capture_output=True, text=True)
        found += [Path(answer.stdout.strip())] if answer.returncode == 0 else []
    return tuple(found)


def run(
    cells: list[Cell], limits: Limits, isolation: Isolation, hidden: tuple[Path, ...]
) -> tuple[list[Outcome | None], list[str]]:
    """Run the code cells in order; None for cells that are not run. Also returns notes for the student.

    Every test gets the set-up's names afresh, so that one that student code has overwritten does no harm. A cell that
    ends the process costs only itself: the others are run again without it.
    """
    setup = next((cell.source for cell in cells if cell.kind == "setup"), "")
    code = [index for index, cell in enumerate(cells) if cell.kind != "written" and cell.source.strip()]
    lost: dict[int, Outcome] = {}
    notes: list[str] = []
    end = time.monotonic() + limits.total_seconds
    outcomes: list[Outcome | None] = [None] * len(cells)
    for _ in range(limits.restarts + 1):
        left = max(1.0, end - time.monotonic())
        child = start(limits, isolation, hidden, left)
        outcomes = [lost.get(index) for index in range(len(cells))]
        broken = None
        try:
            for index in code:
                if index in lost:
                    continue
                request = {
                    "source": cells[index].source,
                    "seconds": limits.cell_seconds,
                    "wall_seconds": limits.wall_seconds,
                }
                if cells[index].kind == "test":
                    request["setup"] = setup
                reply = child.ask(request, limits.wall_seconds + GRACE_SECONDS)
                if reply is None:
                    broken = index
                    break
                told = [str(reply.get(key, "")) for key in ("error", "output")]
                outcomes[index] = Outcome(reply.get("ok") is True, *told)
        finally:
            child.end()
        if broken is None:
            return outcomes, notes
        reason = "ended the process or did not react: too much memory, an endless loop, or a call such as os._exit"
        lost[broken] = Outcome(False, reason)
        notes.append(f"cell {cells[broken].name!r} {reason}; the rest was run without it")
        if time.monotonic() >= end:
            break
    notes.append(f"stopped after {limits.total_seconds:.0f} s or {limits.restarts} restarts; what was not run counts 0")
    return [outcome or lost.get(index) for index, outcome in enumerate(outcomes)], notes
