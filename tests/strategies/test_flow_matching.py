"""Flow matching is a grid and a sampler: against its own equation, in its coordinates."""

import jax
import jax.numpy as jnp
import numpy as np

import diffevo_jax as de

N, D, T = 24, 3, 8


def flow(x, times, fitness, temperature):
    """Individuals that follow straight lines to where the population says, in float64.

    u_t = (1 - t) x0 + t eps,  v(u, t) = (u - E[x0 | u]) / t,  u' = u + (t' - t) v,
    with the individuals evaluated at unit variance, as u_t over the root of (1 - t)^2 + t^2
    """
    size = lambda t: np.sqrt((1 - t) ** 2 + t**2)
    u, seen = x * size(times[0]), []
    for t, following in zip(times, [*times[1:], times[-1]], strict=True):
        x = u / size(t)
        seen.append(x)
        apart = ((u[:, None] - (1 - t) * x[None]) ** 2).sum(axis=-1)
        logits = fitness(x) / temperature - apart / (2 * t**2)
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        clean = weight @ x / weight.sum(axis=1, keepdims=True)
        u = u + (following - t) * (u - clean) / t
    return np.stack(seen)


def test_evolution_on_the_grid_of_straight_lines_is_flow_matching() -> None:
    kernel, shaping = de.kernels.Gaussian(), de.shaping.Boltzmann(0.5)
    denoiser = de.denoisers.Population(kernel, shaping, guidance=0.0)
    grid = de.noise.Flow(0.05, 0.95)
    strategy = de.DiffusionEvolution(T, denoiser, de.samplers.DDIM(eta=0.0), grid)
    problem = de.problems.Function(lambda x: -jnp.sum((jnp.abs(x) - 0.7) ** 2), dim=D)
    start = jax.random.normal(jax.random.key(1), (N, D))

    result = de.evolve(
        jax.random.key(0), strategy, problem, population=start, record=("population",)
    )

    fitness = lambda x: -((np.abs(x) - 0.7) ** 2).sum(axis=1)
    wanted = flow(np.asarray(start, float), np.linspace(0.95, 0.05, T), fitness, 0.5)
    np.testing.assert_allclose(result.recorded["population"], wanted, atol=2e-5)
    assert np.abs(wanted[-1] - wanted[0]).max() > 0.3
