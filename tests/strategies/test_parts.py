"""Options of Diffusion Evolution: what an answer is made of, and how it is used.

Every transcription is of one generation, in float64, and agrees to float32 rounding.
"""

import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxprs import largest_array
from often import often

import diffevo_jax as de
from diffevo_jax import denoisers, pytree
from diffevo_jax.attention import covariance
from diffevo_jax.strategies import shell

N, D, T = 24, 2, 10
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
SIGMAS = np.asarray(de.noise.Cosine().sigmas(T), np.float64)
STILL = de.samplers.DDIM(eta=0.0)


def sphere(x: Any) -> Any:
    return -((x - 0.7) ** 2).sum(axis=1)


EXACT, ENERGY = de.kernels.Gaussian(), de.shaping.Boltzmann(1.0)
SELF = de.kernels.SelfConditioned(EXACT)


def evolution(sampler: Any = STILL, **parts: Any) -> de.DiffusionEvolution:
    """Bayes' rule, without fresh noise, the exact kernel and weights of exp(fitness)."""
    plain: dict[str, Any] = {"kernel": EXACT, "shaping": ENERGY, "guidance": 0.0}
    population = de.denoisers.Population(**plain | parts)
    return de.DiffusionEvolution(T, population, sampler, de.noise.Cosine())


@functools.partial(jax.jit, compiler_options=QUICK)
def generation(strategy: Any, key: Any, state: Any, told: Any = None) -> Any:
    """State, info and candidates of the next generation, told fitness or the sphere's."""
    candidates, state = strategy.ask(jax.random.fold_in(key, 1), state)
    fitness = sphere(candidates) if told is None else told
    return *strategy.tell(key, state, candidates, fitness), candidates


def generations(strategy: Any, count: int, key: Any, population: Any = X) -> list[Any]:
    """States and candidates of so many generations on the sphere, the start in front."""
    state = strategy.init(key, jnp.asarray(population))
    told = [(state, population)]
    for number in range(count):
        state, _, candidates = generation(strategy, jax.random.fold_in(key, number), state)
        told.append((state, np.asarray(candidates, np.float64)))
    return told


def scale(sigma: float) -> float:
    return np.sqrt(1 + sigma**2)


def posterior(queries, keys, values, log_weight, sigma) -> np.ndarray:
    """Bayes' rule with the exact kernel."""
    squares = ((queries[:, None] - keys[None]) ** 2).sum(axis=-1)
    logits = log_weight - squares / (2 * sigma**2)
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weight @ values / weight.sum(axis=1, keepdims=True)


def step(y, clean, sigma, sigma_next) -> np.ndarray:
    """To the next level without fresh noise."""
    return clean + sigma_next / sigma * (y - clean)


# A second answer from the same evaluations


def two_answers(x, x_next, sigma, sigma_next) -> np.ndarray:
    """A step of exponential Heun; the second answer comes from ``x_next``, or from x."""
    y = scale(sigma) * x
    first = posterior(y, x, x, sphere(x), sigma)
    y = step(y, first, sigma, sigma_next)
    support = x if x_next is None else x_next
    second = posterior(y, support, support, sphere(support), sigma_next)
    return (y + 0.5 * (1 - sigma_next / sigma) * (second - first)) / scale(sigma_next)


def test_frozen_heun_steps_with_two_answers_of_one_evaluation(key) -> None:
    frozen = evolution(sampler=de.samplers.Heun(frozen=True))
    (_, _), (state, _) = generations(frozen, 1, key)
    want = two_answers(np.float64(X), None, SIGMAS[0], SIGMAS[1])
    np.testing.assert_allclose(state.population, want, atol=2e-5)
    np.testing.assert_allclose(state.sigma, SIGMAS[1], rtol=1e-5)


def test_frozen_heun_takes_one_evaluation_a_generation() -> None:
    frozen = evolution(sampler=de.samplers.Heun(frozen=True))
    assert len(frozen.sigmas()) == frozen.num_generations == T


