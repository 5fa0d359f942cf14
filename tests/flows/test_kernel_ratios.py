"""Density ratios by a kernel, against float64 formulas and what is known of Gaussians."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

import diffevo_jax as de
from diffevo_jax import flows

#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
H = 0.5
PRECISION = jnp.array(1 / H**2)
KEYS = jax.random.split(jax.random.key(0), 32)
SIZE = 1024
kernel_ratio = jax.jit(flows.kernel_ratio)
kernel_log_density = jax.jit(flows.kernel_log_density, static_argnames="leave_one_out")


def direct(x, points, weight) -> tuple[np.ndarray, np.ndarray]:
    """Log of the density sum_j w_j K(x, x_j) / sum_j w_j, and its gradient, float64."""
    x, points, weight = (np.asarray(part, float) for part in (x, points, weight))
    apart = points[None] - x[:, None]
    kernel = weight / weight.sum() * np.exp(-(apart**2).sum(-1) / (2 * H**2))
    total = kernel.sum(1)
    return np.log(total), (kernel[..., None] * apart).sum(1) / total[:, None] / H**2


@pytest.fixture(scope="module")
def sets():
    """Queries and points, and two sets of weights, some of which are 0."""
    key_points, key_p, key_q = jax.random.split(jax.random.key(1), 3)
    points = 5.0 + jax.random.normal(key_points, (40, 3))
    log_p = (2.0 * jax.random.normal(key_p, (40,))).at[:7].set(-jnp.inf)
    log_q = jax.random.normal(key_q, (40,)).at[20:29].set(-jnp.inf)
    return points[:25], points, log_p, log_q


def test_ratio_and_gradient_are_those_of_the_weighted_kernel_densities(sets) -> None:
    queries, points, log_p, log_q = sets
    ratio = kernel_ratio(queries, points, log_p, log_q, PRECISION)
    p, q = (direct(queries, points, np.exp(weight)) for weight in (log_p, log_q))
    np.testing.assert_allclose(ratio.log_ratio, p[0] - q[0], atol=2e-4)
    np.testing.assert_allclose(ratio.gradient, p[1] - q[1], atol=2e-4)
    assert float(ratio.width) == pytest.approx(H)
    assert bool(ratio.sound)


def test_weights_matter_up_to_a_factor_only(sets) -> None:
    queries, points, log_p, log_q = sets
    plain = kernel_ratio(queries, points, log_p, log_q, PRECISION)
    scaled = kernel_ratio(queries, points, log_p + 30, log_q - 30, PRECISION)
    chex.assert_trees_all_close(plain, scaled, rtol=1e-4, atol=1e-4)


def test_far_from_all_points_nothing_becomes_nan(sets) -> None:
    queries, points, log_p, log_q = sets
    ratio = kernel_ratio(queries + 100.0, points, log_p, log_q, PRECISION)
    chex.assert_tree_all_finite(ratio)


def test_without_any_weight_there_is_no_ratio_and_no_nan(sets) -> None:
    queries, points, _, log_q = sets
    nothing = jnp.full(len(points), -jnp.inf)
    ratio = kernel_ratio(queries, points, nothing, log_q, PRECISION)
    assert not bool(ratio.sound)
    chex.assert_tree_all_finite(ratio)


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_the_density_is_that_of_the_kernel_at_the_points_that_count(
    sets, leave_one_out: bool
) -> None:
    _, points, log_p, _ = sets
    valid = log_p > -jnp.inf
    got = kernel_log_density(points, PRECISION, valid=valid, leave_one_out=leave_one_out)
    few = np.asarray(points, float)[np.asarray(valid)]
    kernel = np.exp(-((few[:, None] - few[None]) ** 2).sum(-1) / (2 * H**2))
    count = len(few) - leave_one_out
    wanted = np.log((kernel.sum(1) - leave_one_out) / count)
    # one minus the point's own share is rounded: 1e-7 of up to e^9
    np.testing.assert_allclose(got[valid], wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(got[~valid], 0.0)


# Closed forms: a normal population q = N(0, 1), the target g = N(0, 1), a kernel of width
# h. Weights g / q^kappa make p = N(0, v). Seen through the kernel, the gradient of log r is
# (-1 / (v + h^2) + 1 / (1 + h^2)) x.


def log_g(x: jax.Array) -> jax.Array:
    return -0.5 * jnp.sum(x**2, axis=1)


@pytest.fixture(scope="module")
def drifts() -> dict[str, tuple[float, float]]:
    """Slope of the gradient at the population, its mean and standard error over 32."""

    def slope(x: jax.Array, log_weight: jax.Array) -> jax.Array:
        r = flows.kernel_ratio(x, x, log_weight, jnp.zeros(SIZE), PRECISION)
        return jnp.sum(r.gradient * x) / jnp.sum(x**2)

    def slopes(key: jax.Array) -> jax.Array:
        x = jax.random.normal(key, (SIZE, 1))
        estimate = flows.kernel_log_density(x, PRECISION, leave_one_out=True)
        exact = log_g(x) - norm.logpdf(x[:, 0]) + 0.1 * jnp.sin(1e3 * x[:, 0])  # noise
        weights = jnp.stack([exact, log_g(x) - estimate, log_g(x)])
        return jax.vmap(slope, (None, 0))(x, weights)

    got = jax.jit(jax.vmap(slopes), compiler_options=QUICK)(KEYS)
    got = np.asarray(got, float)
    error = got.std(axis=0, ddof=1) / np.sqrt(len(got))
    names = ("exact", "estimated", "none")
    return dict(zip(names, zip(got.mean(axis=0), error, strict=True), strict=True))


@pytest.mark.slow
def test_with_the_exact_density_of_the_population_a_sample_of_g_stays(drifts) -> None:
    mean, error = drifts["exact"]
    assert error > 0
    assert abs(mean) < 3 * error


@pytest.mark.slow
def test_with_an_estimated_density_the_drift_is_the_known_bias(drifts) -> None:
    mean, error = drifts["estimated"]
    v = (1 + H**2) / (1 + 2 * H**2)  # of g / (the density through the kernel)
    wanted = -1 / (v + H**2) + 1 / (1 + H**2)
    assert wanted < -10 * error  # or the test could not tell
    assert abs(mean - wanted) < 3 * error


@pytest.mark.slow
def test_without_a_power_of_the_density_the_population_contracts(drifts) -> None:
    mean, error = drifts["none"]
    v = 0.5  # of g q
    assert abs(mean - (-1 / (v + H**2) + 1 / (1 + H**2))) < 3 * error
    assert mean < -10 * error


def test_between_two_gaussians_the_gradient_is_analytic() -> None:
    # given samples of N(m, 0.5) and of N(0, 1) in two dimensions
    mean, variance = jnp.array([0.8, -0.4]), 0.5
    x = jnp.linspace(-1.0, 1.0, 10).reshape(5, 2)

    def gradient(key):
        key_p, key_q = jax.random.split(key)
        p = mean + jnp.sqrt(variance) * jax.random.normal(key_p, (SIZE, 2))
        points = jnp.concatenate([x, p, jax.random.normal(key_q, (SIZE, 2))])
        which = np.repeat(np.arange(3), [5, SIZE, SIZE])
        log_p, log_q = (jnp.where(which == one, 0.0, -jnp.inf) for one in (1, 2))
        return flows.kernel_ratio(x, points, log_p, log_q, PRECISION).gradient

    got = jax.jit(jax.vmap(gradient), compiler_options=QUICK)(KEYS)
    got = np.asarray(got, float)
    error = got.std(axis=0, ddof=1) / np.sqrt(len(got))
    # then it is that of the densities seen through the kernel
    wanted = -(x - mean) / (variance + H**2) + x / (1 + H**2)
    # a ratio of means of 1,024 has a bias of its own, of 1 / 1,024 of the width's inverse
    assert (np.abs(got.mean(axis=0) - wanted) < 3.5 * error + 0.005).all()


@pytest.mark.parametrize("kernel", [de.kernels.Gaussian(), de.kernels.Tempered(1.0)])
def test_the_population_is_its_own_base_and_its_density_a_divisor(kernel) -> None:
    points = jax.random.normal(jax.random.key(2), (30, 4))
    log_weight, present = log_g(points), jnp.ones(30, bool)
    precision = kernel.factor((), 4) / H**2
    density = kernel_log_density(points, precision)
    wanted = kernel_ratio(
        points, points, log_weight - 0.7 * density, jnp.zeros(30), precision
    )
    got, _ = jax.jit(flows.KernelRatio(kernel).estimate)(
        KEYS[0], (), points, log_weight, present, jnp.array(H), jnp.array(0.7)
    )
    chex.assert_trees_all_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_kernel_of_different_reaches_is_refused() -> None:
    ratio = flows.KernelRatio(de.kernels.Perplexity(5.0))
    with pytest.raises(ValueError, match=r"KernelRatio\.kernel: got Perplexity, want"):
        de.init(de.MonoFlow(3, ratio=ratio), jax.random.key(0), jnp.zeros((4, 2)))
