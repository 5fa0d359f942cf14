"""Noise processes, against their published formulas in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import noise
from diffevo_jax.pytree import validation

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
SIGMAS = jax.jit(lambda grid, n: grid.sigmas(n), static_argnums=1, compiler_options=QUICK)
TIMES = jax.jit(lambda grid, n: grid.times(n), static_argnums=1, compiler_options=QUICK)
VALUES = jax.jit(
    lambda process, t: (process.scale(t), process.sigma(t)), compiler_options=QUICK
)


def vp_rate(t):
    return 0.1 + 19.9 * t


def vp_log(t):
    """Integral of the noise rate."""
    return 0.1 * t + 9.95 * t**2


def as_sde(**changes: Any) -> noise.SDE:
    """VP, as one would write it oneself."""
    drift, diffusion = lambda t: -0.5 * vp_rate(t), lambda t: jnp.sqrt(vp_rate(t))
    return noise.SDE(drift, diffusion, **changes)


def edm_times(low: float, high: float, rho: float, u: np.ndarray) -> np.ndarray:
    first, last = high ** (1 / rho), low ** (1 / rho)
    return (first + u * (last - first)) ** rho


#: Process, s(t), sigma(t), and times by the share u that is walked; all as published.
Published = tuple[Any, Callable, Callable, Callable]
PUBLISHED: dict[str, Published] = {
    "vp": (
        noise.VP(),
        lambda t: np.exp(-vp_log(t) / 2),
        lambda t: np.sqrt((1 - np.exp(-vp_log(t))) / np.exp(-vp_log(t))),
        lambda u: 1 + u * (1e-3 - 1),
    ),
    "sub-vp": (
        noise.SubVP(),
        lambda t: np.exp(-vp_log(t) / 2),
        lambda t: (1 - np.exp(-vp_log(t))) / np.exp(-vp_log(t) / 2),
        lambda u: 1 + u * (1e-3 - 1),
    ),
    "ve": (
        noise.VE(),
        lambda t: np.ones_like(t),
        lambda t: 0.03 * (30 / 0.03) ** t,
        lambda u: 1 - u,
    ),
    "edm": (
        noise.EDM(),
        lambda t: np.ones_like(t),
        lambda t: t,
        lambda u: edm_times(0.03, 30.0, 7.0, u),
    ),
    "log-snr": (
        noise.LogSNR(),
        lambda t: 1 / np.sqrt(1 + np.exp(14 * t - 7)),
        lambda t: np.exp(-(7 - 14 * t) / 2),
        lambda u: 1 - u,
    ),
    "flow": (
        noise.Flow(),
        lambda t: 1 - t,
        lambda t: t / (1 - t),
        lambda u: 0.97 + u * (0.03 - 0.97),
    ),
    "constant": (
        noise.Constant(0.5),
        lambda t: np.full_like(t, 1 / np.sqrt(1.25)),
        lambda t: np.full_like(t, 0.5),
        lambda u: 1 - u,
    ),
    "one's own": (
        as_sde(),
        lambda t: np.exp(-vp_log(t) / 2),
        lambda t: np.sqrt(np.expm1(vp_log(t))),
        lambda u: 1 + u * (1e-3 - 1),
    ),
}
#: f and g^2 of dx = f x dt + g dw, where they are published.
EQUATIONS: dict[str, tuple[Callable, Callable]] = {
    "vp": (lambda t: -0.5 * vp_rate(t), vp_rate),
    "sub-vp": (
        lambda t: -0.5 * vp_rate(t),
        lambda t: vp_rate(t) * -np.expm1(-2 * vp_log(t)),
    ),
    "ve": (
        lambda t: 0.0 * t,
        lambda t: (0.03 * 1000**t) ** 2 * 2 * np.log(1000),
    ),
    "flow": (lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
}


@pytest.fixture
def x64() -> Iterator[None]:
    with ENABLE_X64(True):
        yield


# The formulas


@pytest.mark.parametrize("name", PUBLISHED)
def test_scale_and_sigma_are_as_published(name, x64):
    process, scale, sigma, times = PUBLISHED[name]
    t = times(np.linspace(0, 1, 30))

    got = VALUES(process, t)

    # float64, where the published form cancels; the quadrature is as exact
    np.testing.assert_allclose(got[0], scale(t), rtol=1e-10)
    np.testing.assert_allclose(got[1], sigma(t), rtol=1e-10)


@pytest.mark.parametrize("n", [1, 100])
@pytest.mark.parametrize("name", PUBLISHED)
def test_sigmas_are_as_published_from_noisy_to_clean_in_float32(name, n):
    process, _, sigma, times = PUBLISHED[name]

    got = SIGMAS(process, n)

    u = np.linspace(0, 1, n) if n > 1 else np.zeros(1)
    # float32 rounding of t, which sigma of VP and flow magnify by 10 and 30
    np.testing.assert_allclose(got, sigma(times(u)), rtol=5e-6)
    assert (np.diff(got) <= 0).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_scale_and_sigma_keep_float32(name):
    process, scale, sigma, times = PUBLISHED[name]
    t = np.float32(times(np.linspace(0, 1, 30)))

    got = VALUES(process, t)

    # exp of 10 is 10 times less exact than its argument
    np.testing.assert_allclose(got[0], scale(np.float64(t)), rtol=4e-6)
    np.testing.assert_allclose(got[1], sigma(np.float64(t)), rtol=4e-6)


@pytest.mark.parametrize("name", EQUATIONS)
def test_scale_and_sigma_are_the_moments_of_the_equation(name, x64):
    process, (f, g2) = PUBLISHED[name][0], EQUATIONS[name]
    start, end, count = 0.05, 0.95, 4000

    def slope(t, moments):  # of the mean and the variance
        return np.array([f(t) * moments[0], 2 * f(t) * moments[1] + g2(t)])

    t, h = start, (end - start) / count
    scale, sigma = VALUES(process, np.array([start, end]))
    want = np.asarray([scale, (scale * sigma) ** 2])
    moments = want[:, 0]
    for i in range(count):  # Runge and Kutta
        t = start + i * h
        k1 = slope(t, moments)
        k2 = slope(t + h / 2, moments + h / 2 * k1)
        k3 = slope(t + h / 2, moments + h / 2 * k2)
        moments = moments + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(t + h, moments + h * k3))

    np.testing.assert_allclose(moments, want[:, 1], rtol=1e-8)


def test_discrete_chains_come_to_vp_at_order_one(x64):
    counts = np.array([1000, 2000, 4000])
    want = float(noise.VP().scale(1.0)) ** 2

    errors = []
    for count in counts:
        betas = vp_rate(np.arange(1, count + 1) / count) / count
        errors.append(abs(float(noise.alpha_bar_from_betas(betas)[-1]) - want))

    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    np.testing.assert_allclose(order, 1.0, atol=0.1)


@pytest.mark.parametrize("rho", [1.0, 1.5, 7.0, 1000.0])
@pytest.mark.parametrize("ends", [(1e-6, 1e6), (0.002, 80.0), (0.9, 1.0)])
def test_the_steps_of_edm_keep_float32_for_any_rho(ends, rho):
    low, high = np.float32(ends)

    got = TIMES(noise.EDM(low, high, rho), 100)

    u = np.arange(100, dtype=np.longdouble) / 99
    want = edm_times(np.longdouble(low), np.longdouble(high), np.longdouble(rho), u)
    # A ratio of 1e12 is the exponential of 28: 28 times a few roundings.
    np.testing.assert_allclose(got, np.float64(want), rtol=1e-5)


# One's own


def test_an_equation_of_ones_own_has_its_closed_form(x64):
    process, t = noise.SDE(lambda t: 0.0, jnp.exp), np.linspace(0.01, 3, 20)

    scale, sigma = VALUES(process, t)

    np.testing.assert_allclose(sigma, np.sqrt(np.expm1(2 * t) / 2), rtol=1e-6)
    np.testing.assert_allclose(scale, np.ones(20), rtol=1e-12)


def test_noise_comes_in_from_time_zero_wherever_the_grid_ends():
    process = as_sde()
    early, late = (de.replace(process, t_min=t_min) for t_min in (0.01, 0.5))

    assert float(VALUES(early, 0.7)[1]) == float(VALUES(late, 0.7)[1])


@pytest.mark.parametrize(
    ("process", "ends"),
    [
        (noise.VP(), [0.0, 1.0]),
        (noise.VP(beta_min=0.0), [0.0, 1.0]),
        (noise.SubVP(beta_min=0.0), [0.0, 1.0]),
        (noise.VE(), [0.0, 1.0]),
        (noise.LogSNR(), [0.0, 1.0]),
        (noise.Flow(t_max=1.0), [0.0, 1.0]),
        (noise.Chain(noise.Levels(np.array([3.0, 2.0, 1.0]))), [0.0, 2.0]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_no_noise_and_nothing_else_have_the_times_of_the_ends(process, ends):
    times = process.time(jnp.array([0.0, jnp.inf]))
    np.testing.assert_allclose(times, ends, atol=1e-12)  # its smallest times are not 0


# As a component


@pytest.mark.parametrize(
    ("process", "field", "values"),
    [
        (noise.VP(), "beta_min", [0.0, 0.1, 1.0]),
        (noise.VP(), "beta_max", [5.0, 20.0, 40.0]),
        (noise.VP(), "t_min", [1e-4, 1e-3, 0.1]),
        (noise.SubVP(), "beta_min", [0.0, 0.1, 1.0]),
        (noise.SubVP(), "beta_max", [5.0, 20.0, 40.0]),
        (noise.SubVP(), "t_min", [1e-4, 1e-3, 0.1]),
        (noise.VE(), "sigma_min", [0.01, 0.1, 1.0]),
        (noise.VE(), "sigma_max", [10.0, 30.0, 80.0]),
        (noise.EDM(), "sigma_min", [0.01, 0.1, 1.0]),
        (noise.EDM(), "sigma_max", [10.0, 30.0, 80.0]),
        (noise.EDM(), "rho", [1.0, 3.0, 9.0]),
        (noise.LogSNR(), "low", [-9.0, -5.0, 0.0]),
        (noise.LogSNR(), "high", [1.0, 5.0, 9.0]),
        (noise.Flow(), "t_min", [0.0, 0.01, 0.1]),
        (noise.Flow(), "t_max", [0.5, 0.9, 1.0]),
        (noise.Constant(), "level", [0.1, 0.5, 1.0]),
        (as_sde(), "t_min", [0.0, 0.01, 0.1]),
        (as_sde(), "t_max", [0.5, 0.8, 1.0]),
        (noise.Levels(np.ones(5)), "values", np.geomspace([9, 8, 7], [1, 1, 1], 5).T),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_number_can_be_swept(process, field, values):
    grid = lambda value: SIGMAS(de.replace(process, **{field: value}), 5)
    values = np.asarray(values, np.float32)

    swept = jax.vmap(grid)(values)

    alone = np.stack([grid(value) for value in values])
    np.testing.assert_allclose(swept, alone, rtol=2e-6)  # float32 rounding
    assert not np.array_equal(swept[0], swept[2])


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (noise.VP(beta_min=2.0, beta_max=1.0), "VP.beta_min: got 2.0, want at most"),
        (noise.VP(t_min=1.0), "VP.t_min: got 1.0, want less than"),
        (noise.SubVP(beta_min=2.0, beta_max=1.0), "SubVP.beta_min: got 2.0"),
        (noise.SubVP(t_min=2.0), "SubVP.t_min: got 2.0"),
        (noise.VE(sigma_min=3.0, sigma_max=3.0), r"VE.sigma_min: .* VE.sigma_max, 3.0"),
        (noise.EDM(sigma_min=3.0, sigma_max=1.0), "EDM.sigma_min: got 3.0"),
        (noise.EDM(rho=0.5), "EDM.rho"),
        (noise.LogSNR(low=1.0, high=-1.0), "LogSNR.low: got 1.0"),
        (noise.Flow(t_min=0.5, t_max=0.5), "Flow.t_min: got 0.5"),
        (noise.Flow(t_max=1.5), "Flow.t_max"),
        (noise.Constant(0.0), "Constant.level"),
        (as_sde(t_min=2.0), "SDE.t_min: got 2.0"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_numbers_out_of_order_or_range_are_an_error(process, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(process)


def test_an_equation_without_functions_is_an_error():
    with pytest.raises(TypeError, match=r"SDE.drift: got 1.0"):
        validation.validate(noise.SDE(1.0, jnp.exp))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: noise.VP(a, b, 1e-3),
        lambda a, b: noise.VP(t_min=a),
        lambda a, b: noise.SubVP(a, b, 1e-3),
        noise.VE,
        noise.EDM,
        lambda a, b: noise.EDM(rho=a),
        noise.LogSNR,
        noise.Flow,
        lambda a, b: noise.Constant(a),
        lambda a, b: noise.Levels(jnp.stack([b, a, b, a, b])),
        lambda a, b: as_sde(t_min=a, t_max=b),
    ],
)
def test_traced_numbers_out_of_order_still_give_a_grid(make):
    a, b = jnp.array([[3.0, 1.0], [-2.0, 0.0], [0.0, 0.0], [1e9, -1e9], [-9.0, 2.0]]).T

    sigmas = np.asarray(jax.jit(jax.vmap(lambda a, b: make(a, b).sigmas(5)))(a, b))

    assert ((sigmas >= np.float32(1e-6)) & (sigmas <= np.float32(1e6))).all()
    assert (np.diff(sigmas) <= 0).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_process_is_a_legal_grid_of_a_strategy(name):
    strategy = de.DiffusionEvolution(3, grid=PUBLISHED[name][0])

    validation.validate(strategy)
