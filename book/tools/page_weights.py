"""What a reader downloads to see the first screen of a page, in bytes, for every page of the built book.

Usage: python -m book.tools.page_weights [FOLDER]        FOLDER: the built HTML, default _build/html

A headless browser opens each page in a window of 1366 × 768 without scrolling and reports what it asked for; the sizes
are those of the files, uncompressed. A browser reads a lazy frame some way before the reader reaches it; such a frame
counts, with what it loads, only where it stands on the first screen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from book.tools.browser import Browser, BrowserError, Visit
from book.tools.build import ROOT

LIMIT_BYTES = 1_500_000
KINDS = {"page": (".html",), "styles": (".css",), "scripts": (".js",), "images": (".png", ".svg", ".jpg", ".gif")}
FRAMES_ON_THE_FIRST_SCREEN = """
    [...document.querySelectorAll("iframe")]
      .filter((frame) => frame.loading !== "lazy" || frame.getBoundingClientRect().top < innerHeight)
      .map((frame) => frame.src)
"""


@dataclass(frozen=True)
class Weight:
    """The first view of one page: bytes of each kind of file, and what frames on the first screen add."""

    page: str
    bytes: dict[str, int]

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return sum(self.bytes.values())


def pages_of(folder: Path) -> list[Path]:
    """The pages of a built book: every HTML file but the embedded viewers and the redirecting front door."""
    return [
        path
        for path in sorted(folder.rglob("*.html"))
        if not {"_static", "viewers"} & set(path.parts) and path != folder / "index.html"
    ]


def weigh(browser: Browser, folder: Path, page: Path, visit: Visit) -> Weight:
    """Add up the files that the first view of the page just opened needs; frames on it are opened to weigh them."""
    sizes = files_of(visit.requests)
    weight = dict.fromkeys((*KINDS, "other", "frames"), 0)
    for path, size in sizes.items():
        kind = next((kind for kind, endings in KINDS.items() if path.suffix in endings), "other")
        weight[kind] += size
    for address in browser.evaluate(FRAMES_ON_THE_FIRST_SCREEN):
        weight["frames"] += sum(files_of(browser.open(address).requests).values())
    return Weight(page.relative_to(folder).with_suffix("").as_posix(), weight)


def files_of(requests: list[str]) -> dict[Path, int]:
    """The files behind `file://` addresses, each once, and their sizes in bytes."""
    paths = {Path(unquote(urlsplit(address).path)) for address in requests if address.startswith("file:")}
    return {path: path.stat().st_size for path in paths if path.is_file()}


def weigh_book(folder: Path) -> list[Weight]:
    """The weight of every page's first view, heaviest first.

    Raises:
        BrowserError: there is no Chromium on this machine.
    """
    with Browser(1366, 768) as browser:
        weights = [weigh(browser, folder, page, browser.open(page)) for page in pages_of(folder)]
    return sorted(weights, key=lambda weight: -weight.total)


def table(weights: list[Weight]) -> str:
    """The weights as aligned text, in kB (1000 bytes)."""
    kinds = list(weights[0].bytes)
    lines = [f"{'first view, kB':44}{'total':>7}" + "".join(f"{kind:>9}" for kind in kinds)]
    for weight in weights:
        parts = "".join(f"{size / 1000:9.0f}" for size in weight.bytes.values())
        lines.append(f"{weight.page:44}{weight.total / 1000:7.0f}{parts}")
    return "\n".join(lines)


def main() -> None:
    """Weigh the built book, print the table, and fail where a page is too heavy."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        sys.exit(f"page weights: no built book in {folder}; `make html` builds it")
    try:
        weights = weigh_book(folder.resolve())
    except BrowserError as error:
        sys.exit(f"page weights: {error}")
    print(table(weights))
    heavy = [weight.page for weight in weights if weight.total > LIMIT_BYTES]
    if heavy:
        sys.exit(f"page weights: over {LIMIT_BYTES / 1e6:.1f} MB: {', '.join(heavy)}")


if __name__ == "__main__":
    main()
