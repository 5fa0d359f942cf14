"""The process of a linear stochastic differential equation of one's own, by quadrature."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.noise.ends import check_order, times_between
from diffevo_jax.noise.process import falling_sigmas
from diffevo_jax.pytree import Number

#: Gauss-Legendre quadrature: panels of equal length, and nodes in each.
_PANELS, _NODES = 16, 8


@pytree.dataclass
class SDE:
    """The process of a linear stochastic differential equation of one's own.

        dx = f(t) x dt + g(t) dw
        s(t) = exp(int_0^t f),  sigma(t)^2 = int_0^t g^2 / s^2.

    The noise is all that has come in since time 0; ``t_min`` and ``t_max`` say where the
    grid begins and ends. The integrals are Gauss-Legendre sums, 8 nodes in each of 16
    panels: exact to rounding for smooth f and g.

    Args:
        drift: f, a function of time alone, on a scalar. Static.
        diffusion: g, likewise. Static.
        t_min: time of the clean end, >= 0; at 0 sigma is clipped to 1e-6.
        t_max: time of the noisy end, larger than ``t_min``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> process = de.noise.SDE(drift=lambda t: 0.0, diffusion=jnp.exp)
        >>> float(process.sigma(1.0)), float(jnp.sqrt(jnp.expm1(2.0) / 2))
        (1.787..., 1.787...)

    References:
        Karras et al., 2022, arXiv:2206.00364, appendix B.
    """

    drift: Callable[[jax.Array], Number] = pytree.static()
    diffusion: Callable[[jax.Array], Number] = pytree.static()
    t_min: Number = pytree.number(default=1e-3, low=0.0)
    t_max: Number = pytree.number(default=1.0, above=0.0)

    ordered = (("t_min", "t_max"),)

    sigmas = falling_sigmas

    def scale(self, t: Number) -> jax.Array:
        """``exp(int_0^t f)``."""
        nodes, weights, _ = _quadrature(t)
        return jnp.exp(jnp.sum(weights * _each(self.drift, nodes), (-2, -1)))

    def sigma(self, t: Number) -> jax.Array:
        """``sqrt(int_0^t g^2 / s^2)``."""
        nodes, weights, until = _quadrature(t)
        rate = _each(self.drift, nodes)
        panel = jnp.sum(weights * rate, -1, keepdims=True)
        before = jnp.cumsum(panel, -2) - panel
        inside = jnp.sum(until * rate[..., None, :], -1)
        growth = _each(self.diffusion, nodes) * jnp.exp(-(before + inside))
        return jnp.sqrt(jnp.sum(weights * growth**2, (-2, -1)))

    def times(self, num_levels: int) -> jax.Array:
        """``(num_levels,)`` uniform times from ``t_max`` to ``t_min``."""
        low = jnp.maximum(jnp.minimum(self.t_min, self.t_max), 0.0)
        return times_between(low, jnp.maximum(self.t_min, self.t_max), num_levels)

    def check(self) -> None:
        """Raise TypeError without functions, ValueError if the times are out of order."""
        for name, given in (("drift", self.drift), ("diffusion", self.diffusion)):
            if not callable(given):
                raise TypeError(f"SDE.{name}: got {given!r}, want a function")
        check_order("SDE.t_min", self.t_min, "SDE.t_max", self.t_max)


def _each(function: Callable[[jax.Array], Number], t: jax.Array) -> jax.Array:
    """A function of scalars, at times of any shape."""
    return jnp.reshape(jax.vmap(function)(t.ravel()), t.shape)


def _quadrature(t: Number) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Nodes and weights for integrals from 0 to t, and from a panel's start to its nodes.

    Args:
        t: end of the integrals, any shape.

    Returns:
        nodes ``t.shape + (panels, nodes)``, weights ``t.shape + (1, nodes)``, and weights
        ``t.shape + (1, nodes, nodes)`` of the integral of the interpolating polynomial
        from the start of a panel to each of its nodes.
    """
    x, weights = np.polynomial.legendre.leggauss(_NODES)
    basis = np.polynomial.legendre.legvander(x, _NODES)  # P_n(x_q), (q, n)
    # int_{-1}^x (2n + 1) P_n = P_{n+1}(x) - P_{n-1}(x), with P_{-1} = -1
    below = np.concatenate([-np.ones((_NODES, 1)), basis[:, : _NODES - 1]], axis=1)
    until = 0.5 * (basis[:, 1:] - below) @ basis[:, :_NODES].T * weights
    t = jnp.asarray(t, dtype=float)[..., None, None]
    starts = np.arange(_PANELS)[:, None]
    # Constants with as many axes as what they are multiplied by.
    like = lambda numbers, array: np.expand_dims(
        numbers, tuple(range(array.ndim - numbers.ndim))
    )
    nodes = t * like(starts + 0.5 * (x + 1), t) / _PANELS
    half = 0.5 * t / _PANELS
    return nodes, half * like(weights, half), half[..., None] * like(until, half[..., None])
