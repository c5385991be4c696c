"""The built book in a headless Chromium with the network cut: it loads, searches, sets its formulas, fits a phone."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest

from book.tools import page_weights
from book.tools.browser import MISSING, Browser, BrowserError, Visit, find_chromium
from book.tools.build import ROOT
from book.tools.page_weights import LIMIT_BYTES, pages_of

pytestmark = pytest.mark.timeout(3600)  # a visit to every page: a minute or two, on a busy machine many
AXE = Path(__file__).parent / "axe" / "axe.min.js"
ABOUT_THE_MACHINE = ("WebGL", "willReadFrequently")  # a viewer drawn in software, as every headless browser does
PHONE = (360, 740)
KATEX_STYLE = Path("_static") / "katex" / "katex.css"
FORMULAS = """({
    count: document.querySelectorAll(".math").length,
    unset: [...document.querySelectorAll(".math:not(:has(.katex))")].map((it) => it.textContent),
    errors: [...document.querySelectorAll(".katex-error")].map((it) => it.title),
    families: [...new Set([...document.querySelectorAll(".katex-html *")]
      .map((part) => getComputedStyle(part).fontFamily.split(",")[0].replaceAll('"', "")))]
})"""
FIND_VIOLATIONS = """
    axe.run({exclude: [".katex-html"]}, {resultTypes: ["violations"], iframes: false, RULES})
      .then((result) => result.violations.flatMap(
      (rule) => rule.nodes.map((node) => `${rule.id}: ${node.target.join(" ")}: ${node.html.slice(0, 100)}`)))
"""
SEARCH_RESULTS = """
    new Promise((done) => {
      const look = (left) => {
        const found = [...document.querySelectorAll("#search-results li a")].map((link) => link.getAttribute("href"));
        const finished = /found|did not match/.test(document.querySelector("#search-results p")?.textContent ?? "");
        finished || !left ? done(found) : setTimeout(look, 200, left - 1);
      };
      look(100);
    })
"""
STICKING_OUT = """
    (document.documentElement.scrollWidth <= innerWidth) ? [] : [...document.querySelectorAll("main *")]
      .filter((part) => part.getBoundingClientRect().right > innerWidth + 1)
      .map((part) => `${part.tagName}.${part.className}`).slice(0, 3).concat(document.documentElement.scrollWidth)
"""


@dataclass(frozen=True)
class Seen:
    """What one visit to one page showed."""

    name: str
    visit: Visit
    weight: page_weights.Weight
    formulas: dict
    barriers: dict[str, list[str]]
    sticking_out: list[str]


def look_at(browser: Browser, built: Path, page: Path) -> Seen:
    """Open a page once and look at it on a desktop, in the light and in the dark, then at a phone's width."""
    browser.resize(1366, 768)
    visit = browser.open(page)
    formulas = browser.evaluate(FORMULAS)
    browser.evaluate(AXE.read_text())
    barriers = {"light": browser.evaluate(find_violations())}
    browser.evaluate('document.documentElement.dataset.theme = "dark"')
    barriers["dark"] = browser.evaluate(find_violations("color-contrast"))  # nothing else changes in the dark
    browser.resize(*PHONE, mobile=True)
    sticking_out = browser.evaluate(STICKING_OUT)
    browser.resize(1366, 768)
    return Seen(page.name, visit, page_weights.weigh(browser, built, page, visit), formulas, barriers, sticking_out)


def find_violations(*rules: str) -> str:
    """The script that lists what axe-core's `rules` (default: all of them) object to in the page."""
    return FIND_VIOLATIONS.replace("RULES", f"runOnly: {json.dumps(rules)}" if rules else "")


@pytest.fixture(scope="module")
def seen(built) -> list[Seen]:
    """Every page of the book, visited once."""
    if find_chromium() is None:
        pytest.skip(MISSING)
    with Browser() as browser:
        return [look_at(browser, built, page) for page in pages_of(built)]


def test_every_page_loads_with_the_network_cut_and_asks_for_nothing_but_files(seen):
    bad = {}
    for page in seen:
        requests = page.visit.requests + page.visit.embedded
        elsewhere = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
        complaints = [text for text in page.visit.complaints if not any(word in text for word in ABOUT_THE_MACHINE)]
        if elsewhere or page.visit.failures or complaints:
            bad[page.name] = (elsewhere, page.visit.failures, complaints)
    assert bad == {} and len(seen) > 15