def test_heun_evaluates_its_prediction_at_the_next_level(key) -> None:
    # given nine rounds, for five levels
    heun = de.replace(evolution(sampler=de.samplers.Heun()), num_generations=9)
    sigmas = np.asarray(de.noise.Cosine().sigmas(5), np.float64)
    _, (predicted, _), (corrected, candidates) = generations(heun, 2, key)
    y = scale(sigmas[0]) * np.float64(X)
    clean = posterior(y, np.float64(X), np.float64(X), sphere(np.float64(X)), sigmas[0])
    want = step(y, clean, sigmas[0], sigmas[1]) / scale(sigmas[1])
    np.testing.assert_allclose(candidates, want, atol=2e-5)
    np.testing.assert_allclose(predicted.sigma, sigmas[1], rtol=1e-5)
    # then the evaluation there corrects the step, and the level stays
    want = two_answers(np.float64(X), candidates, sigmas[0], sigmas[1])
    np.testing.assert_allclose(corrected.population, want, atol=2e-5)
    np.testing.assert_allclose(corrected.sigma, sigmas[1], rtol=1e-5)


def test_an_even_number_of_rounds_is_refused_by_heun(key) -> None:
    heun = de.DiffusionEvolution(4, sampler=de.samplers.Heun())
    with pytest.raises(ValueError, match="num_generations: got 4, want 3 or 5 with Heun"):
        de.init(heun, key, X)


# Neighbourhoods of clean estimates


def test_self_conditioned_neighbours_are_near_by_their_estimates_of_before(key) -> None:
    strategy = evolution(kernel=SELF)
    _, (first, _), (second, x) = generations(strategy, 2, key)
    # given that before any estimate it is the points themselves
    start = np.float64(X)
    clean = posterior(start, start, start, sphere(start), SIGMAS[0])
    np.testing.assert_allclose(first.clean_estimate, clean, atol=2e-5)
    clean = posterior(clean, clean, x, sphere(x), SIGMAS[1])
    np.testing.assert_allclose(second.clean_estimate, clean, atol=2e-5)
    want = step(scale(SIGMAS[1]) * x, clean, SIGMAS[1], SIGMAS[2]) / scale(SIGMAS[2])
    np.testing.assert_allclose(second.population, want, atol=2e-5)


def test_places_are_fixed_within_a_generation(key) -> None:
    sampler = de.samplers.Heun(frozen=True)
    strategy = evolution(kernel=SELF, sampler=sampler)
    _, (state, _) = generations(strategy, 1, key)
    x = np.float64(X)
    second = posterior(x, x, x, sphere(x), SIGMAS[1])
    np.testing.assert_allclose(state.clean_estimate, second, atol=2e-5)


# Evidence of earlier generations


def log_density(points: np.ndarray) -> np.ndarray:
    """Kernel density at its own points, with the bandwidth of Silverman's rule."""
    points = points - points.mean(axis=0)
    points = points / np.sqrt((points**2).mean())
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    size, dim = points.shape
    return np.log(np.exp(-squares * size ** (2 / (dim + 4)) / 2).mean(axis=1))


@pytest.mark.parametrize("correction", [0.0, 0.5, 1.0])
def test_two_generations_answer_together(correction, key) -> None:
    strategy = evolution(memory=de.denoisers.Archive(1, correction))
    *_, (state, x) = generations(strategy, 2, key)
    both = np.concatenate([x, np.float64(X)])
    log_weight = sphere(both) - correction * log_density(both)
    clean = posterior(scale(SIGMAS[1]) * x, both, both, log_weight, SIGMAS[1])
    np.testing.assert_allclose(state.clean_estimate, clean, atol=5e-5)


def test_an_empty_archive_changes_nothing(key) -> None:
    archived = evolution(memory=de.denoisers.Archive(2, 0.0))
    (_, _), (some, _) = generations(archived, 1, key)
    (_, _), (none, _) = generations(evolution(), 1, key)
    # sums of more terms: rounding
    np.testing.assert_allclose(some.population, none.population, atol=1e-5)


def test_one_generation_alone_is_corrected_by_its_own_density(key) -> None:
    (_, _), (archived, _) = generations(evolution(memory=de.denoisers.Archive()), 1, key)
    density = evolution(conditions=(de.conditions.Density(),))
    (_, _), (alone, _) = generations(density, 1, key)
    np.testing.assert_allclose(archived.population, alone.population, atol=1e-5)


