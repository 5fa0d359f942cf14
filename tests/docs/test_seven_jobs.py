"""The seven jobs: each has at most twenty lines, runs, and makes what it says."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "seven_jobs.md").read_text()
JOBS = dict(
    re.findall(r"^## (.*?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
)


def run(beginning: str) -> dict:
    """Run the one job whose title begins so, in the folder of the test."""
    (title,) = [title for title in JOBS if title.startswith(beginning)]
    names: dict = {}
    exec(compile(JOBS[title], title, "exec"), names)
    return names


def is_a_picture(path: str, kind: bytes) -> bool:
    """Whether a file is there, begins as such a picture does, and is not blank."""
    content = Path(path).read_bytes()
    return content.startswith(kind) and len(content) > 4000


PNG, GIF = b"\x89PNG", b"GIF8"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_there_are_seven_of_at_most_twenty_lines() -> None:
    lengths = {
        title: sum(bool(line.strip()) for line in code.splitlines())
        for title, code in JOBS.items()
    }
    assert len(lengths) == 7
    assert max(lengths.values()) <= 20, lengths
    assert max(len(line) for code in JOBS.values() for line in code.splitlines()) <= 92


@pytest.mark.slow
def test_a_comparison_with_evosax() -> None:
    results = run("Beside an algorithm of evosax")["results"]
    assert is_a_picture("comparison.png", PNG)
    means = {name: one.history.mean_fitness[:, -1].mean() for name, one in results.items()}
    assert means["Diffusion Evolution"] > means["CMA-ES of evosax"]  # as in docs/evosax.md


@pytest.mark.slow
def test_an_environment_of_your_own_is_filmed() -> None:
    history = run("From an environment of your own")["run"].history
    assert is_a_picture("lander.gif", GIF)
    # to fall costs 0.9 or so, and whoever never lands pays 1 for a hundred steps
    assert history.mean_fitness[-1] > -0.5


@pytest.mark.slow
def test_a_design_problem_ends_in_a_table() -> None:
    found = run("A design problem")["found"]
    rows = Path("dampers.csv").read_text().splitlines()
    assert len(rows) == len(found) + 1
    assert {"stiffness", "bore", "fluid"} <= set(rows[0].split(","))
    assert all(float(stiffness) >= 20 for stiffness in found.named["stiffness"])


@pytest.mark.slow
def test_images_of_a_folder_are_learned_drawn_and_counted_in_bits() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits().images
    Path("images").mkdir()
    np.save("images/digits.npy", digits[..., None].astype(np.uint8))  # 0 to 16
    names = run("From a folder of images")
    assert is_a_picture("samples.png", PNG)
    # 17 levels, all alike, would cost log2(17) = 4.1 bits; of 256 they are few
    assert 1.0 < names["bits"].mean() < 4.1
    drawn, seen = np.asarray(names["drawn"], float), np.asarray(names["seen"], float)
    assert abs(drawn.mean() - seen.mean()) < 0.15 * seen.std()


@pytest.mark.slow
def test_a_sweep_of_500_settings_ends_in_a_map() -> None:
    names = run("A sweep of 500 settings")
    assert names["table"].sizes["setting"] == 500
    assert is_a_picture("sweep.png", PNG)
    worth = np.asarray(names["table"].final_mean, float).mean(axis=1)
    assert names["mean"] == pytest.approx(worth.max())
    assert names["low"] < names["mean"] < names["high"]


@pytest.mark.slow
def test_a_notebook_survives_its_edit(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DIFFEVO_FAST", "1")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    cells = run("A notebook, edited")["notebook"].cells
    assert Path("edited.ipynb").exists()
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    assert outputs
    assert not [out for out in outputs if out.output_type == "error"]
    assert any("Acrobot-v1" in cell.source for cell in cells)


@pytest.mark.slow
def test_two_films_for_a_lecture() -> None:
    played = run("Two films")["played"]
    assert is_a_picture("neighbourhoods.gif", GIF)
    assert is_a_picture("cartpole.gif", GIF)
    lengths = [int(one.episode.length) for one in played.values()]
    assert lengths[0] > 150 > 100 > lengths[1]  # of at most 200