def test_a_request_to_elsewhere_would_be_seen_and_would_fail(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="http://elsewhere.example/picture.png"><script src="gone.js"></script>')
    visit = browser.open(page)
    assert "http://elsewhere.example/picture.png" in visit.requests
    assert {failure.split(": net::")[0].rsplit("/", 1)[1] for failure in visit.failures} == {"picture.png", "gone.js"}


def test_every_formula_is_set(seen):
    assert {page.name: page.formulas["unset"] for page in seen if page.formulas["unset"]} == {}
    assert {page.name: page.formulas["errors"] for page in seen if page.formulas["errors"]} == {}
    assert sum(page.formulas["count"] for page in seen) > 100


def test_formulas_use_only_fonts_that_are_in_the_book(built, seen):
    there = set(re.findall(r"@font-face\{[^}]*font-family:\"?(KaTeX_\w+)", (built / KATEX_STYLE).read_text()))
    used = {family for page in seen for family in page.formulas["families"]}
    assert {"KaTeX_Main", "KaTeX_Math"} <= used <= there


def test_the_search_finds_pages_from_files(browser, built):
    found = search(browser, (built / "search.html").as_uri(), "pointmap")
    assert any("02_pointmap_projection.html" in address for address in found)
    assert search(browser, (built / "search.html").as_uri(), "nowhereinthisbook") == []


def test_the_search_finds_pages_on_a_static_host(browser, built):
    with serving(built) as host:
        found = search(browser, f"{host}/search.html", "gripper")
    assert any("07_pose_extraction.html" in address for address in found)


class SilentHandler(SimpleHTTPRequestHandler):
    """A static host that does not write its log into the test's."""

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a static host on this machine that serves a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SilentHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def search(browser: Browser, page: str, word: str) -> list[str]:
    """Addresses that the search page lists for one word."""
    browser.open(f"{page}?q={word}")
    return browser.evaluate(SEARCH_RESULTS)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_barrier_on_any_page(seen, theme):
    """Contrast, names, roles, headings, alt texts. No rule is excepted. Two kinds of element are: the drawn half
    of a formula (hidden from those who listen, who get MathML; in the text's own colour), and embedded pages.
    """
    assert {page.name: page.barriers[theme] for page in seen if page.barriers[theme]} == {}


def test_an_embedded_page_has_no_barrier_asks_for_nothing_and_says_what_takes_the_keys(browser, built):
    """A reader's screen reader keeps the arrow keys for itself unless the role is that of an application."""
    viewers, labs = (sorted(built.glob(f"{folder}/*.html")) for folder in ("notebooks/viewers", "book/labs"))
    barriers, roles, elsewhere, too_wide = {}, {}, {}, []
    for page in (*viewers, *labs):
        browser.resize(1366, 768)
        visit = browser.open(page)
        elsewhere[page.name] = [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))]
        browser.evaluate(AXE.read_text())
        barriers[page.name] = browser.evaluate(find_violations())
        browser.resize(*PHONE, mobile=True)
        too_wide += [page.name] if browser.evaluate("document.documentElement.scrollWidth > innerWidth") else []
        roles[page] = browser.evaluate("[...document.querySelectorAll('[tabindex]:not(img)')].map((part) => part.role)")
    assert len(viewers) >= 6 and len(labs) >= 2
    assert {name: found for name, found in barriers.items() if found} == {}
    assert {name: asked for name, asked in elsewhere.items() if asked} == {} and too_wide == []
    assert {page.name: roles[page] for page in viewers if roles[page] != ["application"]} == {}
    assert {page.name: roles[page] for page in labs if set(roles[page]) - {"application"}} == {}


