"""Films: who is where, how many are shown, what the landscape is like."""

import io

import numpy as np
import pytest
from PIL import Image

from diffevo_jax.report import films, projections, screens
from diffevo_jax.running import Plane

RNG = np.random.default_rng(0)


def test_principal_components_are_those_of_the_covariance() -> None:
    rows = RNG.normal(size=(200, 5)) * [5.0, 3.0, 1.0, 0.5, 0.1]
    centre, directions, shares = projections.principal_components(rows)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    np.testing.assert_allclose(centre, rows.mean(axis=0))
    np.testing.assert_allclose(np.abs(directions), np.abs(vectors[:, :-3:-1]), atol=1e-8)
    np.testing.assert_allclose(shares, values[:-3:-1] / values.sum())


def test_components_of_what_does_not_vary_are_none() -> None:
    _, directions, shares = projections.principal_components(np.ones((4, 3)))
    assert not directions.any()
    assert not shares.any()


def test_a_plane_is_drawn_in_its_own_units() -> None:
    points = np.array([[[0.0, 0.0], [1.0, 2.0]], [[0.5, 1.0], [0.0, 2.0]]])
    plane = Plane(points, np.zeros(2), np.array([1.0, 2.0]), None)
    film = films.film_of(points, np.array([[0.0, 1.0], [3.0, 2.0]]), np.ones(2), plane)
    np.testing.assert_array_equal(film.points[0], [[0, 0], [1000, 1000]])
    np.testing.assert_array_equal(film.points[1], [[500, 500], [0, 1000]])
    np.testing.assert_array_equal(film.best, [[1000, 1000], [500, 500]])


def test_large_populations_are_thinned_and_the_page_says_so() -> None:
    paths = RNG.normal(size=(100, 300, 3))
    film = films.film_of(paths, paths.sum(axis=-1), np.ones(100))
    assert film.points.shape == (films.FRAMES, films.INDIVIDUALS, 2)
    assert (film.generations[0], film.generations[-1]) == (1, 100)
    assert "200 of 300 individuals" in film.about
    assert "60 of 100 generations" in film.about
    assert film.counts.sum(axis=1).tolist() == [300] * films.FRAMES


def test_small_populations_are_shown_whole() -> None:
    film = films.film_of(RNG.normal(size=(4, 8, 3)), None, np.ones(4))
    assert film.points.shape == (4, 8, 2)
    assert " of 8 individuals" not in film.about
    assert film.counts is None


def test_one_number_is_drawn_over_fitness() -> None:
    paths, fitness = np.array([[[0.0], [1.0]]]), np.array([[5.0, 7.0]])
    film = films.film_of(paths, fitness, np.ones(1))
    assert film.labels == ("number 1", "fitness")
    across, up = film.points[0].T
    assert across[0] < across[1]
    assert up[0] < up[1]


def test_failed_individuals_are_outside_and_never_the_best() -> None:
    paths = np.array([[[0.0, 0.0], [1.0, 1.0], [np.nan, 0.0]]])
    film = films.film_of(paths, np.array([[1.0, 2.0, np.nan]]), np.ones(1))
    assert (film.points[0, 2] < 0).any()
    np.testing.assert_array_equal(film.best[0], film.points[0, 1])


def test_the_fitter_the_darker_with_the_second_number_up() -> None:
    height = np.zeros((4, 5))
    height[3, 0] = 1.0  # the upper left
    plane = Plane(np.zeros((1, 1, 2)), np.zeros(2), np.ones(2), height)
    film = films.film_of(np.zeros((1, 1, 2)), None, np.ones(1), plane)
    alpha = np.asarray(Image.open(io.BytesIO(screens._png(film.ground))).convert("RGBA"))[
        ..., 3
    ]
    assert alpha.shape == (4, 5)
    assert alpha[0, 0] == alpha.max() > 50
    assert alpha[3, 0] == 0


def test_no_generation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got shape \(0, 3, 2\)"):
        films.film_of(np.zeros((0, 3, 2)), None, np.zeros(0))


def test_the_script_gets_places_from_the_top() -> None:
    plane = Plane(np.array([[[0.0, 1.0]]]), np.zeros(2), np.ones(2), None)
    film = films.film_of(np.zeros((1, 1, 2)), None, np.ones(1), plane)
    assert screens.frames(film)["points"] == [[0, 0]]
