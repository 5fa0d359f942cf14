"""The promises of a kernel; :class:`diffevo_jax.Kernel` is their contract."""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Kernel, PyTree, RowKernel
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.testing.agreement import (
    D,
    N,
    Promise,
    close,
    each_number_changed,
    expect,
    hold,
    key,
    population,
    same_bits,
    same_types,
    together_and_alone,
    without_nan,
)


def _know(
    kernel: Kernel, key: jax.Array, points: jax.Array, log_weight: jax.Array
) -> dict[str, Any]:
    """What a kernel draws, learns from a generation, and makes of its points."""
    drawn = kernel.init(key, points.shape[1])
    learnt = kernel.adapt(drawn, points, log_weight)
    features = kernel.features(learnt, points)
    factor = jnp.asarray(kernel.factor(learnt, points.shape[1]))
    return {"drawn": drawn, "learnt": learnt, "features": features, "factor": factor}


# The promises share this program: one is compiled for all kernels of one structure.
_known = jax.jit(_know)


def _given(kernel: Kernel, dim: int, shift: jax.typing.ArrayLike = 0.0) -> tuple[Any, ...]:
    log_weight = jnp.linspace(-2.0, 0.0, N) + shift
    return pytree.strong(kernel), key(), population(dim=dim), log_weight


def state_keeps_its_types(kernel: Kernel, dim: int = D) -> None:
    """Shapes, dtypes and structure of what is known never change.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.state_keeps_its_types(de.kernels.PrincipalComponents(2))
    """
    known = _known(*_given(kernel, dim))
    same_types(known["drawn"], known["learnt"], "a state with the types of before")


def features_are_finite(kernel: Kernel, dim: int = D) -> None:
    """Features (N, d) are finite, and the factor on their distances is >= 0.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.features_are_finite(de.kernels.PrincipalComponents(2))
    """
    known = _known(*_given(kernel, dim))
    features, factor = known["features"], known["factor"]
    expect(features.ndim == 2 and len(features) == N, "features (N, d)", features.shape)
    expect(jnp.isfinite(features).all(), "finite features", features)
    expect(factor.shape == (), "a factor of shape ()", factor.shape)
    expect(jnp.isfinite(factor) & (factor >= 0), "a factor >= 0", factor)


def a_point_has_its_own_features(kernel: Kernel, dim: int = D) -> None:
    """Features of a point do not depend on the points beside it.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.a_point_has_its_own_features(de.kernels.PrincipalComponents(2))
    """
    known, points = _known(*_given(kernel, dim)), population(dim=dim)
    some = pytree.strong(kernel).features(known["learnt"], points[::-2])
    close(some, known["features"][::-2], "for some of the points their features of before")


def the_weightless_teach_nothing(kernel: Kernel, dim: int = D) -> None:
    """What is learnt does not depend on points of weight zero.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.the_weightless_teach_nothing(de.kernels.PrincipalComponents(2))
    """
    nobody = jnp.zeros(N).at[2].set(-jnp.inf)
    kernel, key, points, log_weight = _given(kernel, dim, nobody)
    here = _known(kernel, key, points, log_weight)["learnt"]
    moved = _known(kernel, key, points.at[2].add(10.0), log_weight)["learnt"]
    close(_projection(here), _projection(moved), "the same whatever weighs nothing")


def _projection(state: PyTree) -> Any:
    """What is known, but for the signs of axes, which mean nothing."""
    two = lambda leaf: leaf.T @ leaf if jnp.ndim(leaf) == 2 else leaf
    return jax.tree.map(two, state)


def failure_of_all_is_survived(kernel: Kernel, dim: int = D) -> None:
    """Nothing is NaN where no point has a weight.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.failure_of_all_is_survived(de.kernels.PrincipalComponents(2))
    """
    without_nan(_known(*_given(kernel, dim, -jnp.inf)), "no NaN where nothing has a weight")


def rows_have_precisions(kernel: Kernel, dim: int = D) -> None:
    """Bandwidths by rows, where there are any, are positive and need no origin.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.rows_have_precisions(de.kernels.Perplexity(3.0, 2))
    """
    if not pytree.offers(kernel, RowKernel):
        return
    points = population(dim=dim)
    halves = 0.5 * jnp.sum((points[:, None] - points[None]) ** 2, axis=-1)
    mask = jnp.ones(N, bool).at[2].set(False)
    precision = kernel.row_precision(halves, mask)
    expect(precision.shape == (N,), f"precisions of shape {(N,)}", precision.shape)
    expect(jnp.all(jnp.isfinite(precision) & (precision > 0)), "precisions > 0", precision)
    raised = kernel.row_precision(halves + 1.0, mask)
    agree = jnp.allclose(raised, precision, rtol=1e-3)  # found by bisection
    expect(agree, "the same precision with a constant added to a row", (raised, precision))
    away = kernel.row_precision(halves.at[:, 2].set(1e3), mask)
    close(away, precision, "the same precision wherever the masked are")


def jit_equals_eager(kernel: Kernel, dim: int = D) -> None:
    """Compiled and eager agree to rounding.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.jit_equals_eager(de.kernels.PrincipalComponents(2))
    """
    given = _given(kernel, dim)
    close(_known(*given), _know(*given), "compiled as eager")


def same_key_same_bits(kernel: Kernel, dim: int = D) -> None:
    """What is drawn is a function of the key.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.kernels.same_key_same_bits(de.kernels.PrincipalComponents(2))
    """
    given = _given(kernel, dim)
    same_bits(_know(*given), _know(*given), "the same bits for the same key")


def vmap_over_any_number_equals_a_loop(kernel: Kernel, dim: int = D) -> None:
    """Every numeric field can be swept."""
    together_and_alone(
        lambda numbers: _known(*_given(numbers, dim)),
        each_number_changed(kernel),
        "with a number swept what each setting knows alone",
    )


#: What every kernel promises.
PROMISES: tuple[Promise, ...] = (
    state_keeps_its_types,
    features_are_finite,
    a_point_has_its_own_features,
    the_weightless_teach_nothing,
    failure_of_all_is_survived,
    rows_have_precisions,
    jit_equals_eager,
    same_key_same_bits,
    vmap_over_any_number_equals_a_loop,
)


@checked
def check_kernel(kernel: Kernel, dim: int = D, *, but: Collection[Promise] = ()) -> None:
    """Hold a kernel to all promises of one.

    Args:
        kernel: to be tried on 8 points.
        dim: D of the points.
        but: promises that it does not make.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_kernel(de.kernels.PrincipalComponents(2))
    """
    hold(kernel, PROMISES, dim, but)
