"""The landscapes of the paper, against its published formulas in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.problems import Landscape, landscapes
from diffevo_jax.pytree import validation

DENSITIES = jax.jit(lambda problem, x: jax.vmap(problem.density)(x))

#: Published target, scale and largest distance of each objective, to be minimised.
PUBLISHED = {
    "rosenbrock": (0.0, 287.51, 40009.0),
    "beale": (0.0, 20.0, 72769.2),
    "himmelblau": (0.0, 17.01, 308.803),
    "ackley": (-12.5401, 2.0, 12.5401),
    "rastrigin": (-64.6249, 30.0, 64.6249),
}
#: Published scale and highest value of Rastrigin's function in D dimensions.
RASTRIGIN = {
    2: (30, 64.6249),
    4: (60, 129.2498),
    32: (500, 1033.998),
    256: (4000, 8271.9844),
}
HIMMELBLAU_MINIMA = [
    (3.0, 2.0),
    (-2.805118, 3.131312),
    (-3.779310, -3.283186),
    (3.584428, -1.848126),
]


def value(name: str, x: np.ndarray) -> np.ndarray:
    """The function at points (N, D)."""
    if name == "rastrigin":
        return 10 * x.shape[1] + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(axis=1)
    a, b = x.T
    if name == "rosenbrock":
        return (1 - a) ** 2 + 100 * (b - a**2) ** 2
    if name == "beale":
        return sum((c - a + a * b**k) ** 2 for k, c in enumerate((1.5, 2.25, 2.625), 1))
    if name == "himmelblau":
        return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2
    root = np.sqrt((a**2 + b**2) / 2)
    waves = (np.cos(2 * np.pi * a) + np.cos(2 * np.pi * b)) / 2
    return -20 * np.exp(-0.2 * root) - np.exp(waves) + 20 + np.e


def density(name: str, x: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """The published rescaling of the objective to a fitness."""
    target, scale, largest = PUBLISHED[name]
    climbs = name in ("ackley", "rastrigin")
    objective = -value(name, x) if climbs else value(name, x)
    outside = (np.abs(x) > 4).any(axis=1)
    objective = np.where(outside, 1e-9 if climbs else 100.0, objective)
    p = np.exp(-np.abs(objective - target) / (temperature * scale))
    p_min = np.exp(-largest / (temperature * scale))
    return np.maximum((p - p_min) / (1 - p_min), 0.0)


def at(name: str, *points: tuple[float, ...], **changes) -> np.ndarray:
    x = np.array(points, np.float32)
    return np.asarray(DENSITIES(Landscape(name, dim=x.shape[1], **changes), x))


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Points inside and outside the box."""
    return np.random.default_rng(0).uniform(-4.5, 4.5, (400, 2)).astype(np.float32)


# Functions


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_function_is_the_published_formula(name, points):
    values = jax.jit(jax.vmap(getattr(landscapes, name)))(points)

    want = value(name, points.astype(np.float64))
    # float32 of terms that cancel: relative to the largest of them
    np.testing.assert_allclose(values, want, rtol=2e-5, atol=1e-6 * np.abs(want).max())


def test_rastrigin_has_any_dimension():
    x = np.random.default_rng(1).uniform(-4, 4, (5, 7)).astype(np.float32)

    values = jax.vmap(landscapes.rastrigin)(x)

    np.testing.assert_allclose(values, value("rastrigin", x.astype(np.float64)), rtol=1e-5)


# Densities


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_fitness_is_the_published_rescaling(name, temperature, points):
    got = DENSITIES(Landscape(name, temperature=temperature), points)

    # an objective of 1e2 in float32, divided by temperature * scale
    want = density(name, points.astype(np.float64), temperature)
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_fitness_is_between_zero_and_one_however_far(name):
    far = np.array([[1e3, 0], [0, -1e10], [1e30, 1e30], [-3e38, 3e38]], np.float32)

    got = np.asarray(DENSITIES(Landscape(name), far))

    assert ((got >= 0) & (got <= 1)).all()


def test_the_minima_of_rosenbrock_and_beale_have_fitness_one():
    np.testing.assert_allclose(at("rosenbrock", (1.0, 1.0)), 1.0)
    np.testing.assert_allclose(at("beale", (3.0, 0.5)), 1.0)


def test_the_four_minima_of_himmelblau_have_fitness_one():
    np.testing.assert_allclose(at("himmelblau", *HIMMELBLAU_MINIMA), 1.0, atol=1e-6)


