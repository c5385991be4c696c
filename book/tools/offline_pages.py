"""Sphinx extension: the finished book opens from `file://`, needs no network, and describes its figures in words.

It copies the turnable 3D pages and the labs that the book embeds and gives every figure of a notebook the alt text that
`geo4d_lite.figures.show` stored beside it. What a page loads is the matter of `lean_pages`.
"""

from __future__ import annotations

import hashlib
import shutil
from binascii import a2b_base64
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx

STILLS = Path("book") / "stills"
EMBEDDED = (Path("notebooks") / "viewers", Path("book") / "labs")


def copy_embedded(app: Sphinx, error: Exception | None) -> None:
    """Put the embedded pages beside the built ones, where the book looks for them, and their stills."""
    for folder in (*EMBEDDED, STILLS):
        source = Path(app.srcdir) / folder
        if error is None and app.builder.format == "html" and source.is_dir():
            shutil.copytree(source, Path(app.outdir) / folder, dirs_exist_ok=True)


def describe_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Set the alt text of a notebook's figures; MyST-NB names an output image by its hash and drops its metadata."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix == ".ipynb":
        alt_texts = stored_alt_texts(source)
        for image in doctree.findall(nodes.image):
            image["alt"] = alt_texts.get(Path(image["uri"]).stem, image.get("alt", ""))


def stored_alt_texts(path: Path) -> dict[str, str]:
    """SHA-256 of a stored PNG → its alt text, for every figure of the notebook `path`."""
    cells = nbformat.read(path, as_version=4).cells
    return {
        hashlib.sha256(a2b_base64(output.data["image/png"])).hexdigest(): output.metadata["image/png"]["alt"]
        for cell in cells
        for output in cell.get("outputs", [])
        if "alt" in output.get("metadata", {}).get("image/png", {})
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", copy_embedded)
    app.connect("doctree-read", describe_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
