"""The page on plots: its code runs, and is short."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffevo_jax as de

PAGE = (Path(__file__).parents[2] / "docs" / "plots.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_picture_is_of_some_code_of_the_page():
    shown = set(re.findall(r"\(figures/plots/([\w.]+)\)", PAGE))
    assert shown == set(re.findall(r'"(\w+\.(?:png|gif))"', "".join(BLOCKS))) - {"film.png"}


def test_nothing_takes_more_than_twenty_lines():
    assert max(len(block.splitlines()) for block in BLOCKS) <= 20


@pytest.mark.slow
def test_the_code_of_the_page_on_plots_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "plots.md", "exec"), names)
    assert names["table"].sizes["setting"] == 500
    assert de.diagnose(names["deaf"])[0].startswith(
        "self weight is near 1 from generation 1"
    )
    best, poor = (int(names["episodes"][name].length) for name in ("best", "poor"))
    assert best > 400 > 50 > poor
    # both peaks are found, each by one of the two that are filmed
    ends = np.asarray(names["split"].recorded["population"])[-1, [0, 7]]
    assert np.linalg.norm(ends[0] - ends[1]) > 1.0
    for name, frames in (("heard.gif", 26), ("episode.gif", 40)):
        with Image.open(tmp_path / name) as picture:
            assert picture.n_frames == frames