def test_the_four_maxima_of_ackley_have_fitness_one():
    corners = [(sx * 3.615, sy * 3.615) for sx in (-1, 1) for sy in (-1, 1)]

    # the published target has 6 digits, the corners 4
    np.testing.assert_allclose(at("ackley", *corners), 1.0, atol=2e-4)


@pytest.mark.parametrize("dim", RASTRIGIN)
def test_the_corner_maxima_of_rastrigin_have_fitness_one_in_every_dimension(dim):
    signs = np.random.default_rng(dim).choice([-1.0, 1.0], size=(3, dim))

    np.testing.assert_allclose(at("rastrigin", *(3.51786 * signs)), 1.0, atol=1e-4)


@pytest.mark.parametrize("name", ["ackley", "rastrigin"])
def test_the_minimum_of_a_function_that_is_climbed_has_fitness_zero(name):
    np.testing.assert_allclose(at(name, (0.0, 0.0)), 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "fitness"),
    [
        ("rosenbrock", np.exp(-100 / 287.51)),  # 0.706: outside is better than most inside
        ("beale", np.exp(-100 / 20)),
        ("himmelblau", density("himmelblau", np.array([[4.1, 0.0]]))[0]),
        ("ackley", 0.0),
        ("rastrigin", 0.0),
    ],
)
def test_outside_the_box_the_fitness_is_the_published_penalty(name, fitness):
    outside = [(4.01, 0.0), (0.0, -4.01), (100.0, 100.0)]

    np.testing.assert_allclose(at(name, *outside), fitness, atol=1e-6)


def test_the_bounds_belong_to_the_box():
    on, beyond = at("rosenbrock", (4.0, 4.0), (4.0001, 4.0))

    np.testing.assert_allclose(beyond, 0.706, atol=1e-3)
    assert on < 0.01


@pytest.mark.parametrize("dim", RASTRIGIN)
def test_the_constants_of_rastrigin_are_published_for_its_dimensions(dim):
    scale, highest = RASTRIGIN[dim]

    published = landscapes.rescaling("rastrigin", dim)

    assert (published.scale, published.max_distance) == (scale, highest)
    assert published.target == -highest


def test_two_peaks_is_one_at_its_peaks_and_gaussian_around():
    got = at("two_peaks", (1, 1), (-1, -1), (1.1, 1.0), (-1.0, -1.2), (0, 0))

    want = [1.0, 1.0, np.exp(-0.5), np.exp(-2.0), 2 * np.exp(-100.0)]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-12)


def test_two_peaks_step_is_one_near_a_peak_and_next_to_nothing_elsewhere():
    got = at("two_peaks_step", (1, 1), (1.49, 1), (1.51, 1), (-1.3, -1.3), (0, 0))

    np.testing.assert_allclose(got, [1, 1, 1e-9, 1, 1e-9])


# The problem


def test_the_fitness_of_a_population_is_its_density(points):
    problem = Landscape("himmelblau")

    evaluation, state = problem.evaluate(jax.random.key(0), (), jnp.asarray(points))

    assert np.allclose(evaluation.fitness, DENSITIES(problem, points), atol=1e-6)
    assert evaluation.measures == state == ()


@pytest.mark.parametrize(("scale", "dim"), [(4.0, 2), (1.5, 32)])
def test_the_population_starts_at_the_scale_of_the_problem(scale, dim):
    problem = Landscape("rastrigin", dim=dim, scale=scale)

    assert problem.space.dim == dim
    assert problem.space.decode(jnp.ones((1, dim))).tolist() == [[scale] * dim]


def test_temperature_can_be_swept(points):
    temperatures = np.array([0.5, 1.0, 2.0], np.float32)
    sweep = lambda t: jax.vmap(Landscape("beale", temperature=t).density)(points)

    swept = jax.jit(jax.vmap(sweep))(temperatures)

    alone = [DENSITIES(Landscape("beale", temperature=t), points) for t in temperatures]
    np.testing.assert_allclose(swept, np.stack(alone), atol=1e-6)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Landscape("sphere"), r"Landscape\.name: got 'sphere', want one of .*himmelblau"),
        (Landscape("beale", dim=3), r"Landscape\.dim: got 3, want 2 for beale"),
        (Landscape("rastrigin", dim=0), r"Landscape\.dim: got 0"),
        (Landscape("beale", temperature=0.0), r"Landscape\.temperature: got 0\.0"),
        (Landscape("beale", scale=-1.0), r"Landscape\.scale: got -1\.0"),
    ],
)
def test_a_landscape_that_does_not_exist_is_refused(problem, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(problem)
