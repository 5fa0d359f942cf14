"""The general equations and their solvers, on a Gaussian where all is known.

If clean points are N(mean, S), the clean point of y is mean + S / (S + sigma²) (y - mean),
and the marginal of y is N(mean, S + sigma²).
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import noise, samplers
from diffevo_jax.samplers import sde

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
WALK = jax.jit(
    sde.euler_maruyama,
    static_argnames=("denoise", "return_path"),
    compiler_options=QUICK,
)
HEUN = jax.jit(sde.heun, static_argnames=("denoise", "return_path"), compiler_options=QUICK)
MEAN, SPREAD = 0.7, 2.0
#: Noise levels between which the solvers walk.
NOISY, CLEAN = 3.0, 0.5


def vp_time(log_rate: float) -> float:
    """When the noise rate of VP has summed to ``log_rate``."""
    return (-0.1 + np.sqrt(0.01 + 4 * 9.95 * log_rate)) / (2 * 9.95)


#: Process, and its time at a noise level.
PROCESSES: dict[str, tuple[Any, Callable[[float], float]]] = {
    "vp": (noise.VP(), lambda sigma: vp_time(np.log1p(sigma**2))),
    "sub-vp": (noise.SubVP(), lambda sigma: vp_time(2 * np.arcsinh(sigma / 2))),
    "ve": (noise.VE(), lambda sigma: np.log(sigma / 0.03) / np.log(1000)),
    "edm": (noise.EDM(), lambda sigma: sigma),
    "log-snr": (noise.LogSNR(), lambda sigma: (7 + 2 * np.log(sigma)) / 14),
    "flow": (noise.Flow(), lambda sigma: sigma / (1 + sigma)),
}


def rate_of(t):
    return 0.1 + 19.9 * t


def summed(t):
    return 0.1 * t + 9.95 * t**2


#: f and g² of dx = f x dt + g dw, as published.
EQUATIONS: dict[str, tuple[Callable, Callable]] = {
    "vp": (lambda t: -0.5 * rate_of(t), rate_of),
    "sub-vp": (
        lambda t: -0.5 * rate_of(t),
        lambda t: rate_of(t) * (1 - np.exp(-2 * summed(t))),
    ),
    "ve": (lambda t: 0.0, lambda t: (0.03 * 1000**t) ** 2 * 2 * np.log(1000)),
    "flow": (lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
}


def denoise(y: jax.Array, sigma: jax.Array) -> jax.Array:
    return MEAN + SPREAD / (SPREAD + sigma**2) * (y - MEAN)


def centred(y: jax.Array, sigma: jax.Array) -> jax.Array:
    return SPREAD / (SPREAD + sigma**2) * y


def walk_times(name: str, count: int, length: int | None = None) -> np.ndarray:
    """Times of ``count`` equal steps; the end is repeated up to ``length`` steps."""
    time_of = PROCESSES[name][1]
    times = np.linspace(time_of(NOISY), time_of(CLEAN), count + 1)
    return np.pad(times, (0, (length or count) - count), mode="edge")


@pytest.fixture(autouse=True)
def x64() -> Iterator[None]:
    with ENABLE_X64(True):
        yield


# The equations


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_ode_and_the_reverse_equation_are_songs(name):
    process, time_of = PROCESSES[name]
    t, sigma = time_of(1.3), 1.3
    f, g2 = (term(t) for term in EQUATIONS[name])
    scale = float(process.scale(t))
    x = np.random.default_rng(0).normal(size=(4, 2))
    # The marginal of x is N(s mean, s² (S + sigma²)).
    score = -(x - scale * MEAN) / (scale**2 * (SPREAD + sigma**2))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def equations(process):
        beta = jax.grad(process.sigma)(t) / process.sigma(t)
        reverse = sde.reverse_terms(process, denoise, x, t, beta)
        return sde.ode_velocity(process, denoise, x, t), *reverse

    velocity, drift, diffusion = equations(process)

    np.testing.assert_allclose(velocity, f * x - g2 / 2 * score, rtol=1e-9)
    np.testing.assert_allclose(drift, f * x - g2 * score, rtol=1e-9)
    np.testing.assert_allclose(diffusion, np.sqrt(g2), rtol=1e-9)


def test_noise_at_a_constant_level_is_langevin():
    x = np.random.default_rng(1).normal(size=(4, 2))
    process = noise.Constant(0.5)

    drift, diffusion = sde.reverse_terms(process, denoise, x, 0.3, 2.0)

    scale = 1 / np.sqrt(1.25)
    score = -(x - scale * MEAN) / (scale**2 * (SPREAD + 0.25))
    np.testing.assert_allclose(drift, -(diffusion**2) / 2 * score, rtol=1e-10)
    np.testing.assert_allclose(diffusion, scale * 0.5 * 2, rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.7, 2.0])
def test_with_sigma_as_the_time_a_step_is_that_of_the_sampler(rate):
    y, eps = np.random.default_rng(2).normal(size=(2, 4, 2))

    moved = sde.reverse_step(noise.EDM(), denoise, y, 3.0, 1.3, rate, eps)

    clean = denoise(y, 3.0)
    want = samplers.euler_maruyama_step(y, clean, 3.0, 1.3, rate, eps)
    np.testing.assert_allclose(moved, want, rtol=1e-12)


# The ODE


def euler(process, x, times):
    """Euler's method is the walk at rate 0."""
    return sde.euler_maruyama(jax.random.key(0), process, denoise, x, times, rate=0.0)


