"""MonoFlow against its equations, its limits and what its parts promise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffevo_jax as de
from diffevo_jax.flows import divergences
from diffevo_jax.strategies import monoflow

N, D, T = 24, 3, 5
KEY = jax.random.key(0)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
X = jax.random.normal(jax.random.key(1), (N, D))
FITNESS = -jnp.sum((X - 0.7) ** 2, axis=1)
PLAIN = de.MonoFlow(
    T,
    grid=de.noise.VE(0.1, 0.8),
    shaping=de.shaping.Boltzmann(0.5),
    ratio=de.flows.KernelRatio(de.kernels.Gaussian()),
    density_power=0.5,
    rate=0.5,
    noise=0.0,
    longest_step=100.0,
)


@jax.jit
def one_generation(strategy, fitness, candidates, key):
    state = strategy.init(KEY, candidates)
    return strategy.tell(key, state, candidates, fitness)


def tell(strategy, fitness=FITNESS, candidates=X, key=KEY):
    """State and info after a generation; one program for all that have these shapes."""
    return one_generation(strategy, fitness, candidates, key)


@pytest.fixture(scope="module")
def ratio() -> de.flows.Ratio:
    """The density ratio at the individuals."""
    given = FITNESS / 0.5, jnp.ones(N, bool), jnp.array(0.8), jnp.array(0.5)
    return jax.jit(PLAIN.ratio.estimate)(KEY, (), X, *given)[0]


def formula(fitness=FITNESS, present=None) -> np.ndarray:
    """Where the individuals are a generation later, in float64; nobody is NaN."""
    x, h = np.asarray(X, float), 0.8
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / (2 * h**2))
    if present is not None:
        kernel = kernel * present
    count = len(x) if present is None else present.sum()
    weight = np.exp(np.asarray(fitness, float) / 0.5) * (kernel.sum(1) / count) ** -0.5
    weight = np.nan_to_num(weight)
    # m_w - m_1, times the rate: the width cancels
    above, below = (k / k.sum(1, keepdims=True) @ x for k in (kernel * weight, kernel))
    return x + 0.5 * (above - below)


def test_a_generation_is_the_formula() -> None:
    state, info = tell(PLAIN)
    np.testing.assert_allclose(state.population, formula(), atol=2e-5)
    assert float(info.sigma) == pytest.approx(0.8)
    assert float(state.sigma) == pytest.approx(PLAIN.sigmas()[1])


def test_divergences_differ_in_speed_alone(ratio) -> None:
    # given the steps of all divergences from the origin, and the log-ratio
    kinds = (
        divergences.ReverseKL(),
        divergences.ForwardKL(),
        divergences.Pearson(),
        divergences.Vanilla(shift=1.0),
        divergences.JensenShannon(),
        divergences.NonSaturating(),
        divergences.Arcsinh(),
    )
    strategies = [de.replace(PLAIN, divergence=kind) for kind in kinds]
    origin = jnp.zeros_like(X)

    @jax.jit
    def steps(ratio):
        state = PLAIN.init(KEY, origin)
        made = [one.step(KEY, state, ratio) for one in strategies]
        return [one.population for one in made]

    plain, *others = steps(ratio)
    # then they are parallel, with the ratio h'
    for kind, other in zip(kinds[1:], others, strict=True):
        wanted = kind.slope(ratio.log_ratio)[:, None] * plain
        np.testing.assert_allclose(other, wanted, rtol=1e-4)
    assert float(jnp.abs(plain).min()) > 0


def test_no_step_is_longer_than_so_many_widths() -> None:
    hurried = de.replace(PLAIN, rate=1e6, longest_step=0.3)
    length = jnp.linalg.norm(tell(hurried)[0].population - X, axis=1)
    # a rounding of x + step
    np.testing.assert_allclose(length, 0.3 * 0.8, rtol=1e-5)
    np.testing.assert_array_equal(monoflow.bounded(jnp.zeros((2, 3)), 1.0), 0.0)


def test_fresh_noise_has_the_length_of_so_many_widths(ratio) -> None:
    noisy, origin = de.replace(PLAIN, noise=0.3, rate=0.0), jnp.zeros_like(X)
    state = PLAIN.init(KEY, origin)
    one = lambda key: noisy.step(key, state, ratio).population
    moved = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 100))
    root_mean_square = jnp.sqrt(jnp.mean(jnp.sum(moved**2, axis=-1)))
    # 7,200 normal numbers: their root mean square is known to 1 / sqrt(14,400)
    np.testing.assert_allclose(root_mean_square, 0.3 * 0.8, rtol=3 / 120)


def test_velocities_pass_through_any_transformation_of_optax(ratio) -> None:
    # given the same ratio twice
    def twice(strategy):
        state = strategy.init(KEY, X)
        first = strategy.step(KEY, state, ratio)
        second = strategy.step(KEY, first, ratio)
        return first.population - X, second.population - first.population

    kinds = (None, optax.sgd(1.0), optax.sgd(1.0, momentum=0.5))
    strategies = [de.replace(PLAIN, optimizer=kind) for kind in kinds]
    plain, same, momentum = jax.jit(lambda: [twice(one) for one in strategies])()
    np.testing.assert_allclose(same[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(momentum[0], plain[0], atol=1e-6)
    # then the second step with momentum has half of the first added
    np.testing.assert_allclose(momentum[1], 1.5 * plain[1], atol=1e-6)


def test_a_failed_individual_weighs_nothing_but_is_where_it_is() -> None:
    failed = FITNESS.at[4].set(jnp.nan)
    there, info = tell(PLAIN, failed)
    np.testing.assert_allclose(there.population, formula(failed), atol=2e-5)
    assert (int(info.num_failed), int(info.num_weightless)) == (1, 1)


def test_a_broken_individual_is_nowhere() -> None:
    state, info = tell(PLAIN, candidates=X.at[4, 1].set(jnp.inf))
    others = np.arange(N) != 4
    wanted = formula(FITNESS.at[4].set(jnp.nan), present=others)
    assert np.isfinite(state.population).all()
    assert int(info.num_failed) == 1
    np.testing.assert_allclose(state.population[others], wanted[others], atol=2e-5)


@pytest.mark.slow
def test_with_all_of_the_density_the_population_ends_as_a_sample_of_g() -> None:
    # given g = N(0.5, 1) in one dimension, and a population that starts elsewhere
    problem = de.problems.Function(lambda x: -0.5 * jnp.sum((x - 0.5) ** 2), dim=1)
    sampling = de.MonoFlow(
        30,
        grid=de.noise.VE(0.4999, 0.5),
        shaping=de.shaping.Boltzmann(1.0),
        density_power=1.0,
        rate=1.0,
        noise=0.0,
    )
    start = 1.5 * jax.random.normal(jax.random.key(3), (8, 256, 1)) - 0.5
    keys = jax.random.split(jax.random.key(4), 8)
    powers = jnp.array([0.0, 1.0])

    def end(power, key, population):
        strategy = de.replace(sampling, density_power=power)
        return de.evolve(key, strategy, problem, population=population).population

    run = jax.vmap(jax.vmap(end, (None, 0, 0)), (0, None, None))
    ends = jax.jit(run, compiler_options=QUICK)(powers, keys, start)[..., 0]
    mean, variance = ends.mean(axis=2).mean(axis=1), ends.var(axis=2).mean(axis=1)
    # then all are about the peak without the density
    np.testing.assert_allclose(mean, 0.5, atol=0.05)
    assert variance[0] < 0.1
    # and with it g is the population as seen through the kernel: its variance 1 is v + h^2;
    # the standard error of a mean of 8 variances of 256 is 0.75 sqrt(2 / 2048) = 0.023
    np.testing.assert_allclose(variance[1], 0.75, atol=0.07)


def test_shapings_and_transformations_that_cannot_be_used_are_refused(key) -> None:
    local = de.MonoFlow(3, shaping=de.shaping.Local())
    with pytest.raises(ValueError, match=r"MonoFlow\.shaping: got Local, want"):
        de.init(local, key, X)
    with pytest.raises(TypeError, match=r"MonoFlow\.optimizer: got 'adam', want"):
        de.init(de.MonoFlow(3, optimizer="adam"), key, X)
    with pytest.raises(ValueError, match="num_generations: got 0, want an int >= 1"):
        de.init(de.MonoFlow(0), key, X)


def test_a_generation_without_any_fitness_has_not_diverged() -> None:
    state, info = tell(PLAIN, jnp.full(N, jnp.nan))
    np.testing.assert_array_equal(state.population, X)
    assert (int(info.num_diverged), int(info.num_weightless)) == (0, N)
