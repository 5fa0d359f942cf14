"""Points and values in cells: two forms of the kernel's logarithm, and empty columns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.attention import cells

POINTS = jax.random.normal(jax.random.key(0), (24, 20))
WEIGHT = jnp.linspace(-3.0, 2.0, 24).at[5].set(-jnp.inf)


def logits(form, points, log_weight=WEIGHT):
    centres = cells.find_centres(POINTS)
    placed = cells.as_queries(points, centres), cells.as_keys(points, centres)
    return form(*placed, log_weight)


def test_both_forms_of_the_kernel_are_the_same() -> None:
    subtracted, product = (
        np.asarray(logits(form, POINTS))
        for form in (cells.log_kernel, cells.log_kernel_by_product)
    )
    heard = np.isfinite(WEIGHT)
    np.testing.assert_allclose(product[:, heard], subtracted[:, heard], atol=3e-5)
    assert (product[:, 5] < cells.nothing(WEIGHT.dtype)).all()
    assert np.isneginf(subtracted[:, 5]).all()


@pytest.mark.parametrize("derivative", [jax.jacfwd, jax.jacrev])
def test_a_weight_of_zero_has_a_derivative_of_zero(derivative) -> None:
    # With minus infinity in a product it would be infinity times 0.
    slope = derivative(lambda w: logits(cells.log_kernel_by_product, POINTS, w))(WEIGHT)
    np.testing.assert_array_equal(slope[0], np.diag(np.isfinite(WEIGHT)))
    moved = derivative(lambda x: logits(cells.log_kernel_by_product, x)[:, 5])(POINTS)
    assert np.isfinite(moved).all()


def test_columns_of_long_values_are_whole_sixteens_and_their_means_the_same() -> None:
    placed = cells.as_keys(POINTS, cells.find_centres(POINTS))
    columns, centres = cells.in_cells(POINTS, placed)
    assert columns.shape == (24, 32)  # 20 numbers, 10 empty columns, 2 cells
    share = jax.nn.softmax(jnp.where(jnp.isinf(WEIGHT), -jnp.inf, WEIGHT))[None]
    mean, total = cells.mean_of_cells(share @ columns, centres)
    np.testing.assert_allclose(mean, share @ POINTS, atol=2e-6)
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