def heun(process, x, times):
    return sde.heun(process, denoise, x, times)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
@pytest.mark.parametrize("name", PROCESSES)
def test_in_all_coordinates_the_ode_ends_at_the_same_point(name, solver, order):
    process, counts = PROCESSES[name][0], (64, 128, 256)
    times = np.stack([walk_times(name, count, length=256) for count in counts])
    y = np.array([[4.0], [-1.0]])

    scale = np.asarray(process.scale(times[0]))

    walks = jax.jit(jax.vmap(solver, (None, None, 0)), compiler_options=QUICK)
    moved = np.asarray(walks(process, y * scale[0], times)) / scale[-1]

    exact = MEAN + np.sqrt((SPREAD + CLEAN**2) / (SPREAD + NOISY**2)) * (y - MEAN)
    errors = np.abs(moved - exact).max((1, 2))
    measured = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    np.testing.assert_allclose(measured, order, atol=0.1)
    assert errors[-1] < 0.05**order


# With noise


@functools.partial(jax.jit, compiler_options=QUICK)
def coefficients(times: np.ndarray, rate: float) -> tuple[jax.Array, jax.Array]:
    """What each step of the walk in VP does to the point and to the noise."""

    def step(t, t_next):  # of two points, one of them without noise
        x, eps = jnp.array([[1.0], [0.0]]), jnp.array([[0.0], [1.0]])
        return sde.reverse_step(noise.VP(), centred, x, t, t_next, rate, eps)[:, 0]

    return tuple(jax.vmap(step)(times[:-1], times[1:]).T)


def variances(times: np.ndarray, rate: float, start: float) -> float:
    """Variance of y at the end of the walk in VP, from that of y at its start."""
    scale = np.exp(-summed(times[[0, -1]]) / 2)
    variance = scale[0] ** 2 * start
    for kept, added in zip(*map(np.asarray, coefficients(times, rate)), strict=True):
        variance = kept**2 * variance + added**2
    return variance / scale[1] ** 2


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0, 2.0])
def test_the_variance_of_a_walk_with_noise_is_the_linear_recursion(rate):
    times = walk_times("vp", 50)

    got = variances(times, rate, SPREAD + NOISY**2)

    scale, sigma = np.exp(-summed(times) / 2), np.sqrt(np.expm1(summed(times)))
    variance = scale[0] ** 2 * (SPREAD + NOISY**2)
    for i, step in enumerate(times[:-1] - times[1:]):
        growth = rate_of(times[i]) * (1 + 1 / sigma[i] ** 2) / 2  # sigma' / sigma
        pull = -rate_of(times[i]) / 2 + (1 + rate) * growth * sigma[i] ** 2 / (
            SPREAD + sigma[i] ** 2
        )
        added = 2 * rate * growth * (scale[i] * sigma[i]) ** 2 * step
        variance = (1 - step * pull) ** 2 * variance + added
    np.testing.assert_allclose(got, variance / scale[-1] ** 2, rtol=1e-10)  # 50 steps


