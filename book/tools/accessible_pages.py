"""Sphinx extension: small repairs of the HTML that docutils and the theme write, for readers who listen to the page.

`tests/test_book_in_browser.py` runs axe-core over every page; each repair here answers something that it found.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

REPAIRS = (
    # a corner cell above a column of names heads nothing
    (re.compile(r'<th class="head">(?:<p>\s*</p>)?</th>'), '<td class="head"></td>'),
    # the blank before a link is not part of it, to be read out or underlined
    (re.compile(r"(>Solution to)(<a [^>]*>) "), r"\1 \2"),
    # the role doc-biblioentry was withdrawn; the entries stand in an element with the role list
    (re.compile(r'role="doc-biblioentry"'), 'role="listitem"'),
)


def repair(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Apply the repairs to the page's body, and let the keyboard reach tables and outputs that scroll."""
    for pattern, mend in REPAIRS:
        context["body"] = pattern.sub(mend, context.get("body", ""))
    if any(wide in context.get("body", "") for wide in ("<table", "cell_output")):
        app.add_js_file("scrolling.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", repair, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
