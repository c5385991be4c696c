"""`make lab`: the turnable figures of the chapters must turn in JupyterLab, which hands pages out in a sandbox."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "of-this-test"
START_S = 120


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[str]:
    """Address of the server that `make lab` starts."""
    of_its_own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-n", "lab"]  # `make test` runs this: its flags are not for this make
    recipe = subprocess.run(command, cwd=ROOT, env=of_its_own, capture_output=True, text=True, check=True).stdout
    line = recipe.splitlines()[-1].replace(".venv/bin", str(Path(sys.executable).parent))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*shlex.split(line), "--no-browser", "--allow-root", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--ServerApp.port_retries", "0", "--IdentityProvider.token", TOKEN]
    log = tmp_path_factory.mktemp("lab") / "log"
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as server:
        try:
            address, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
            while not answers(f"{address}/api"):
                assert server.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.3)
            yield address
        finally:
            server.terminate()


def answers(address: str) -> bool:
    """Whether somebody answers there."""
    try:
        with urlopen(address, timeout=10):
            return True
    except URLError:
        return False


@pytest.mark.parametrize(
    ("page", "drawn"), [("02_two_pointmaps", "plot.data.length > 2"), ("08_rollout", "viewer.animator.duration > 5")]
)
def test_a_turnable_figure_turns_in_jupyterlab(lab, browser, page, drawn):
    visit = browser.open(f"{lab}/files/viewers/{page}.html?token={TOKEN}", quiet_s=3.0)
    assert browser.evaluate("origin") == "null", "the page is not in a sandbox: nothing is tested"
    assert browser.evaluate(drawn), visit
