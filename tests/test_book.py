"""The built book: complete, strict, and readable from `file://` without a network."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

from book.tools import stills
from book.tools.browser import find_chromium
from book.tools.build import ROOT, BuildError, build_book, stage_book

RESOURCE_ATTRIBUTES = {
    "script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src",
    "video": "src", "audio": "src", "embed": "src", "object": "data",
}  # fmt: skip
LARGEST_TURNABLE_BYTES = 3_000_000
LINK_RELATIONS_NOT_LOADED = {"next", "prev", "index", "search", "author", "canonical", "license"}


@dataclass(frozen=True)
class Page:
    """One built HTML page."""

    path: Path
    soup: BeautifulSoup

    def resources(self) -> list[str]:
        """Addresses the browser loads by itself when the page opens."""
        return [
            tag[attribute]
            for name, attribute in RESOURCE_ATTRIBUTES.items()
            for tag in self.soup.find_all(name)
            if tag.get(attribute) and not LINK_RELATIONS_NOT_LOADED & set(tag.get("rel", []))
        ]

    def links(self) -> list[str]:
        """Targets of the page's own links."""
        return [tag["href"] for tag in self.soup.find_all("a") if tag.get("href")]

    def target(self, address: str) -> Path:
        """The file behind a relative address."""
        return (self.path.parent / unquote(urlsplit(address).path)).resolve()


def toc_files() -> list[str]:
    """Every page of `_toc.yml`, in order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


@pytest.fixture(scope="module")
def pages(built) -> list[Page]:
    """Every page of the book and every page it embeds."""
    return [Page(path, BeautifulSoup(path.read_text(), "html.parser")) for path in built_pages(built)]


def built_pages(built: Path) -> list[Path]:
    """HTML files that a reader can reach; the theme's templates under _static are not pages."""
    return [path for path in sorted(built.rglob("*.html")) if "_static" not in path.parts]


def test_every_chapter_is_in_the_table_of_contents_in_order_and_nothing_else():
    chapters = [file for file in toc_files() if file.startswith("notebooks/")]
    assert chapters == [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]


def test_every_prose_page_is_in_the_table_of_contents():
    prose = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert prose == {file for file in toc_files() if file.startswith("book/")}


def test_every_page_of_the_contents_is_built(built):
    assert [file for file in toc_files() if not (built / f"{file}.html").is_file()] == []
    assert (built / "index.html").is_file(), "the folder opens on the front page"


def test_nothing_of_the_assignments_is_published(built):
    texts = [path for path in built.rglob("*") if path.suffix in (".html", ".ipynb", ".txt", ".md", ".js")]
    assert not [path for path in built.rglob("*") if "assignments" in path.name]
    assert not [path for path in texts if "BEGIN SOLUTION" in path.read_text(errors="ignore")]


def test_no_page_loads_anything_from_elsewhere(pages):
    foreign = {
        f"{page.path.name}: {address[:100]}"
        for page in pages
        for address in page.resources()
        if not address.startswith("data:") and (urlsplit(address).scheme or address.startswith(("//", "/")))
    }
    assert foreign == set()


def test_no_style_sheet_and_no_inline_script_loads_anything_from_elsewhere(built, pages):
    sheets = {path.name: path.read_text() for path in built.rglob("*.css")}
    inline = {page.path.name: " ".join(tag.text for tag in page.soup.find_all(["script", "style"])) for page in pages}
    loads = re.compile(r"""(?:url\(|@import|import\(|fetch\(|src\s*=|_URL\s*=)\s*["']?(?:https?:)?//[^"')\s]+""")
    found = {name: loads.findall(text) for name, text in {**sheets, **inline}.items()}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_every_resource_and_every_internal_link_leads_somewhere(pages):
    missing = {
        f"{page.path.name} → {address[:100]}"
        for page in pages
        for address in [*page.resources(), *page.links()]
        if not urlsplit(address).scheme and urlsplit(address).path and not page.target(address).exists()
    }
    assert missing == set()


def test_every_internal_link_to_a_place_in_a_page_finds_the_place(pages):
    places = {page.path: {tag["id"] for tag in page.soup.find_all(id=True)} for page in pages}
    dead, followed = set(), 0
    for page in pages:
        for address in page.links():
            fragment, target = unquote(urlsplit(address).fragment), page.target(address)
            if urlsplit(address).scheme or not fragment:
                continue
            target = target if urlsplit(address).path else page.path
            followed += 1
            if fragment not in places.get(target, set()):
                dead.add(f"{page.path.name} → {address}")
    assert dead == set() and followed > 100