def test_axe_would_find_grey_on_grey_and_a_silent_picture(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<p style="color: #999; background: #aaa">grey</p><img src="missing.gif">')
    browser.open(page)
    browser.evaluate(AXE.read_text())
    assert {"color-contrast", "image-alt"} <= {line.split(":")[0] for line in browser.evaluate(find_violations())}


ORPHANS = """
    [...document.querySelectorAll("main .math")].map((place) => [place, place.nextSibling])
      .filter(([place, next]) => next?.nodeType === 3 && next.data.startsWith("."))
      .filter(([place, next]) => place.querySelector(".katex-base"))
      .filter(([place, next]) => {
        const stop = document.createRange(), end = [...place.querySelectorAll(".katex-base")].pop();
        stop.setStart(next, 0);
        stop.setEnd(next, 1);
        return stop.getBoundingClientRect().left < end.getBoundingClientRect().left;
      }).map(([place, next]) => place.querySelector("annotation").textContent + next.data)
"""


def test_a_full_stop_stays_on_the_line_of_a_short_formula(browser, built):
    browser.open(built / "notebooks" / "03_demonstrations.html")
    found = set()
    for width in range(900, 1400, 8):
        browser.resize(width, 768)
        found |= set(browser.evaluate(ORPHANS))
    assert found == set()


def test_no_page_is_wider_than_a_phone(seen):
    assert {page.name: page.sticking_out for page in seen if page.sticking_out} == {}


def test_the_reader_can_switch_to_the_dark(browser, built):
    background = "getComputedStyle(document.body).backgroundColor"
    browser.open(built / "book" / "index.html")
    light = browser.evaluate(background)
    for _ in range(3):
        browser.evaluate('document.querySelector(".theme-switch-button").click()')
        if browser.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    dark = browser.evaluate(background)
    assert sum(json.loads(light[3:].replace("(", "[").replace(")", "]"))) > 700
    assert sum(json.loads(dark[3:].replace("(", "[").replace(")", "]"))) < 120


def test_in_the_dark_a_figure_is_dimmer_and_keeps_its_colours(browser, built):
    """The theme also stretches contrast, which turns the darkest colours of views and masks into black."""
    browser.open(built / "notebooks" / "01_camera_sampling.html")
    browser.evaluate('document.documentElement.dataset.theme = "dark"')
    looks = "[...document.querySelectorAll('.cell_output img')].map((image) => getComputedStyle(image).filter)"
    assert set(browser.evaluate(looks)) == {"brightness(0.9)"}


def test_the_first_view_of_every_page_is_light(seen):
    weights = [page.weight for page in seen]
    assert [weight for weight in weights if weight.total > LIMIT_BYTES] == [], page_weights.table(weights)
    of_theme = [weight.bytes for weight in weights if not weight.page.startswith("book/labs/")]  # a lab brings its own
    assert all(kinds["page"] and kinds["styles"] and kinds["scripts"] for kinds in of_theme)


@pytest.mark.parametrize("where", ["files", "a static host"])
def test_the_button_above_a_chapter_hands_out_the_notebook_itself(browser, built, tmp_path, where):
    name, page = "02_pointmap_projection.ipynb", "notebooks/02_pointmap_projection.html"
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    with serving(built) as host:
        browser.open(f"{host}/{page}" if where == "a static host" else built / page)
        browser.evaluate('document.querySelector(".btn-download-notebook").click()')
        for _ in range(100):
            if (tmp_path / name).is_file():
                break
            browser.receive(0.2)
    handed_out = nbformat.read(tmp_path / name, as_version=4)
    assert handed_out == nbformat.read(ROOT / "notebooks" / name, as_version=4)


def test_a_turnable_figure_is_loaded_only_when_it_is_opened_and_can_be_closed_again(browser, built):
    visit = browser.open(built / "notebooks" / "02_pointmap_projection.html")
    browser.evaluate("document.querySelector('.turnable').scrollIntoView()")
    browser.receive(1.0)
    asked = [*visit.requests, *visit.embedded, *(str(event) for event in browser.events)]
    assert not [address for address in asked if "viewers/" in address or "plotly" in address]
    frames, press = "document.querySelectorAll('.turnable iframe').length", "document.querySelector('.turnable button')"
    assert browser.evaluate(frames) == 0
    browser.evaluate(f"{press}.focus()")
    strike(browser, *ENTER)
    assert browser.evaluate(frames) == 1 and browser.evaluate(f"{press}.textContent") == "Back to the picture"
    browser.evaluate(f"{press}.click()")
    assert browser.evaluate(frames) == 0 and browser.evaluate("document.querySelector('.turnable img').hidden") is False


ENTER, SPACE = ("Enter", "Enter", 13, "\r"), (" ", "Space", 32, " ")


def strike(browser: Browser, key: str, code: str, number: int, text: str = "") -> None:
    """Press and release a key."""
    more = {"key": key, "code": code, "windowsVirtualKeyCode": number}
    browser.send("Input.dispatchKeyEvent", type="keyDown", **more, **({"text": text} if text else {}))
    browser.send("Input.dispatchKeyEvent", type="keyUp", **more)


TURNS = {  # page -> what is turned, and where its eye is
    "02_two_pointmaps": ("#plot", "Object.values(document.querySelector('#plot').layout.scene.camera.eye)"),
    "07_films": ("canvas", "[Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch)]"),
    "08_rollout": ("#meshcat-pane", "viewer.camera.position.toArray()"),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_figure_is_turned_by_the_keys(browser, built, name):
    part, eye = TURNS[name]
    browser.open(built / "notebooks" / "viewers" / f"{name}.html", quiet_s=3.0)
    browser.evaluate(f"document.querySelector('{part}').focus()")
    before = browser.evaluate(eye)
    strike(browser, "ArrowLeft", "ArrowLeft", 37)
    browser.receive(1.0)
    after = browser.evaluate(eye)
    assert sum(p * p for p in after) == pytest.approx(sum(p * p for p in before), rel=0.2)
    assert max(abs(p - q) for p, q in zip(before, after, strict=True)) > 0.02


DRAWN = "pen.getImageData(0, 0, canvas.width, canvas.height).data.reduce((sum, x) => (31 * sum + x) % 1000003, 7)"


def test_a_film_of_points_is_slid_coloured_by_view_compared_with_what_happened_and_played_by_a_key(browser, built):
    browser.open(built / "notebooks" / "viewers" / "07_films.html", quiet_s=3.0)
    seen = [browser.evaluate(DRAWN)]
    browser.evaluate("{at('time').value = 5; at('time').dispatchEvent(new Event('input'))}")
    seen.append(browser.evaluate(DRAWN))
    for box in ("by_view", "happened", "generated"):
        browser.evaluate(f"at('{box}').focus()")
        strike(browser, *SPACE)
        seen.append(browser.evaluate(DRAWN))
    assert len(set(seen)) == len(seen), "a control changes nothing"
    assert browser.evaluate("at('said').textContent") != "0.0 s"
    browser.evaluate("at('play').focus()")
    strike(browser, *SPACE)
    assert browser.evaluate("at('play').textContent") == "Pause"
    browser.receive(1.5)
    assert browser.evaluate("+at('time').value") not in (0, 5)


def test_the_tab_key_comes_to_a_recordings_bar_at_once(browser, built):
    browser.open(built / "notebooks" / "viewers" / "08_rollout.html", quiet_s=3.0)
    reached = "[...document.querySelectorAll('a, button, input, select, [tabindex]')].filter((it) => it.offsetParent)"
    assert browser.evaluate(f"{reached}.map((it) => it.id)") == ["meshcat-pane", "play", "time"]


def test_a_recording_is_played_stopped_and_slid(browser, built):
    browser.open(built / "notebooks" / "viewers" / "08_rollout.html", quiet_s=3.0)
    slide = "{const t = document.getElementById('time'); t.value = t.max / 2; t.dispatchEvent(new Event('input'))}"
    browser.evaluate(slide)
    middle = browser.evaluate("viewer.animator.duration") / 2
    assert middle > 1 and browser.evaluate("viewer.animator.playing") is False
    assert browser.evaluate("viewer.animator.actions[0].time") == pytest.approx(middle, abs=0.02)
    browser.evaluate("document.getElementById('play').click()")
    browser.receive(1.5)
    assert browser.evaluate("viewer.animator.playing") is True
    assert browser.evaluate("viewer.animator.actions[0].time") > middle


def test_without_a_browser_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("book.tools.browser.shutil.which", lambda name: None)
    with pytest.raises(BrowserError, match=r"apt-get install chromium.*GEO4D_CHROMIUM"):
        Browser()
