"""Sphinx extension: a turnable figure is a still picture until the reader opens it; nothing of it is loaded before.

In the notebooks it is a frame, as Jupyter wants it. In the book the frame becomes the still of `book/stills`, a button
that puts the page in its place, and a link to the page, for readers without scripts. In print the still remains.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from book.tools.offline_pages import STILLS

FRAME = re.compile(r'<iframe\b(?P<attributes>[^>]*\bsrc="(?P<page>viewers/(?P<name>[\w-]+)\.html)"[^>]*)>\s*</iframe>')
FIGURE = """<figure class="turnable">
{still}
<figcaption><button type="button" data-page="{page}" data-title="{title}" data-height="{height}">
Turn this figure</button> <span>{title} ({size}); or <a href="{page}">on a page of its own</a>.</span></figcaption>
</figure>"""


def close_frames(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put a still and a button in the place of every turnable frame of the page."""
    body = context.get("body", "")
    if not FRAME.search(body):
        return
    folder = Path(app.srcdir) / Path(page).parent
    up = context["pathto"](STILLS.as_posix(), 1)

    def closed(frame: re.Match) -> str:
        title = re.search(r'\btitle="([^"]*)"', frame["attributes"])[1]
        height = re.search(r'\bheight="(\d+)"', frame["attributes"])[1]
        there = (Path(app.srcdir) / STILLS / f"{frame['name']}.jpg").is_file()
        still = f'<img src="{up}/{frame["name"]}.jpg" alt="{title}">' if there else ""
        size = words_of(bytes_of(folder / frame["page"]))
        return FIGURE.format(still=still, page=frame["page"], title=title, height=height, size=size)

    context["body"] = FRAME.sub(closed, body)
    app.add_js_file("turnable.js", loading_method="defer")


def bytes_of(page: Path) -> int:
    """The size of a page with the scripts beside it that it loads."""
    scripts = re.findall(r'<script src="([\w.-]+)"', page.read_text(encoding="utf-8"))
    return sum(path.stat().st_size for path in (page, *(page.with_name(name) for name in scripts)))


def words_of(size: int) -> str:
    """A size as a reader wants it."""
    return f"{size / 1e6:.1f} MB"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx; before images are told to load late."""
    app.connect("html-page-context", close_frames, priority=700)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
