"""The density ratio of two weighted sets of points, in closed form, by a Gaussian kernel.

With two sets of weights on the same points, p and q seen through a kernel K of width h,

    log r = log sum_j w^p_j K(x, x_j) - log sum_j w^q_j K(x, x_j)
    grad log r = (m_p(x) - m_q(x)) / h^2,

m the kernel means: the posterior means of Diffusion Evolution, with weights and without. It
is what a discriminator with instance noise of deviation h tends to, without a training.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import Attention, attend, or_uniform
from diffevo_jax.attention.density import self_weights
from diffevo_jax.base import Estimate, Floored, Kernel, Placing, PyTree, RowKernel
from diffevo_jax.denoisers import posterior_mean
from diffevo_jax.flows.ratio import Ratio
from diffevo_jax.kernels import Tempered
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@checked
def kernel_ratio(
    queries: jax.Array,
    points: jax.Array,
    log_weight: jax.Array,
    base_log_weight: jax.Array,
    precision: Number,
    *,
    attention: Attention = attend,
) -> Ratio:
    """Log-ratio and its gradient by a Gaussian kernel, at any points.

    Two samples are points with ``-inf`` in one set of weights each.

    Args:
        queries: (N, D) where the ratio is wanted; the first N points belong to them.
        points: (M, D), M >= N.
        log_weight: (M,) of p, ``-inf`` for weight zero; normalised here.
        base_log_weight: (M,) of q, likewise.
        precision: () ``1 / h^2``, > 0.
        attention: computes the means, as :func:`diffevo_jax.attention.attend` does.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import flows
        >>> points = jnp.array([[-1.0], [1.0]])
        >>> more, less = jnp.log(jnp.array([[0.25, 0.75], [0.5, 0.5]]))
        >>> ratio = flows.kernel_ratio(points, points, more, less, jnp.array(1e-6))
        >>> (ratio.gradient * 1e6).round(3).tolist()  # both towards the heavier point
        [[0.5], [0.5]]

    References:
        Yi, Zhu, Liu, 2023, arXiv:2302.01075: the optimal discriminator, here of densities
        that a kernel estimates.
    """
    mean = _mean_of(queries, points, precision, attention)
    below = mean(values=points, log_weight=base_log_weight)
    return _ratio(mean, points, log_weight, base_log_weight, below, precision)


def _mean_of(
    queries: jax.Array,
    keys: jax.Array,
    precision: Number,
    attention: Attention,
) -> Callable[..., Estimate]:
    """Kernel means of any ``values``, with any ``log_weight``."""
    return functools.partial(
        posterior_mean,
        queries,
        keys,
        precision=jnp.asarray(precision),
        attention=attention,
    )


def _ratio(
    mean: Callable[..., Estimate],
    points: jax.Array,
    log_weight: jax.Array,
    base_log_weight: jax.Array,
    below: Estimate,
    precision: Number,
) -> Ratio:
    """The ratio, from a kernel mean of any values, and that of the points under q."""
    sound = jnp.any(log_weight > -jnp.inf) & jnp.any(base_log_weight > -jnp.inf)
    above = mean(values=points, log_weight=log_weight)
    # Shares of p, and of q, in their mixture: weights of p alone could miss all of q.
    both = (log_weight, base_log_weight)
    parts = [jax.nn.log_softmax(or_uniform(weight)) for weight in both]
    mixture = jnp.logaddexp(*parts)
    known = mixture > -jnp.inf
    reference = jnp.where(known, mixture, 0.0)
    shares = jnp.stack([jnp.exp(part - reference) for part in parts], axis=1)
    tiny = jnp.finfo(points.dtype).tiny
    share = jnp.maximum(mean(values=shares, log_weight=mixture).clean, tiny)
    return Ratio(
        log_ratio=jnp.log(share[:, 0]) - jnp.log(share[:, 1]),
        gradient=precision * (above.clean - below.clean),
        width=1 / jnp.sqrt(precision),
        effective_sample_size=above.effective_sample_size,
        self_weight=above.self_weight,
        sound=sound,
    )


@checked
def kernel_log_density(
    points: jax.Array,
    precision: Number,
    *,
    valid: jax.Array | None = None,
    leave_one_out: bool = False,
    attention: Attention = attend,
) -> jax.Array:
    """Log of a kernel density estimate at its own points, up to a constant.

    The mean over j of ``exp(-precision |x_i - x_j|^2 / 2)``.
    :func:`diffevo_jax.attention.log_density` chooses a bandwidth for itself; here it is
    that of the flow.

    Args:
        points: (N, d).
        precision: () ``1 / h^2``.
        valid: (N,) bool, which points count; None for all.
        leave_one_out: not to count a point for its own density: less bias, and for a point
            that is alone a density that only rounding keeps from 0.
        attention: as of :func:`kernel_ratio`.

    Returns:
        (N,) in [-log N, 0], or below it when leaving one out; 0 for who does not count.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import flows
        >>> points = jnp.array([[-1.0], [1.0], [1.0]])  # one alone, and two together
        >>> found = jnp.exp(jax.jit(flows.kernel_log_density)(points, 100.0))
        >>> [f"{density:.2f}" for density in found]
        ['0.33', '0.67', '0.67']
    """
    valid = jnp.ones(len(points), bool) if valid is None else valid
    own = self_weights(points, precision, valid, attention=attention)
    return _density_of(own, valid, leave_one_out=leave_one_out)


def _density_of(
    self_weight: jax.Array, valid: jax.Array, *, leave_one_out: bool = False
) -> jax.Array:
    """Log-density from the weight (N,) of each point in its own unweighted mean."""
    count = jnp.maximum(jnp.sum(valid), 1).astype(self_weight.dtype)
    others = 1 / jnp.clip(self_weight, 1 / count, 1.0)
    if leave_one_out:
        rounding = jnp.finfo(self_weight.dtype).eps
        others, count = jnp.maximum(others - 1, rounding), jnp.maximum(count - 1, 1)
    return jnp.where(valid, jnp.log(others) - jnp.log(count), 0.0)


@pytree.dataclass
class KernelRatio:
    """The density ratio of a population in closed form; nothing is trained.

    Args:
        kernel: who is a neighbour. The width of the ratio is that of the strategy's grid
            over the root of the kernel's factor. The exact kernel's gradient vanishes above
            ten dimensions or so, where nobody has neighbours. With a projection the
            gradient is that of no function: it leads to where the better ones are among
            those that look alike in the projection.
        attention: computes the means, as :func:`diffevo_jax.attention.attend` does; static.

    Example:
        >>> import diffevo_jax as de
        >>> exact = de.flows.KernelRatio(de.kernels.Gaussian())
        >>> de.MonoFlow(10, ratio=exact).ratio.kernel
        Gaussian(kappa=1.0, floor=None)
    """

    kernel: Kernel = dataclasses.field(default_factory=lambda: Tempered(dimension=2.0))
    attention: Attention = pytree.static(default=attend)

    def check(self) -> None:
        """Raise if the kernel has no density whose gradient is known."""
        kernel = self.kernel
        if pytree.offers(kernel, RowKernel) or pytree.offers(kernel, Placing):
            raise ValueError(
                f"KernelRatio.kernel: got {type(kernel).__name__}, want a kernel of the "
                "same bandwidth for all points, between the points"
            )
        if pytree.offers(kernel, Floored) and kernel.floor is not None:
            raise ValueError(
                f"KernelRatio.kernel: got a floor of {kernel.floor}, want none"
            )

    def init(self, key: jax.Array, population: jax.Array) -> PyTree:
        """The kernel's own state."""
        return self.kernel.init(key, population.shape[1])

    def estimate(
        self,
        key: jax.Array,
        state: PyTree,
        points: jax.Array,
        log_weight: jax.Array,
        present: jax.Array,
        sigma: jax.Array,
        density_power: Number,
    ) -> tuple[Ratio, PyTree]:
        """The ratio at the points; see :class:`diffevo_jax.flows.RatioEstimator`."""
        state = self.kernel.adapt(state, points, log_weight)
        features = self.kernel.features(state, points)
        precision = self.kernel.factor(state, points.shape[1]) / sigma**2
        mean = _mean_of(features, features, precision, self.attention)
        base = jnp.where(present, 0.0, -jnp.inf).astype(points.dtype)
        below = mean(values=points, log_weight=base)
        density = _density_of(below.self_weight, present)
        log_weight = log_weight - density_power * density
        return _ratio(mean, points, log_weight, base, below, precision), state

    def divided(self, divide: Callable[[Attention], Attention]) -> "KernelRatio":
        """The same, its attention divided; see :class:`diffevo_jax.base.Divisible`."""
        return pytree.replace(self, attention=divide(self.attention))
