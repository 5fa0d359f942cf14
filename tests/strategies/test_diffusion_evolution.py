"""Diffusion Evolution against its equations, its limits and its published behaviour."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de

N, D, T = 24, 2, 10
X = jax.random.normal(jax.random.key(1), (N, D))
FITNESS = -jnp.sum((X - 0.7) ** 2, axis=1)


def cosine_alphas(n: int) -> np.ndarray:
    """Published cosine grid, from noisy to clean."""
    a = (np.cos(np.linspace(0, np.pi, n)) + 1) / 2
    return ((a + 1e-3) * (1 - 1e-3) / (1 + 1e-3))[::-1]


def published_generation(x, fitness, a, a_next, eta, temperature, eps) -> np.ndarray:
    """Algorithm 1 of arXiv:2410.02543 in its own coordinates, float64."""
    g = np.exp((fitness - fitness.max()) / temperature)
    distance = ((x[:, None] - np.sqrt(a) * x[None]) ** 2).sum(-1)
    weight = g[None] * np.exp(-distance / (2 * (1 - a)))  # eq. 9
    x0 = weight @ x / weight.sum(1, keepdims=True)  # eq. 8
    noise = (x - np.sqrt(a) * x0) / np.sqrt(1 - a)
    sigma = eta * np.sqrt((1 - a_next) / (1 - a) * (1 - a / a_next))
    kept = np.sqrt(1 - a_next - sigma**2)
    return np.sqrt(a_next) * x0 + kept * noise + sigma * eps  # eq. 10


@jax.jit  # one program for all numbers of a strategy
def tell(strategy: de.DiffusionEvolution, key, fitness=FITNESS, population=X):
    state = strategy.init(jax.random.key(2), population)
    candidates, state = strategy.ask(key, state)
    return strategy.tell(key, state, candidates, fitness)


@pytest.mark.parametrize("eta", [0.0, 0.1, 1.0])
def test_a_generation_is_algorithm_1_of_the_paper(eta: float, key) -> None:
    # given the exact kernel, and the noise that the key draws
    strategy = de.DiffusionEvolution(
        T,
        denoiser=de.denoisers.Population(
            kernel=de.kernels.Gaussian(),
            shaping=de.shaping.Boltzmann(0.5),
            guidance=0.0,
        ),
        grid=de.noise.Cosine(),
        sampler=de.samplers.DDIM(eta),
    )
    eps = np.asarray(jax.random.normal(key, (N, D)), float)
    alphas = cosine_alphas(T)
    x, fitness = np.asarray(X, float), np.asarray(FITNESS, float)
    wanted = published_generation(x, fitness, alphas[0], alphas[1], eta, 0.5, eps)
    # then a generation agrees to float32 rounding
    state, _ = tell(strategy, key)
    np.testing.assert_allclose(state.population, wanted, atol=2e-5)


def test_the_last_generation_is_evaluated_and_stays(key) -> None:
    strategy = de.DiffusionEvolution(2, grid=de.noise.Cosine())
    state, _ = tell(strategy, key)
    candidates, state = jax.jit(de.ask)(strategy, key, state)
    state, info = jax.jit(de.tell)(strategy, key, state, candidates, FITNESS)
    assert de.equal(state.population, candidates)
    np.testing.assert_allclose(info.sigma, np.sqrt(0.001 / 0.999), rtol=1e-4)


def test_one_generation_is_evaluated_at_the_noisiest_level(key) -> None:
    _, info = tell(de.DiffusionEvolution(1, grid=de.noise.Cosine()), key)
    np.testing.assert_allclose(info.sigma, de.noise.Cosine().sigmas(5)[0], rtol=1e-6)


@pytest.mark.slow
def test_the_latent_form_is_another_kernel_and_draws_once(key) -> None:
    strategy = de.DiffusionEvolution(
        3, denoiser=de.denoisers.Population(kernel=de.kernels.RandomProjection(1))
    )
    before = strategy.init(key, X)
    after, _ = strategy.tell(key, before, X, FITNESS)
    assert before.denoiser.kernel_state.shape == (1, D)
    assert de.equal(before.denoiser.kernel_state, after.denoiser.kernel_state)


def test_individuals_permute_with_their_fitness(key) -> None:
    order = jax.random.permutation(jax.random.key(3), N)
    strategy = de.DiffusionEvolution(T, sampler=de.samplers.DDIM(eta=0.0))
    plain, _ = tell(strategy, key)
    mixed, _ = tell(strategy, key, fitness=FITNESS[order], population=X[order])
    # sums in another order: rounding
    np.testing.assert_allclose(mixed.population, plain.population[order], atol=1e-5)


def test_a_repaired_candidate_is_the_individual_and_the_evidence(key) -> None:
    strategy = de.DiffusionEvolution(
        T, denoiser=de.denoisers.Population(kernel=de.kernels.Gaussian(kappa=1e6))
    )
    state = strategy.init(key, X)
    repaired = jnp.clip(X, -0.5, 0.5)
    told, _ = strategy.tell(key, state, repaired, FITNESS)
    same, _ = strategy.tell(key, strategy.init(key, repaired), repaired, FITNESS)
    assert de.equal(told.population, same.population)


def test_info_counts_the_weightless(key) -> None:
    strategy = de.DiffusionEvolution(
        T, denoiser=de.denoisers.Population(shaping=de.shaping.Identity())
    )
    fitness = jnp.abs(FITNESS).at[:3].set(-1.0).at[3].set(jnp.nan)
    _, info = tell(strategy, key, fitness=fitness)
    assert int(info.num_failed) == 1
    assert int(info.num_weightless) == 4


def test_extreme_fitness_makes_no_nan(key) -> None:
    fitness = FITNESS.at[0].set(3.4e38).at[1].set(-3.4e38).at[2].set(1e-45)
    for temperature in (1e-3, 1.0, 1e3):
        shaping = de.shaping.Boltzmann(temperature)
        state, info = tell(
            de.DiffusionEvolution(T, denoiser=de.denoisers.Population(shaping=shaping)),
            key,
            fitness=fitness,
        )
        assert np.isfinite(state.population).all()
        assert np.isfinite(float(info.mean_fitness))


@pytest.mark.slow
def test_a_traced_temperature_of_zero_is_greedy(key) -> None:
    def clean(temperature: jax.Array) -> jax.Array:
        shaping = de.shaping.Boltzmann(temperature)
        strategy = de.DiffusionEvolution(
            T,
            denoiser=de.denoisers.Population(
                kernel=de.kernels.Gaussian(0.0), shaping=shaping, guidance=0.0
            ),
        )
        return tell(strategy, key)[0].clean_estimate

    best = X[jnp.argmax(FITNESS)]
    swept = jax.vmap(clean)(jnp.zeros(1))[0]
    np.testing.assert_allclose(swept, jnp.broadcast_to(best, (N, D)), atol=1e-6)


def test_a_sampler_that_cannot_end_in_time_is_refused(key) -> None:
    class TwoRounds(de.samplers.DDIM):
        def num_rounds(self, num_levels: int) -> int:
            return 2 * num_levels - 1

    sampler = de.pytree.dataclass(TwoRounds)()
    strategy = de.DiffusionEvolution(4, sampler=sampler)
    with pytest.raises(
        ValueError, match="num_generations: got 4, want 3 or 5 with TwoRounds"
    ):
        de.init(strategy, key, X)


def test_failed_fitness_lets_the_exact_kernel_keep_both_peaks(key) -> None:
    # given two peaks where a tenth of all evaluations fail
    def fn(x: jax.Array) -> jax.Array:
        fails = jnp.sin(1e4 * x[0]) > 0.95
        return jnp.where(fails, jnp.nan, de.problems.landscapes.two_peaks(x, width=0.3))

    problem = de.problems.Function(fn, dim=2)
    strategy = de.DiffusionEvolution(
        25,
        denoiser=de.denoisers.Population(
            kernel=de.kernels.Gaussian(), shaping=de.shaping.Identity()
        ),
    )
    result = de.evolve(key, strategy, problem, population_size=256)
    near = jnp.linalg.norm(result.population - 1.0, axis=1) < 0.5
    far = jnp.linalg.norm(result.population + 1.0, axis=1) < 0.5
    assert int(result.history.num_failed.sum()) > 100
    assert float(near.mean()) > 0.1
    assert float(far.mean()) > 0.1


# Some of the population

SUPPORTS = (de.denoisers.Best, de.denoisers.Drawn)
each_support = pytest.mark.parametrize("support", SUPPORTS)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}


def supported(support, **parts) -> de.DiffusionEvolution:
    population = de.denoisers.Population(support=support, **parts)
    return de.DiffusionEvolution(T, population)


@each_support
@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        (0, ValueError, "count: got 0, want an int >= 1"),
        (-3, ValueError, "count: got -3, want an int >= 1"),
        (2.0, TypeError, r"count: got 2\.0 \(float\), want an int"),
        (True, TypeError, r"count: got True \(bool\), want an int"),
    ],
)
def test_a_support_that_there_is_not_is_refused(support, count, error, message, key):
    with pytest.raises(error, match=rf"{support.__name__}\.{message}"):
        de.init(supported(support(count)), key, X)


@each_support
def test_a_support_larger_than_the_population_is_refused(support, key) -> None:
    message = rf"{support.__name__}.count: got {N + 1}, want at most the {N} points"
    with pytest.raises(ValueError, match=message):
        tell(supported(support(N + 1)), key)


@each_support
def test_a_generation_attends_to_so_many_individuals(support, key) -> None:
    sizes = []

    def noted(queries, keys, *arguments, **options):
        sizes.append((len(queries), len(keys)))
        return de.attention.attend(queries, keys, *arguments, **options)

    jax.eval_shape(lambda: tell(supported(support(5), attention=noted), key))
    assert sizes == [(N, 5)]


def test_a_support_of_all_changes_nothing(key) -> None:
    some, _ = tell(supported(de.denoisers.Best(N)), key)
    every, _ = tell(de.DiffusionEvolution(T), key)
    # sums in another order: rounding
    np.testing.assert_allclose(some.population, every.population, atol=1e-5)


def test_a_sample_is_drawn_anew_for_every_key() -> None:
    strategy = supported(de.denoisers.Drawn(5))
    strategy = de.replace(strategy, sampler=de.samplers.DDIM(eta=0.0))
    clean = jax.jit(lambda key: tell(strategy, key)[0].clean_estimate)
    first, again, other = (clean(jax.random.key(seed)) for seed in (1, 1, 2))
    assert de.equal(first, again)
    assert not np.allclose(first, other)


@each_support
def test_a_run_with_a_support_improves(support) -> None:
    # given a sphere away from the prior's mean
    problem = de.problems.Function(lambda x: -jnp.sum((x - 0.5) ** 2), dim=D)
    strategy = supported(support(8))
    evolve = lambda key: de.evolve(key, strategy, problem, population_size=64).history
    evolve = jax.jit(jax.vmap(evolve), compiler_options=QUICK)
    means = evolve(jax.random.split(jax.random.key(0), 16)).mean_fitness
    gain = np.asarray(means[:, -1] - means[:, 0], float)
    # then the mean fitness rises by five standard errors over 16 runs
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(gain))


@each_support
def test_failure_of_all_makes_no_nan_with_a_support(support, key) -> None:
    state, info = tell(supported(support(5)), key, fitness=jnp.full(N, jnp.nan))
    assert de.equal(state.population, X)
    assert not np.isnan([float(leaf) for leaf in jax.tree.leaves(info)]).any()


# Feasible or not


def test_the_best_is_the_best_feasible(key) -> None:
    strategy = de.DiffusionEvolution(T)
    violation = jnp.where(jnp.sort(FITNESS)[-4] < FITNESS, 1.0, -1.0).at[0].set(jnp.nan)
    state, info = de.tell(
        strategy, key, strategy.init(key, X), X, FITNESS, violation=violation
    )
    feasible = jnp.where(violation <= 0, FITNESS, -jnp.inf)
    assert float(state.best_fitness) == float(feasible.max())
    assert float(state.best_violation) == 0.0
    assert de.equal(state.best_solution, X[jnp.argmax(feasible)])
    # and so is that of the generation; the mean is of all that were evaluated
    assert float(info.best_fitness) == float(feasible.max())
    np.testing.assert_allclose(info.mean_fitness, FITNESS.mean(), rtol=1e-6)


def test_feasibility_comes_first_in_every_order(key) -> None:
    # given generations of one that violates, of which the last two are feasible
    strategy = de.DiffusionEvolution(T)
    state = strategy.init(key, X[:1])
    tell = jax.jit(de.tell)
    assert (float(state.best_fitness), float(state.best_violation)) == (-np.inf, np.inf)
    rows = [  # fitness, violation, best fitness and its violation after it
        (9.0, np.nan, -np.inf, np.inf),
        (9.0, 3.0, -np.inf, 3.0),
        (5.0, 2.0, -np.inf, 2.0),
        (9.0, 4.0, -np.inf, 2.0),
        (np.nan, 0.0, -np.inf, 2.0),
        (1.0, -1.0, 1.0, 0.0),
        (9.0, 1.0, 1.0, 0.0),
        (2.0, 0.0, 2.0, 0.0),
    ]
    for fitness, violation, best, its_violation in rows:
        told = jnp.array([fitness]), (), jnp.array([violation])
        state, _ = tell(strategy, key, state, X[:1], *told)
        assert (float(state.best_fitness), float(state.best_violation)) == (
            best,
            its_violation,
        )


def test_without_a_feasible_one_the_best_is_the_least_infeasible(key) -> None:
    strategy = de.DiffusionEvolution(T)
    violation = 1.0 + jnp.arange(N) % 5 + 0.1 * jnp.abs(jnp.arange(N) - 10)
    state, info = strategy.tell(key, strategy.init(key, X), X, FITNESS, (), violation)
    assert float(state.best_fitness) == float(info.best_fitness) == -np.inf
    assert float(state.best_violation) == 1.0
    assert de.equal(state.best_solution, X[10])


def test_a_problem_says_what_is_feasible(key) -> None:
    @de.pytree.dataclass
    class Disc:
        space: de.problems.Space

        def init(self, key):
            return ()

        def evaluate(self, key, problem_state, solutions):
            outside = jnp.linalg.norm(solutions, axis=1) - 1.0
            return de.Evaluation(solutions.sum(axis=1), violation=outside), ()

    problem = Disc(de.problems.Space(jnp.zeros(2)))
    result = de.evolve(key, de.DiffusionEvolution(T), problem, population_size=64)
    assert float(jnp.linalg.norm(result.best_solution)) <= 1.0
    np.testing.assert_allclose(result.best_fitness, np.sqrt(2.0), atol=0.01)
    assert float(result.best_fitness) == float(result.history.best_fitness.max())
    assert float(result.best_violation) == 0.0


# What diverges


def test_a_move_that_diverges_is_undone_and_counted(key) -> None:
    class Wild(de.samplers.DDIM):
        def update(self, key, y, memory, clean, sigmas, k):
            return y * jnp.inf, sigmas[k + 1], memory

    wild = de.DiffusionEvolution(T, sampler=de.pytree.dataclass(Wild)())
    state, info = tell(wild, key)
    assert de.equal(state.population, X)
    assert int(info.num_diverged) == 1


def test_four_fields_and_no_more() -> None:
    names = [field.name for field in dataclasses.fields(de.DiffusionEvolution)]
    assert names == ["num_generations", "denoiser", "sampler", "grid"]


@pytest.mark.parametrize(("size", "neighbours"), [(48, 5.625), (256, 30.0), (1024, 30.0)])
def test_several_of_few_have_fewer_neighbours(size: int, neighbours: float) -> None:
    several = de.DiffusionEvolution.for_several(50, size)
    assert several.denoiser.kernel.neighbours == neighbours
    if size == 256:
        assert de.pytree.equal(several, de.DiffusionEvolution.for_several(50))


def test_few_individuals_keep_two_peaks_if_the_setting_is_told_how_few() -> None:
    two = lambda x: -jnp.minimum(jnp.sum((x - 0.5) ** 2), jnp.sum((x + 0.5) ** 2))
    problem = de.problems.Function(two, dim=8)

    @jax.jit
    def shares(strategy: de.DiffusionEvolution) -> jax.Array:
        keys = jax.random.split(jax.random.key(3), 8)
        run = lambda key: de.evolve(key, strategy, problem, population_size=48)
        return jnp.mean(jax.vmap(run)(keys).population.mean(axis=-1) > 0, axis=-1)

    several = de.DiffusionEvolution.for_several
    kept = [
        jnp.minimum(s, 1 - s) > 0.1 for s in map(shares, (several(50, 48), several(50)))
    ]
    assert kept[0].all()
    assert not kept[1].any()
