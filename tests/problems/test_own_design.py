"""The page on a design of one's own: mixed, constrained, noisy, in processes that fail."""

import csv
import re
from pathlib import Path

import mount
import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "own_design.md").read_text()


def blocks(kind: str) -> list[str]:
    """Code of the page under so many words after the fence."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_module_that_is_tested() -> None:
    assert blocks("python mount.py") == [Path(mount.__file__).read_text()]


def test_the_sag_of_a_mount_is_that_of_springs_in_series() -> None:
    stiff = {"lower_stiffness": 490.0, "upper_stiffness": 98.0, "coils": 2}
    assert mount.sag(stiff) == pytest.approx(49.0 / 245.0 + 49.0 / 98.0)


@pytest.mark.slow
def test_twenty_lines_lead_to_five_feasible_designs(tmp_path, monkeypatch) -> None:
    # given the code of the page, of at most twenty lines
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) <= 20
    # when it runs
    names: dict = {}
    exec(compile(code, "own_design.md", "exec"), names)
    result, evaluate = names["result"], names["evaluate"]
    # then five designs or more are in the file, which differ and do not sag too far
    with (tmp_path / "designs.csv").open() as file:
        rows = list(csv.DictReader(file))
    designs = [
        {
            name: row[name] if name in mount.KINDS else float(row[name])
            for name in names["space"].names
        }
        for row in rows
    ]
    assert len({tuple(design.values()) for design in designs}) >= 5
    assert len(designs[0]) == 12
    assert all(row["feasible"] == "True" for row in rows)
    assert all(mount.sag(design) <= 0.1 * (1 + 1e-6) for design in designs)
    assert {design["material"] for design in designs} <= set(mount.KINDS["material"])
    # about a tenth has failed, in all three ways: 38 of 384, within four deviations
    assert 15 <= int(result.history.num_failed.sum()) <= 62
    assert set(evaluate.failures) == {
        "TimeoutError",
        "BrokenProcessPool",
        "ArithmeticError",
    }
    # and the best is feasible, with an interval of its value
    final = result.final
    assert float(result.best_violation) == 0.0
    assert float(final.low) < float(result.best_fitness) < float(final.high)
    assert np.isfinite([final.low, final.high]).all()
    # who is judged anew has the mean of the evaluations that did not fail, about as high
    (judge,) = blocks("python judged")
    exec(compile(judge, "own_design.md", "exec"), names)
    again, worth = np.array(names["again"]), names["worth"]
    assert 0.0 < np.isnan(again).mean() < 0.3
    assert np.isfinite(worth).all()
    assert np.abs(worth - names["found"].fitness).max() < 0.3
