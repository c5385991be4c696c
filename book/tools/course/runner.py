"""Runs a student's cells, one request a line, inside the sandbox; standard library and IPython only.

It is handed to Python as text, as the folder it comes from is hidden from the code it runs. Requests come on standard
input, answers leave on a file descriptor that the cells do not know; their own output is caught cell by cell.
"""

import io
import json
import os
import resource
import signal
import sys
import traceback

LONGEST_OUTPUT = 20_000
CLOSED_EVENTS = {"os.fork", "os.forkpty", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen"}
PATH_EVENTS = {"open", "os.listdir", "os.scandir", "os.chdir"}


class CellTimeout(BaseException):
    """A cell took too long; not an Exception, so that `except Exception` does not swallow it."""


class Bounded(io.StringIO):
    """A text stream that forgets what goes beyond its limit."""

    def write(self, text):
        room = LONGEST_OUTPUT - self.tell()
        super().write(text[: max(room, 0)])
        return len(text)


class PackageClosed:
    """Refuses to import the package that the assignments rebuild."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "geo4d_lite":
            raise ImportError("geo4d_lite is closed while your work is graded: write the function yourself")
        return None


def close_doors(hidden, kept):
    """Refuse processes and hidden folders with a message. Not a wall: C code does not pass here."""

    def watch(event, arguments):
        if event in CLOSED_EVENTS:
            raise PermissionError(f"{event}: graded code may not start other programs or processes")
        if event in PATH_EVENTS and arguments and isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if inside(path, hidden) and not inside(path, kept):
                raise PermissionError("this folder is closed while your work is graded")

    def inside(path, folders):
        return any(path == folder or path.startswith(folder + os.sep) for folder in folders)

    sys.addaudithook(watch)


def set_limits(limits):
    """Apply what the operating system enforces; a limit it does not know is left out."""
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            continue


def make_shell():
    """An IPython shell without history, so that magics work as in a notebook."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        stopped = False

        def enable_gui(self, gui=None):
            return None

        def showtraceback(self, *arguments, **options):
            return None  # the error itself is told; its frames would show the tests

        showsyntaxerror = showtraceback

    config = Config()
    config.HistoryManager.enabled = False
    return Shell(config=config)


def run_test(shell, setup, source):
    """Run a test on what the student defined. The set-up's names are its own: nobody can have changed them."""
    names = dict(shell.user_ns)
    exec(compile(setup, "set-up", "exec"), names)
    exec(compile(source, "test", "exec"), names)


def run_cell(shell, source):
    """Run a cell as a notebook does; raise what it raised."""
    result = shell.run_cell(source, store_history=False)
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        raise error


def answer(shell, request):
    """Run one cell and tell how it went. Computing time is what counts, so that a busy machine harms nobody."""
    output = Bounded()
    keep = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = output
    error = None
    shell.stopped = False
    signal.setitimer(signal.ITIMER_PROF, request["seconds"], 2.0)
    signal.setitimer(signal.ITIMER_REAL, request["wall_seconds"])
    try:
        if "setup" in request:
            run_test(shell, request["setup"], request["source"])
        else:
            run_cell(shell, request["source"])
    except BaseException as caught:
        error = caught
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout, sys.stderr = keep
    return {"ok": error is None, "error": told(error), "output": output.getvalue()}


def told(error):
    """An error in one or two lines."""
    if error is None:
        return ""
    if isinstance(error, CellTimeout):
        return str(error)
    if isinstance(error, NotImplementedError):
        return "not filled in yet (NotImplementedError)"
    return "".join(traceback.format_exception_only(error))[-600:].strip()


def main():
    """Answer requests until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.stdin = open(os.devnull, encoding="utf-8")

    set_limits(settings["limits"])
    shell = make_shell()

    def too_long(number, frame):
        if shell.stopped:
            os._exit(1)  # the first signal was swallowed
        shell.stopped = True
        raise CellTimeout("took too long and was stopped; is there a loop that never ends?")

    signal.signal(signal.SIGPROF, too_long)
    signal.signal(signal.SIGALRM, too_long)
    sys.meta_path.insert(0, PackageClosed())
    close_doors(settings["hidden"], settings["kept"])
    print(json.dumps({"ready": True}), file=replies, flush=True)
    own = os.getpid()
    for line in requests:
        reply = answer(shell, json.loads(line))
        if os.getpid() != own:
            os._exit(1)  # a copy of this process, made through C: its answers would be mixed with ours
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
