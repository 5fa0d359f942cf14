"""Kernels that learn from every generation: principal axes, or a bandwidth for each row."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import bisect, covariance, matmul, or_uniform
from diffevo_jax.base import PyTree
from diffevo_jax.kernels.parts import linear_features
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked


@pytree.dataclass
class PrincipalComponents:
    """Distances along the directions in which the better individuals differ most.

    The features are coordinates along the ``dim`` first principal axes of the population,
    weighted as the posterior weighs it; they are found anew every generation, by a
    singular value decomposition of the (M, D) population.

    Args:
        dim: axes to keep, static, at most D.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Population(de.kernels.PrincipalComponents(3)).kernel
        PrincipalComponents(dim=3)

    References:
        Jolliffe, 2002, Principal Component Analysis, chapter 1.
    """

    dim: int = pytree.static(default=2)

    def init(self, key: jax.Array, dim: int) -> jax.Array:
        """Before a generation the first axes of the space, ``(self.dim, dim)``."""
        if self.dim > dim:
            raise ValueError(
                f"PrincipalComponents.dim: got {self.dim}, want at most {dim}, the "
                "dimension of the solutions"
            )
        return jnp.eye(self.dim, dim)

    def adapt(
        self, kernel_state: jax.Array, points: jax.Array, log_weight: jax.Array
    ) -> jax.Array:
        """The principal axes of weighted points."""
        return principal_axes(points, log_weight, self.dim)

    features = linear_features

    def factor(self, kernel_state: jax.Array, dim: int) -> Number:
        """1: distances count as they are along the axes."""
        return 1.0

    def check(self) -> None:
        """Raise ValueError if ``dim`` is not a positive int."""
        validation.check_count("PrincipalComponents.dim", self.dim)


@pytree.dataclass
class Perplexity:
    """Every individual has the same number of neighbours: a bandwidth of its own.

    The bandwidth of each is found by bisection, so that the perplexity of its kernel is the
    number asked for. Distances then have no unit: the noise level only says how far to
    step. Prefer it above ten dimensions to select and yet keep several modes:
    with two components up to some thirty dimensions, and beyond in a
    :class:`diffevo_jax.kernels.SelfConditioned`.

    Args:
        neighbours: effective number of neighbours, >= 1; at or above the number of
            individuals, all are neighbours.
        components: measure distances along so many principal axes of the weighted
            population, as :class:`PrincipalComponents` does, or along all if there are
            fewer, static; None measures them in the whole space. Where the better
            individuals differ most is where the modes lie apart, and all other directions
            are noise.

    Example:
        >>> import diffevo_jax as de
        >>> de.denoisers.Population(de.kernels.Perplexity(60.0, 2)).kernel
        Perplexity(neighbours=60.0, components=2)

    References:
        van der Maaten and Hinton, 2008, JMLR 9, section 2 (perplexity).
    """

    neighbours: Number = pytree.number(default=30.0, low=1.0)
    components: int | None = pytree.static(default=None)

    def init(self, key: jax.Array, dim: int) -> PyTree:
        """Before a generation the first axes of the space, () without components."""
        if self.components is None:
            return ()
        return jnp.eye(min(self.components, dim), dim)

    def adapt(
        self, kernel_state: PyTree, points: jax.Array, log_weight: jax.Array
    ) -> PyTree:
        """The principal axes of weighted points, () without components."""
        if self.components is None:
            return kernel_state
        return principal_axes(points, log_weight, len(kernel_state))

    def features(self, kernel_state: PyTree, points: jax.Array) -> jax.Array:
        """The points ``(N, D)``, or their coordinates ``(N, components)``."""
        if self.components is None:
            return points
        return linear_features(self, kernel_state, points)

    def check(self) -> None:
        """Raise ValueError if ``components`` is not None or a positive int."""
        if self.components is not None:
            validation.check_count("Perplexity.components", self.components)

    def factor(self, kernel_state: PyTree, dim: int) -> Number:
        """1; :meth:`row_precision` takes the place of ``factor / sigma^2``."""
        return 1.0

    def row_precision(self, half_squares: jax.Array, mask: jax.Array) -> jax.Array:
        """Inverse variance (B,) of the kernel of each of B individuals."""
        return perplexity_precision(half_squares, mask, self.neighbours)


@checked
def principal_axes(points: jax.Array, log_weight: jax.Array, count: int) -> jax.Array:
    """The first principal axes of weighted points, by singular value decomposition.

    Args:
        points: (M, D).
        log_weight: (M,), -inf for weight zero; if all are, all count the same.
        count: how many, static.

    Returns:
        (count, D), rows orthonormal; zero where M points have fewer axes.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> points = jnp.array([[3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]])
        >>> (axis,) = de.kernels.principal_axes(points, jnp.zeros(3), 1)
        >>> [round(abs(float(x)), 3) for x in axis]
        [0.6, 0.8]
    """
    weight = jax.nn.softmax(or_uniform(log_weight))
    centred = points - matmul(weight, points)[None]
    known = min(count, *points.shape)
    axes = covariance.principal_axes(weight, centred, known)
    return jnp.pad(axes, ((0, count - known), (0, 0)))


#: Halvings of an interval of 40 nats: a precision is right to 1e-5 of itself.
_HALVINGS = 22


@checked
def perplexity_precision(
    half_squares: jax.Array, mask: jax.Array, neighbours: Number
) -> jax.Array:
    """Precision at which a Gaussian kernel has a perplexity, row by row.

    Finds p such that ``exp(H) = neighbours``, with H the entropy of the weights
    ``exp(-p half_squares)``, normalised; the perplexity falls as p grows.

    Args:
        half_squares: (B, M) half the squared distances, up to a constant a row.
        mask: (M,) bool, which points count; if none does, all.
        neighbours: effective number, >= 1.

    Returns:
        (B,) precisions, > 0.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> half_squares, mask = jnp.array([[0.0, 1.0, 4.0, 9.0]]), jnp.ones(4, bool)
        >>> precision = de.kernels.perplexity_precision(half_squares, mask, 2.0)
        >>> weight = jax.nn.softmax(-precision * half_squares[0])
        >>> round(float(jnp.exp(-(weight * jnp.log(weight)).sum())), 3)  # neighbours
        2.0
    """
    mask = mask | ~jnp.any(mask)
    nearest = jnp.min(jnp.where(mask, half_squares, jnp.inf), axis=1, keepdims=True)
    excess = jnp.where(mask, half_squares - nearest, 0.0)
    scale = jnp.sum(excess, axis=1) / jnp.sum(mask).astype(excess.dtype)
    excess /= jnp.where(scale > 0, scale, 1.0)[:, None]

    def too_wide(middle: jax.Array) -> jax.Array:
        exponent = -jnp.exp(middle)[:, None] * excess
        weight = jnp.where(mask[None], jnp.exp(exponent), 0.0)
        total = jnp.sum(weight, axis=1)
        entropy = jnp.log(total) - jnp.sum(weight * exponent, axis=1) / total
        return entropy - jnp.log(jnp.maximum(neighbours, 1.0))

    low, high = (jnp.full(len(excess), end, excess.dtype) for end in (-20.0, 20.0))
    log_precision = bisect(too_wide, low, high, _HALVINGS)
    return jnp.exp(log_precision) / jnp.where(scale > 0, scale, 1.0)
