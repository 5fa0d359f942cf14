"""Curves: the right means and intervals, at the right places."""

import re

import numpy as np
import pytest
from scipy import stats

from diffevo_jax.report import charts


def test_a_mean_has_the_interval_of_student() -> None:
    runs = np.random.default_rng(0).normal(size=(5, 3))
    curve = charts.mean_curve("a", 0, [1, 2, 3], runs)
    error = stats.sem(runs, axis=0)
    low, high = stats.t.interval(0.95, 4, runs.mean(axis=0), error)
    np.testing.assert_allclose(curve.mean, runs.mean(axis=0))
    np.testing.assert_allclose(curve.low, low)
    np.testing.assert_allclose(curve.high, high)


def test_one_run_has_no_interval() -> None:
    curve = charts.mean_curve("a", 0, [1, 2], [[3.0, 4.0]])
    assert curve.low is None
    np.testing.assert_array_equal(curve.mean, [3.0, 4.0])


def test_where_a_run_failed_is_a_gap_and_no_mean_of_the_better_ones() -> None:
    runs = [[1.0, -np.inf, 2.0], [3.0, 4.0, 2.0]]
    curve = charts.mean_curve("a", 0, [1, 2, 3], runs)
    np.testing.assert_array_equal(curve.mean, [2.0, np.nan, 2.0])
    np.testing.assert_array_equal(np.isnan(curve.high), [False, True, False])
    drawn, _ = charts.chart("fitness", [curve])
    line = re.search(r'class="line c0" d="([^"]*)"', drawn)[1]
    assert line.count("M") == 2


def test_the_ends_of_a_line_are_those_of_its_axes() -> None:
    curve = charts.Curve("a", 0, np.array([1.0, 2.0, 3.0]), np.array([0.0, 5.0, 10.0]))
    drawn, values = charts.chart("fitness", [curve])
    points = re.findall(
        r"[ML]([\d.]+) ([\d.]+)", re.search(r'line c0" d="([^"]*)"', drawn)[1]
    )
    across, down = np.array(points, float).T
    np.testing.assert_allclose(across, [0, 500, 1000])
    np.testing.assert_allclose(down[1], 500, atol=0.1)
    assert down[0] > down[2]  # higher fitness is further up
    assert values["curves"][0]["values"] == ["0", "5", "10"]


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    count = 10 * charts.MOST_POINTS
    x = np.arange(count, dtype=float)
    thin = charts.thinned(charts.Curve("a", 0, x, x**2))
    assert len(thin.x) == charts.MOST_POINTS
    assert (thin.x[0], thin.x[-1]) == (0, count - 1)
    np.testing.assert_array_equal(thin.mean, thin.x**2)


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.2, 12.0, [0, 5, 10]),
        (4e-9, 6e-9, [4e-9, 4.5e-9, 5e-9, 5.5e-9, 6e-9]),
    ],
)
def test_round_values_are_round(low, high, want) -> None:
    np.testing.assert_allclose(charts.round_values(low, high), want)


def test_a_single_point_is_a_dot_in_the_middle_of_its_axes() -> None:
    curve = charts.Curve("a", 0, np.array([1.0]), np.array([2.0]))
    drawn, _ = charts.chart("fitness", [curve])
    line = re.search(r'class="line c0" d="([^"]*)"', drawn)[1]
    assert line == "M500.0 500.0h.1"


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    curve = charts.Curve("a", 0, np.array([1.0, 2.0]), np.array([1e-3, 1e2]))
    drawn, _ = charts.chart("sigma", [curve], log_y=True)
    for label in ("0.001", "0.01", "0.1", "1", "10", "100"):
        assert f"<span>{label}</span>" in drawn
