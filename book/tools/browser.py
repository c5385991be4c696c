"""A headless Chromium, driven through its DevTools protocol over a pipe; standard library only.

The tests look at the built book with it, `book.tools.page_weights` weighs the pages, `book.tools.pdf` prints them.
Nothing leaves this machine: the browser's only proxy is a port on which nothing listens.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
SETTINGS = (
    "--headless", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars", "--mute-audio", "--no-first-run",
    "--no-sandbox",  # containers and the root user have none to give; only pages of our own build are opened
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-default-apps", "--disable-sync", "--proxy-server=127.0.0.1:9",
    "--force-color-profile=srgb", "--font-render-hinting=none",
)  # fmt: skip
MISSING = (
    "no Chromium or Chrome on this machine (Debian, Ubuntu: sudo apt-get install chromium); "
    "GEO4D_CHROMIUM=/path/to/it names one in another place"
)
HAND_OVER = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""
LONGEST_WAIT_S = 300.0  # for one answer; the whole book takes a busy machine minutes to print


class BrowserError(Exception):
    """The browser is missing, died, or refused a command; the message says which."""


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome on this machine, `GEO4D_CHROMIUM` first; None where there is none."""
    named = os.environ.get("GEO4D_CHROMIUM", "")
    found = (shutil.which(name) for name in (named, *NAMES, MAC) if name)
    return next((path for path in found if path), None)


@dataclass
class Visit:
    """What opening one page did: the addresses it and its frames asked for, what failed, what the console said."""

    requests: list[str] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)  # asked for by frames in the page
    failures: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Browser:
    """One headless browser with one tab; use it in a `with` statement.

    Raises:
        BrowserError: there is no Chromium on this machine.
    """

    def __init__(self, width: int = 1366, height: int = 768) -> None:
        program = find_chromium()
        if program is None:
            raise BrowserError(MISSING)
        self.profile = tempfile.TemporaryDirectory(prefix="geo4d-browser-", ignore_cleanup_errors=True)
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()
        self.process = start(program, to_browser, from_browser, self.profile.name)
        self.buffer, self.sent, self.events, self.session = b"", 0, [], None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        # a colour in the middle of a transition is no colour of the page
        still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        self.send("Emulation.setEmulatedMedia", features=still)
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.write_end)  # a browser whose pipe is closed goes away
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read_end)
        self.profile.cleanup()

    def receive(self, wait_s: float) -> dict | None:
        """The next message, or None after `wait_s` seconds without one."""
        until = time.monotonic() + wait_s
        while b"\0" not in self.buffer:
            ready = select.select([self.read_end], [], [], max(0.0, until - time.monotonic()))[0]
            if not ready:
                return None
            part = os.read(self.read_end, 1 << 20)
            if not part:
                raise BrowserError(f"the browser ended (exit status {self.process.poll()})")
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def send(self, method: str, **params: object) -> dict:
        """Send one command of the DevTools protocol and return its result; events that arrive meanwhile are kept."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + LONGEST_WAIT_S
        while (left := until - time.monotonic()) > 0:
            answer = self.receive(left)
            if answer is None:
                break
            if answer.get("id") != self.sent:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error'].get('message')}")
            else:
                return answer["result"]
        raise BrowserError(f"{method}: no answer after {LONGEST_WAIT_S:.0f} s")

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Set the viewport, in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, address: str | Path, quiet_s: float = 0.4) -> Visit:
        """Open a page, wait until it is loaded and has asked for nothing more during `quiet_s` seconds."""
        url = address.resolve().as_uri() if isinstance(address, Path) else address
        self.events.clear()
        main_frame = self.send("Page.navigate", url=url)["frameId"]
        seen, loaded, until = list(self.events), False, time.monotonic() + LONGEST_WAIT_S
        self.events.clear()
        while time.monotonic() < until:
            loaded = loaded or any(event["method"] == "Page.loadEventFired" for event in seen)
            event = self.receive(quiet_s if loaded else 1.0)
            if event is not None:
                seen.append(event)
            elif loaded:
                return visit_of(seen, main_frame)
        raise BrowserError(f"{url} is not loaded after {LONGEST_WAIT_S:.0f} s")

    def evaluate(self, expression: str) -> object:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def print_pdf(self, path: Path, **options: object) -> None:
        """Print the page into a PDF; `options` are those of the protocol's Page.printToPDF."""
        stream = self.send("Page.printToPDF", transferMode="ReturnAsStream", **options)["stream"]
        with path.open("wb") as file:
            while not (part := self.send("IO.read", handle=stream))["eof"]:
                file.write(base64.b64decode(part["data"]))
        self.send("IO.close", handle=stream)


def start(program: str, to_browser: int, from_browser: int, profile: str) -> subprocess.Popen:
    """Start the browser; the two pipe ends become its descriptors 3 and 4, as the protocol wants, and close here."""
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]  # out of the way of 3 and 4
    command = [sys.executable, "-I", "-S", "-c", HAND_OVER, *map(str, ends), program, *SETTINGS]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"], pass_fds=ends, stdin=quiet, stdout=quiet, stderr=quiet
    )
    for end in (to_browser, from_browser, *ends):
        os.close(end)
    return process


def visit_of(events: list[dict], main_frame: str) -> Visit:
    """Sort what the browser reported while a page loaded into the frame `main_frame`."""
    visit, urls = Visit(), {}
    for event in events:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                urls[params["requestId"]] = params["request"]["url"]
                whose = visit.requests if params.get("frameId") == main_frame else visit.embedded
                whose.append(params["request"]["url"])
            case "Network.loadingFailed" if not params.get("canceled"):
                visit.failures.append(f"{urls.get(params['requestId'], '?')}: {params['errorText']}")
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                visit.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                visit.complaints.append(params["entry"]["text"])
    return visit
