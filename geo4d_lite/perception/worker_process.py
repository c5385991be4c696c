"""The near end of a tracker that runs in an environment of its own: start it, ask it, say why it failed, end it."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from geo4d_lite.perception.foundation_pose_worker import Message, read_message, write_message
from geo4d_lite.perception.protocols import TrackerError

ENVIRONMENT_FILE = "environment.json"
WORKER = Path(__file__).with_name("foundation_pose_worker.py")
OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # would lead the other Python to our packages
CLOSE_S = 5.0  # for an answer to `close`
END_S = 1.0  # from the end of its input to a worker's end
LAST_LINES = 20


@dataclass(frozen=True)
class TrackerEnvironment:
    """Where `data_scripts.install_trackers` put a tracker: its Python, its clone, and the commit of the clone."""

    python: str
    source: str
    commit: str

    def write(self, folder: Path) -> None:
        """Remember it in `folder`."""
        (folder / ENVIRONMENT_FILE).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "TrackerEnvironment":
        """The environment in `folder`. Raises FileNotFoundError, with the way to make one, if there is none."""
        path = Path(folder) / ENVIRONMENT_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"no FoundationPose in {folder}: python -m data_scripts.install_trackers --only foundationpose "
                "installs it on a workstation with a GPU; without one use the lite tracker, SdfTracker"
            )
        return cls(**json.loads(path.read_text()))

    def command(self) -> list[str]:
        """What starts the worker."""
        return [self.python, str(WORKER), "--source", self.source]


class WorkerProcess:
    """A worker that answers one request at a time. It is ended by `close`, by losing its last reference, and with us.

    Args:
        command: program and arguments.
        timeout_s: longest wait for an answer; then the worker is killed.
    """

    def __init__(self, command: Sequence[str], timeout_s: float = 120.0):
        self.timeout_s = timeout_s
        self._printed = tempfile.TemporaryFile()  # a file and no pipe: it never fills up
        environment = {name: value for name, value in os.environ.items() if name not in OURS}
        environment |= {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._printed,
                env=environment,
            )
        except OSError as error:
            raise TrackerError(f"the tracker's program does not start: {error}; run the installation again") from error
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def ask(
        self,
        name: str,
        settings: dict | None = None,
        arrays: dict[str, np.ndarray] | None = None,
        timeout_s: float | None = None,
    ) -> Message:
        """Send a request and wait for its answer, for at most `timeout_s` (the worker's own if not given).

        Raises TrackerError, with the last lines that the worker printed, if it fails, ends or is late. After an end
        or a delay it is gone, and every further request fails.
        """
        if self._process.stdin.closed:
            raise TrackerError(f"the tracker {self._ended()} before it was asked to {name}{self._last_lines()}")
        allowed_s, late = timeout_s or self.timeout_s, threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(allowed_s, stop)
        timer.daemon = True
        timer.start()
        try:
            write_message(self._process.stdin, name, settings, arrays)
            answer = read_message(self._process.stdout)
        except (EOFError, OSError, ValueError) as error:
            _end(self._process)
            how = self._ended() if not isinstance(error, ValueError) else f"wrote what is no answer: {error}"
            how = f"gave no answer within {allowed_s:g} s and was killed" if late.is_set() else how
            raise TrackerError(f"the tracker {how} (asked to {name}){self._last_lines()}") from error
        finally:
            timer.cancel()
        if answer.name == "error":
            raise TrackerError(f"the tracker failed when asked to {name}:\n{answer.settings['text'].rstrip()}")
        return answer

    def close(self) -> None:
        """End the worker: politely, then by force. Closing twice is harmless."""
        if self._process.poll() is None:
            try:
                self.ask("close", timeout_s=CLOSE_S)
                self._process.wait(CLOSE_S)
            except (TrackerError, subprocess.TimeoutExpired):
                pass  # killed below
        self._end()
        self._printed.close()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ended(self) -> str:
        code = self._process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _last_lines(self) -> str:
        if self._printed.closed:
            return ""
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").splitlines()[-LAST_LINES:]
        return "; it printed nothing" if not lines else "; it last printed:\n" + "\n".join(lines)


def _end(process: subprocess.Popen) -> None:
    """Close the worker's pipes, at which it ends by itself, and kill it if it does not at once."""
    for pipe in (process.stdin, process.stdout):
        try:
            pipe.close()
        except OSError:
            pass  # what was left to write has nobody to read it
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
