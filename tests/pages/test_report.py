"""The report page in a browser: it loads, plays, sorts, fits a phone, and can be read."""

from pathlib import Path

import numpy as np
import pandas
import pytest
from browser import PHONE, low_contrast, opened, overflow, prefer, resize
from made_results import made

import diffevo_jax as de

pytestmark = pytest.mark.browser
NASTY = "</script><b>tempered & sharp"
DOTS = """
() => [...document.querySelectorAll(".film .dot")]
  .map(dot => [dot.getAttribute("cx"), dot.getAttribute("cy")].map(Number))
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Of two results on a landscape, of many numbers, and of a sweep."""
    folder = tmp_path_factory.mktemp("report")
    problem = de.problems.Landscape("himmelblau")
    command = "diffevo evolve himmelblau --seeds 3"
    about = {"strategy": de.DiffusionEvolution(6), "problem": problem, "command": command}
    de.save(folder / "plane.npz", made(3, 32, 2, scale=4.0), **about)
    unseen = de.replace(made(3, 24, 2, scale=4.0), recorded={})
    de.save(folder / "unseen.npz", unseen, problem=problem)
    de.save(folder / "many.npz", made(None, 24, 20))
    columns = {
        "setting": np.repeat(np.arange(6), 2),
        "seed": np.tile([0, 1], 6),
        "sampler.eta": np.repeat([0.0, 0.5, 1.0], 4),
        "kernel": np.tile(np.repeat(["gaussian", "tempered"], 2), 3),
        "final_mean": np.arange(12.0),
        "final_best": np.arange(12.0) + 1,
    }
    pandas.DataFrame(columns).to_csv(folder / "sweep.csv", index=False)
    names = ("plane.npz", "unseen.npz", "many.npz", "sweep.csv")
    files = [folder / name for name in names]
    html = de.report.page(files, labels=["plane", NASTY, "many", "sweep"])
    (folder / "report.html").write_text(html, encoding="utf-8")
    return folder / "report.html"


def test_it_loads_and_fits_whatever_the_reader_prefers(browser, page) -> None:
    with opened(browser, page) as (tab, errors):
        for scheme in ("light", "dark"):
            prefer(tab, scheme)
            assert not low_contrast(tab), scheme
        for details in tab.query_selector_all("summary"):
            details.click()
        assert not overflow(tab)
        resize(tab, PHONE)
        assert not overflow(tab)
        assert not low_contrast(tab)
    assert not errors


def test_dark_is_dark(browser, page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, page, dark=True) as (tab, _):
        assert tab.evaluate(paper) == "rgb(20, 23, 27)"
        prefer(tab, "light")
        assert tab.evaluate(paper) == "rgb(255, 255, 255)"


def test_the_slider_moves_the_population(browser, page) -> None:
    with opened(browser, page) as (tab, errors):
        before, bars = tab.evaluate(DOTS), tab.inner_html(".bars")
        slider = tab.locator(".film input").first
        slider.focus()
        slider.press("ArrowLeft")
        after = tab.evaluate(DOTS)
        assert (
            tab.locator(".film output").first.inner_text().startswith("generation 5 of 6")
        )
        assert tab.inner_html(".bars") != bars
        slider.press("ArrowRight")
        assert tab.evaluate(DOTS) == before
    moved = [one != other for one, other in zip(before, after, strict=True)]
    assert np.mean(moved[:32]) > 0.9  # of this film nearly all, and of the other one nobody
    assert not any(moved[33:])
    assert not errors


def test_play_plays_and_pause_stops(browser, page) -> None:
    with opened(browser, page) as (tab, _):
        button, output = tab.locator(".play").first, tab.locator(".film output").first
        button.press("Enter")
        assert button.inner_text() == "Pause"
        tab.locator("output:text-matches('generation [3-5]')").first.wait_for()
        button.press("Enter")
        assert button.inner_text() == "Play"
        seen = output.inner_text()
        tab.wait_for_timeout(500)  # two frames and more
        assert output.inner_text() == seen
        button.press("Enter")
        tab.locator(".film").first.locator(".play:text-is('Play')").wait_for()
        assert output.inner_text().startswith("generation 6 of 6")


def test_a_click_on_a_column_sorts(browser, page) -> None:
    column = "#sweep-1 tbody tr td:nth-child({})"
    with opened(browser, page) as (tab, _):
        texts = lambda number: [
            one.inner_text()
            for one in tab.query_selector_all(
                "#sweep-1 .sortable " + column.format(number)[9:]
            )
        ]
        assert [float(text) for text in texts(4)] == [10.5, 8.5, 6.5, 4.5, 2.5, 0.5]
        heads = tab.locator("#sweep-1 .sortable th")
        heads.nth(3).locator("button").click()
        assert [float(text) for text in texts(4)] == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
        assert heads.nth(3).get_attribute("aria-sort") == "ascending"
        heads.nth(2).locator("button").click()
        assert texts(3) == ["gaussian"] * 3 + ["tempered"] * 3
        heads.nth(2).locator("button").click()
        assert texts(3) == ["tempered"] * 3 + ["gaussian"] * 3
        assert heads.nth(3).get_attribute("aria-sort") is None


def test_curves_say_their_values_under_the_mouse_and_by_keys(browser, page) -> None:
    with opened(browser, page) as (tab, _):
        area, reading = tab.locator(".area").first, tab.locator(".reading").first
        assert not reading.is_visible()
        area.hover()
        assert "evaluations" in reading.inner_text()
        assert "plane" in reading.inner_text()
        assert NASTY[:12] in reading.inner_text()
        tab.mouse.move(0, 0)
        assert not reading.is_visible()
        area.focus()
        area.press("End")
        last = reading.inner_text()
        area.press("ArrowLeft")
        assert reading.is_visible()
        assert reading.inner_text() != last


def test_the_command_is_copied(browser, page) -> None:
    with opened(browser, page) as (tab, _):
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.locator(".copy").first.click()
        tab.locator(".copy:text-is('Copied')").first.wait_for()
        copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied == "diffevo evolve himmelblau --seeds 3"


def test_paper_shows_what_is_folded(browser, page) -> None:
    with opened(browser, page) as (tab, _):
        assert not tab.locator(".config").first.is_visible()
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert tab.locator(".config").first.is_visible()
        tab.emulate_media(media="print")
        assert not tab.locator(".play").first.is_visible()
