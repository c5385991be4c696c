"""The whole book as one PDF, printed by a headless Chromium.

Usage: python -m book.tools.pdf [FOLDER]        FOLDER: the built HTML, default _build/html

The pages are joined in the order of the contents into one HTML file, so that a link from one chapter to another stays
inside the PDF. Solutions are printed open. Of a turnable figure and of a lab the still picture is printed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from book.tools.browser import Browser, BrowserError
from book.tools.build import ROOT
from book.tools.edition import read_edition

OUT = ROOT / "_build" / "pdf"
STYLE = Path(__file__).resolve().parents[1] / "print.css"
WEB_EDITION = "In the web edition, to move:"
NOT_PRINTED = "a.headerlink, script, button, video, .toctree-wrapper, .onlyprint, #searchbox"
FRAME = """<!DOCTYPE html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="{static}/pygments.css"><link rel="stylesheet" href="{static}/katex/katex.css">
<style>{style}</style>
<script defer src="{static}/katex/katex.min.js"></script><script defer src="{static}/maths.js"></script>
</head><body><header class="cover"><p class="cover-title">{title}</p><p>{edition}</p></header>
<nav><h1>Contents</h1>{contents}</nav>{chapters}</body></html>"""
FOOTER = """<div style="width: 100%; font: 8px sans-serif; color: #555; display: flex; justify-content: space-between;
padding: 0 16mm"><span>{title}</span><span class="pageNumber"></span></div>"""
READY = """Promise.all([document.fonts.ready,
  ...[...document.images].map((image) => image.decode().catch(() => {}))]).then(() => document.images.length)"""


def parse(path: Path) -> BeautifulSoup:
    """One HTML page."""
    return BeautifulSoup(path.read_text(), "html.parser")


def pages_in_order(built: Path) -> list[tuple[str, Path]]:
    """The book's pages as its contents lists them, each with the part of the book it opens ("" inside a part)."""
    first = built / "book" / "index.html"
    pages, part = [("", first)], ""
    for tag in parse(first).select("nav.bd-links p.caption, nav.bd-links a.reference.internal"):
        if tag.name == "p":
            part = tag.get_text(strip=True)
        elif not tag["href"].startswith("#"):
            pages.append((part, (first.parent / tag["href"]).resolve()))
            part = ""
    return pages


def prefix(page: Path) -> str:
    """What keeps the places of one page apart from those of the others."""
    return f"{page.parent.name}-{page.stem}"


def chapter(page: Path, pages: set[Path]) -> Tag:
    """The article of one page, made ready to stand in one file with the others."""
    article = parse(page).select_one("article.bd-article")
    for tag in article.select(NOT_PRINTED):
        tag.decompose()
    for caption in article.select("figure.turnable figcaption"):
        title = caption.find_previous_sibling("img")["alt"] if caption.find_previous_sibling("img") else ""
        caption.string = f"{WEB_EDITION} {title or caption.get_text(' ', strip=True)}"
    for frame in article.find_all("iframe"):
        stand_in(frame, page)
    for details in article.find_all("details"):
        details["open"] = ""
    for tag in article.find_all(id=True):
        tag["id"] = f"{prefix(page)}-{tag['id']}"
    for image in article.find_all("img", src=True):
        image.attrs.pop("loading", None)
        if not image["src"].startswith("data:"):
            image["src"] = (page.parent / unquote(image["src"])).resolve().as_uri()
    for link in article.find_all("a", href=True):
        link["href"] = place(link["href"], page, pages)
    article.name, article["id"], article["class"] = "section", prefix(page), "chapter"
    return article


def stand_in(frame: Tag, page: Path) -> None:
    """Put the still of an embedded page, where there is one, and its title in the place of its frame."""
    still = page.parent / "stills" / f"{Path(urlsplit(frame['src']).path).stem}.jpg"
    title = frame["title"]
    if still.is_file():
        frame.insert_before(BeautifulSoup("", "html.parser").new_tag("img", src=f"stills/{still.name}", alt=title))
    frame.name, frame.string, frame.attrs = "p", f"{WEB_EDITION} {title}", {"class": "elsewhere"}


def place(address: str, page: Path, pages: set[Path]) -> str:
    """Where a link of `page` leads in the joined file; links to other places on the web stay as they are."""
    parts = urlsplit(address)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if parts.scheme or target not in pages:
        return address if parts.scheme else "#"
    return f"#{prefix(target)}-{parts.fragment}" if parts.fragment else f"#{prefix(target)}"


def write_source(built: Path, target: Path) -> Path:
    """Join the pages of the built book into the HTML file `target` and return it."""
    built = built.resolve()
    order = pages_in_order(built)
    chapters = [chapter(page, {page for _, page in order}) for _, page in order]
    lines = [
        (f'<p class="part">{part}</p>' if part else "")
        + f'<p><a href="#{prefix(page)}">{article.find("h1").get_text(" ", strip=True)}</a></p>'
        for (part, page), article in zip(order, chapters, strict=True)
    ]
    text = FRAME.format(
        title=chapters[0].find("h1").get_text(" ", strip=True), edition=read_edition(), style=STYLE.read_text(),
        static=(built / "_static").as_uri(), contents="\n".join(lines), chapters="\n".join(map(str, chapters)),
    )  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def print_book(source: Path, target: Path) -> None:
    """Print the joined file `source` into the PDF `target`, A4, with page numbers and an outline.

    Raises:
        BrowserError: there is no Chromium on this machine.
    """
    with Browser() as browser:
        browser.open(source)
        browser.evaluate(READY)
        footer = FOOTER.format(title=browser.evaluate("document.title"))
        inch = 1 / 25.4
        browser.print_pdf(
            target, paperWidth=210 * inch, paperHeight=297 * inch, marginTop=16 * inch, marginBottom=18 * inch,
            marginLeft=16 * inch, marginRight=16 * inch, printBackground=True, displayHeaderFooter=True,
            headerTemplate="<span></span>", footerTemplate=footer, generateDocumentOutline=True, generateTaggedPDF=True,
        )  # fmt: skip


def main() -> None:
    """Print the built book."""
    built = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    if not (built / "index.html").is_file():
        sys.exit(f"pdf: no built book in {built}; `make html` builds it")
    try:
        print_book(write_source(built, OUT / "book.html"), OUT / "geo4d-lite.pdf")
    except BrowserError as error:
        sys.exit(f"pdf: {error}")
    print(f"pdf: {OUT / 'geo4d-lite.pdf'}")


if __name__ == "__main__":
    main()