def test_the_walk_takes_these_steps_with_fresh_normal_noise():
    times, count = walk_times("vp", 20), 20_000
    kept, added = map(np.asarray, coefficients(times, 1.0))
    x = jnp.ones((count, 1))

    path = WALK(
        jax.random.key(1), noise.VP(), denoise=centred, x=x, times=times, return_path=True
    )

    path = np.asarray(path[..., 0])
    eps = (path[1:] - kept[:, None] * path[:-1]) / added[:, None]
    # 5 standard errors, of means and of (co)variances
    np.testing.assert_allclose(eps.mean(1), 0.0, atol=5 / np.sqrt(count))
    np.testing.assert_allclose(np.cov(eps), np.eye(20), atol=5 * np.sqrt(2 / count))


def test_the_variance_comes_to_the_exact_one_at_order_one():
    counts = np.array([200, 400, 800])

    ends = [variances(walk_times("vp", n), 1.0, SPREAD + NOISY**2) for n in counts]

    errors = np.abs(np.array(ends) - (SPREAD + CLEAN**2))
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    np.testing.assert_allclose(order, 1.0, atol=0.1)


def test_the_ode_keeps_an_error_that_noise_repairs():
    times, rates = walk_times("vp", 4000), np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    marginal = {sigma: SPREAD + sigma**2 for sigma in (NOISY, CLEAN)}

    ends = [variances(times, rate, 4 * marginal[NOISY]) for rate in rates]

    errors = np.array(ends) / marginal[CLEAN] - 1
    # y - mean falls as (S + sigma²)^((1 + rate) / 2), its right size as the square root.
    repaired = (marginal[CLEAN] / marginal[NOISY]) ** rates
    np.testing.assert_allclose(errors, 3 * repaired, rtol=0.02)  # 4000 steps
    assert (np.diff(errors) < 0).all()


# As functions


def test_a_path_goes_from_the_start_to_the_end():
    times, x = walk_times("flow", 10), jnp.ones((3, 2))
    arguments = noise.Flow(), denoise, x, times

    paths = [
        HEUN(*arguments, return_path=True),
        WALK(jax.random.key(2), *arguments, return_path=True),
    ]

    ends = HEUN(*arguments), WALK(jax.random.key(2), *arguments)
    for path, end in zip(paths, ends, strict=True):
        assert path.shape == (11, 3, 2)
        assert jnp.array_equal(path[0], x)
        np.testing.assert_allclose(path[-1], end, rtol=1e-12)


def test_one_time_is_no_step():
    x = jnp.ones((3, 2))

    assert jnp.array_equal(HEUN(noise.VP(), denoise, x, jnp.array([0.5])), x)


def test_points_keep_their_dtype():
    x = jnp.ones((3, 2), jnp.float32)

    assert HEUN(noise.VP(), denoise, x, walk_times("vp", 5)).dtype == jnp.float32


def test_rates_can_be_swept_and_differ_from_step_to_step():
    times, x = walk_times("vp", 10), jnp.ones((3, 2))
    walk = lambda rate: WALK(jax.random.key(3), noise.VP(), denoise, x, times, rate)
    rates = np.array([0.0, 1.0, 2.0])

    swept = jax.vmap(walk)(np.tile(rates[:, None], 10))

    alone = np.stack([walk(rate) for rate in rates])
    np.testing.assert_allclose(swept, alone, rtol=1e-12)
    assert not np.array_equal(swept[0], swept[2])
