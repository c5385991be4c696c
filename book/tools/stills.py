"""A still picture of every page that the book embeds: what stands there until a reader opens it, and in print.

Usage: python -m book.tools.stills            takes those whose page has changed, into book/stills

A headless Chromium opens each page, stops a recording at its middle and takes the picture once it no longer changes.
pages.json beside the pictures says which page each was taken of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from pathlib import Path

from book.tools.browser import Browser, BrowserError
from book.tools.build import ROOT
from book.tools.offline_pages import EMBEDDED

STILLS = ROOT / "book" / "stills"
TAKEN = STILLS / "pages.json"
WIDTH, HEIGHT, SCALE = 760, 480, 1.5  # as wide as the column of the book, with more pixels for print
QUALITY = 82
MOST_LOOKS = 30
HOW_HIGH = "document.documentElement.scrollHeight"
STOP_IN_THE_MIDDLE = """
    (() => {
      const time = document.getElementById("time");
      if (!time) return;
      time.value = time.max / 2;
      time.dispatchEvent(new Event("input"));
    })()
"""


def embedded_pages(root: Path = ROOT) -> dict[str, Path]:
    """Name → page, for every page that the book embeds."""
    return {path.stem: path for folder in EMBEDDED for path in sorted((root / folder).glob("*.html"))}


def fingerprint(page: Path) -> str:
    """Which page a still was taken of."""
    return hashlib.sha256(page.read_bytes()).hexdigest()[:16]


def taken() -> dict[str, str]:
    """Name → fingerprint of the page, of every still that there is."""
    return json.loads(TAKEN.read_text()) if TAKEN.exists() else {}


def out_of_date() -> list[str]:
    """Names of the embedded pages whose still is missing or was taken of another page."""
    known = taken()
    return [
        name
        for name, page in embedded_pages().items()
        if known.get(name) != fingerprint(page) or not (STILLS / f"{name}.jpg").is_file()
    ]


def shot(browser: Browser) -> bytes:
    """What the browser shows, as JPEG."""
    return base64.b64decode(browser.send("Page.captureScreenshot", format="jpeg", quality=QUALITY)["data"])


def still_of(browser: Browser, page: Path) -> bytes:
    """A picture of the page, taken when it no longer changes.

    Raises:
        BrowserError: it never stands still.
    """
    metrics = {"width": WIDTH, "deviceScaleFactor": SCALE, "mobile": False}
    browser.send("Emulation.setDeviceMetricsOverride", height=HEIGHT, **metrics)
    browser.open(page)
    time.sleep(2.0)  # recordings unpack themselves first
    browser.send("Emulation.setDeviceMetricsOverride", height=max(HEIGHT, browser.evaluate(HOW_HIGH)), **metrics)
    browser.evaluate(STOP_IN_THE_MIDDLE)
    before = b""
    for _ in range(MOST_LOOKS):
        time.sleep(1.0)
        now = shot(browser)
        if now == before:
            return now
        before = now
    raise BrowserError(f"{page.name} never stands still")


def take(names: list[str]) -> None:
    """Take the stills of these pages anew, and forget those of pages that are gone.

    Raises:
        BrowserError: there is no Chromium on this machine.
    """
    pages, known = embedded_pages(), taken()
    STILLS.mkdir(exist_ok=True)
    with Browser() as browser:
        for name in names:
            (STILLS / f"{name}.jpg").write_bytes(still_of(browser, pages[name]))
            known[name] = fingerprint(pages[name])
            print(f"still: {STILLS / name}.jpg")
    for path in STILLS.glob("*.jpg"):
        if path.stem not in pages:
            path.unlink()
    TAKEN.write_text(json.dumps({name: known[name] for name in sorted(known.keys() & pages.keys())}, indent=2) + "\n")


def main() -> None:
    """Take every still that is out of date."""
    try:
        take(sys.argv[1:] or out_of_date())
    except BrowserError as error:
        sys.exit(f"stills: {error}")


if __name__ == "__main__":
    main()
