"""Walks along given times, on equations whose solutions are known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.samplers import integrators

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
ORDERS = {"heun": 2, "rk4": 4}


def slope(state, t):
    """A point on a circle, and the square of the time."""
    x, _ = state
    return jnp.stack([-x[1], x[0]]), 2 * t


def exact(t):
    return jnp.stack([jnp.cos(t), jnp.sin(t)]), t**2


def test_every_method_is_listed():
    assert set(integrators.METHODS) == set(ORDERS)


@pytest.mark.parametrize(("method", "order"), ORDERS.items())
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.5)])
def test_a_method_has_its_order_up_and_down_in_time(method, order, ends):
    counts = np.array([16, 32, 64])

    with ENABLE_X64(True):
        errors = []
        for count in counts:
            times = jnp.linspace(*ends, count + 1)
            end = integrators.integrate(slope, exact(times[0]), times, method)
            errors.append(float(jnp.abs(end[0] - exact(times[-1])[0]).max()))

    measured = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    np.testing.assert_allclose(measured, order, atol=0.1)


@pytest.mark.parametrize("method", ORDERS)
def test_a_path_is_the_start_and_every_state_after_it(method):
    start, times = exact(jnp.float32(0.0)), jnp.linspace(0.0, 1.0, 5)

    path = integrators.integrate(slope, start, times, method, return_path=True)

    ends = [
        integrators.integrate(slope, start, times[: count + 1], method)
        for count in range(5)
    ]
    want = jax.tree.map(lambda *states: jnp.stack(states), *ends)
    chex.assert_trees_all_close(path, want, atol=1e-6)


@pytest.mark.parametrize("method", ORDERS)
def test_states_keep_their_dtypes(method):
    start = (jnp.ones(2, jnp.bfloat16), jnp.zeros((), jnp.float32))

    end = integrators.integrate(slope, start, jnp.linspace(0.0, 1.0, 3), method)

    chex.assert_trees_all_equal_shapes_and_dtypes(end, start)


def test_each_step_of_a_walk_has_its_own():
    move = lambda x, t, t_next, extra: x + (t_next - t) * extra

    end = integrators.walk(move, jnp.zeros(()), jnp.arange(4.0), jnp.array([1.0, 10, 100]))

    assert float(end) == 111.0


def test_an_unknown_method_is_an_error():
    with pytest.raises(ValueError, match=r"method: got 'rk5', want one of .'heun'"):
        integrators.integrate(slope, exact(0.0), jnp.arange(2.0), "rk5")
