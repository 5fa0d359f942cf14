"""Matrices that change in few directions, and are never put together.

    W = W_0 + L C R^T,   L (n, p), R (m, q) frozen, with orthonormal columns

The change is linear in the core C, and as long as it: ``|L C R^T| = |C|`` in Frobenius'
norm. So means and distances of cores are those of the matrices, exactly, and a population
of matrices is one matrix W_0 and N cores.
"""

import dataclasses
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.attention import matmul
from diffevo_jax.base import PyTree

#: What can be done with a matrix in factors.
ONLY = "products x @ W, W @ x and W.T alone"


@dataclasses.dataclass(frozen=True, eq=False)
class ChangedMatrix:
    """A matrix ``W_0 + L C R^T`` that knows its products with vectors, and no more.

    It is no pytree: to change its parts one by one would make another matrix of it.

        x W = x W_0 + ((x L) C) R^T

    Under ``vmap`` over cores the products with W_0, L and R are one matrix product each
    for all of them; only that with C is a core's own.

    Attributes:
        base: (n, m) W_0.
        left: (n, p) L, orthonormal columns; None for the identity, p = n.
        core: (p, q) C.
        right: (m, q) R, orthonormal columns; None for the identity, q = m.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.problems.factors import ChangedMatrix
        >>> first = jnp.eye(3)[:, :1]
        >>> matrix = ChangedMatrix(jnp.ones((3, 2)), first, jnp.array([[5.0, 6.0]]), None)
        >>> (jnp.array([1.0, 1.0, 0.0]) @ matrix).tolist()
        [7.0, 8.0]
        >>> matrix.dense().tolist()
        [[6.0, 7.0], [1.0, 1.0], [1.0, 1.0]]
    """

    base: jax.Array
    left: jax.Array | None
    core: jax.Array
    right: jax.Array | None

    __array_ufunc__ = None  # so that NumPy's arrays leave the product to this class

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, m)``."""
        rows, columns = self.base.shape
        return rows, columns

    @property
    def T(self) -> "ChangedMatrix":
        """The transposed matrix."""
        return ChangedMatrix(self.base.T, self.right, self.core.T, self.left)

    def __rmatmul__(self, x: jax.Array) -> jax.Array:
        """``x W``, for x (..., n)."""
        x = jnp.asarray(x)
        inner = x if self.left is None else matmul(x, self.left)
        inner = matmul(inner, self.core)
        change = inner if self.right is None else matmul(inner, self.right.T)
        return matmul(x, self.base) + change

    def __matmul__(self, x: jax.Array) -> jax.Array:
        """``W x``, for x (m,) or (m, k)."""
        return (jnp.asarray(x).T @ self.T).T

    def dense(self) -> jax.Array:
        """(n, m), the numbers themselves."""
        change = self.core if self.left is None else matmul(self.left, self.core)
        change = change if self.right is None else matmul(change, self.right.T)
        return self.base + change

    def __eq__(self, _: object) -> NoReturn:
        """Raise TypeError: its entries cannot be compared."""
        raise TypeError(f"ChangedMatrix: got a comparison of {self.shape}, want {ONLY}")

    def __getitem__(self, _: object) -> NoReturn:
        """Raise TypeError: it has no entries at hand."""
        raise TypeError(f"ChangedMatrix: got an index into {self.shape}, want {ONLY}")

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Raise TypeError: it is no array, and nobody makes one of it unasked."""
        raise TypeError(f"ChangedMatrix: got {self.shape} used as an array, want {ONLY}")


def is_matrix(leaf: PyTree) -> bool:
    """Whether a leaf, or its shape, is of floats with two axes."""
    return np.ndim(leaf) == 2 and bool(jnp.issubdtype(jnp.result_type(leaf), np.floating))


def root_mean_square(matrix: jax.Array) -> jax.Array:
    """() of the entries."""
    return jnp.sqrt(jnp.mean(jnp.square(matrix)))


def orthonormal(key: jax.Array, size: int, count: int) -> jax.Array:
    """(size, count) with orthonormal columns, uniform; of count <= size."""
    return jnp.linalg.qr(jax.random.normal(key, (size, count)))[0]
