"""The one kind of container: frozen dataclasses whose numbers are leaves."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.pytree import validation

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


@pytree.dataclass
class Cooling:
    rate: pytree.Number = pytree.number(default=0.5, low=0.0, high=2.0)
    offset: pytree.Number = pytree.number(default=1.0, above=0.0)
    steps: int = pytree.static(default=3)


@pytree.dataclass
class Nested:
    parts: Any
    weights: Any = pytree.numbers(default=None)


@pytree.dataclass
class OwnInit:
    value: pytree.Number = pytree.number()

    def __init__(self, value: Any) -> None:
        object.__setattr__(self, "value", value)


# Containers


def test_numbers_are_leaves_and_static_fields_are_structure():
    leaves, structure = jax.tree.flatten(Cooling(rate=0.1, offset=2.0, steps=7))

    assert leaves == [0.1, 2.0]
    assert structure != jax.tree.structure(Cooling(steps=8))


def test_a_component_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cooling().rate = 1.0


def test_jax_may_rebuild_a_component_with_placeholders():
    structure = jax.tree.structure(Cooling())

    rebuilt = jax.tree.unflatten(structure, [object(), None])

    assert rebuilt.steps == 3
    assert rebuilt.offset is None


def test_a_class_with_an_init_of_its_own_keeps_it_through_flattening():
    doubled = jax.tree.map(lambda leaf: 2 * leaf, OwnInit(4.0))

    assert doubled.value == 8.0


def test_a_component_can_be_mapped_over_its_numbers():
    swept = Cooling(rate=jnp.arange(3.0), offset=jnp.ones(3))

    total = jax.vmap(lambda c: c.rate + c.offset)(swept)

    assert total.tolist() == [1.0, 2.0, 3.0]


def test_replace_changes_a_copy():
    before = Cooling()

    after = de.replace(before, rate=0.25)

    assert (before.rate, after.rate, after.steps) == (0.5, 0.25, 3)


@pytest.mark.parametrize(
    ("value", "answer"),
    [(Cooling(), True), (jnp.zeros(3), False), ({"a": 1.0}, False), (Cooling, False)],
)
def test_only_instances_of_the_librarys_dataclasses_are_components(value, answer):
    assert pytree.is_component(value) is answer


# Comparing


def test_double_equals_is_identity_even_with_arrays_inside():
    first, second = Cooling(rate=jnp.ones(3)), Cooling(rate=jnp.ones(3))

    assert first == first
    assert first != second


def test_equal_compares_the_values_of_leaves():
    assert de.equal(Cooling(rate=0.1), Cooling(rate=np.float64(0.1)))
    assert not de.equal(Cooling(rate=0.1), Cooling(rate=0.2))


def test_equal_compares_structure():
    assert not de.equal(Cooling(steps=3), Cooling(steps=4))
    assert not de.equal(Cooling(), de.shaping.Boltzmann())
    assert not de.equal((1.0, 2.0), [1.0, 2.0])


def test_equal_compares_shapes():
    assert not de.equal(jnp.ones(3), jnp.ones((3, 1)))


def test_equal_compares_typed_keys():
    assert de.equal({"key": jax.random.key(1)}, {"key": jax.random.key(1)})
    assert not de.equal({"key": jax.random.key(1)}, {"key": jax.random.key(2)})


def test_select_takes_all_leaves_from_one_side():
    first, second = Cooling(rate=1.0), Cooling(rate=2.0, offset=3.0)

    picked = pytree.select(jnp.asarray(False), first, second)

    assert de.equal(picked, second)


# Casting


@pytest.mark.parametrize(
    "value", [2, 2.0, np.int64(2), np.float64(2), jnp.int32(2), jnp.asarray(2.0)]
)
def test_every_kind_of_number_becomes_the_same_strong_float(value):
    cast = pytree.strong(Cooling(rate=value)).rate

    assert cast.dtype == jnp.asarray(1.0).dtype
    assert not cast.weak_type
    assert float(cast) == 2.0


def test_python_numpy_and_jax_numbers_share_one_compiled_program():
    traces = []

    @jax.jit
    def rate(component):
        traces.append(1)
        return component.rate * component.offset

    for value in (1, 0.5, np.float32(2), np.int64(1), jnp.float32(0.25), jnp.int32(2)):
        rate(pytree.strong(Cooling(rate=value)))

    assert len(traces) == 1


def test_strong_keeps_structure_and_keys_and_reaches_nested_components():
    key = jax.random.key(3)

    cast = pytree.strong(Nested(parts=[Cooling(rate=1), {"key": key}], weights={"a": 2}))

    assert cast.parts[0].steps == 3
    assert cast.parts[0].rate.dtype == cast.weights["a"].dtype == jnp.asarray(1.0).dtype
    assert cast.parts[1]["key"].dtype == key.dtype


def test_strong_twice_is_strong_once():
    once = pytree.strong(Nested(parts=(Cooling(), 1.5), weights=[1]))

    assert de.equal(pytree.strong(once), once)


def test_other_leaves_keep_their_kind_of_number():
    cast = pytree.strong(Nested(parts={"count": 3, "flag": True}))

    assert jnp.issubdtype(cast.parts["count"].dtype, jnp.integer)
    assert cast.parts["flag"].dtype == bool


# Validation


def test_legal_numbers_pass():
    for value in (0.0, 1, np.float64(2.0), jnp.asarray(2.0), np.int32(0)):
        assert validation.validate(Cooling(rate=value)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": -0.1}, r"Cooling\.rate: got -0\.1, want a number >= 0 and <= 2"),
        ({"rate": 2.5}, r"Cooling\.rate: got 2\.5, want .* <= 2"),
        ({"offset": 0.0}, r"Cooling\.offset: got 0\.0, want a number > 0"),
        ({"rate": math.nan}, r"Cooling\.rate: got nan"),
        ({"offset": np.nan}, r"Cooling\.offset: got nan"),
        ({"offset": math.inf}, r"Cooling\.offset: got inf"),
        ({"rate": jnp.ones(3)}, r"Cooling\.rate: got shape \(3,\), want \(\)"),
    ],
)
def test_a_number_out_of_range_is_named_with_what_came_and_what_was_wanted(
    changes, message
):
    with pytest.raises(ValueError, match=message):
        validation.validate(Cooling(**changes))


@pytest.mark.parametrize(
    "value",
    ["1.0", True, None, [1.0], 1j, jnp.asarray(1j), np.asarray(True), jax.random.key(0)],
)
def test_what_is_not_a_real_number_is_a_type_error_that_names_the_field(value):
    with pytest.raises(TypeError, match=r"Cooling\.rate: got .*want"):
        validation.validate(Cooling(rate=value))


def test_components_inside_containers_are_validated():
    with pytest.raises(ValueError, match=r"Cooling\.rate"):
        validation.validate(Nested(parts={"list": [1.0, Cooling(rate=-1.0)]}))


def test_every_leaf_of_a_pytree_of_numbers_is_validated():
    with pytest.raises(TypeError, match=r"Nested\.weights: got 'a'"):
        validation.validate(Nested(parts=(), weights={"x": 1.0, "y": "a"}))


def test_traced_numbers_are_trusted():
    @jax.jit
    def inside(rate):
        validation.validate(Cooling(rate=rate))
        return rate

    assert float(inside(-5.0)) == -5.0


def test_the_rules_of_a_class_are_checked_too():
    with pytest.raises(ValueError, match=r"RandomProjection\.dim: got 0"):
        validation.validate(Nested(parts=[de.kernels.RandomProjection(dim=0)]))


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_counts_are_whole_numbers_from_one(value):
    assert validation.check_count("count", value) is None


@pytest.mark.parametrize("value", [True, 2.0, "3", None, jnp.asarray(2)])
def test_a_count_of_another_type_is_refused(value):
    with pytest.raises(TypeError, match=r"count: got .*want an int"):
        validation.check_count("count", value)


def test_a_count_below_its_lowest_is_refused():
    with pytest.raises(ValueError, match=r"count: got 1, want an int >= 2"):
        validation.check_count("count", 1, low=2)


def test_classes_with_fields_alike_are_never_confused():
    # JAX 0.10 and 0.11 take trees of different registered dataclasses for equal, so that
    # jit may run the program of the other.
    first, second = de.shaping.Boltzmann(1.0), de.shaping.Power(1.0)
    assert jax.tree.structure(first) != jax.tree.structure(second)
    assert not de.equal(first, second)


# Printing


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (np.float64(0.5), "0.5"),
        (jnp.float32(0.1), "0.1"),
        (jnp.arange(3.0), "[0.0, 1.0, 2.0]"),
        (jnp.arange(5.0), "f32[5]"),
        (jnp.ones((256, 58), jnp.bfloat16), "bf16[256,58]"),
        (np.zeros(9, np.uint8), "u8[9]"),
        (jnp.zeros((0, 2)), "f32[0,2]"),
        (jax.random.key(0), "key<fry>[]"),
        ({"bias": jnp.ones(2)}, "{'bias': [1.0, 1.0]}"),
        ([{"weight": jnp.ones((100, 10)), "bias": jnp.ones(10)}] * 3, "<3,030 numbers>"),
        ((Cooling(), None), "(Cooling(rate=0.5, offset=1.0, steps=3), None)"),
    ],
)
def test_a_component_prints_its_leaves_in_short(value, text):
    assert repr(Cooling(rate=value)) == f"Cooling(rate={text}, offset=1.0, steps=3)"


def test_a_function_prints_as_its_name_which_is_the_same_in_every_process():
    def schedule(): ...

    assert repr(Cooling(steps=schedule)) == "Cooling(rate=0.5, offset=1.0, steps=schedule)"


def test_what_is_traced_or_deleted_prints_as_dtype_and_shape():
    printed = []
    jax.jit(lambda x: printed.append(repr(Cooling(rate=x[0], offset=x))) or x)(jnp.ones(3))
    gone = jnp.ones(2)
    gone.delete()

    assert printed == ["Cooling(rate=f32[], offset=f32[3], steps=3)"]
    assert repr(Cooling(rate=gone)) == "Cooling(rate=f32[2], offset=1.0, steps=3)"


def test_a_class_with_a_repr_of_its_own_keeps_it():
    @pytree.dataclass
    class Quiet:
        rate: float = 0.5

        def __repr__(self):
            return "quiet"

    assert repr(Quiet()) == "quiet"


def test_shapes_that_are_kept_are_those_of_the_dtypes_of_now():
    def half(cooling):
        return jnp.zeros(3) + 0.5

    cooling = pytree.strong(Cooling())
    assert pytree.shapes(half, cooling).dtype == jnp.float32
    with ENABLE_X64(True):
        assert pytree.shapes(half, cooling).dtype == jnp.float64
    assert pytree.shapes(half, cooling).dtype == jnp.float32


def test_keys_are_equal_to_keys_of_their_own_kind_only():
    key = jax.random.key(0)
    assert de.equal(key, jax.random.key(0))
    assert not de.equal(key, jax.random.key(1))
    assert not de.equal(key, jax.random.key_data(key))
    assert not de.equal(jax.random.key_data(key), key)
    kinds = [jax.random.key(0, impl=impl) for impl in ("rbg", "unsafe_rbg")]
    assert not de.equal(*kinds)


def test_a_subclass_of_a_component_must_be_one_itself():
    class Faster(de.DiffusionEvolution):
        pass

    problem = de.problems.Landscape("beale")
    with pytest.raises(
        TypeError, match=r"strategy: got Faster, a subclass .*dataclass itse"
    ):
        de.evolve(jax.random.key(0), Faster(3), problem, population_size=4)
    with pytest.raises(TypeError, match=r"component: got .*, want one of a pytree"):
        de.pytree.validate(Faster(3))


def test_what_is_kept_of_a_trace_depends_on_what_is_refused():
    promotes = lambda numbers: numbers + jnp.ones((2, 3))
    de.pytree.shapes(promotes, jnp.ones(3))
    with jax.numpy_rank_promotion("raise"), pytest.raises(ValueError, match="promot"):
        de.pytree.shapes(promotes, jnp.ones(3))
