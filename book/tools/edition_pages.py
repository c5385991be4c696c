"""Sphinx extension: version and commit below every page and below the first cell of a chapter, and above it the buttons
that hand out its notebook.
"""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from book.tools.colab import colab_address
from book.tools.edition import ROOT, read_edition, stored_at
from geo4d_lite import __version__


def sign(app: Sphinx, config: Config) -> None:
    """Write the edition into the footer."""
    config.html_theme_options["extra_footer"] = f'<p class="edition">{read_edition()}</p>'


def date_outputs(app: Sphinx, doctree: nodes.document) -> None:
    """Say below a chapter's first cell which version and commit its outputs were stored with.

    A chapter that was run just now, on this machine, is another file than the stored one and says nothing.
    """
    page = Path(app.env.doc2path(app.env.docname))
    stored = ROOT / f"{app.env.docname}.ipynb"
    if page.suffix != ".ipynb" or not stored.is_file() or stored.read_bytes() != page.read_bytes():
        return
    commit = stored_at(stored)
    cell = next((node for node in doctree.findall(nodes.container) if "cell" in node["classes"]), None)
    if commit and cell is not None:
        words = f"Outputs of this chapter: geo4d-lite {__version__}, stored at {commit}."
        cell.parent.insert(cell.parent.index(cell) + 1, nodes.paragraph("", words, classes=["edition"]))


def offer_notebook(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Tell the page's buttons where its notebook lies, and where Colab finds the copy that installs the package."""
    if doctree is not None and Path(app.env.doc2path(page)).suffix == ".ipynb":
        app.add_js_file("download.js")
        context["notebook_name"] = Path(page).name + ".ipynb"
        context["notebook_file"] = context["pathto"](f"_sources/{page}.ipynb", 1)
        context["colab_address"] = colab_address(read_edition(), Path(page).name)


def write_notebook_scripts(app: Sphinx, error: Exception | None) -> None:
    """Beside every notebook that is handed out, the script that hands it out where the book is read from files."""
    if error is None and app.builder.format == "html":
        for path in (Path(app.outdir) / "_sources").rglob("*.ipynb"):
            text = f"handOut({json.dumps(path.name)}, {json.dumps(path.read_text(encoding='utf-8'))});\n"
            path.with_name(f"{path.name}.js").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", sign, priority=900)
    app.connect("doctree-read", date_outputs)
    app.connect("html-page-context", offer_notebook, priority=800)
    app.connect("build-finished", write_notebook_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
