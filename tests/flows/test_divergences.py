"""Functions of the log-ratio, against automatic differentiation and f-divergences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.flows import divergences

ALL = [
    divergences.ReverseKL(),
    divergences.ForwardKL(),
    divergences.Pearson(),
    divergences.Vanilla(shift=1.5),
    divergences.JensenShannon(),
    divergences.NonSaturating(),
    divergences.Arcsinh(),
]
#: f of the f-divergence that each goes down steepest.
F = {
    "ReverseKL": lambda r: -jnp.log(r),
    "ForwardKL": lambda r: r * jnp.log(r),
    "Pearson": lambda r: (r - 1) ** 2,
    "JensenShannon": lambda r: r * jnp.log(r) - (r + 1) * jnp.log(r + 1),
    "NonSaturating": lambda r: (r + 1) * jnp.log(1 + 1 / r),
}
LOG_RATIO = jnp.linspace(-4.0, 4.0, 33)


@pytest.mark.parametrize("divergence", ALL, ids=lambda d: type(d).__name__)
def test_the_slope_is_the_derivative_of_an_increasing_function(divergence) -> None:
    derivative = jax.vmap(jax.grad(lambda d: divergence.value(d)))(LOG_RATIO)
    np.testing.assert_allclose(divergence.slope(LOG_RATIO), derivative, rtol=1e-5)
    assert float(derivative.min()) > 0


@pytest.mark.parametrize(
    "divergence", [d for d in ALL if type(d).__name__ in F], ids=lambda d: type(d).__name__
)
def test_the_slope_is_that_of_steepest_descent_on_the_f_divergence(divergence) -> None:
    ratio = jnp.exp(LOG_RATIO)
    second = jax.vmap(jax.grad(jax.grad(F[type(divergence).__name__])))(ratio)
    # h' = r^2 f''; terms of f'' cancel: JensenShannon loses a factor of r in float32
    np.testing.assert_allclose(divergence.slope(LOG_RATIO), ratio**2 * second, rtol=1e-4)


def test_without_a_shift_vanilla_is_jensen_shannon_and_with_five_nearly_reverse_kl() -> (
    None
):
    plain, shifted = divergences.Vanilla(shift=0.0), divergences.Vanilla(shift=5.0)
    stands_still = divergences.JensenShannon().slope(LOG_RATIO)
    np.testing.assert_array_equal(plain.slope(LOG_RATIO), stands_still)
    # sigmoid(5) = 0.9933, and the slope rises from there
    np.testing.assert_allclose(shifted.slope(jnp.maximum(LOG_RATIO, 0)), 1.0, atol=0.007)


@pytest.mark.parametrize("divergence", ALL, ids=lambda d: type(d).__name__)
def test_an_extreme_log_ratio_leaves_squares_within_float32(divergence) -> None:
    extreme = jnp.array([-1e4, 1e4])
    for part in (divergence.value, divergence.slope):
        assert np.isfinite(np.square(part(extreme))).all()
