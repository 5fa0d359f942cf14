"""What a flow of the density ratio climbs: increasing functions h of the log-ratio.

Particles of density q that follow ``dx/dt = grad h(log r)``, with ``r = p / q`` and h
increasing, become p (MonoFlow). Since ``grad h(log r) = h'(log r) grad log r``, all of them
walk along the same lines, and h says only how fast: a GAN's loss is such a choice. The flow
that goes steepest down an f-divergence, ``int q f(p / q)``, has ``h'(log r) = r^2 f''(r)``.

==================  ====================  ================  ===========================
what it is          h(d), d = log r       h'(d)             f(r)
==================  ====================  ================  ===========================
``ReverseKL``       d                     1                 -log r
``ForwardKL``       e^d                   e^d               r log r
``Pearson``         e^2d                  2 e^2d            (r - 1)^2
``JensenShannon``   -log(1 - s(d))        s(d)              r log r - (r + 1) log(r + 1)
``NonSaturating``   log s(d)              1 - s(d)          (r + 1) log(1 + 1 / r)
``Vanilla``         -log(1 - s(d + c))    s(d + c)          JensenShannon's, for e^c p
``Arcsinh``         arcsinh(d)            1 / sqrt(1+d^2)
==================  ====================  ================  ===========================

s is the logistic function. Where h' is bounded, a wrong ratio cannot throw particles far;
where it grows, those that miss a mode hurry to it. What is traced and above 40 counts as 40
in an exponent, so that squares stay within float32.

References: Yi, Zhu, Liu, "MonoFlow: Rethinking Divergence GANs via the Perspective of
Wasserstein Gradient Flows", ICML 2023, arXiv:2302.01075.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.pytree import Number

#: Largest exponent: e^40 squared is still a float32.
_LARGEST = 40.0


@runtime_checkable
class Divergence(Protocol):
    """An increasing function of the log-ratio, and its derivative."""

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """h, of the shape of the log-ratio."""
        ...

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """h', > 0."""
        ...


def _exp(exponent: jax.Array) -> jax.Array:
    return jnp.exp(jnp.minimum(exponent, _LARGEST))


@pytree.dataclass
class ReverseKL:
    """The steepest way down KL(q | p): the same speed everywhere.

    Of a discriminator's output: its logit, which is what GANs call this choice.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> de.flows.ReverseKL().slope(jnp.array([-3.0, 3.0])).tolist()
        [1.0, 1.0]
    """

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """The log-ratio itself."""
        return log_ratio

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """1."""
        return jnp.ones_like(log_ratio)


@pytree.dataclass
class ForwardKL:
    """The steepest way down KL(p | q): fast where q misses p, and sensitive to noise.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> slopes = de.flows.ForwardKL().slope(jnp.log(jnp.array([1.0, 2.0])))
        >>> [f"{slope:.2f}" for slope in slopes]
        ['1.00', '2.00']
    """

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """The ratio."""
        return _exp(log_ratio)

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """The ratio."""
        return _exp(log_ratio)


@pytree.dataclass
class Pearson:
    """The steepest way down Pearson's chi-squared: as ``ForwardKL``, only more so.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> slopes = de.flows.Pearson().slope(jnp.log(jnp.array([1.0, 2.0])))
        >>> [f"{slope:.2f}" for slope in slopes]
        ['2.00', '8.00']
    """

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """The squared ratio."""
        return _exp(2 * log_ratio)

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """Twice the squared ratio."""
        return 2 * _exp(2 * log_ratio)


@pytree.dataclass
class Vanilla:
    """The saturating GAN: minus the log of what the discriminator calls false.

    Without a shift it is the steepest way down the Jensen-Shannon divergence, and stands
    still where the discriminator is sure. A shift of 5, as published, makes it nearly
    ``ReverseKL``.

    Args:
        shift: c, added to the log-ratio.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> slopes = de.flows.Vanilla(shift=5.0).slope(jnp.array([-3.0, 3.0]))
        >>> [f"{slope:.2f}" for slope in slopes]
        ['0.88', '1.00']
    """

    shift: Number = pytree.number(default=5.0)

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """``log(1 + e^(d + c))``."""
        return jax.nn.softplus(log_ratio + self.shift)

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """The logistic function of ``d + c``."""
        return jax.nn.sigmoid(log_ratio + self.shift)


@pytree.dataclass
class JensenShannon:
    """The steepest way down the Jensen-Shannon divergence, times 2.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> slopes = de.flows.JensenShannon().slope(jnp.log(jnp.array([1.0, 3.0])))
        >>> [f"{slope:.2f}" for slope in slopes]
        ['0.50', '0.75']
    """

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """``log(1 + e^d)``."""
        return jax.nn.softplus(log_ratio)

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """The logistic function."""
        return jax.nn.sigmoid(log_ratio)


@pytree.dataclass
class NonSaturating:
    """The non-saturating GAN: the log of what the discriminator calls true.

    Fast where q is too dense, and slow where it is too thin.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> slopes = de.flows.NonSaturating().slope(jnp.log(jnp.array([1.0, 3.0])))
        >>> [f"{slope:.2f}" for slope in slopes]
        ['0.50', '0.25']
    """

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """``-log(1 + e^-d)``."""
        return jax.nn.log_sigmoid(log_ratio)

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """The logistic function of ``-d``."""
        return jax.nn.sigmoid(-log_ratio)


@pytree.dataclass
class Arcsinh:
    """Inverse hyperbolic sine: ``ReverseKL`` near balance, slower far from it.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> slopes = de.flows.Arcsinh().slope(jnp.array([0.0, 0.75]))
        >>> [f"{slope:.2f}" for slope in slopes]
        ['1.00', '0.80']
    """

    def value(self, log_ratio: jax.Array) -> jax.Array:
        """``arcsinh(d)``."""
        return jnp.arcsinh(log_ratio)

    def slope(self, log_ratio: jax.Array) -> jax.Array:
        """``1 / sqrt(1 + d^2)``."""
        return jax.lax.rsqrt(1 + log_ratio**2)
