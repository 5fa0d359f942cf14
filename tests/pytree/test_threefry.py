"""Threefry without its loop: the bits are JAX's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.pytree import components, threefry

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
KEY = jax.random.key(2026)


def same(draw, keys) -> None:
    """A function draws the same bits with keys that are written out."""
    out = draw(threefry.written_out(keys))
    if jnp.issubdtype(out.dtype, jax.dtypes.prng_key):
        out = jax.random.key_data(out)
    expected = draw(keys)
    if jnp.issubdtype(expected.dtype, jax.dtypes.prng_key):
        expected = jax.random.key_data(expected)
    np.testing.assert_array_equal(out, expected, strict=True)


@pytest.mark.parametrize("bits", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5)])
def test_bits_are_those_of_jax(shape, bits) -> None:
    same(lambda key: jax.random.bits(key, shape, bits), KEY)


def test_long_words_are_those_of_jax() -> None:
    with ENABLE_X64(True):
        same(lambda key: jax.random.bits(key, (9,), "uint64"), jax.random.key(3))


@pytest.mark.parametrize("shape", [2, (4,), (3, 2)])
def test_splits_are_those_of_jax(shape) -> None:
    same(lambda key: jax.random.split(key, shape), KEY)


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**32 - 1])
def test_folded_numbers_are_those_of_jax(number) -> None:
    same(lambda key: jax.random.fold_in(key, np.uint32(number)), KEY)


def test_many_keys_draw_as_one_by_one() -> None:
    keys = jax.random.split(KEY, 5)
    same(jax.vmap(lambda key: jax.random.normal(key, (3,))), keys)
    same(jax.vmap(lambda key: jax.random.fold_in(key, 7)), keys)


def test_derived_keys_become_keys_like_the_first() -> None:
    derived = jax.random.split(threefry.written_out(KEY), 3)
    again = threefry.of_kind(derived, KEY)
    assert again.dtype == KEY.dtype
    assert de.equal(again, jax.random.split(KEY, 3))


def test_other_keys_and_other_orders_of_counters_are_left_to_jax() -> None:
    other = jax.random.key(0, impl="rbg")
    assert threefry.written_out(other) is other
    with jax.threefry_partitionable(False):
        assert threefry.written_out(KEY) is KEY


def test_an_accelerator_keeps_its_own_hash(monkeypatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert threefry.written_out(KEY) is KEY


def test_a_whole_evolution_has_no_loop_of_a_hash() -> None:
    strategy, problem = de.DiffusionEvolution(3), de.problems.Landscape("beale")
    evolve = lambda key: de.evolve(key, strategy, problem, population_size=8)
    text = jax.jit(evolve).lower(KEY).as_text()
    assert text.count("stablehlo.while") == 1  # over the generations


@pytree.dataclass
class Keeping:
    """Remembers the key that it last learnt by, and begins with one of its own."""

    inner: de.denoisers.Population

    def init(self, key, population):
        return jax.random.key(7), self.inner.init(key, population)

    def learn(self, key, state, evaluated):
        return key, self.inner.learn(key, state[1], evaluated)

    def denoise(self, state, y, sigma):
        return self.inner.denoise(state[1], y, sigma)


def test_a_key_that_a_part_keeps_is_of_jaxs_kind() -> None:
    strategy = de.DiffusionEvolution(2, denoiser=Keeping(de.denoisers.Population()))
    problem = de.problems.Landscape("beale")
    result = de.evolve(KEY, strategy, problem, population_size=8)
    kept = [
        leaf
        for leaf in jax.tree.leaves(result.state)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    assert [key.dtype for key in kept] == [KEY.dtype]


def test_environments_of_gymnax_keep_no_key() -> None:
    """Theirs are written out, which only who keeps a key can see."""
    gymnax = pytest.importorskip("gymnax")
    kept = []
    for name in gymnax.registered_envs:
        try:
            env, params = gymnax.make(name)
            seen = jax.eval_shape(env.reset_env, KEY, params)
        except Exception:  # some of its environments cannot be built here
            continue
        types = [leaf.dtype for leaf in jax.tree.leaves(seen)]
        kept += [name for kind in types if jnp.issubdtype(kind, jax.dtypes.prng_key)]
    assert not kept


@pytree.dataclass
class OwnSampler(de.samplers.DDIM):
    """It keeps its key in its memory, and draws what JAX has for its own kind alone."""

    def init(self, y):
        return jax.random.key(7)

    def query(self, key, y, memory, sigmas, k):
        return *super().query(key, y, (), sigmas, k)[:2], memory

    def update(self, key, y, memory, clean, sigmas, k):
        y, sigma, _ = super().update(key, y, (), clean, sigmas, k)
        return y + 0.01 * jax.random.poisson(memory, 2.0, y.shape), sigma, key


def test_a_sampler_of_ones_own_gets_keys_of_jax() -> None:
    strategy = de.DiffusionEvolution(3, sampler=OwnSampler())
    problem = de.problems.Landscape("beale")
    result = de.evolve(KEY, strategy, problem, population_size=8)
    assert result.state.memory.dtype == KEY.dtype
    assert jnp.isfinite(result.best_fitness)


def test_parts_of_ones_own_are_found_wherever_they_are() -> None:
    shaping = de.shaping.Boltzmann()
    inside = de.DiffusionEvolution(3, de.denoisers.Population(shaping=shaping))
    own = functools.partial(lambda *given: de.attention.attend(*given))
    held = de.DiffusionEvolution(3, de.denoisers.Population(attention=own))
    assert components.is_known(inside)
    assert not components.is_known(held)
    assert not components.is_known([{"a": OwnSampler()}])
    assert components.is_known((1.0, None, "name", jnp.ones(2), jax.nn.relu))
