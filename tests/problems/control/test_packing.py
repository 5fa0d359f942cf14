"""Lanes as columns of words: every bit comes back."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffevo_jax.problems.control import packing

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=60)
LANES = 5
#: Kinds of numbers with up to 32 bits, and the unsigned one of the same size.
KINDS = {
    "float32": np.uint32,
    "int32": np.uint32,
    "uint32": np.uint32,
    "float16": np.uint16,
    "bfloat16": np.uint16,
    "int16": np.uint16,
    "uint16": np.uint16,
    "int8": np.uint8,
    "uint8": np.uint8,
}


def shape_of(lane: Any) -> Any:
    """Shapes of one lane."""
    return jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[..., 0], lane))


def there_and_back(lanes: Any) -> Any:
    return packing.unpack(packing.pack(lanes), shape_of(lanes))


#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
RETURN = jax.jit(there_and_back, compiler_options=QUICK)


def bits(leaf: Any) -> tuple[Any, ...]:
    """Shape, dtype and bits of an array or of typed keys."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf.shape, leaf.dtype, np.asarray(jax.random.key_data(leaf)).tobytes()
    return leaf.shape, leaf.dtype, np.asarray(leaf).tobytes()


def assert_same_bits(got: Any, want: Any) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for ours, wanted in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert bits(ours) == bits(wanted)


def as_kind(words: np.ndarray, kind: str) -> jax.Array:
    """Bits as numbers of some kind, for JAX."""
    return jax.lax.bitcast_convert_type(jnp.asarray(words), jnp.dtype(kind))


# Bits


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind] != np.uint32])
def test_every_number_of_a_small_kind_comes_back(kind) -> None:
    unsigned = KINDS[kind]
    lanes = as_kind(np.arange(2 ** (8 * unsigned().itemsize), dtype=unsigned), kind)
    assert_same_bits(there_and_back(lanes), lanes)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # which differ in what a word is
@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_numbers_that_are_none_come_back(kind, backend, monkeypatch) -> None:
    # given quiet and signalling NaN with payloads, both infinities and zeros, and the
    # smallest and largest denormal
    words = np.uint32(
        [
            *(0x7FC00000, 0xFFC00001, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000),
            *(0x00000000, 0x80000000, 0x00000001, 0x807FFFFF),
        ]
    )
    lanes = as_kind(words, kind)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert_same_bits(jax.jit(lambda lanes: there_and_back(lanes))(lanes), lanes)
    assert_same_bits(there_and_back(lanes), lanes)


MIXED = {kind: hnp.arrays(KINDS[kind], (2, 3, LANES)) for kind in KINDS}
MIXED |= {"bool": hnp.arrays(bool, (3, LANES)), "flag": hnp.arrays(bool, LANES)}
PROGRAM = jax.jit(
    lambda words, others: there_and_back(
        {
            **{kind: as_kind(word, kind) for kind, word in words.items()},
            **others,
            "again": (others["flag"], ~others["flag"]),
        }
    ),
    compiler_options=QUICK,
)


@FIXED
@given(st.fixed_dictionaries(MIXED))
def test_a_tree_of_all_kinds_comes_back(drawn) -> None:
    others = {name: drawn.pop(name) for name in ("bool", "flag")}

    got = PROGRAM(drawn, others)

    for kind, words in drawn.items():
        assert got[kind].dtype == jnp.dtype(kind)
        assert np.asarray(got[kind]).tobytes() == words.tobytes()
    for name, wanted in others.items():
        np.testing.assert_array_equal(got[name], wanted)
    np.testing.assert_array_equal(got["again"], [others["flag"], ~others["flag"]])


def test_numbers_of_64_bits_come_back() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (3, LANES), np.uint64)
    words[0, :3] = 0x7FF0000000000001, 0x8000000000000000, 1  # a NaN, -0.0, a denormal
    with ENABLE_X64(True):
        lanes = {kind: as_kind(words, kind) for kind in ("float64", "int64", "uint64")}
        lanes["time"] = jnp.arange(LANES) - 2**40
        assert_same_bits(there_and_back(lanes), lanes)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys_come_back(impl) -> None:
    key = jax.random.key(0, impl=impl)
    lanes = {"one": jax.random.split(key, LANES), "few": jax.random.split(key, (2, LANES))}
    assert_same_bits(there_and_back(lanes), lanes)


# Rows


def kinds_of(lanes: Any) -> list[tuple[int, ...]]:
    """Shapes of what the lanes are packed into; nothing is computed."""
    return [array.shape for array in jax.eval_shape(packing.pack, lanes)]


def lanes_like(dtype: Any, shape: tuple[int, ...] = ()) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape, LANES), dtype)


@pytest.mark.parametrize(("backend", "word"), [("cpu", np.float32), ("gpu", np.uint32)])
def test_all_words_are_of_32_bits_with_the_lanes_last(backend, word, monkeypatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    lanes = [lanes_like(np.float32, (2, 3)), lanes_like(np.int8), lanes_like(bool)]
    packed = jax.eval_shape(lambda lanes: packing.pack(lanes), lanes)
    assert [(array.shape, array.dtype) for array in packed] == [((8, LANES), word)]


@pytest.mark.parametrize("count", [1, 8, 9, 16, 20])
def test_at_most_eight_leaves_share_an_array(count) -> None:
    packed = kinds_of([lanes_like(np.float32, (2,))] * count)
    full, rest = divmod(count, 8)
    assert packed == [(16, LANES)] * full + [(2 * rest, LANES)] * (rest > 0)


@pytest.mark.parametrize("count", [1, 32, 33, 70])
def test_thirty_two_flags_are_a_word(count) -> None:
    assert kinds_of([lanes_like(bool)] * count) == [(math.ceil(count / 32), LANES)]


def test_more_flags_than_fit_a_word_come_back() -> None:
    lanes = list(jnp.asarray(np.random.default_rng(0).random((35, LANES)) < 0.5))
    assert_same_bits(RETURN(lanes), lanes)


def test_words_of_flags_count_as_leaves() -> None:
    lanes = [lanes_like(bool)] * 33 + [lanes_like(np.float32)] * 7
    assert kinds_of(lanes) == [(8, LANES), (1, LANES)]


@FIXED
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KINDS, "bool"]),
            st.lists(st.integers(0, 3), max_size=3).map(tuple),
        ),
        max_size=40,
    )
)
def test_any_structure_comes_back_in_shape(leaves) -> None:
    lanes = [lanes_like(kind, shape) for kind, shape in leaves]
    assert jax.eval_shape(there_and_back, lanes) == lanes
    # then an array has the words of at most eight leaves, and no array more than it needs
    flags = sum(kind == "bool" and shape == () for kind, shape in leaves)
    words = len(leaves) - flags + math.ceil(flags / 32)
    assert len(kinds_of(lanes)) == math.ceil(words / 8)


def test_nothing_is_no_array() -> None:
    assert packing.pack(()) == ()
    assert packing.unpack((), ()) == ()


def test_leaves_without_numbers_come_back() -> None:
    lanes = {"none": jnp.zeros((0, LANES)), "some": jnp.arange(2 * LANES).reshape(2, LANES)}
    assert_same_bits(there_and_back(lanes), lanes)
