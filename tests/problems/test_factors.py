"""Matrices in factors, against those that are put together in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.problems.factors import ChangedMatrix, orthonormal

ROWS, COLUMNS, RANK = 12, 7, 3


def draw(left: bool = True, right: bool = True) -> ChangedMatrix:
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (RANK if left else ROWS, RANK if right else COLUMNS)
    return ChangedMatrix(
        base=jax.random.normal(keys[0], (ROWS, COLUMNS)),
        left=orthonormal(keys[1], ROWS, RANK) if left else None,
        core=jax.random.normal(keys[2], shape),
        right=orthonormal(keys[3], COLUMNS, RANK) if right else None,
    )


def exact(matrix: ChangedMatrix) -> np.ndarray:
    known = lambda array, size: np.eye(size) if array is None else np.float64(array)
    change = known(matrix.left, ROWS) @ np.float64(matrix.core)
    return np.float64(matrix.base) + change @ known(matrix.right, COLUMNS).T


@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
def test_products_are_those_of_the_dense_matrix(sides):
    matrix, rng = draw(*sides), np.random.default_rng(0)
    dense = exact(matrix)
    row, column = rng.normal(size=(5, ROWS)), rng.normal(size=COLUMNS)
    near = {"rtol": 1e-5, "atol": 1e-5}

    np.testing.assert_allclose(matrix.dense(), dense, **near)
    np.testing.assert_allclose(np.float32(row) @ matrix, row @ dense, **near)
    np.testing.assert_allclose(matrix @ np.float32(column), dense @ column, **near)
    np.testing.assert_allclose(jnp.float32(column) @ matrix.T, column @ dense.T, **near)
    assert matrix.T.shape == (COLUMNS, ROWS)


def test_frozen_factors_have_orthonormal_columns():
    factor = np.float64(orthonormal(jax.random.key(0), ROWS, RANK))

    np.testing.assert_allclose(factor.T @ factor, np.eye(RANK), atol=1e-6)


def test_a_change_is_as_long_as_its_core():
    matrix = draw()

    change = exact(matrix) - np.float64(matrix.base)

    length = np.linalg.norm(np.float64(matrix.core))
    np.testing.assert_allclose(np.linalg.norm(change), length, rtol=1e-6)


@pytest.mark.parametrize(
    "use",
    [
        np.asarray,
        jnp.asarray,
        jnp.sum,
        lambda matrix: jnp.dot(jnp.ones(ROWS), matrix),
        lambda matrix: matrix == 0,
        lambda matrix: jax.tree.map(lambda leaf: 2 * leaf, matrix),  # not of its parts
    ],
)
def test_it_is_no_array(use):
    with pytest.raises(TypeError, match="ChangedMatrix"):
        use(draw())


def test_it_has_no_entries():
    with pytest.raises(TypeError, match=r"got an index into \(12, 7\), want products"):
        draw()[0]
