"""Consensus against the updates of the papers, which are written from their equations.

All in float64 and in the papers' own letters: costs V that are minimised, steps of time dt.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import cli, noise, pytree
from diffevo_jax.denoisers import Population
from diffevo_jax.strategies import shell

N, D, T = 24, 3, 6
KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (N, D))
EXACT = de.kernels.Gaussian()
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
FLAT = de.kernels.Gaussian(kappa=0.0)


def cost(x):
    """Of points (N, D): two basins, and waves."""
    two = ((np.abs(x) - 0.7) ** 2).sum(axis=1) + 0.3 * x[:, 0]
    return two + 0.2 * np.cos(3.0 * x).sum(axis=1)


def told(strategy, key=KEY, population=X, generations=T, repair=lambda x: x, scale=1.0):
    """Populations (T, N, D), the noise that each got, and the last state."""

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(strategy, key, population):
        def generation(state, number):
            each = jax.random.fold_in(key, number)
            candidates, state = strategy.ask(each, state)
            candidates = repair(candidates)
            fitness = -_cost(scale * candidates)
            state, _ = strategy.tell(each, state, candidates, fitness)
            return state, (candidates, jax.random.normal(each, population.shape))

        start = strategy.init(key, population)
        state, (seen, eps) = jax.lax.scan(generation, start, jnp.arange(generations))
        return seen, eps, state

    seen, eps, state = run(pytree.strong(strategy), key, population)
    return np.asarray(seen, float), np.asarray(eps, float), state


def _cost(x):
    two = jnp.sum((jnp.abs(x) - 0.7) ** 2, axis=1) + 0.3 * x[:, 0]
    return two + 0.2 * jnp.sum(jnp.cos(3.0 * x), axis=1)


def consensus_based(x, eps, *, beta, growth, drift, sigma, dt, kappa, isotropic):
    """Polarised consensus-based optimisation by Euler and Maruyama; kappa may be inf.

    dx_i = -lambda (x_i - m_i) dt + sigma |x_i - m_i| dW_i,
    m_i = sum_j k(x_i, x_j) x_j exp(-beta V(x_j)) / sum_j k(x_i, x_j) exp(-beta V(x_j))
    """
    path = [np.asarray(x, float)]
    for dw in eps[:-1]:
        x = path[-1]
        apart = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
        weight = np.exp(-apart / (2 * kappa**2) - beta * (cost(x) - cost(x).min()))
        m = weight @ x / weight.sum(axis=1, keepdims=True)
        distance = np.abs(x - m)
        if isotropic:
            distance = np.sqrt((distance**2).sum(axis=1, keepdims=True))
        path.append(x - drift * (x - m) * dt + sigma * distance * np.sqrt(dt) * dw)
        beta *= growth
    return np.stack(path)


@pytest.mark.parametrize(("kappa", "isotropic"), [(0.8, True), (np.inf, False)])
def test_it_is_consensus_based_optimisation(kappa, isotropic) -> None:
    drift, sigma, dt, beta, growth = 1.5, 0.9, 0.1, 3.0, 1.2
    strategy = de.Consensus(
        T,
        Population(
            FLAT if kappa == np.inf else EXACT, de.shaping.Boltzmann(1 / beta), guidance=0.0
        ),
        noise.Constant(1.0 if kappa == np.inf else kappa),
        rate=drift * dt,
        noise=sigma * np.sqrt(dt),
        fresh=0.0,
        growth=growth,
        isotropic=isotropic,
    )
    seen, eps, _ = told(strategy)
    given = {"drift": drift, "sigma": sigma, "dt": dt, "beta": beta, "growth": growth}
    wanted = consensus_based(X, eps, **given, kappa=kappa, isotropic=isotropic)
    np.testing.assert_allclose(seen, wanted, atol=2e-5)
    assert np.abs(wanted[-1] - wanted[0]).max() > 0.3


def model_based(plan, eps, *, alphas, temperature, clip):
    """Model-based diffusion, by score ascent on Y; the plans of all steps."""
    plans, alpha_bars = [], np.cumprod(alphas)
    y = np.sqrt(alpha_bars[-1]) * plan
    for i in reversed(range(len(alphas))):
        centre = y / np.sqrt(alpha_bars[i])
        drawn = centre + np.sqrt(1 - alpha_bars[i]) * eps[len(alphas) - 1 - i]
        drawn = np.clip(drawn, -clip, clip)
        reward = -cost(drawn)
        weight = np.exp((reward - reward.mean()) / reward.std() / temperature)
        mean = weight @ drawn / weight.sum()
        score = (-y + np.sqrt(alpha_bars[i]) * mean) / (1 - alpha_bars[i])
        y = (y + (1 - alpha_bars[i]) * score) / np.sqrt(alphas[i])
        before = alpha_bars[i - 1] if i else 1.0
        plans.append(y / np.sqrt(before))
    return np.stack(plans)


def test_it_is_model_based_diffusion() -> None:
    temperature, clip = 0.4, 0.3
    alphas = 1 - np.linspace(1e-4, 1e-2, T)
    sigmas = np.sqrt(1 - np.cumprod(alphas))[::-1]
    # given a population that is the paper's first draw, in units of its deviation
    strategy = de.Consensus.model_based(T, temperature)
    repair = lambda x: jnp.clip(x, -clip / sigmas[0], clip / sigmas[0])
    seen, eps, state = told(strategy, repair=repair, scale=sigmas[0])
    eps = np.concatenate([np.asarray(X, float)[None], eps[:-1]])
    given = {"alphas": alphas, "temperature": temperature, "clip": clip}
    plans = model_based(np.zeros(D), eps, **given)
    # then its last plan and its last candidates are ours
    plan = sigmas[0] * np.asarray(state.clean_estimate, float)
    np.testing.assert_allclose(plan, np.broadcast_to(plans[-1], (N, D)), atol=1e-5)
    drawn = np.clip(plans[-2] + sigmas[-1] * eps[-1], -clip, clip)
    np.testing.assert_allclose(sigmas[0] * seen[-1], drawn, atol=1e-5)
    assert np.abs(plans[-1]).max() > 0.2


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_as_wide_as_the_level_it_is_diffusion_evolution_in_canonical_coordinates(
    eta,
) -> None:
    # given Diffusion Evolution's own denoiser and step, on individuals that live in y
    denoiser = Population(EXACT, de.shaping.Boltzmann(0.5), guidance=0.0)
    sampler, grid = de.samplers.DDIM(eta), noise.VE(0.1, 2.0)
    sigmas = grid.sigmas(T)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def generation(key, state, y, k):
        evaluated = de.Evaluated(y, -_cost(y), clean=y, sigma=sigmas[k])
        learnt = denoiser.learn(key, state, evaluated)
        clean = denoiser.denoise(learnt, y, sigmas[k]).clean
        return learnt, sampler.update(key, y, (), clean, sigmas, k)[0]

    y, state, path = 2.0 * X, denoiser.init(KEY, X), []
    for k in range(T):
        path.append(y)
        state, y = generation(jax.random.fold_in(KEY, k), state, y, jnp.asarray(k))
    # when consensus is polarised by that width, and goes as far as the level falls
    kept, tau = de.samplers.ddim.kept_and_fresh(sigmas[0], sigmas[1], eta)
    strategy = de.Consensus(
        T, denoiser, grid, rate=1 - kept, noise=0.0, fresh=tau / sigmas[1]
    )
    seen, *_ = told(strategy, population=2.0 * X)
    np.testing.assert_allclose(seen, np.stack(path), atol=1e-5)
    assert np.abs(seen[-1] - seen[0]).max() > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [FLAT, EXACT], ids=["all", "neighbours"])
def test_noise_of_a_distance_ends_by_itself(kernel) -> None:
    # given two basins, and noise that nothing turns down
    denoiser = Population(kernel, de.shaping.Standardized(0.3), guidance=0.0)
    strategy = de.replace(de.Consensus.polarised(200, width=0.3), denoiser=denoiser)
    seen, _, state = told(strategy, generations=200)
    x, m = seen[-1], np.asarray(state.clean_estimate)
    # then individuals are where their consensus is: one for all, or one of their basin's
    assert np.median(np.abs(x - m)) < 1e-3
    assert (x.std(axis=0).max() < 1e-2) == (kernel is FLAT)


def test_growing_fitness_stays_finite_and_failed_ones_fail() -> None:
    fitness = jnp.array([-1e30, 2.0, jnp.nan, jnp.inf])
    grown = de.strategies.consensus.grown(fitness, 10.0, jnp.asarray(60))
    assert np.isfinite(grown).tolist() == [True, True, False, False]
    assert float(grown[0]) < float(grown[1])
    plain = de.strategies.consensus.grown(fitness, 1.0, jnp.asarray(60))
    np.testing.assert_array_equal(plain, fitness)


def test_what_does_not_go_together_raises() -> None:
    with pytest.raises(ValueError, match=r"Consensus\.num_generations: got 0"):
        de.init(de.Consensus(0), KEY, X)
    with pytest.raises(ValueError, match=r"num_generations: got 0, want"):
        de.Consensus.model_based(0)
    with pytest.raises(TypeError, match=r"Consensus\.denoiser: got"):
        de.init(de.Consensus(3, EXACT), KEY, X)
    assert shell.tell is de.Consensus.tell


@pytest.mark.slow
def test_it_sweeps_goes_on_from_a_folder_and_has_a_command(tmp_path) -> None:
    problem = de.problems.Landscape("himmelblau")
    strategy = de.Consensus.polarised(6, width=0.3)
    given = {"population_size": 16}
    # numbers of the strategy and of its parts are axes
    axes = {"rate": [0.3, 1.0], "level": [0.2, 0.4], "temperature": [0.1, 0.5]}
    swept = de.sweep(KEY, strategy, problem, axes=axes, num_seeds=2, **given)
    assert swept.final_mean.shape == (8, 2)
    assert np.isfinite(swept.final_mean).all()
    # a run that was left goes on
    whole = de.run(KEY, strategy, problem, **given)
    for number, _ in enumerate(
        de.iterate(KEY, strategy, problem, folder=tmp_path / "run", **given)
    ):
        if number == 2:
            break
    again = de.run(KEY, strategy, problem, folder=tmp_path / "run", **given)
    assert de.equal(whole.state, again.state)
    # and words are enough
    words = "evolve himmelblau --strategy consensus --rate 0.5 --kernel gaussian"
    words += " --kernel.kappa 1 --grid ve --population-size 16 --json"
    assert cli.main([*words.split(), str(tmp_path / "run.json")]) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["config"]["strategy"]["class"] == "Consensus"
