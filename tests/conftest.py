"""What every test shares: the same hypothesis examples every time, one strict build of the book, one browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from book.tools.browser import MISSING, Browser, find_chromium
from book.tools.build import build_book, stage_book
from book.tools.edition import Edition, read_edition

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("steady")  # a busy machine is no failure


@pytest.fixture(scope="session")
def edition_before() -> Edition:
    """The edition just before the book is built; a commit made while the tests run changes nothing."""
    return read_edition()


@pytest.fixture(scope="session")
def built(tmp_path_factory, edition_before) -> Path:
    """The HTML folder of a strict build from the stored outputs, made in a copy, for no public address."""
    source = tmp_path_factory.mktemp("book")
    stage_book(source, "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GEO4D_REPOSITORY", raising=False)
        return build_book(source, quiet=True).parents[1].resolve()


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A headless browser whose network is cut; the test is skipped where there is no Chromium."""
    if find_chromium() is None:
        pytest.skip(MISSING)
    with Browser() as opened:
        yield opened
