"""What of a drawing evolves: its noise, its noise levels, its guidance or its weights.

A genome is a space, and what a solution of it changes of a drawing.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import matmul
from diffevo_jax.base import PyTree
from diffevo_jax.problems.factors import is_matrix
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import Number, validation


@pytree.dataclass
class Drawing:
    """What S samples are drawn with, in T levels.

    Attributes:
        denoise: ``denoise(y, sigma)``, a pytree that can be called.
        sigmas: (T,) noise levels, falling.
        start: (S, D) the noise that it begins with, N(0, 1); times the first level.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> nowhere = lambda y, sigma: jnp.zeros_like(y)
        >>> drawing = de.problems.Drawing(
        ...     nowhere, sigmas=jnp.array([4.0, 2.0, 1.0]), start=jnp.ones((1, 4)))
        >>> (drawing.sigmas[0] * drawing.start).tolist()  # where the samples begin
        [[4.0, 4.0, 4.0, 4.0]]
    """

    denoise: PyTree
    sigmas: jax.Array
    start: jax.Array


@runtime_checkable
class Genome(Protocol):
    """What of a drawing evolves; your own is a ``pytree.dataclass`` with these members."""

    def space(self, drawing: Drawing) -> Space:
        """Where solutions live; of a drawing only shapes are known."""
        ...

    def changed(self, drawing: Drawing, solution: PyTree) -> Drawing:
        """The drawing that one solution asks for."""
        ...


@pytree.dataclass
class InitialNoise:
    """The noise that a drawing begins with, (S, D).

    A sampler without noise of its own (``DDIM(0.0)``, ``Heun()``) is then a map from noise
    to samples, and what is asked for is found in the noise: no weight and no slope of
    model or reward is needed. A population of N(0, I) draws as the model draws.

    Args:
        sphere: whether a noise is drawn out to the length that noise has, ``sqrt(D)``, so
            that all are about equally likely; without it the search may shrink them towards
            what the model draws from no noise at all, or leave the noise it knows. In less
            than some ten dimensions lengths differ, and False lets them. Static.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> nowhere = lambda y, sigma: jnp.zeros_like(y)
        >>> drawing = de.problems.Drawing(nowhere, jnp.array([4.0, 1.0]), jnp.zeros((1, 4)))
        >>> solution = jnp.array([[3.0, 4.0, 0.0, 0.0]])  # of length 5; noise has sqrt(4)
        >>> start = de.problems.InitialNoise().changed(drawing, solution).start
        >>> [f"{x:.1f}" for x in start[0]]
        ['1.2', '1.6', '0.0', '0.0']

    References:
        Jajal et al., 2025, arXiv:2506.00299 (evolution of the initial noise of a model).
    """

    sphere: bool = pytree.static(default=True)

    def space(self, drawing: Drawing) -> Space:
        """Unbounded, N(0, I)."""
        return Space(jax.ShapeDtypeStruct(drawing.start.shape, jnp.result_type(float)))

    def changed(self, drawing: Drawing, solution: jax.Array) -> Drawing:
        """With this noise."""
        if self.sphere:
            solution = on_sphere(solution)
        return pytree.replace(drawing, start=solution)


@pytree.dataclass
class NoiseLevels:
    """Where the levels between the first and the last are: T - 1 increments of log sigma.

        log sigma_k = log sigma_0 - sum_{i <= k} w_i log(sigma_0 / sigma_T),
        w = softmax(log d + spread x),   d the grid's own increments,

    so that 0 is the grid itself, and its ends stay.

    Args:
        spread: deviation of the logarithm of an increment at the start, > 0.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> nowhere = lambda y, sigma: jnp.zeros_like(y)
        >>> grid = jnp.array([16.0, 4.0, 1.0])
        >>> drawing = de.problems.Drawing(nowhere, grid, jnp.ones((1, 2)))
        >>> solution = jnp.array([jnp.log(3.0), 0.0])  # three quarters of the way at first
        >>> sigmas = de.problems.NoiseLevels().changed(drawing, solution).sigmas
        >>> [f"{sigma:.2f}" for sigma in sigmas]
        ['16.00', '2.00', '1.00']
    """

    spread: Number = pytree.number(default=1.0, above=0.0)

    def space(self, drawing: Drawing) -> Space:
        """Unbounded, (T - 1,)."""
        count = drawing.sigmas.shape[0] - 1
        if count < 2:
            raise ValueError(
                f"num_levels: got {count + 1}, want 3 or more, since the ends stay"
            )
        return Space(jax.ShapeDtypeStruct((count,), jnp.result_type(float)), self.spread)

    def changed(self, drawing: Drawing, solution: jax.Array) -> Drawing:
        """With these increments."""
        return pytree.replace(drawing, sigmas=respaced(drawing.sigmas, solution))


@pytree.dataclass
class Guidance:
    """Numbers that the denoiser takes beside point and level: ``denoise(y, sigma, g)``.

    How strong classifier-free guidance is, a weight of each of several conditions, a
    threshold: what g (K,) means is the denoiser's own business. Of a network of the library
    it is ``lambda y, sigma, g: network.denoise(y, sigma, label, g[0])``.

    Args:
        low: lowest of each number.
        high: highest, above ``low``.
        count: K, at least 1; static.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> shrunk = lambda y, sigma, g: g[0] * y
        >>> drawing = de.problems.Drawing(shrunk, jnp.array([4.0, 1.0]), jnp.ones((1, 2)))
        >>> guided = de.problems.Guidance().changed(drawing, jnp.array([0.5])).denoise
        >>> guided(jnp.array([[2.0, 4.0]]), 1.0).tolist()
        [[1.0, 2.0]]
    """

    low: Number = pytree.number(default=0.0)
    high: Number = pytree.number(default=8.0)
    count: int = pytree.static(default=1)

    ordered = (("low", "high"),)

    def check(self) -> None:
        """Raise if there is no number."""
        validation.check_count("Guidance.count", self.count)

    def space(self, drawing: Drawing) -> Space:
        """A box, (K,), that starts uniform."""
        like = jax.ShapeDtypeStruct((self.count,), jnp.result_type(float))
        return Space(like, lower=self.low, upper=self.high, start="uniform")

    def changed(self, drawing: Drawing, solution: jax.Array) -> Drawing:
        """With these numbers."""
        _check_takes_guidance(drawing.denoise)
        bound = jax.tree_util.Partial(_guided, drawing.denoise, solution)
        return pytree.replace(drawing, denoise=bound)


def _check_takes_guidance(denoise: PyTree) -> None:
    try:
        inspect.signature(denoise).bind((), (), ())
    except ValueError:  # of a compiled function that does not say
        return
    except TypeError:
        raise TypeError(
            "Generator.denoise: got a function without a third argument, want "
            "denoise(y, sigma, g) for the genome Guidance"
        ) from None


def _guided(
    denoise: PyTree, guidance: jax.Array, y: jax.Array, sigma: jax.Array
) -> jax.Array:
    answer: jax.Array = denoise(y, sigma, guidance)
    return answer


@pytree.dataclass
class LowRank:
    """A change of low rank of every matrix of the model: ``W + a A B^T``.

        a = scale rms(W) / sqrt(r),   A (m, r), B (n, r) ~ N(0, 1) at the start.

    A network of millions of weights has a genome of ``r (m + n)`` numbers a matrix, in
    place of m n. Matrices are the leaves of ``denoise`` with two axes: of a network of the
    library give ``trained.denoiser.denoise``, since ``trained.denoise`` also holds what
    the optimizer knows; of a model of others bind the weights,
    :func:`diffevo_jax.diffusion.from_model`.

    Args:
        rank: r, at least 1; static.
        scale: deviation of the entries of a change, in the root mean square of those of
            its matrix, > 0.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> linear = jax.tree_util.Partial(lambda w, y, sigma: y @ w, jnp.ones((100, 100)))
        >>> drawing = de.problems.Drawing(linear, jnp.array([4.0, 1.0]), jnp.ones((1, 100)))
        >>> de.problems.LowRank(rank=2).space(drawing).dim  # 2 (100 + 100), not 10,000
        400

    References:
        Sarkar et al., 2025, arXiv:2511.16652 (perturbations of low rank).

    Notes:
        In the paper the change of an individual is drawn anew in every generation and
        folded into the mean; here the factors are the genome, so that what is found stays
        of this rank. A changed matrix is computed for each individual: N m n numbers.
    """

    rank: int = pytree.static(default=1)
    scale: Number = pytree.number(default=0.1, above=0.0)

    def check(self) -> None:
        """Raise if there is no such rank."""
        validation.check_count("LowRank.rank", self.rank)

    def space(self, drawing: Drawing) -> Space:
        """Unbounded, a pair of factors (m, r) and (n, r) for each matrix."""
        leaves = jax.tree.leaves(drawing.denoise)
        shapes = [leaf.shape for leaf in leaves if is_matrix(leaf)]
        if not shapes:
            raise ValueError(
                "denoise: got no leaf that is a matrix, want a model whose weights are "
                "leaves, such as trained.denoiser.denoise"
            )
        kind = jnp.result_type(float)
        factor = lambda size: jax.ShapeDtypeStruct((size, self.rank), kind)
        return Space([[factor(size) for size in shape] for shape in shapes])

    def changed(self, drawing: Drawing, solution: list[list[jax.Array]]) -> Drawing:
        """With these changes."""
        leaves, treedef = jax.tree.flatten(drawing.denoise)
        factors = iter(solution)
        moved = [
            perturbed(leaf, next(factors), self.scale) if is_matrix(leaf) else leaf
            for leaf in leaves
        ]
        return pytree.replace(drawing, denoise=jax.tree.unflatten(treedef, moved))


def on_sphere(noise: jax.Array) -> jax.Array:
    """Noise (S, D), each drawn out to the length ``sqrt(D)``; 0 stays 0."""
    length = jnp.linalg.norm(noise, axis=-1, keepdims=True)
    return noise * math.sqrt(noise.shape[-1]) / jnp.where(length > 0, length, 1.0)


def respaced(sigmas: jax.Array, logs: jax.Array) -> jax.Array:
    """Levels (T,) with the same ends and other increments of log sigma.

    Args:
        sigmas: (T,) falling.
        logs: (T - 1,) added to the logarithms of the increments.
    """
    known = jnp.log(sigmas)
    own = jnp.maximum(known[:-1] - known[1:], jnp.finfo(known.dtype).tiny)
    share = jnp.cumsum(jax.nn.softmax(jnp.log(own) + logs))[:-1]
    inner = jnp.exp(known[0] - share * (known[0] - known[-1]))
    inner = jnp.clip(inner, sigmas[-1], sigmas[0])  # rounding
    return jnp.concatenate([sigmas[:1], inner, sigmas[-1:]])


def perturbed(matrix: jax.Array, factors: Sequence[jax.Array], scale: Number) -> jax.Array:
    """``W + scale rms(W) A B^T / sqrt(r)``, for W (m, n), A (m, r), B (n, r)."""
    left, right = factors
    size = scale * jnp.sqrt(jnp.mean(jnp.square(matrix.astype(float))) / left.shape[1])
    return (matrix + size * matmul(left, right.T)).astype(matrix.dtype)
