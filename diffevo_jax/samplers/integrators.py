"""Walks along given times: any step, and explicit Runge-Kutta methods for an ODE."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from diffevo_jax.base import PyTree

#: Methods by name, the rows of their tableaus: how far to go with each slope for the next
#: one, and the weights of all of them.
METHODS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "heun": ((1.0,), (1 / 2, 1 / 2)),
    "rk4": ((1 / 2, 1 / 2, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


def runge_kutta_step(
    slope: Callable[[PyTree, Array], PyTree],
    state: PyTree,
    t: Array,
    t_next: Array,
    method: str,
) -> PyTree:
    """One step of an explicit Runge-Kutta method, in which a slope needs only the last.

        k_1 = slope(x, t),  k_i = slope(x + a_i h k_{i-1}, t + a_i h),
        x' = x + h sum_i b_i k_i,  h = t' - t

    Args:
        slope: ``slope(state, t)``, the derivative of the state.
        state: any pytree of floats.
        t: () time of the state.
        t_next: () time to reach.
        method: ``"heun"``, of order 2 with two slopes, or ``"rk4"``, of order 4 with four.

    Returns:
        The state at ``t_next``, of the same dtypes.

    References:
        Hairer, Norsett, Wanner, 1993, doi:10.1007/978-3-540-78862-1, section II.1.
    """
    nodes, weights = METHODS[method]
    length = t_next - t
    change = slope(state, t)
    total = _add(state, weights[0] * length, change)
    for node, weight in zip(nodes, weights[1:], strict=True):
        far = node * length
        change = slope(_add(state, far, change), t + far)
        total = _add(total, weight * length, change)
    return total


def integrate(
    slope: Callable[[PyTree, Array], PyTree],
    start: PyTree,
    times: Array,
    method: str,
    return_path: bool = False,
) -> PyTree:
    """Follow an ODE along given times, by :func:`runge_kutta_step`.

    Args:
        slope: ``slope(state, t)``, the derivative of the state.
        start: the state at ``times[0]``, any pytree of floats.
        times: (T,) rising or falling.
        method: ``"heun"`` or ``"rk4"``.
        return_path: whether to return all states on the way.

    Returns:
        The state at ``times[-1]``, or (T, ...) the start and all after it.

    Raises:
        ValueError: there is no such method.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.samplers import integrators
        >>> times = jnp.linspace(0.0, 1.0, 11)
        >>> f"{integrators.integrate(lambda x, t: x, jnp.ones(()), times, 'rk4'):.4f}"
        '2.7183'
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, want one of {tuple(METHODS)}")

    def move(state: PyTree, t: Array, t_next: Array, _: tuple[()]) -> PyTree:
        return runge_kutta_step(slope, state, t, t_next, method)

    return walk(move, start, times, (), return_path)


def walk(
    move: Callable[[PyTree, Array, Array, PyTree], PyTree],
    start: PyTree,
    times: Array,
    extras: PyTree = (),
    return_path: bool = False,
) -> PyTree:
    """Take a step between all neighbouring times.

    Args:
        move: ``move(state, t, t_next, extra)``, the state at ``t_next``.
        start: the state at ``times[0]``.
        times: (T,) rising or falling.
        extras: with a leading axis T - 1, what each step has of its own, such as a key.
        return_path: whether to return all states on the way.

    Returns:
        The state at ``times[-1]``, or (T, ...) the start and all after it.
    """

    def body(state: PyTree, now: tuple) -> tuple[PyTree, PyTree]:
        moved = move(state, *now)
        return moved, (moved if return_path else None)

    times = jnp.asarray(times, dtype=float)
    last, path = jax.lax.scan(body, start, (times[:-1], times[1:], extras))
    if not return_path:
        return last
    return jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), start, path)


def _add(state: PyTree, factor: Array, change: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: (a + factor * b).astype(a.dtype), state, change)
