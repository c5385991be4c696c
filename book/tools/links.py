"""The book's links to other places, for a check on a machine with a network; nothing here opens one.

Usage: python -m book.tools.links [FOLDER]        FOLDER: the built HTML, default _build/html

Prints one address a line, then the pages that name it, so that `cut -f 1` feeds any link checker.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urldefrag

from bs4 import BeautifulSoup

from book.tools.build import ROOT
from book.tools.page_weights import pages_of


def external_links(folder: Path) -> dict[str, list[str]]:
    """Address without its fragment → names of the pages that link to it, sorted."""
    found: dict[str, set[str]] = {}
    for page in pages_of(folder):
        for tag in BeautifulSoup(page.read_text(), "html.parser").find_all("a", href=True):
            if tag["href"].startswith(("http://", "https://")):
                found.setdefault(urldefrag(tag["href"]).url, set()).add(page.stem)
    return {address: sorted(found[address]) for address in sorted(found)}


def main() -> None:
    """Print the links of the built book."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        sys.exit(f"links: no built book in {folder}; `make html` builds it")
    for address, pages in external_links(folder).items():
        print(f"{address}\t{', '.join(pages)}")


if __name__ == "__main__":
    main()
