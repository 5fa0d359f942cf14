"""Learning curves: of one algorithm as it was, and of several to compare them."""

import itertools
import re

import jax.numpy as jnp
import numpy as np
import pandas
import pytest
import xarray
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.stats import t

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.plots import canvas, curves

RNG = np.random.default_rng(0)
OURS, THEIRS = RNG.normal(1.0, 0.1, (8, 6)), RNG.normal(0.0, 0.2, (12, 20))


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def band_at(figure, number, place):
    """Least and greatest of a band at a place of the axis."""
    drawn = figure.axes[0].collections[number].get_paths()[0].vertices
    there = drawn[np.isclose(drawn[:, 0], place)][:, 1]
    return there.min(), there.max()


def test_one_curve_is_the_median_of_the_mean_and_of_the_best(history):
    drawn = lines(plots.learning_curve(history, title="five runs"))
    mean = drawn["mean fitness, median of 5 runs"]
    np.testing.assert_array_equal(mean[:, 0], np.arange(1, 7))
    np.testing.assert_allclose(mean[:, 1], np.median(history.mean_fitness, axis=0))
    best = drawn["best fitness"]
    np.testing.assert_allclose(best[:, 1], np.median(history.best_fitness, axis=0))


@pytest.mark.parametrize(
    ("label", "low", "high"), [("quartiles", 25, 75), ("all runs", 0, 100)]
)
def test_one_curve_has_bands_over_the_runs(history, label, low, high):
    axes = plots.learning_curve(history).axes[0]
    (band,) = (b for b in axes.collections if b.get_label() == label)
    drawn = band.get_paths()[0].vertices
    at_end = drawn[drawn[:, 0] == 6][:, 1]
    want = np.percentile(history.mean_fitness[:, -1], [low, high])
    np.testing.assert_allclose([at_end.min(), at_end.max()], want, rtol=1e-5)


def is_beside(axes):
    """Whether the names stand at the right of the axes."""
    axes.figure.draw_without_rendering()
    names = axes.get_legend().get_window_extent()
    return bool(names.x0 >= axes.get_window_extent().x1)


def test_names_stand_within_the_axes_where_nothing_is_behind_them():
    figure = plots.learning_curve(
        {"a": np.ones((2, 9)), "b": np.zeros((2, 9))}, x="generation"
    )
    assert not is_beside(figure.axes[0])


def test_names_stand_beside_curves_that_leave_no_room_for_them():
    up, down = np.tile([0.0, 1.0], (2, 20)), np.tile([1.0, 0.0], (2, 20))
    figure = plots.learning_curve({"a": up, "b": down}, x="generation")
    assert is_beside(figure.axes[0])


def test_in_axes_of_the_caller_the_names_stay_within():
    axes = Figure().add_subplot()
    up, down = np.tile([0.0, 1.0], (2, 20)), np.tile([1.0, 0.0], (2, 20))
    plots.learning_curve({"a": up, "b": down}, x="generation", ax=axes)
    assert not is_beside(axes)


def test_a_curve_of_one_run_has_no_bands(result):
    figure = plots.learning_curve(result.history)
    assert not figure.axes[0].collections
    np.testing.assert_allclose(
        lines(figure)["mean fitness"][:, 1], result.history.mean_fitness
    )


def test_there_is_a_gap_where_every_evaluation_failed(history):
    failed = history.mean_fitness.at[:, 2].set(-jnp.inf)
    drawn = lines(plots.learning_curve(de.replace(history, mean_fitness=failed)))
    mean = drawn["mean fitness, median of 5 runs"][:, 1]
    assert not np.isfinite(mean[2])
    assert np.isfinite(np.delete(mean, 2)).all()


def test_the_luckiest_is_not_drawn(history):
    axes = plots.learning_curve(history, noisy=True).axes[0]
    assert len(axes.lines) == 1


def test_another_field_of_a_history_is_drawn_alone(history):
    axes = plots.learning_curve(history, value="sigma").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), history.sigma[0], rtol=1e-6)
    assert len(axes.lines) == 1
    assert axes.get_ylabel() == "sigma"


def test_several_curves_are_means_with_intervals_by_students_t():
    figure = plots.learning_curve({"ours": OURS}, x="generation")
    line = lines(figure)["ours"]
    np.testing.assert_allclose(line[:, 1], OURS.mean(axis=0))
    half = t.ppf(0.975, 7) * OURS[:, 3].std(ddof=1) / np.sqrt(8)
    want = OURS[:, 3].mean() - half, OURS[:, 3].mean() + half
    np.testing.assert_allclose(band_at(figure, 0, 4.0), want)


