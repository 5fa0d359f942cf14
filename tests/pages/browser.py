"""A headless Chromium, for tests of pages: the one that is installed, driven by Playwright.

``make pages`` runs them. Nothing here reaches the network, and a page that tries to is
wrong: it is recorded as an error.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Where ``make pages`` has npm put axe-core, and where screenshots go.
FOLDER = ROOT / "build" / "pages"
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE, DESK = (375, 740), (1280, 900)  # CSS pixels

#: Elements that stick out of the window, and are in nothing that scrolls or clips.
OUTSIDE = """
() => {
  const width = document.documentElement.clientWidth;
  const held = element => {
    let box = element.parentElement;
    while (box && box !== document.body && getComputedStyle(box).overflowX === "visible")
      box = box.parentElement;
    return box && box !== document.body;
  };
  const sticksOut = element => {
    const {left, right} = element.getBoundingClientRect();
    return left < width && right > width + 1;
  };
  return [...document.body.querySelectorAll("*")]
    .filter(e => sticksOut(e) && e.checkVisibility({visibilityProperty: true}) && !held(e))
    .map(e => `${e.tagName}.${e.className}`);
}
"""
CONTRAST = """
async () => (await axe.run(document, {runOnly: ["color-contrast"]})).violations
  .flatMap(rule => rule.nodes.map(node => `${node.target}: ${node.failureSummary}`))
"""


def chromium() -> str | None:
    """The path of a Chromium: that of ``$CHROMIUM``, or one that is installed."""
    found = map(shutil.which, (os.environ.get("CHROMIUM", ""), *NAMES))
    return next(filter(None, found), None)


@contextmanager
def launched() -> Iterator[Any]:
    """A browser of Playwright, which ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium())
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, page: Path | str, *, size: tuple[int, int] = DESK, dark: bool = False
) -> Iterator[tuple[Any, list[str]]]:
    """A page, and the errors that it logs as long as it is open.

    Args:
        browser: of :func:`launched`.
        page: a file, or an address.
        size: of the window, in CSS pixels.
        dark: whether the reader prefers dark pages; ``prefer`` changes it later.
    """
    scheme = "dark" if dark else "light"
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        offline=True,
    )
    tab, errors = context.new_page(), []
    tab.on("console", lambda said: said.type == "error" and errors.append(said.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "request",
        lambda asked: (
            asked.url.startswith("http") and errors.append(f"asks for {asked.url}")
        ),
    )
    tab.goto(page.resolve().as_uri() if isinstance(page, Path) else page, wait_until="load")
    yield tab, errors
    context.close()


def resize(tab: Any, size: tuple[int, int]) -> None:
    tab.set_viewport_size({"width": size[0], "height": size[1]})


def prefer(tab: Any, scheme: str) -> None:
    """Let the reader prefer ``"light"`` or ``"dark"`` pages from now on."""
    tab.emulate_media(color_scheme=scheme)


def overflow(tab: Any) -> list[str]:
    """What makes a page wider than its window: nothing, where it fits."""
    wider = tab.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return tab.evaluate(OUTSIDE) + ([f"the page, by {wider} pixels"] if wider > 0 else [])


def low_contrast(tab: Any) -> list[str]:
    """Texts of which the contrast is below that of WCAG 2 AA, as axe-core finds them."""
    if not AXE.exists():
        raise FileNotFoundError(f"{AXE}: `make pages` fetches axe-core")
    if not tab.evaluate("'axe' in window"):
        tab.add_script_tag(path=str(AXE))
    return tab.evaluate(CONTRAST)


def shot(tab: Any, name: str, *, whole: bool = False) -> Path:
    """A picture of what is seen, or of the whole page, in ``build/pages``."""
    path = FOLDER / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=str(path), full_page=whole)
    return path
