"""Sphinx extension: a page loads what it shows and nothing else.

Formulas are set by a vendored KaTeX, only on pages that have any. Icons come from one small style sheet with a subset
of the theme's own icon font, inside the sheet because browsers refuse font files from `file://`. Images below the first
are loaded when the reader comes near them. Scripts and styles of extensions that a page does not use are left out.
"""

from __future__ import annotations

import base64
import re
import shutil
from io import BytesIO
from pathlib import Path

from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

KATEX = Path(__file__).resolve().parents[1] / "vendor" / "katex"
NEVER = ("thebe", "mathjax")  # Jupyter Book adds both to every page
UNUSED = ("vendor/fontawesome", "sphinx-thebe.css", "sphinx-thebe.js", "webpack-macros.html", "sbt-webpack-macros.html")
ICON_FONT = Path("_static") / "vendor" / "fontawesome"
ICON_RULES = """/* {count} icons of Font Awesome Free by Fonticons, Inc. (icons CC BY 4.0, font SIL OFL 1.1). */
@font-face {{ font-family: "Book Icons"; font-weight: 900; src: url(data:font/woff;base64,{font}) format("woff"); }}
:root {{ --fa-font-solid: normal 900 1em/1 "Book Icons"; --fa-font-regular: var(--fa-font-solid); }}
.fa-solid, .fas {{ font: var(--fa-font-solid); display: inline-block; text-rendering: auto; }}
.fa-lg {{ font-size: 1.25em; line-height: 0.05em; vertical-align: -0.075em; }}
{rules}"""


def leave_out_unused(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Keep the scripts and styles that this page uses."""
    unused = (*NEVER, *(() if 'class="sd-' in context.get("body", "") else ("sphinx-design", "design-tabs")))
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if not any(word in f"{file} {getattr(file, 'attributes', '')}".lower() for word in unused)
        ]


def load_formulas(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Add KaTeX to a page that has a formula."""
    if 'class="math ' in context.get("body", "") or "amsmath" in context.get("body", ""):
        app.add_css_file("katex/katex.css")
        for script in ("katex/katex.min.js", "maths.js"):
            app.add_js_file(script, loading_method="defer")


def load_images_late(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Mark every image after the first as one to load when the reader comes near it."""
    first, mark, rest = context.get("body", "").partition("<img ")
    if mark:
        context["body"] = first + mark + rest.replace("<img ", '<img loading="lazy" ')


def write_katex(app: Sphinx, error: Exception | None) -> None:
    """Put KaTeX beside the pages, its fonts inside its style sheet; a font that is not vendored is left out."""
    if error is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "katex"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(KATEX / "katex.min.js", target)
        shutil.copy2(KATEX / "LICENSE", target)
        (target / "katex.css").write_text(katex_style((KATEX / "katex.min.css").read_text(), KATEX / "fonts"))


def katex_style(style: str, fonts: Path) -> str:
    """KaTeX's style sheet with the WOFF2 files of the folder `fonts` inside it."""

    def embed(rule: re.Match) -> str:
        name = re.search(r"url\(fonts/([\w-]+\.woff2)\)", rule[0])
        if not (fonts / name[1]).is_file():
            return ""
        data = base64.b64encode((fonts / name[1]).read_bytes()).decode()
        return re.sub(r"src:[^}]*", f'src:url(data:font/woff2;base64,{data}) format("woff2")', rule[0])

    return re.sub(r"@font-face\{[^}]*\}", embed, style)


def write_icons(app: Sphinx, error: Exception | None) -> None:
    """Write icons.css with the icons that the pages and the theme's styles name, then drop what no page loads."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    release = next((out / ICON_FONT).iterdir())
    pages = [path for path in out.rglob("*.html") if "_static" not in path.parts]
    texts = [path.read_text() for path in (*pages, *(out / "_static" / "scripts").glob("*.js"))]
    names = set(re.findall(r"\bfa-[a-z-]+", " ".join(texts)))
    styles = " ".join(path.read_text() for path in (out / "_static").rglob("*.css") if release not in path.parents)
    points = {int(code, 16) for code in re.findall(r"\\(f[0-9a-f]{3})\b", styles)}
    points |= {ord(letter) for letter in re.findall("[\uf000-\uf8ff]", styles)}
    every = icon_points((release / "css" / "all.min.css").read_text())
    shown = {name: every[name] for name in sorted(names & every.keys())}
    font = icon_font(release / "webfonts" / "fa-solid-900.ttf", points | set(shown.values()))
    rules = "".join(f'.{name}::before {{ content: "\\{point:x}"; }}\n' for name, point in shown.items())
    sheet = ICON_RULES.format(count=len(points | set(shown.values())), font=font, rules=rules)
    (out / "_static" / "icons.css").write_text(sheet)
    for name in UNUSED:
        path = out / "_static" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (out / "_static").rglob("*.map"):
        path.unlink()


def icon_points(style: str) -> dict[str, int]:
    """Class name of an icon → its code point, from Font Awesome's style sheet."""
    rules = re.findall(r'([^{}]+)\{content:"\\([0-9a-f]+)"\}', style)
    return {name: int(code, 16) for names, code in rules for name in re.findall(r"\.(fa-[a-z0-9-]+):before", names)}


def icon_font(path: Path, points: set[int]) -> str:
    """The glyphs `points` of the font at `path` as a WOFF file in base64."""
    font = TTFont(path, recalcTimestamp=False)
    chooser = subset.Subsetter(subset.Options(notdef_outline=True, hinting=False))
    chooser.populate(unicodes=points)
    chooser.subset(font)
    font.flavor = "woff"
    file = BytesIO()
    font.save(file)
    return base64.b64encode(file.getvalue()).decode()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", load_formulas, priority=800)
    app.connect("html-page-context", load_images_late, priority=800)
    app.connect("html-page-context", leave_out_unused, priority=900)
    app.connect("build-finished", write_katex, priority=800)
    app.connect("build-finished", write_icons, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
