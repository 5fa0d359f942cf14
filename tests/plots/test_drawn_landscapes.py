"""Landscapes, populations on them, and paths: pictures show what they say."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

import diffevo_jax as de
from diffevo_jax import plots


def test_landscape_shows_two_deviations_in_the_units_of_the_solutions(problem):
    axes = plots.landscape(problem).axes[0]
    assert axes.get_xlim() == (-3.0, 3.0)
    assert axes.get_ylim() == (-3.0, 3.0)


def test_landscape_shows_the_box_of_a_bounded_space():
    space = de.problems.Space(jnp.zeros(2), lower=jnp.array([0.0, -1.0]), upper=4.0)
    problem = de.problems.Function(lambda x: x.sum(), space=space)
    axes = plots.landscape(problem).axes[0]
    assert axes.get_xlim() == (0.0, 4.0)
    assert axes.get_ylim() == (-1.0, 4.0)


def test_landscape_is_darker_where_it_is_fitter():
    problem = de.problems.Function(lambda x: x[0], dim=2)
    contours = plots.landscape(problem, (0, 1, 0, 1)).axes[0].collections[0]
    assert (np.diff(contours.levels) > 0).all()
    assert (np.diff(contours.get_facecolor()[:, 0]) < 0).all()


def test_landscape_names_a_problem_of_another_dimension():
    with pytest.raises(ValueError, match=r"got solutions of shapes \(\(3,\),\)"):
        plots.landscape(de.problems.Function(lambda x: x.sum(), dim=3))


def test_population_draws_solutions_coloured_by_fitness(result, problem):
    axes = plots.population(problem, result.population, result.fitness).axes[0]
    points = axes.collections[-1]
    np.testing.assert_allclose(points.get_offsets(), 1.5 * result.population, rtol=1e-6)
    np.testing.assert_allclose(points.get_array(), result.fitness)
    assert len(axes.collections) == 2, "the landscape is below"


def test_trajectories_follow_an_individual(result, problem):
    figure = plots.trajectories(problem, result, [3], generations=[2, 5])
    path = 1.5 * result.recorded["population"][:5, 3]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), path, rtol=1e-6)


def test_trajectories_point_at_the_clean_estimate(result, problem):
    figure = plots.trajectories(problem, result, [3], generations=[2])
    (arrow,) = figure.axes[0].texts
    start, end = (result.recorded[n][1, 3] for n in ("population", "clean_estimate"))
    np.testing.assert_allclose(arrow.xyann, 1.5 * start, rtol=1e-6)
    np.testing.assert_allclose(arrow.xy, 1.5 * end, rtol=1e-6)


def test_the_neighbourhood_is_one_sigma_of_the_kernel_and_shrinks(result, problem):
    figure = plots.trajectories(problem, result, [3], generations=range(1, 7))
    discs = [p for p in figure.axes[0].patches if isinstance(p, Ellipse)]
    radii = np.array([disc.width / 2 for disc in discs])
    np.testing.assert_allclose(radii, 1.5 * result.history.sigma, rtol=1e-5)
    assert (np.diff(radii) < 0).all()
    y = result.recorded["population"][:, 3] * jnp.sqrt(1 + result.history.sigma**2)[:, None]
    np.testing.assert_allclose([disc.center for disc in discs], 1.5 * y, rtol=1e-5)


def test_a_disc_is_one_deviation_of_the_kernel(result, problem):
    figure = plots.trajectories(problem, result, [3], generations=[4], kappa=4.0)
    (disc,) = (p for p in figure.axes[0].patches if isinstance(p, Ellipse))
    np.testing.assert_allclose(disc.width / 2, 1.5 * result.history.sigma[3] / 2, rtol=1e-5)


def test_a_kappa_of_no_kernel_is_refused(problem, result):
    with pytest.raises(ValueError, match=r"kappa: got 0\.0, want a number > 0"):
        plots.trajectories(problem, result, [3], kappa=0.0)


def test_colours_may_be_rows_of_an_array(result, problem):
    ax = Figure().add_subplot()
    colors = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    plots.trajectories(problem, result, [3, 4], generations=[2], ax=ax, colors=colors)
    drawn = [line.get_color() for line in ax.lines]
    assert drawn == ["#ff0000"] * 2 + ["#0000ff"] * 2  # a path and a point each


def test_a_colour_that_matplotlib_has_not_is_refused(problem, result):
    with pytest.raises(ValueError, match="colors: got 'redd', want colours of matplotlib"):
        plots.trajectories(problem, result, [3], colors=["redd"])


def test_trajectories_say_what_was_not_recorded(result, problem):
    blank = de.replace(result, recorded={})
    with pytest.raises(ValueError, match="got no 'population', want record="):
        plots.trajectories(problem, blank)


def test_importing_the_library_does_not_import_matplotlib_gymnax_or_pallas():
    code = (
        "import sys, diffevo_jax, diffevo_jax.plots;"
        "late = {'matplotlib', 'gymnax', 'jax.experimental.pallas'};"
        "sys.exit(bool(late & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