def test_the_archive_holds_the_latest_first_and_no_more(key) -> None:
    told = generations(evolution(kernel=SELF, memory=de.denoisers.Archive(2)), 4, key)
    for number in range(2, 5):
        evidence = told[number][0].denoiser.evidence
        latest = [told[number - age][1] for age in range(3) if number - age > 0]
        np.testing.assert_array_equal(
            evidence.points[: N * len(latest)], np.float32(np.concatenate(latest))
        )
        assert evidence.fitness.shape == (3 * N,)
        places = [told[number - 1 - age][0].clean_estimate for age in range(len(latest))]
        np.testing.assert_array_equal(
            evidence.places[: N * len(latest)], np.concatenate(places)
        )


# Some of the population, each in its own neighbourhood


@pytest.mark.parametrize("support", [de.denoisers.Best(5), de.denoisers.Drawn(5)])
def test_failure_of_all_makes_no_nan_of_a_local_support(support, key) -> None:
    local = evolution(shaping=de.shaping.Local(), support=support)
    start = local.init(key, jnp.asarray(X))
    state, info, _ = generation(local, key, start, jnp.full(N, jnp.nan))
    assert de.equal(state.population, X)
    assert not np.isnan([float(leaf) for leaf in jax.tree.leaves(info)]).any()


def test_a_local_support_of_all_changes_nothing(key) -> None:
    local = evolution(shaping=de.shaping.Local())
    (_, _), (every, _) = generations(local, 1, key)
    every_one = evolution(shaping=de.shaping.Local(), support=de.denoisers.Best(N))
    (_, _), (some, _) = generations(every_one, 1, key)
    np.testing.assert_allclose(some.population, every.population, atol=1e-5)


# What else is wanted


@de.pytree.dataclass
class Inside:
    """Only candidates whose first number is at most 0 count."""

    def log_weight(self, candidates, fitness, measures):
        return jnp.where(candidates[:, 0] <= 0, 0.0, -jnp.inf)


def test_a_condition_excludes_and_is_counted(key) -> None:
    # given a flat kernel, under which the answer is the mean of whoever counts
    strategy = evolution(kernel=de.kernels.Gaussian(0.0), conditions=(Inside(),))
    state, info, _ = generation(strategy, key, strategy.init(key, jnp.asarray(X)))
    inside = np.float64(X)[X[:, 0] <= 0]
    weight = np.exp(sphere(inside))
    want = weight @ inside / weight.sum()
    np.testing.assert_allclose(state.clean_estimate, np.tile(want, (N, 1)), atol=1e-5)
    assert int(info.num_weightless) == N - len(inside)
    assert int(info.num_failed) == 0


def test_a_target_draws_the_population_towards_it() -> None:
    # given 32 runs with a target at 1.5, beyond the optimum at 0.7, and the same without
    problem = de.problems.Function(lambda x: -jnp.sum((x - 0.7) ** 2), dim=D)

    def mean(key: jax.Array, scale: jax.Array) -> jax.Array:
        wanted = de.conditions.Target(lambda x, measures: x[:, 0], 1.5, scale)
        strategy = de.DiffusionEvolution(
            T,
            denoiser=de.denoisers.Population(conditions=(wanted,)),
            grid=de.noise.Cosine(),
            sampler=de.samplers.DDIM(eta=1.0),
        )
        result = de.evolve(key, strategy, problem, population_size=32)
        return result.population[:, 0].mean()

    runs = jax.vmap(mean, (0, None))
    runs = jax.jit(jax.vmap(runs, (None, 0)), compiler_options=QUICK)
    keys = jax.random.split(jax.random.key(0), 32)
    near, nowhere = np.asarray(runs(keys, jnp.array([0.3, 1e6])), float)
    shift = near - nowhere
    assert shift.mean() > 5 * shift.std(ddof=1) / np.sqrt(32)


# Restart


