"""A mixture of two denoisers: a part where all weight is one's, the mean between."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.denoisers import mixture

N, D = 16, 3
KEY, POINTS = jax.random.key(0), jax.random.normal(jax.random.key(1), (N, D))
FITNESS = -jnp.sum(POINTS**2, axis=1)
PARTS = de.denoisers.Population(), de.denoisers.GaussianFit(diagonal=True)


@jax.jit
def answer(denoiser: Any, fitness: Any = FITNESS, sigma: float = 2.0) -> de.Estimate:
    """For individuals that were evaluated at a noise level."""
    state = denoiser.init(KEY, POINTS)
    state = denoiser.learn(KEY, state, de.Evaluated(POINTS, fitness, POINTS, sigma))
    y = POINTS * de.noise.canonical_scale(sigma)
    return denoiser.denoise(state, y, jnp.asarray(sigma))


@pytest.mark.parametrize("part", [0, 1], ids=["near", "far"])
def test_with_all_weight_it_is_its_part_bit_for_bit(part) -> None:
    mixed = answer(de.denoisers.Mixture(*PARTS, weight=float(part)))
    chex.assert_trees_all_equal(mixed, answer(PARTS[part]))


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1], ids=["near", "far"])
def test_a_run_with_all_weight_is_that_of_its_part_bit_for_bit(part) -> None:
    problem = de.problems.Landscape("rastrigin", dim=4)

    def run(denoiser: Any) -> jax.Array:
        strategy = de.DiffusionEvolution(10, denoiser)
        return de.evolve(KEY, strategy, problem, population_size=64).population

    mixed = run(de.denoisers.Mixture(*PARTS, weight=float(part)))
    np.testing.assert_array_equal(mixed, run(PARTS[part]))


def test_it_is_the_posterior_mean_of_mixed_beliefs() -> None:
    # given two beliefs of a clean point, each by Bayes' rule on a line, and three to one
    x, y, sigma = np.linspace(-6, 6, 4001), 0.7, 0.8
    seen = np.exp(-((y - x) ** 2) / (2 * sigma**2))
    priors = np.exp(-((x + 1) ** 2)), 1 / (1 + (x - 2) ** 4)
    beliefs = [prior * seen / np.sum(prior * seen) for prior in priors]
    wanted = np.sum(x * (0.75 * beliefs[0] + 0.25 * beliefs[1]))
    # when the mean of each is an answer
    each = [
        de.Estimate(jnp.array([[np.sum(x * p)]]), jnp.ones(1), jnp.zeros(1))
        for p in beliefs
    ]
    mixed = mixture.mixed(*each, jnp.array(0.25))
    # then theirs is that of both
    np.testing.assert_allclose(mixed.clean, [[wanted]], rtol=1e-6)


def test_the_far_one_fades_where_noise_is_low() -> None:
    weight = [float(mixture.far_weight(0.8, 0.5, sigma)) for sigma in (1e6, 0.5, 1e-6)]
    np.testing.assert_allclose(weight, [0.8, 0.4, 0.0], atol=1e-6)


@pytest.mark.parametrize(("weight", "sound"), [(0.0, False), (0.5, False), (1.0, True)])
def test_who_has_no_weight_is_not_heard(weight, sound) -> None:
    # given a near one that knows nothing, since all have failed, and a model that answers
    model = de.denoisers.Fixed(lambda y, sigma: 0.5 * y)
    mixed = de.denoisers.Mixture(PARTS[0], model, weight=weight)
    # then the answer may be used if all that are heard may be
    assert bool(answer(mixed, jnp.full(N, jnp.nan)).sound) is sound


def test_what_diverges_without_weight_leaves_no_trace() -> None:
    broken = de.denoisers.Fixed(lambda y, sigma: y * jnp.nan)
    mixed = answer(de.denoisers.Mixture(PARTS[0], broken, weight=0.0))
    chex.assert_trees_all_equal(mixed, answer(PARTS[0]))


def test_a_name_that_two_parts_have_is_ambiguous() -> None:
    with pytest.raises(ValueError, match=r"ambiguous, want one of: near\.shaping\.t"):
        de.replace(de.denoisers.Mixture(*PARTS), **{"shaping.temperature": 1.0})


def test_its_parts_are_divided() -> None:
    mixed = de.denoisers.Mixture(*PARTS)
    divided = mixed.divided(lambda attention: jax.tree_util.Partial(attention))
    assert isinstance(divided.near.attention, jax.tree_util.Partial)
    assert divided.far is mixed.far


def test_parts_of_another_shape_say_so() -> None:
    near, far = (de.Estimate(jnp.zeros((n, 1)), jnp.ones(n), jnp.zeros(n)) for n in (2, 3))
    with pytest.raises(ValueError, match=r"far: got an answer of shape \(3, 1\), want"):
        mixture.mixed(near, far, jnp.array(0.5))
