"""A division by a 1 that the compiler does not know changes no bit of anything."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.problems.control.once import keep, once


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.int8, jnp.uint8])
def test_what_is_kept_has_the_same_bits(dtype) -> None:
    result = jnp.array([0, 1, 2, 100, 127], dtype)
    kept = jax.jit(keep)(result, jnp.array([-5.0, 0.0, 1e30, -1e-30, 7.0]))
    assert kept.dtype == dtype
    np.testing.assert_array_equal(kept, result)


def test_signs_of_zero_and_the_ends_of_the_range_are_kept() -> None:
    result = np.array([-0.0, 0.0, 1.2e-38, -3e38], np.float32)
    kept = np.asarray(jax.jit(keep)(result, jnp.ones(4)))
    np.testing.assert_array_equal(kept.view(np.uint32), result.view(np.uint32))


def wave(x, scale=2.0):
    return {"a": jnp.sin(x) * jnp.cos(x + scale), "b": (jnp.tan(x), x)}


def test_a_function_keeps_its_values_and_their_structure() -> None:
    x = jnp.linspace(-3.0, 3.0, 50)
    got, wanted = jax.jit(once(wave))(x), jax.jit(wave)(x)
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_infinities_give_nan_as_sine_does() -> None:
    assert np.isnan(once(jnp.sin)(jnp.inf))


def test_every_sine_and_cosine_is_followed_by_one_division() -> None:
    equations = jax.make_jaxpr(once(wave))(jnp.ones(3)).jaxpr.eqns
    names = [equation.primitive.name for equation in equations]
    assert names.count("div") == 3 == sum(name in ("sin", "cos", "tan") for name in names)


def test_it_can_be_mapped_and_differentiated() -> None:
    x = jnp.linspace(-1.0, 1.0, 5)
    np.testing.assert_array_equal(jax.vmap(once(jnp.sin))(x), jnp.sin(x))
    slope = jax.grad(lambda x: once(jnp.sin)(x))(0.3)
    np.testing.assert_allclose(slope, np.cos(0.3), rtol=1e-6)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_an_environment_takes_the_same_steps(name, key) -> None:
    env, params = gymnax.make(name)
    _, state = env.reset_env(key, params)
    action = env.action_space(params).sample(key)
    move = lambda key, state, action: env.step_env(key, state, action, params)[:4]
    got = jax.jit(once(move))(key, state, action)
    wanted = jax.jit(move)(key, state, action)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)