@pytest.mark.parametrize(
    ("sampler", "rounds"),
    often(1, [(STILL, 10), (de.samplers.Heun(), 11)]),
    ids=["ddim", "heun"],
)
def test_renoised_points_are_clean_estimates_with_the_noise_of_a_level(
    sampler, rounds, key
) -> None:
    strategy = de.replace(evolution(sampler=sampler), num_generations=rounds)
    many = jax.random.normal(jax.random.fold_in(key, 9), (512, D))
    _, (ended, _) = generations(strategy, 1, key, many)
    ended = de.replace(ended, done=jnp.array(True))
    state = de.strategies.renoise(strategy, key, ended, 4)
    sigma = float(strategy.sigmas()[4 if rounds == 10 else 2])
    assert (int(state.generation), bool(state.done)) == (4, False)
    np.testing.assert_allclose(state.sigma, sigma, rtol=1e-6)
    noise = (scale(sigma) * np.float64(state.population) - ended.clean_estimate) / sigma
    # 1,024 standard normal numbers; 5 standard errors
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)
    assert float(state.best_fitness) == float(ended.best_fitness)


@pytest.mark.parametrize(("asked", "got"), [(-3, 0), (99, T - 1)])
def test_a_traced_generation_that_there_is_not_is_the_nearest(asked, got, key) -> None:
    *_, (state, _) = generations(evolution(), 1, key)
    again = jax.jit(de.strategies.renoise)(evolution(), key, state, jnp.asarray(asked))
    assert int(again.generation) == got
    np.testing.assert_allclose(again.sigma, SIGMAS[got], rtol=1e-5)


def test_a_renoised_state_goes_on_to_the_end(key) -> None:
    *_, (state, _) = generations(evolution(), 2, key)
    state = de.strategies.renoise(evolution(), key, state, T - 2)
    for ends in (False, True):
        state, info, _ = generation(evolution(), key, state)
        assert bool(state.done) == bool(info.done) == ends


# One level for ever


def test_at_a_constant_level_evolution_is_open_ended(key) -> None:
    problem = de.problems.Function(lambda x: -jnp.sum((x - 0.7) ** 2), dim=D)
    strategy = de.DiffusionEvolution(
        100,
        denoiser=de.denoisers.Population(shaping=de.shaping.Standardized()),
        grid=de.noise.Constant(0.3),
        sampler=de.samplers.Consistency(),
    )
    run = lambda key: de.evolve(
        key, strategy, problem, population_size=128, record=("population",)
    )
    result = jax.jit(run, compiler_options=QUICK)(key)
    late = np.asarray(result.recorded["population"][20:], float)
    # given that unit scale shrinks 0.7 to 0.67
    np.testing.assert_allclose(late.mean(axis=(0, 1)), 0.67, atol=0.1)
    assert np.abs(late.mean(axis=1) - 0.67).max() < 0.25
    # then the spread is that of the fresh noise, 0.3 / sqrt(1.09), early and late; that of
    # 256 numbers is wrong by 0.013, at most 5 times as much in 80 generations
    spread = late.std(axis=1).mean(axis=1)
    np.testing.assert_allclose(spread, 0.287, atol=5 * 0.013)
    np.testing.assert_allclose(spread[:40].mean(), spread[40:].mean(), rtol=0.05)
    np.testing.assert_allclose(result.history.sigma, 0.3, rtol=1e-6)


# Any number of any part


def test_many_settings_of_all_parts_are_one_program(key) -> None:
    rng = np.random.default_rng(1)
    draw = lambda low, high: jnp.asarray(rng.uniform(low, high, 6), jnp.float32)
    strategies = de.DiffusionEvolution(
        T,
        denoiser=de.denoisers.Population(
            kernel=de.kernels.Gaussian(draw(0.1, 1.0)),
            shaping=de.shaping.Standardized(draw(0.2, 2.0)),
            memory=de.denoisers.Archive(1, correction=draw(0.0, 1.0)),
            guidance=draw(0.0, 2.0),
            fade=draw(0.0, 5.0),
        ),
        grid=de.noise.EDM(draw(0.01, 0.1), draw(5.0, 50.0), draw(1.0, 7.0)),
        sampler=de.samplers.DDIM(draw(0.0, 1.0)),
    )

    def one(strategy: de.DiffusionEvolution) -> Any:
        state, info = strategy.tell(key, strategy.init(key, X), X, sphere(X))
        return state.population, info

    together = jax.jit(jax.vmap(one), compiler_options=QUICK)(strategies)
    alone = jax.jit(one, compiler_options=QUICK)
    for number in range(6):
        want = alone(jax.tree.map(lambda leaf, n=number: leaf[n], strategies))
        got = jax.tree.map(lambda leaf, n=number: leaf[n], together)
        for first, second in zip(*map(jax.tree.leaves, (got, want)), strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)


