"""Every page of the built site, in a browser: `make pages` builds it first."""

from pathlib import Path

import pytest
from browser import DESK, PHONE, ROOT, low_contrast, opened, overflow, prefer, resize, shot

SITE = ROOT / "build" / "docs"
#: The search page asks for words; the lists by the alphabet are furo's alone.
MADE = {"search", "genindex", "py-modindex"}
PAGES = sorted(
    path
    for path in SITE.rglob("*.html")
    if "_static" not in path.parts and path.stem not in MADE
)

pytestmark = pytest.mark.browser


def name(page: Path) -> str:
    return page.relative_to(SITE).with_suffix("").as_posix()


@pytest.fixture(scope="module", params=PAGES, ids=name)
def page(request, browser):
    """A page, open, and what it has logged."""
    with opened(browser, request.param) as (tab, errors):
        yield tab, errors, name(request.param).replace("/", "-")


def test_the_site_is_built() -> None:
    assert (SITE / "index.html").exists(), "make pages builds it"


def test_a_page_loads_without_errors_and_without_the_network(page) -> None:
    _, errors, _ = page
    assert errors == []


def test_nothing_sticks_out(page) -> None:
    tab, _, name = page
    wide = overflow(tab)
    resize(tab, PHONE)
    narrow = overflow(tab)
    shot(tab, f"{name}-phone")
    resize(tab, DESK)
    assert (wide, narrow) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(page, scheme) -> None:
    tab, _, name = page
    prefer(tab, scheme)
    shot(tab, f"{name}-{scheme}")
    found = low_contrast(tab)
    prefer(tab, "light")
    assert found == []
