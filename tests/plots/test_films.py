"""Films of populations and of neighbourhoods."""

import re

import numpy as np
import pytest
from matplotlib.patches import Ellipse
from PIL import Image

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.plots import neighbourhoods


def test_film_shows_the_generations_asked_for(problem, result, tmp_path):
    film = plots.film(problem, result, generations=[1, 3, 6])
    film.save(tmp_path / "film.gif", writer="pillow", dpi=40)
    film.save(tmp_path / "film.png", writer="pillow", dpi=40)
    for name in ("film.gif", "film.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.n_frames == 3
    axes = film._fig.axes[0]
    assert axes.get_title() == "generation 6 of 6"
    last = 1.5 * result.recorded["population"][-1]
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), last, rtol=1e-6)
    np.testing.assert_allclose(axes.collections[-1].get_array(), result.fitness)


def test_film_is_written_where_it_is_wanted(problem, result, tmp_path):
    plots.film(problem, result, tmp_path / "film.gif", generations=[2, 5], dpi=40)
    with Image.open(tmp_path / "film.gif") as picture:
        assert picture.n_frames == 2


def test_populations_of_ones_own_are_filmed(problem, result, tmp_path):
    units = np.asarray(result.recorded["population"])
    film = plots.film(problem, units, tmp_path / "film.gif", generations=[1, 4], dpi=40)
    points = film._fig.axes[0].collections[-1]
    np.testing.assert_allclose(points.get_offsets(), 1.5 * units[3], rtol=1e-6)
    assert points.get_array() is None


def test_fitness_goes_with_populations_of_ones_own_alone(problem, result):
    units = np.asarray(result.recorded["population"])
    with pytest.raises(
        ValueError, match=re.escape("fitness: got shape (6,), want (6, 16)")
    ):
        plots.film(problem, units, fitness=np.zeros(6))
    with pytest.raises(ValueError, match="fitness: got some, want none"):
        plots.film(problem, result, fitness=np.zeros((6, 16)))


def test_the_disc_is_around_where_one_asks_and_shrinks(problem, result, tmp_path):
    film = plots.neighbourhood_film(problem, result, [3], tmp_path / "film.gif", dpi=40)
    with Image.open(tmp_path / "film.gif") as picture:
        assert picture.n_frames == 6
    axes = film._fig.axes[0]
    (disc,) = (patch for patch in axes.patches if isinstance(patch, Ellipse))
    widths, sigmas = [], np.asarray(result.history.sigma)
    for generation in range(1, 7):
        film._draw_frame(generation)
        widths.append(disc.width)
        x = np.asarray(result.recorded["population"][generation - 1, 3])
        asked = x * np.sqrt(1 + sigmas[generation - 1] ** 2)
        np.testing.assert_allclose(disc.center, 1.5 * asked, rtol=1e-5)
    # in the end the nearest is oneself, and the radius a deviation of the kernel
    np.testing.assert_allclose(widths[-1], 2 * 1.5 * sigmas[-1], rtol=1e-2)
    assert (np.diff(widths) < 0).all()


def test_those_in_the_disc_are_coloured_and_counted(problem, result, tmp_path):
    path = tmp_path / "film.gif"
    film = plots.neighbourhood_film(problem, result, [3, 5], path, generations=[5], dpi=40)
    axes = film._fig.axes[0]
    points = np.asarray(result.recorded["population"][4])
    sigma = float(result.history.sigma[4])
    counts = []
    for rings, individual in zip(axes.collections[-2:], (3, 5), strict=True):
        asked = points[individual] * np.sqrt(1 + sigma**2)
        weight = np.exp(-((points - asked) ** 2).sum(axis=1) / (2 * sigma**2))
        near = points[weight >= np.exp(-0.5) * weight.max()]
        np.testing.assert_allclose(rings.get_offsets(), 1.5 * near, rtol=1e-6)
        counts.append(len(near))
    told = f"3 hears {counts[0]}, 5 hears {counts[1]} of 16"
    assert axes.get_title() == f"generation 5 of 6, σ = {sigma:.3g}\n{told}"


def test_the_arrow_leads_to_the_clean_estimate_if_that_is_known(problem, result, tmp_path):
    path = tmp_path / "film.gif"
    film = plots.neighbourhood_film(problem, result, [3], path, generations=[2], dpi=40)
    arrow, name = film._fig.axes[0].texts
    assert name.get_text() == "3"
    want = 1.5 * result.recorded["clean_estimate"][1, 3]
    np.testing.assert_allclose(arrow.xy, want, rtol=1e-6)
    blind = de.replace(result, recorded={"population": result.recorded["population"]})
    film = plots.neighbourhood_film(problem, blind, [3], path, generations=[2], dpi=40)
    assert not film._fig.axes[0].texts[0].get_visible()


def test_a_larger_kappa_hears_fewer():
    points = np.random.default_rng(0).normal(size=(50, 2))
    wide = neighbourhoods.neighbourhood(points, 7, sigma=1.0)
    narrow = neighbourhoods.neighbourhood(points, 7, sigma=1.0, kappa=4.0)
    weight = np.exp(-2 * ((points - points[7] * np.sqrt(2.0)) ** 2).sum(axis=1))
    np.testing.assert_array_equal(narrow.heard, weight >= np.exp(-0.5) * weight.max())
    assert narrow.heard.sum() < wide.heard.sum()


@pytest.mark.parametrize("kappa", [-1.0, 0.0, np.inf, np.nan])
def test_a_neighbourhood_has_a_kernel(kappa):
    with pytest.raises(ValueError, match=f"kappa: got {kappa}, want a number > 0"):
        neighbourhoods.neighbourhood([[0.0], [1.0]], 0, sigma=1.0, kappa=kappa)


def test_everyone_is_heard_while_the_noise_is_large():
    """Of points within a tenth: a difference of their distances is below a deviation."""
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (50, 2))
    assert neighbourhoods.neighbourhood(points, 7, sigma=1e4).heard.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kappa": 0.0}, "kappa: got 0.0, want a number > 0"),
        ({"individuals": [16]}, "individuals: got 16, want 0 to 15"),
        ({"generations": [7]}, "generations: got 7, want 1 to 6"),
        ({"path": "film.webm"}, "path: got film.webm, want a name that ends in .gif or"),
    ],
)
def test_a_film_of_neighbourhoods_says_what_is_wrong(problem, result, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plots.neighbourhood_film(problem, result, **options)


def test_films_say_what_was_not_recorded(problem, result):
    blank = de.replace(result, recorded={})
    with pytest.raises(ValueError, match="got no 'population', want record="):
        plots.neighbourhood_film(problem, blank)
    with pytest.raises(ValueError, match="got no 'fitness', want record="):
        plots.film(problem, blank)
    only = {"population": result.recorded["population"]}
    with pytest.raises(ValueError, match="got no 'fitness', want record="):
        plots.film(problem, de.replace(result, recorded=only))


def test_many_runs_are_no_film(problem, results):
    with pytest.raises(ValueError, match=re.escape("of shape (5, 6, 16, 2), want one run")):
        plots.film(problem, results)