# The denoiser of a fitted Gaussian


def weighted(size: int, dim: int) -> tuple[np.ndarray, ...]:
    """Noisy points, values away from the origin, and log-weights."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(size, dim)) @ rng.normal(size=(dim, dim)) / np.sqrt(dim) + 3
    log_weight = rng.normal(size=size)
    log_weight[:2] = -np.inf
    y = values + rng.normal(size=(size, dim))
    return tuple(np.float32(array) for array in (y, values, log_weight))


GAUSSIAN = jax.jit(
    denoisers.gaussian_mean, static_argnames="diagonal", compiler_options=QUICK
)


def shrunk(known: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """By the oracle approximating shrinkage, its formula and count from the definitions."""
    dim, square = len(known), (weight**2).sum()
    inner = np.eye(len(weight)) - weight[:, None] - weight + square
    count = (1 - square) ** 2 / (np.outer(weight, weight) * inner**2).sum()
    trace, of_square = np.trace(known), np.trace(known @ known)
    chance = (1 - 2 / dim) * of_square + trace**2
    share = min(1.0, chance / ((count + 1 - 2 / dim) * (of_square - trace**2 / dim)))
    return (1 - share) * known + share * trace / dim * np.eye(dim)


@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(("size", "dim"), [(20, 3), (7, 12)], ids=["N > D", "D > N"])
def test_the_gaussian_answer_is_the_wiener_filter(size, dim, sigma, diagonal) -> None:
    y, values, log_weight = weighted(size, dim)
    got = GAUSSIAN(y, values, log_weight, sigma, diagonal=diagonal)
    weight = np.exp(np.float64(log_weight))
    weight /= weight.sum()
    mean = weight @ np.float64(values)
    known = np.cov(np.float64(values).T, aweights=weight, bias=True)
    known = np.diag(np.diag(known)) if diagonal else shrunk(known, weight)
    gain = known @ np.linalg.inv(known + sigma**2 * np.eye(dim))
    np.testing.assert_allclose(got.clean, mean + (y - mean) @ gain.T, atol=5e-5)
    np.testing.assert_allclose(got.self_weight, weight, atol=1e-6)
    np.testing.assert_allclose(got.effective_sample_size, 1 / (weight**2).sum(), rtol=1e-5)


def test_without_noise_an_unshrunk_filter_keeps_what_is_in_the_span() -> None:
    # given five points with weight in twelve dimensions, which span four directions
    y, values, log_weight = weighted(7, 12)
    weight = jax.nn.softmax(log_weight)
    mean = weight @ values
    got = covariance.filtered(y - mean, weight, values - mean, 0.0, 0.0, 1e-3) + mean
    origin = np.float64(values[2])
    directions = np.linalg.svd(values[3:] - origin)[2][:4]
    want = origin + (y - origin) @ directions.T @ directions
    # directions with a variance of 0.1 shrink by 1e-5
    np.testing.assert_allclose(got, want, atol=2e-4)


def test_in_noise_alone_the_gaussian_answer_is_the_mean() -> None:
    y, values, log_weight = weighted(20, 3)
    got = GAUSSIAN(y, values, log_weight, 1e6).clean
    weight = np.exp(log_weight) / np.exp(log_weight).sum()
    np.testing.assert_allclose(got, np.tile(weight @ values, (20, 1)), atol=1e-5)


@pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])
@pytest.mark.parametrize("size", [1, 5])
def test_the_gaussian_of_equal_points_answers_with_them(size, diagonal) -> None:
    values = np.full((size, 3), 0.7, np.float32)
    y = np.float32(values + np.arange(size)[:, None] + 1)
    got = GAUSSIAN(y, values, np.zeros(size, np.float32), 1e-2, diagonal=diagonal).clean
    np.testing.assert_allclose(got, values, atol=1e-5)


each_fit = pytest.mark.parametrize("diagonal", [False, True], ids=["full", "diagonal"])


@each_fit
def test_the_memory_of_a_gaussian_is_linear_in_the_population(diagonal) -> None:
    strategy = de.DiffusionEvolution(T, de.denoisers.GaussianFit(diagonal=diagonal))
    population = jax.ShapeDtypeStruct((100_000, 8), jnp.float32)
    fitness = jax.ShapeDtypeStruct((100_000,), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(strategy.init, key, population)
    program = jax.make_jaxpr(strategy.tell)(key, state, population, fitness)
    # the bits of random numbers are as many as the numbers
    assert largest_array(program.jaxpr) <= 4 * 100_000 * 8


@each_fit
def test_a_generation_may_be_answered_by_a_gaussian(diagonal, key) -> None:
    fit = de.denoisers.GaussianFit(ENERGY, guidance=0.0, diagonal=diagonal)
    strategy = de.replace(evolution(), denoiser=fit)
    _, (state, _) = generations(strategy, 1, key)
    y = np.float32(scale(SIGMAS[0])) * X
    want = GAUSSIAN(y, X, sphere(X), np.float32(SIGMAS[0]), diagonal=diagonal).clean
    np.testing.assert_allclose(state.clean_estimate, want, atol=1e-5)


# What does not go together

LOCAL = de.shaping.Local()


def test_a_shaping_of_neighbourhoods_is_refused_where_there_are_none(key) -> None:
    strategy = de.replace(evolution(), denoiser=de.denoisers.GaussianFit(LOCAL))
    with pytest.raises(ValueError, match=r"GaussianFit\.shaping: got Local"):
        de.init(strategy, key, X)


def test_a_kernel_that_places_cannot_be_placed(key) -> None:
    twice = evolution(kernel=de.kernels.SelfConditioned(SELF))
    with pytest.raises(ValueError, match=r"SelfConditioned\.kernel: got SelfCond"):
        de.init(twice, key, X)


def test_only_individuals_have_a_place(key) -> None:
    _, (state, _) = generations(evolution(kernel=SELF), 1, key)
    denoiser = evolution(kernel=SELF).denoiser
    with pytest.raises(ValueError, match=f"SelfConditioned: got 3 points, want the {N}"):
        denoiser.denoise(state.denoiser, jnp.asarray(X[:3]), 1.0)


@pytest.mark.parametrize(
    "part",
    [
        {"kernel": de.kernels.Perplexity()},
        {"kernel": de.kernels.SelfConditioned(de.kernels.Perplexity())},
        {"shaping": LOCAL},
    ],
    ids=["perplexity", "self-conditioned", "local"],
)
def test_an_attention_that_makes_no_rows_is_refused_where_they_are_needed(
    part, key
) -> None:
    attention = lambda *arguments, **options: de.attention.attend(*arguments, **options)
    with pytest.raises(ValueError, match=r"Population\.attention: got .* rows"):
        de.init(evolution(attention=attention, **part), key, X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"conditions": []}, TypeError, r"Population\.conditions: got \[\], want a tuple"),
        (
            {"conditions": [de.conditions.Density()]},
            TypeError,
            r"Population\.conditions: got \[Density.*\], want a tuple",
        ),
        (
            {"memory": de.denoisers.Archive(0)},
            ValueError,
            r"Archive\.generations: got 0, want an int >= 1",
        ),
        (
            {"memory": de.denoisers.Archive(1.0)},
            TypeError,
            r"Archive\.generations: got 1\.0 \(float\), want an int",
        ),
        (
            {"memory": de.denoisers.Archive(1, 1.5)},
            ValueError,
            r"Archive\.correction: got 1\.5, want",
        ),
        (
            {"kernel": de.kernels.Gaussian(floor=0.0)},
            ValueError,
            r"Gaussian\.floor: got 0\.0, want None or > 0",
        ),
        (
            {"shaping": de.shaping.Identity(floor=-1.0)},
            ValueError,
            r"Identity\.floor: got -1\.0, want None or > 0",
        ),
        (
            {"support": de.denoisers.Best(0)},
            ValueError,
            r"Best\.count: got 0, want an int >= 1",
        ),
    ],
)
def test_an_option_that_there_is_not_is_refused(options, error, message, key) -> None:
    with pytest.raises(error, match=message):
        de.init(evolution(**options), key, X)


def test_an_oracle_that_is_no_denoiser_is_told_how_to_be_one(key) -> None:
    oracle = de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
    with pytest.raises(TypeError, match=r"got Gauss.* like .* denoisers\.Fixed\("):
        de.init(de.DiffusionEvolution(T, oracle), key, X)


def test_a_shaping_is_no_condition(key) -> None:
    strategy = evolution(conditions=(de.shaping.Rank(),))
    with pytest.raises(TypeError, match=r"Population\.conditions\[0\]: got Rank"):
        de.init(strategy, key, X)


def test_a_grid_that_is_too_coarse_for_its_sampler_warns(key) -> None:
    problem = de.problems.Function(lambda x: -jnp.sum(x**2), dim=D)
    strategy = de.DiffusionEvolution(5, sampler=de.samplers.EDM())
    evolve = lambda key: de.evolve(key, strategy, problem, population_size=8)
    with pytest.warns(UserWarning, match="EDM overshoots"):
        jax.eval_shape(evolve, key)


WRONG_PARTS = {
    "DiffusionEvolution.denoiser": de.DiffusionEvolution(3, de.kernels.Gaussian()),
    "DiffusionEvolution.sampler": de.DiffusionEvolution(3, sampler=de.noise.Cosine()),
    "DiffusionEvolution.grid": de.DiffusionEvolution(3, grid=None),
    "Population.kernel": evolution(kernel=de.shaping.Rank()),
    "Population.shaping": evolution(shaping=None),
    "Population.memory": evolution(memory=de.denoisers.Best(3)),
    "Population.support": evolution(support=3),
    "Population.conditions[0]": evolution(conditions=(1.0,)),
    "Population.attention": evolution(attention=None),
    "SelfConditioned.kernel": evolution(kernel=de.kernels.SelfConditioned(None)),
    "GaussianFit.shaping": de.DiffusionEvolution(3, denoisers.GaussianFit(EXACT)),
    "GaussianFit.memory": de.DiffusionEvolution(3, denoisers.GaussianFit(memory=EXACT)),
    "MonoFlow.grid": de.MonoFlow(3, grid=None),
    "MonoFlow.shaping": de.MonoFlow(3, shaping=None),
    "MonoFlow.ratio": de.MonoFlow(3, ratio=EXACT),
    "MonoFlow.divergence": de.MonoFlow(3, divergence=None),
    "MonoFlow.generator": de.MonoFlow(3, generator=3.0),
    "Optax.transformation": evolution(de.samplers.Optax(None)),
}


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_a_part_in_the_place_of_another_is_named(name, key) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{name}: got")):
        de.init(WRONG_PARTS[name], key, X)


@pytree.dataclass
class Answering:
    """Answers 3 everywhere, or what a function makes of the points and of their number."""

    answer: Any = pytree.static(default=lambda y, count: jnp.full_like(y, 3.0))

    def init(self, key: Any, population: Any) -> Any:
        return jnp.zeros((), jnp.int32)

    def learn(self, key: Any, state: Any, evaluated: Any) -> Any:
        return state + 1

    def denoise(self, state: Any, y: Any, sigma: Any) -> Any:
        nothing = jnp.zeros(len(y))
        return de.Estimate(self.answer(y, state), nothing, nothing)


@pytest.mark.parametrize("shape", [(1, D), (N, 1), (D,), (N, D, 1)])
def test_an_answer_of_another_shape_is_refused(shape, key) -> None:
    strategy = de.DiffusionEvolution(T, Answering(lambda y, count: jnp.zeros(shape)))
    with pytest.raises(ValueError, match="got an answer of shape"):
        generations(strategy, 1, key)


def test_an_answer_that_is_no_estimate_is_refused(key) -> None:
    @pytree.dataclass
    class Bare(Answering):
        def denoise(self, state: Any, y: Any, sigma: Any) -> Any:
            return y

    with pytest.raises(TypeError, match="want an Estimate"):
        generations(de.DiffusionEvolution(T, Bare()), 1, key)


REMEMBER = {
    "GHFilter": de.samplers.GHFilter(0.5, 0.1, eta=0.0),
    "DPMSolver2M": de.samplers.DPMSolver2M(),
    "Optax": de.samplers.Optax(optax.adam(0.1)),
    "Heun": de.samplers.Heun(frozen=True),
}


@pytest.mark.parametrize("sampler", REMEMBER.values(), ids=REMEMBER)
@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_answer_is_undone_and_not_remembered(sampler, broken, key) -> None:
    # given a denoiser that answers NaN in one generation
    answer = lambda y, count: jnp.where(count == broken, jnp.nan, jnp.full_like(y, 3.0))
    strategy = de.DiffusionEvolution(T, Answering(answer), sampler)
    state, counts = strategy.init(key, jnp.asarray(X)), []
    for number in range(4):
        before = state
        state, info, _ = generation(strategy, jax.random.fold_in(key, number), state)
        counts.append(int(info.num_diverged))
        # then nobody moves in that generation, and everybody in the next
        stays = bool(jnp.all(before.population == state.population))
        assert stays == (number + 1 == broken)
    assert counts == [int(number + 1 == broken) for number in range(4)]
    chex.assert_tree_all_finite(state.memory)


@pytest.mark.parametrize("name", ["GHFilter", "DPMSolver2M"])
def test_a_renoised_state_is_not_drawn_to_where_no_answer_was(name, key) -> None:
    # given a denoiser whose answers are 3, and a state that goes on from late in the run
    strategy = de.DiffusionEvolution(T, Answering(), REMEMBER[name])
    ended = generations(strategy, T, key)[-1][0]
    state = de.strategies.renoise(strategy, key, ended, T - 2)
    # when it takes its last step, then it goes to 3, and not to a fraction of it
    state, _, _ = generation(strategy, key, state)
    distance = jnp.abs(state.population * jnp.sqrt(1 + state.sigma**2) - 3.0)
    assert float(distance.max()) < 6 * float(state.sigma) + 1e-3


@pytest.mark.parametrize(
    "denoiser",
    often(
        1,
        [
            de.denoisers.Population(memory=de.denoisers.Archive(2)),
            de.denoisers.GaussianFit(memory=de.denoisers.Archive(1), diagonal=True),
            de.denoisers.Population(
                memory=de.denoisers.Archive(1), support=de.denoisers.Best(8)
            ),
        ],
    ),
    ids=["population", "fit", "support"],
)
def test_with_a_memory_nobody_moves_either_if_all_fail(denoiser) -> None:
    # given an archive that knows an evaluated generation
    strategy = de.DiffusionEvolution(5, denoiser)
    state = strategy.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (8, 2)))
    ask, tell = jax.jit(strategy.ask), jax.jit(strategy.tell)
    candidates, state = ask(jax.random.key(2), state)
    state, _ = tell(jax.random.key(3), state, candidates, -jnp.sum(candidates**2, axis=1))
    before, state = ask(jax.random.key(4), state)
    # when all of the next one fail
    state, info = tell(jax.random.key(5), state, before, jnp.full(8, jnp.nan))
    # then the one after it is the same, bit for bit
    after, _ = ask(jax.random.key(6), state)
    assert info.num_failed == 8
    assert jnp.array_equal(before, after)


@pytest.mark.parametrize("fitness", [[3.4e38] * 3, [-3.4e38] * 7, [3.4e38, -3.4e38, 3e38]])
def test_the_mean_of_the_largest_floats_is_finite(fitness) -> None:
    values = jnp.array(fitness, jnp.float32)
    mean = shell.describe_fitness(values)["mean_fitness"]
    want = np.mean(np.asarray(values, np.float64))
    np.testing.assert_allclose(float(mean), want, rtol=1e-6)
