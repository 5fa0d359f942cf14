"""Policies of a million weights that evolve as a few hundred numbers.

An individual is a base network, which all share, and a change of low rank of every layer.
No weight of an individual is ever computed: the base's products are those of all lanes at
once, and what is an individual's own is a small core between two frozen factors.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Policy, PyTree, Sizing
from diffevo_jax.problems.control.policies import MLP
from diffevo_jax.problems.control.problem import Control
from diffevo_jax.problems.factors import (
    ONLY,
    ChangedMatrix,
    is_matrix,
    orthonormal,
    root_mean_square,
)
from diffevo_jax.pytree import arrays, validation
from diffevo_jax.pytree.annotations import checked

#: Which of its factors are frozen.
FROZEN = ("both", "input", "output")


@pytree.dataclass
class LowRankPolicy:
    """A policy with large matrices, of which few numbers evolve.

        W_i = W_0 + u L C_i R^T,   u = rms(W_0) sqrt(n m / (p q))

    W_0 (n, m) is the base, the same for all; L (n, p) and R (m, q) are frozen, with
    orthonormal columns; the core C_i (p, q) is the genome of individual i. By u a core of
    N(0, 1) changes a matrix by as much as there is of it, in the root mean square of the
    entries: ``Control(scale=0.1)`` is a change of a tenth.

    A solution is a pytree like the policy's weights, with cores in the place of matrices,
    so that ``problem.space.dim`` is how many numbers evolve. It is linear in them, and
    distances between solutions are those between dense weights, each layer in its own unit
    u: every kernel and denoiser does what it would do on dense weights. The dense weights
    of one individual are :func:`diffevo_jax.problems.control.dense_weights`.

    A vector, such as a bias, is a matrix of one row, with 1 in the place of its root mean
    square. What has no fewer numbers in factors, and leaves of other shapes, are
    whole: ``W_0 + u C``. Of a leaf of more axes, such as the kernels of a convolution, n is
    the product of all axes but the last.

    Args:
        policy: whose weights they are: :class:`MLP`, or one of your own that uses its
            matrices in products ``x @ W``, ``W @ x`` and ``W.T`` alone. Of anything else,
            such as ``jnp.dot`` or the layers of flax, the error says so, since it would
            compute the matrix of every individual.
        rank: r, at least 1, static: p = min(r, n), q = min(r, m).
        frozen: ``"both"`` factors: a genome of p q numbers a matrix, whatever its size.
            ``"output"``: R alone, n q numbers; ``"input"``: L alone, p m numbers. Static.
        seed: of what is drawn: base and frozen factors, static. Another one is another
            policy.
        base: weights of ``policy`` to start from, for example trained ones; None draws
            them, matrices and leaves of more axes as N(0, 2 / n), vectors as 0.

    Example:
        >>> import jax, diffevo_jax as de
        >>> large = de.problems.MLP((1024, 1024))
        >>> problem = de.problems.Control(
        ...     "CartPole-v1", policy=de.problems.LowRankPolicy(large, rank=8))
        >>> problem.space.dim
        130
        >>> solutions = problem.space.decode(problem.space.sample(jax.random.key(0), 1))
        >>> solution = jax.tree.map(lambda leaf: leaf[0], solutions)
        >>> weights = de.problems.control.dense_weights(problem, solution)
        >>> sum(leaf.size for leaf in jax.tree.leaves(weights))
        1056770

    References:
        He et al., 2015, arXiv:1502.01852, eq. 10 (the base); Li et al., 2018,
        arXiv:1804.08838 (search in a random subspace); Balazy et al., 2024,
        arXiv:2405.17604 (frozen factors around a core, of singular vectors there);
        Sarkar et al., 2025, arXiv:2511.16652 (evolution by changes of low rank).

    Notes:
        What is drawn is drawn once for every evaluation of a population, not in every step.
        Where both factors of a matrix are its genome, the mean of individuals is none of
        factors, and distances need their products; it finds no better policies
        (``docs/large_policies.md``).
    """

    policy: Policy = dataclasses.field(default_factory=MLP)
    rank: int = pytree.static(default=8)
    frozen: str = pytree.static(default="both")
    seed: int = pytree.static(default=0)
    base: PyTree = None

    def check(self) -> None:
        """Raise ValueError or TypeError if a rank, a factor or a base is not usable."""
        validation.check_count("LowRankPolicy.rank", self.rank)
        if self.frozen not in FROZEN:
            raise ValueError(
                f"LowRankPolicy.frozen: got {self.frozen!r}, want one of {FROZEN}"
            )
        for path, leaf in jax.tree.leaves_with_path(self.base):
            if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
                raise TypeError(
                    f"LowRankPolicy.base: got complex numbers at "
                    f"{jax.tree_util.keystr(path)}, want real ones"
                )
            known = pytree.concrete(leaf)
            if known is not None and not np.isfinite(known).all():
                raise ValueError(
                    f"LowRankPolicy.base: got numbers that are not finite at "
                    f"{jax.tree_util.keystr(path)}, want finite ones"
                )
            if known is not None and known.ndim > 1 and not np.any(known):
                raise ValueError(
                    f"LowRankPolicy.base: got a leaf {known.shape} of zeros at "
                    f"{jax.tree_util.keystr(path)}, want numbers, since changes are in "
                    "their root mean square"
                )

    @property
    def initial_carry(self) -> Callable[[], PyTree]:
        """That of the policy."""
        return self.policy.initial_carry

    def init(self, key: jax.Array, observation: PyTree) -> PyTree:
        """Return cores of zeros; evolution draws them."""
        return self._drawn(self.policy, observation).init(key, observation)

    def apply(
        self, policy_params: PyTree, observation: PyTree, carry: PyTree
    ) -> tuple[jax.Array, PyTree]:
        """As the policy with the weights that these cores mean.

        It draws the base; of :meth:`sized` many calls have the same.
        """
        policy = self._drawn(self.policy, observation)
        return policy.apply(policy_params, observation, carry)

    def sized(self, observation: PyTree, num_outputs: int) -> "DrawnPolicy":
        """The same with all that is frozen drawn; see :class:`diffevo_jax.base.Sizing`.

        Raises:
            ValueError: the base has other shapes than the policy's weights; or as
                :meth:`check`.
        """
        validation.validate(self)
        policy = self.policy
        if pytree.offers(policy, Sizing):
            policy = policy.sized(observation, num_outputs)
        return self._drawn(policy, observation)

    def _drawn(self, policy: Policy, observation: PyTree) -> "DrawnPolicy":
        init = lambda seen: policy.init(jax.random.key(0), seen)
        shapes = jax.eval_shape(init, jax.tree.map(_shape, observation))
        keys = jax.random.split(jax.random.key(self.seed), 2)
        base = self.base
        if base is None:
            base = he_normal(keys[0], shapes)
        else:
            hint = ", weights of its policy"
            arrays.check_like("LowRankPolicy.base", base, shapes, hint)
            base = jax.tree.map(
                lambda leaf, like: jnp.asarray(leaf, like.dtype), base, shapes
            )
        leaves, structure = jax.tree.flatten(base)
        split = jax.random.split(keys[1], len(leaves))
        drawn = [
            drawn_factors(key, leaf, self.rank, self.frozen)
            for key, leaf in zip(split, leaves, strict=True)
        ]
        return DrawnPolicy(policy, jax.tree.unflatten(structure, drawn))


class Factors(NamedTuple):
    """What individuals share of an array of weights.

    Attributes:
        base: (n, m), (m,), or of any shape if both factors are None.
        left: (n, p); None for the identity.
        right: (m, q); None for the identity.
        unit: () how long a change is of a core of length 1.
    """

    base: jax.Array
    left: jax.Array | None
    right: jax.Array | None
    unit: jax.Array


@pytree.dataclass
class DrawnPolicy:
    """A :class:`LowRankPolicy` for an environment: its base and factors are arrays.

    Attributes:
        policy: whose weights they are.
        factors: a pytree like its weights, of :class:`Factors`.
    """

    policy: Policy
    factors: PyTree

    @property
    def initial_carry(self) -> Callable[[], PyTree]:
        """That of the policy."""
        return self.policy.initial_carry

    def init(self, key: jax.Array, observation: PyTree) -> PyTree:
        """Return cores of zeros; evolution draws them."""
        return jax.tree.map(core, self.factors, is_leaf=_is_factors)

    def apply(
        self, policy_params: PyTree, observation: PyTree, carry: PyTree
    ) -> tuple[jax.Array, PyTree]:
        """As the policy with the weights that these cores mean.

        Raises:
            TypeError: the policy uses a matrix otherwise than in products.
        """
        weights = jax.tree.map(changed, self.factors, policy_params, is_leaf=_is_factors)
        try:
            return self.policy.apply(weights, observation, carry)
        except (TypeError, AttributeError) as error:
            if ChangedMatrix.__name__ not in str(error):  # one of the policy's own
                raise
            raise TypeError(
                f"LowRankPolicy.policy: got {type(self.policy).__name__} that uses a "
                f"matrix as an array, want {ONLY}, since none is put together"
            ) from error

    def dense(self, policy_params: PyTree) -> PyTree:
        """The weights that these cores mean."""
        dense = lambda leaf: leaf.dense() if isinstance(leaf, ChangedMatrix) else leaf
        weights = jax.tree.map(changed, self.factors, policy_params, is_leaf=_is_factors)
        is_leaf = lambda leaf: isinstance(leaf, ChangedMatrix)
        return jax.tree.map(dense, weights, is_leaf=is_leaf)


@checked
def dense_weights(problem: Control, policy_params: PyTree) -> PyTree:
    """The weights that a solution means, of a problem with a :class:`LowRankPolicy`.

    They are weights of its ``policy``, which plays the same by them.

    Args:
        problem: what the policy has evolved on.
        policy_params: one solution, for example ``result.best_solution``.

    Raises:
        TypeError: the problem has another policy.
        ValueError: the solution is of another problem.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> small = de.problems.MLP((16,))
        >>> problem = de.problems.Control(
        ...     "cartpole", policy=de.problems.LowRankPolicy(small, rank=2))
        >>> solutions = problem.space.decode(jnp.ones((1, problem.space.dim)))
        >>> solution = jax.tree.map(lambda leaf: leaf[0], solutions)
        >>> weights = de.problems.control.dense_weights(problem, solution)
        >>> dense = de.replace(problem, policy=small)
        >>> seen = jnp.array([0.1, 0.2, 0.0, -0.3])
        >>> actions = [p.controller(w)(seen)[0]
        ...            for p, w in ((problem, solution), (dense, weights))]
        >>> int(actions[0]) == int(actions[1])
        True
    """
    policy = problem.sized_policy()
    if not isinstance(policy, DrawnPolicy):
        raise TypeError(
            f"problem.policy: got {type(problem.policy).__name__}, want a LowRankPolicy"
        )
    cores = policy.init(jax.random.key(0), ())
    hint = ", one solution of problem.space, such as result.best_solution"
    arrays.check_like("policy_params", policy_params, cores, hint)
    return policy.dense(policy_params)


def he_normal(key: jax.Array, shapes: PyTree) -> PyTree:
    """Weights: (..., m) as N(0, 2 / n), vectors and numbers 0; He et al., 2015, eq. 10.

    n is how many numbers an output is the sum of: the product of all axes but the last.
    """
    leaves, structure = jax.tree.flatten(shapes)

    def one(key: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
        if len(like.shape) < 2 or not jnp.issubdtype(like.dtype, np.floating):
            return jnp.zeros(like.shape, like.dtype)
        deviation = math.sqrt(2.0 / max(math.prod(like.shape[:-1]), 1))  # eq. 10
        return deviation * jax.random.normal(key, like.shape, like.dtype)

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [*map(one, keys, leaves)])


def drawn_factors(key: jax.Array, base: jax.Array, rank: int, frozen: str) -> Factors:
    """Frozen factors of an array of weights; of both, None, if they make it no smaller."""
    rows, columns = (1, *base.shape)[-2:] if base.ndim in (1, 2) else (1, 1)
    inner = rows if frozen == "output" else min(rank, rows)
    outer = columns if frozen == "input" else min(rank, columns)
    has_size = base.ndim > 1 and jnp.issubdtype(base.dtype, jnp.floating)
    size = root_mean_square(base) if has_size else jnp.ones((), base.dtype)
    has_factors = is_matrix(base) or base.ndim == 1
    if inner * outer >= base.size or not has_factors:
        return Factors(base, None, None, size)
    keys = jax.random.split(key)
    # In the base's own precision, or outputs would be of another than the policy's.
    kind = base.dtype if jnp.issubdtype(base.dtype, jnp.floating) else float
    drawn = lambda key, size, count: orthonormal(key, size, count).astype(kind)
    left = drawn(keys[0], rows, inner) if inner < rows else None
    right = drawn(keys[1], columns, outer) if outer < columns else None
    unit = size * math.sqrt(base.size / (inner * outer))
    return Factors(base, left, right, unit)


def core(factors: Factors) -> jax.Array:
    """Zeros in the shape of a core: (p, q), of a vector (q,), or of the whole array."""
    base, left, right, _ = factors
    shape = list(base.shape)
    if left is not None:
        shape[0] = left.shape[1]
    if right is not None:
        shape[-1] = right.shape[1]
    return jnp.zeros(shape, base.dtype)


def changed(factors: Factors, coordinates: jax.Array) -> jax.Array | ChangedMatrix:
    """The array that a core means; of a matrix with factors, its products."""
    base, left, right, unit = factors
    if left is None and right is None:
        return base + unit * coordinates
    matrix = ChangedMatrix(
        jnp.atleast_2d(base), left, jnp.atleast_2d(unit * coordinates), right
    )
    return matrix if base.ndim == 2 else matrix.dense()[0]


def _is_factors(leaf: object) -> bool:
    return isinstance(leaf, Factors)


def _shape(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