def test_evaluations_are_known_of_results_and_given_for_others(results):
    figure = plots.learning_curve(
        {"ours": results, "theirs": THEIRS}, evaluations={"theirs": 100}
    )
    drawn = lines(figure)
    assert figure.axes[0].get_xlabel() == "evaluations"
    assert drawn["ours, 5 runs"][:, 0].tolist() == [16, 32, 48, 64, 80, 96]
    assert drawn["theirs, 12 runs"][-1, 0] == 2000


def test_evaluations_may_be_as_many_as_there_were_by_each_generation():
    counts = [3.0, 5.0, 9.0, 10.0, 20.0, 21.0]
    figure = plots.learning_curve([OURS, THEIRS], evaluations=[counts, 10])
    assert lines(figure)["1, 8 runs"][:, 0].tolist() == counts


@pytest.mark.parametrize("seconds", [3.0, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]])
def test_seconds_are_of_all_generations_or_of_each(seconds):
    figure = plots.learning_curve(OURS, x="seconds", seconds=seconds)
    drawn = figure.axes[0].lines[0].get_xdata()
    np.testing.assert_allclose(drawn, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, pandas.Series, xarray.DataArray])
def test_arrays_of_other_libraries_are_drawn(kind):
    drawn = lines(plots.learning_curve([kind(OURS[0])], x="generation"))
    np.testing.assert_allclose(drawn["1"][:, 1], OURS[0], rtol=1e-6)


def test_the_best_so_far_never_falls(history):
    figure = plots.learning_curve({"ours": history}, x="generation", value="best_so_far")
    drawn = lines(figure)["ours"][:, 1]
    best = np.maximum.accumulate(history.best_fitness, axis=1).mean(axis=0)
    np.testing.assert_allclose(drawn, best, rtol=1e-6)


def test_a_mean_has_a_gap_where_one_run_has_failed():
    broken = OURS.copy()
    broken[2, 1] = -np.inf
    drawn = lines(plots.learning_curve({"ours": broken}, x="generation"))["ours"][:, 1]
    assert np.isnan(drawn[1])
    assert np.isfinite(np.delete(drawn, 1)).all()


def test_lines_differ_by_colour_dashes_and_markers():
    many = {str(number): OURS + number for number in range(20)}
    drawn = plots.learning_curve(many, x="generation").axes[0].lines
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn]
    assert len(set(looks)) == 20
    for one, other in itertools.pairwise(looks[:5]):
        assert all(mine != its for mine, its in zip(one, other, strict=True))


def test_the_first_colours_differ_in_grey():
    """Of a grey copy: their lightness, by the weights of ITU-R BT.601."""
    grey = [np.dot(to_rgb(color), (0.299, 0.587, 0.114)) for color in canvas.COLORS[:4]]
    assert np.ptp(grey) > 0.25
    assert len(set(canvas.DASHES)) == len(canvas.DASHES)


def test_axes_of_the_caller_are_used(history, problem):
    figure = Figure()
    first, second = figure.subplots(1, 2)
    assert plots.learning_curve(history, ax=second) is figure
    assert plots.landscape(problem, ax=first) is figure
    assert first.collections
    assert second.lines


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        (np.ones((1, 5, 6)), {}, "results: got shape (1, 5, 6), want (runs, generations)"),
        ({"a": np.ones((0, 6))}, {"x": "generation"}, "results['a']: got shape (0, 6)"),
        ([OURS, OURS], {"labels": ["a"]}, "labels: got 1, want 2, one a curve"),
        ([OURS, OURS], {"labels": ["a", "a"]}, "labels: got ['a', 'a'], want each once"),
        ({"a": OURS}, {"labels": ["b"]}, "labels: got some, want none"),
        ({}, {}, "results: got none, want at least one"),
        (OURS, {"x": "steps"}, "x: got 'steps', want one of 'evaluations', 'generation'"),
        ({"a": OURS}, {}, "evaluations: got none for results['a'], want evaluations=..."),
        (OURS, {"x": "seconds"}, "seconds: got none for results, want seconds=..."),
        ({"a": OURS}, {"evaluations": {"b": 3}}, "got the name 'b', want some of 'a'"),
        ([OURS], {"evaluations": [3, 4]}, "evaluations: got 2, want 1, one a curve"),
        ([OURS], {"evaluations": [[1, 2]]}, "evaluations: got shape (2,), want a number"),
    ],
)
def test_a_curve_says_what_is_wrong(results, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plots.learning_curve(results, **options)


def test_a_field_that_a_history_has_not_is_named(history):
    with pytest.raises(
        ValueError, match="value: got 'mean', want one of best_so_far, best"
    ):
        plots.learning_curve(history, value="mean")


def test_a_mean_of_one_run_has_no_interval():
    band = curves.mean_band(OURS[:1])
    np.testing.assert_array_equal(band.mean, OURS[0])
    assert np.isnan(band.low).all()
    assert np.isnan(band.high).all()
