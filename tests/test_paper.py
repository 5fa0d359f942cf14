"""The published experiments: small versions always, the whole ones with ``make slow``."""

import jax
import jax.numpy as jnp
import pytest

import diffevo_jax as de

SEED = 42  # of the published experiments


def cartpole(kernel: de.Kernel, seeds: int) -> tuple[float, float]:
    """Mean reward of the final populations, and share of episodes that reach 500 steps."""
    strategy, problem, population_size = de.published.control("CartPole-v1", kernel=kernel)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = de.evolve(key, strategy, problem, population_size=population_size)
        return result.fitness, ~result.measures.terminated

    keys = jax.random.split(jax.random.key(SEED), seeds)
    fitness, success = jax.jit(jax.vmap(one))(keys)
    return float(fitness.mean()), float(success.mean())


def two_peaks(seeds: int) -> tuple[jax.Array, jax.Array]:
    """Share of each final population within 0.5 of a peak, and on the smaller peak."""
    strategy, problem, population_size = de.published.landscape("two_peaks")

    def one(key: jax.Array) -> jax.Array:
        result = de.evolve(key, strategy, problem, population_size=population_size)
        x = problem.space.decode(result.population)
        peaks = jnp.array([[-1.0, -1.0], [1.0, 1.0]])
        distance = jnp.linalg.norm(x[:, None] - peaks, axis=-1)
        return jnp.mean(distance < 0.5, axis=0)

    shares = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(SEED), seeds))
    return shares.sum(axis=1), shares.min(axis=1)


def test_cartpole_is_learned_in_ten_generations() -> None:
    # 8 runs instead of 256: the spread of a run is 30, so the mean has an error of 11
    mean, success = cartpole(de.kernels.RandomProjection(2), seeds=8)
    assert mean > 440
    assert success > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "mean", "success"),
    [(de.kernels.RandomProjection(2), 485, 0.94), (de.kernels.Tempered(2.0), 490, 0.96)],
    ids=["latent", "tempered"],
)
def test_cartpole_reaches_the_published_reward(kernel, mean, success) -> None:
    ours = cartpole(kernel, seeds=256)
    assert ours[0] >= mean
    assert ours[1] >= success


@pytest.mark.slow
def test_both_peaks_are_found_and_kept() -> None:
    near, smaller = two_peaks(seeds=100)
    assert int(jnp.sum((near >= 0.97) & (smaller >= 0.10))) >= 95
