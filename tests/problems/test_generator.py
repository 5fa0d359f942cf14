"""Drawing of a model as a problem: what evolves of it, and what stays."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion, testing
from diffevo_jax.problems import (
    Generator,
    Guidance,
    InitialNoise,
    LowRank,
    NoiseLevels,
    genomes,
)

MIXTURE = de.oracles.gaussian_mixture([[-2.0, 0.0], [2.0, 0.0]], 0.25)
SMALL = {"grid": de.noise.EDM(0.05, 10.0), "sampler": de.samplers.DDIM(0.0)}


def first(samples: jax.Array) -> jax.Array:
    """The first number of each sample."""
    return samples[:, 0]


def centred(y: jax.Array, sigma: jax.Array, guidance: jax.Array) -> jax.Array:
    """The exact denoiser of N(g, I)."""
    return guidance[0] + (y - guidance[0]) / (1 + sigma**2)


def network() -> diffusion.NetworkDenoiser:
    """Of two dimensions, its weights drawn and not trained."""
    mlp = diffusion.MLP((4,), embedding=4)
    weights = jax.eval_shape(lambda: mlp.init(jax.random.key(0), (2,)))
    rng = np.random.default_rng(0)
    drawn = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)
    weights = jax.tree.map(drawn, weights)
    return diffusion.NetworkDenoiser(mlp, diffusion.EDM(), weights, (2,))


#: One of each genome.
GENERATORS = {
    "noise": Generator(MIXTURE.denoise, first, 2, num_levels=3, **SMALL),
    "levels": Generator(
        MIXTURE.denoise, first, 2, NoiseLevels(), num_levels=4, num_samples=3, **SMALL
    ),
    "guidance": Generator(
        centred, first, 2, Guidance(-4.0, 4.0), num_levels=3, num_samples=3, **SMALL
    ),
    "weights": Generator(
        network().denoise, first, 2, LowRank(2), num_levels=3, num_samples=3, **SMALL
    ),
}


def fitness(problem: Generator, solutions: Any, key: int = 0) -> jax.Array:
    """Of decoded solutions."""
    evaluate = jax.jit(lambda key: problem.evaluate(key, (), solutions)[0])
    return evaluate(jax.random.key(key)).fitness


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_every_genome_keeps_the_promises_of_a_problem(name) -> None:
    testing.check_problem(GENERATORS[name])


def test_a_noise_is_worth_what_is_drawn_from_it() -> None:
    problem = de.replace(GENERATORS["noise"], genome=InitialNoise(sphere=False))
    start = jax.random.normal(jax.random.key(1), (5, 2))
    drawn = de.sample(
        jax.random.key(9),
        MIXTURE.denoise,
        SMALL["grid"],
        SMALL["sampler"],
        (5, 2),
        num_levels=3,
        start=10.0 * start,
    )
    np.testing.assert_allclose(fitness(problem, start[:, None]), drawn[:, 0], rtol=1e-5)


def test_on_the_sphere_the_length_of_a_noise_does_not_matter() -> None:
    noise = jnp.array([[[3.0, 4.0]], [[0.3, 0.4]], [[0.0, 0.0]]])
    on = genomes.on_sphere(noise)
    np.testing.assert_allclose(on[0, 0], np.sqrt(2) * np.array([0.6, 0.8]), rtol=1e-6)
    np.testing.assert_allclose(on[1], on[0], rtol=1e-6)
    np.testing.assert_array_equal(on[2], 0.0)


def test_increments_keep_the_ends_and_0_the_levels() -> None:
    sigmas = de.noise.EDM(0.05, 10.0).sigmas(6)
    np.testing.assert_allclose(genomes.respaced(sigmas, jnp.zeros(5)), sigmas, rtol=1e-5)
    logs = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    known = np.log(np.asarray(sigmas, np.float64))
    parts = np.exp(logs) * -np.diff(known)
    parts *= (known[0] - known[-1]) / parts.sum()
    want = np.exp(known[0] - np.concatenate([[0.0], np.cumsum(parts)]))
    np.testing.assert_allclose(genomes.respaced(sigmas, jnp.asarray(logs)), want, rtol=1e-5)


def test_levels_never_rise_however_far_increments_are() -> None:
    sigmas = de.noise.EDM(0.05, 10.0).sigmas(6)
    got = genomes.respaced(sigmas, jnp.array([80.0, -80.0, 80.0, -80.0, 0.0]))
    assert (np.diff(got) <= 0).all()
    assert (got[0], got[-1]) == (sigmas[0], sigmas[-1])


def test_a_change_of_low_rank_is_that_of_its_formula() -> None:
    rng = np.random.default_rng(0)
    matrix, left, right = (rng.normal(size=s) for s in ((5, 7), (5, 2), (7, 2)))
    got = genomes.perturbed(jnp.asarray(matrix), (left, right), 0.3)
    rms = np.sqrt((matrix**2).mean())
    want = matrix + 0.3 * rms * left @ right.T / np.sqrt(2)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert np.linalg.matrix_rank(np.asarray(got) - matrix, tol=1e-4) == 2


def test_of_a_model_the_matrices_change_and_nothing_else() -> None:
    problem = GENERATORS["weights"]
    space = problem.space
    matrices = [leaf for leaf in jax.tree.leaves(problem.denoise) if np.ndim(leaf) == 2]
    assert space.dim == sum(2 * sum(leaf.shape) for leaf in matrices)
    drawing = genomes.Drawing(problem.denoise, jnp.ones(3), jnp.zeros((3, 2)))
    solution = jax.tree.map(lambda leaf: leaf[0], space.decode(jnp.ones((1, space.dim))))
    changed = problem.genome.changed(drawing, solution).denoise
    pairs = zip(*map(jax.tree.leaves, (problem.denoise, changed)), strict=True)
    for own, new in pairs:
        assert np.array_equal(own, new) == (np.ndim(own) != 2)


@pytest.mark.slow
def test_what_a_solution_does_not_change_is_the_same_for_all() -> None:
    problem = de.replace(GENERATORS["guidance"], sampler=de.samplers.DDIM(1.0))
    same = jnp.full((4, 1), 0.5)
    values = fitness(problem, same)
    np.testing.assert_allclose(values, values[0], rtol=1e-6)
    # and in another generation, but not of another seed
    np.testing.assert_allclose(fitness(problem, same, key=1), values, rtol=1e-6)
    other = de.replace(problem, seed=1)
    assert abs(float(fitness(other, same)[0] - values[0])) > 1e-3


@pytest.mark.slow
def test_a_noisy_one_draws_anew() -> None:
    problem = de.replace(GENERATORS["guidance"], noisy=True)
    same = jnp.full((2, 1), 0.5)
    values = fitness(problem, same)
    assert abs(float(fitness(problem, same, key=1)[0] - values[0])) > 1e-3


def test_fitness_is_the_mean_of_the_rewards_and_measures_are_the_samples() -> None:
    problem = GENERATORS["guidance"]
    solutions = jnp.array([[-1.0], [2.0]])
    evaluation, _ = problem.evaluate(jax.random.key(0), (), solutions)
    assert evaluation.measures.shape == (2, 3, 2)
    means = evaluation.measures[..., 0].mean(axis=1)
    np.testing.assert_allclose(evaluation.fitness, means, rtol=1e-6)
    np.testing.assert_array_equal(problem.draw(solutions), evaluation.measures)


@pytest.mark.slow
def test_a_reward_on_the_host_is_called_back() -> None:
    def reward(samples: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct(samples.shape[:1], samples.dtype)
        of_host = lambda array: np.asarray(array)[..., 0]
        return jax.pure_callback(of_host, shape, samples, vmap_method="expand_dims")

    problem = GENERATORS["guidance"]
    hosted = Generator(
        centred, reward, 2, Guidance(-4.0, 4.0), num_levels=3, num_samples=3, **SMALL
    )
    solutions = jnp.array([[-1.0], [2.0]])
    np.testing.assert_allclose(
        fitness(hosted, solutions), fitness(problem, solutions), rtol=1e-6
    )


def test_a_model_that_takes_no_guidance_is_refused() -> None:
    problem = Generator(lambda y, sigma: y, jnp.sum, 2, Guidance())
    with pytest.raises(TypeError, match=r"denoise\(y, sigma, g\)"):
        de.evolve(jax.random.key(0), de.DiffusionEvolution(2), problem, population_size=4)


@pytest.mark.slow
def test_guidance_is_found() -> None:
    # given samples of N(g, 1) that are best near 3, then g is 3 less their own mean
    reward = lambda samples: -((samples.mean() - 3.0) ** 2)
    problem = Generator(centred, reward, 2, Guidance(), num_samples=64)
    strategy, key = de.DiffusionEvolution(10), jax.random.key(0)
    result = de.evolve(key, strategy, problem, population_size=32)
    assert float(result.best_fitness) > -1e-4
    assert abs(float(result.best_solution[0]) - 3.0) < 0.5


@pytest.mark.slow
def test_few_levels_are_put_where_they_are_needed() -> None:
    # given a mixture at two scales and five levels of Euler's method
    target = de.oracles.gaussian_mixture([[-2.0], [2.0]], 0.01)
    grid, size = de.noise.VE(0.01, 30.0), 256

    def reward(samples: jax.Array) -> jax.Array:
        ends = jnp.sort(samples[:, 0])
        wanted = jnp.sort(target.sample(jax.random.key(1), size)[:, 0])
        return -jnp.mean(jnp.abs(ends - wanted))  # the distance of Wasserstein

    problem = Generator(
        target.denoise,
        reward,
        1,
        NoiseLevels(),
        grid,
        de.samplers.DDIM(0.0),
        num_levels=5,
        num_samples=size,
    )
    strategy, key = de.DiffusionEvolution(10), jax.random.key(0)
    result = de.evolve(key, strategy, problem, population_size=32)
    # then fresh noise is drawn better than on the grid itself
    both = jnp.stack([result.best_solution, jnp.zeros(4)])
    fresh = [fitness(de.replace(problem, seed=seed), both) for seed in range(20, 24)]
    own, before = np.mean(fresh, axis=0)
    assert own > 0.9 * before  # both are negative: a tenth less, at least


@pytest.mark.slow
def test_weights_move_towards_the_reward_the_further_the_more_they_may_change() -> None:
    data = MIXTURE.sample(jax.random.key(1), 512)
    recipe = diffusion.Recipe(num_steps=300, batch_size=64)
    scaled = data / data.std(axis=0)
    trained = diffusion.train(jax.random.key(2), scaled, diffusion.MLP((16,)), recipe)
    problem = Generator(
        trained.denoiser.denoise, first, 2, LowRank(1), num_samples=64, num_levels=8
    )
    swept = de.sweep(
        jax.random.key(0),
        de.DiffusionEvolution(8),
        problem,
        population_size=32,
        axes={"problem.scale": [0.05, 0.3]},
        num_seeds=2,
    )
    best = np.asarray(swept.best_fitness)  # (scales, seeds, generations)
    assert (best[..., -1] > best[..., 0]).all()
    assert (best[1, :, -1] > best[0, :, -1]).all()  # what may change more moves further


@pytest.mark.slow
def test_evolved_noise_beats_as_much_random_noise() -> None:
    target = de.oracles.random_mixture(jax.random.key(5), 4, 16, spread=2.0)
    goal = target.sample(jax.random.key(6), 1)[0]
    problem = Generator(
        target.denoise, lambda samples: -jnp.sum((samples - goal) ** 2, axis=1), 16
    )
    key = jax.random.key(0)
    result = de.evolve(key, de.DiffusionEvolution(16), problem, population_size=32)
    luck = fitness(problem, jax.random.normal(key, (512, 1, 16))).max()
    assert float(result.best_fitness) > float(luck)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no model": (
        lambda: de.pytree.validate(Generator(3, first, 2)),
        r"Generator\.denoise: got 3, want a function",
    ),
    "no reward": (
        lambda: de.pytree.validate(Generator(MIXTURE.denoise, None, 2)),
        r"Generator\.reward: got None, want a function",
    ),
    "no dimension": (
        lambda: de.pytree.validate(Generator(MIXTURE.denoise, first, 0)),
        r"Generator\.dim: got 0, want an int >= 1",
    ),
    "a negative seed": (
        lambda: de.pytree.validate(Generator(MIXTURE.denoise, first, 2, seed=-1)),
        r"Generator\.seed: got -1, want an int >= 0",
    ),
    "another dimension": (
        lambda: de.pytree.validate(Generator(MIXTURE.denoise, first, 3)),
        r"y: got shape \(1, 3\), want \(N, 2\)",
    ),
    "a reward of another shape": (
        lambda: de.pytree.validate(Generator(MIXTURE.denoise, lambda s: s, 2)),
        r"reward: got shape \(1, 2\), want \(1,\) or \(\)",
    ),
    "no levels between the ends": (
        lambda: de.pytree.validate(
            Generator(MIXTURE.denoise, first, 2, NoiseLevels(), num_levels=2)
        ),
        r"num_levels: got 2, want 3 or more",
    ),
    "no weights": (
        lambda: de.pytree.validate(
            Generator(functools.partial(centred, guidance=[1.0]), first, 2, LowRank())
        ),
        r"denoise: got no leaf that is a matrix",
    ),
    "a reward of NumPy": (
        lambda: Generator(MIXTURE.denoise, lambda x: np.asarray(x).sum(), 2).check_shapes(),
        r"reward: got a function that cannot be traced .* jax\.pure_callback calls any",
    ),
    "no genome": (
        lambda: de.pytree.validate(Generator(MIXTURE.denoise, first, 2, "noise")),
        r"Generator\.genome: got 'noise'",
    ),
}


@pytest.mark.parametrize(("called", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(called, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        called()