def test_every_image_is_described_in_words(pages):
    silent = {
        f"{page.path.name}: {image.get('src', '')[:80]}"
        for page in pages
        for image in page.soup.find_all("img")
        if not image.get("alt", "").strip() or re.search(r"\.(png|svg|jpe?g)$", image["alt"])
    }
    assert silent == set()


def test_every_embedded_page_has_a_title(pages):
    untitled = {page.path.name for page in pages for frame in page.soup.find_all("iframe") if not frame.get("title")}
    assert untitled == set()


def turnable_pages(pages) -> dict[Path, Page]:
    """The pages with turnable figures, which the chapters open."""
    return {page.path: page for page in pages if "viewers" in page.path.parts}


def test_a_turnable_figure_is_a_described_picture_and_a_button_until_it_is_opened(pages):
    opened = set()
    for page in pages:
        assert not [frame for frame in page.soup.find_all("iframe") if "viewers/" in frame["src"]], page.path.name
        for figure in page.soup.select("figure.turnable"):
            button, link = figure.button, figure.a
            assert button["data-page"] == link["href"] and button["data-title"], page.path.name
            assert figure.img["alt"] == button["data-title"] and page.target(figure.img["src"]).is_file()
            opened.add(page.target(link["href"]))
    assert opened == set(turnable_pages(pages)) and len(opened) >= 6


def test_a_turnable_figure_is_small_with_all_that_it_loads_and_says_how_large_it_is(pages):
    turnable = turnable_pages(pages)
    for page in pages:
        for figure in page.soup.select("figure.turnable"):
            path = page.target(figure.a["href"])
            loads = [address for address in turnable[path].resources() if not address.startswith("data:")]
            size = sum(file.stat().st_size for file in {path, *map(turnable[path].target, loads)})
            assert size <= LARGEST_TURNABLE_BYTES, path.name
            assert f"({size / 1e6:.1f} MB)" in figure.get_text(), path.name


def test_every_turnable_figure_has_a_title_and_can_be_turned_by_keys(pages):
    for path, page in turnable_pages(pages).items():
        text = path.read_text()
        assert page.soup.title.text and page.soup.html.get("lang") == "en", path.name
        assert "Arrow keys turn it, plus and minus zoom" in text and "ArrowLeft" in text, path.name


def test_every_embedded_page_has_a_still_and_where_one_can_be_taken_it_is_of_that_page():
    assert [name for name in stills.embedded_pages() if not (stills.STILLS / f"{name}.jpg").is_file()] == []
    if find_chromium() is not None:
        assert stills.out_of_date() == [], "run python -m book.tools.stills"


def test_formulas_are_set_by_the_vendored_katex_on_pages_that_have_any(built, pages):
    script = (built / "_static" / "katex" / "katex.min.js").resolve()
    for page in pages:
        if "viewers" not in page.path.parts:
            loads = script in {page.target(address) for address in page.resources()}
            assert loads == bool(page.soup.select(".math")), page.path.name


def test_no_formula_and_no_reference_is_left_as_source(pages):
    raw = re.compile(r"\{(?:cite|ref|numref|eq|doc|prf:ref)[^}]*\}`|:::\{|```\{")
    assert {page.path.name for page in pages if raw.search(page.soup.get_text())} == set()


def test_no_table_is_left_as_source(pages):
    """A cell that prints a table in Markdown shows a table."""
    raw = {page.path.name for page in pages for text in page.soup.select("main p") if text.get_text().startswith("|")}
    assert raw == set()


def test_the_strict_build_names_every_mistake(tmp_path):
    stage_book(tmp_path)
    mistakes = "{cite:p}`nobody1900` [gone](no_such_page.md) ![gone](no_such_picture.png) {ref}`no-such-label`"
    (tmp_path / "book" / "index.md").write_text(f"# Front\n\n{mistakes}\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    with pytest.raises(BuildError) as caught:
        build_book(tmp_path, quiet=True)
    for name in ("nobody1900", "no_such_page.md", "no_such_picture.png", "no-such-label"):
        assert name in str(caught.value)
