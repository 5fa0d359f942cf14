"""Spaces: pytrees in, pytrees out, always within their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffevo_jax import pytree
from diffevo_jax.problems import Space
from diffevo_jax.problems.space import BOUNDARIES
from diffevo_jax.pytree import validation

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=200)
DECODE = jax.jit(lambda space, x: space.decode(x))
ENCODE = jax.jit(lambda space, solutions: space.encode(solutions))
REPAIR = jax.jit(lambda space, x: space.repair(x))
VECTOR = jax.ShapeDtypeStruct((3,), jnp.float32)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# Structure

EXAMPLES = {
    "vector": np.zeros(3, np.float32),
    "scalar": np.zeros((), np.float32),
    "dict": {"w": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.float32)},
    "list": [np.zeros(2, np.float32), np.zeros((), np.float32)],
    "nested": {"layers": [(np.zeros((2, 2), np.float32), np.zeros(2, np.int32))]},
    "kinds": {"half": jnp.zeros(2, jnp.float16), "brain": jnp.zeros(2, jnp.bfloat16)},
    "shapes": {"a": jax.ShapeDtypeStruct((2, 1), jnp.float32)},
    "numbers": {"rate": 0.5, "count": 3},
    "empty leaf": [np.zeros((0, 3), np.float32), np.zeros(1, np.float32)],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_solutions_have_the_structure_and_shapes_of_the_example(name):
    example = EXAMPLES[name]
    space = Space(example)

    solutions = DECODE(space, normal(5, space.dim))

    assert jax.tree.structure(solutions) == jax.tree.structure(example)
    shapes = [leaf.shape for leaf in jax.tree.leaves(solutions)]
    assert shapes == [(5, *np.shape(leaf)) for leaf in jax.tree.leaves(example)] or (
        name == "shapes" and shapes == [(5, 2, 1)]
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_solutions_have_the_dtypes_of_the_example(name):
    example = EXAMPLES[name]
    space = Space(example)

    solutions = DECODE(space, normal(5, space.dim))

    got = [leaf.dtype for leaf in jax.tree.leaves(solutions)]
    assert got == [jnp.result_type(leaf) for leaf in jax.tree.leaves(example)]


@pytest.mark.parametrize(
    "example", [np.zeros(3), {"x": np.float64(1.0), "n": np.zeros(2, np.int64)}]
)
def test_an_example_of_numpys_default_dtypes_gives_jaxs_default_dtypes(example):
    space = Space(example)

    solutions = DECODE(space, normal(5, space.dim))

    want = [jnp.asarray(leaf).dtype for leaf in jax.tree.leaves(example)]
    assert [leaf.dtype for leaf in jax.tree.leaves(solutions)] == want


def test_the_values_of_the_example_do_not_count():
    first, second = Space(np.zeros(3, np.float32)), Space(np.ones(3, np.float32))

    assert pytree.equal(first, second)


def test_every_number_of_a_solution_comes_from_one_coordinate():
    space = Space({"b": np.zeros(2, np.float32), "a": np.zeros((2, 2), np.float32)})

    solutions = DECODE(space, np.arange(12, dtype=np.float32).reshape(2, 6))

    assert solutions["a"].tolist() == [[[0, 1], [2, 3]], [[6, 7], [8, 9]]]
    assert solutions["b"].tolist() == [[4, 5], [10, 11]]


def test_whole_numbers_are_rounded_to_the_nearest():
    space = Space(np.zeros(4, np.int32))

    solutions = DECODE(space, np.array([[-1.6, -0.4, 0.6, 7.0]], np.float32))

    assert solutions.tolist() == [[-2, 0, 1, 7]]


# Unbounded


@pytest.mark.parametrize("name", ["vector", "scalar", "dict", "list"])
def test_encode_undoes_decode(name):
    space = Space(EXAMPLES[name], scale=2.5)
    x = normal(5, space.dim)

    np.testing.assert_allclose(ENCODE(space, DECODE(space, x)), x, rtol=1e-6)


def test_an_unbounded_space_stretches_by_its_scale():
    x = normal(5, 3)

    assert np.array_equal(DECODE(Space(VECTOR, scale=4.0), x), 4 * x)
    assert np.array_equal(ENCODE(Space(VECTOR, scale=4.0), 4 * x), x)


def test_scale_can_be_swept():
    x, scales = normal(2, 3), np.array([1.0, 2.0], np.float32)

    swept = jax.vmap(lambda scale: Space(VECTOR, scale=scale).decode(x))(scales)

    assert np.array_equal(swept, np.stack([x, 2 * x]))


def test_a_sample_is_standard_normal():
    sample = np.asarray(Space(VECTOR, scale=9.0).sample(jax.random.key(0), 20_000))

    assert sample.shape == (20_000, 3)
    np.testing.assert_allclose(sample.mean(axis=0), 0.0, atol=5 / np.sqrt(20_000))
    np.testing.assert_allclose(sample.var(axis=0), 1.0, atol=5 * np.sqrt(2 / 20_000))


# Boxes


def box(boundary: str, lower=-1.0, upper=3.0, bound_scale=2.0) -> Space:
    return Space(
        VECTOR, lower=lower, upper=upper, boundary=boundary, bound_scale=bound_scale
    )


def triangle(x: np.ndarray, edge: float) -> np.ndarray:
    """Mirrored at -edge and edge, in float64."""
    distance = np.abs(np.mod(x.astype(np.float64) - edge, 4 * edge) - 2 * edge)
    return distance - edge


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_zero_is_the_middle_of_the_box(boundary):
    assert DECODE(box(boundary), np.zeros((1, 3), np.float32)).tolist() == [[1.0] * 3]


@pytest.mark.parametrize("boundary", ["reflect", "clip"])
def test_the_bounds_are_at_bound_scale(boundary):
    x = np.array([[-3.0, 1.5, 3.0]], np.float32)

    assert DECODE(box(boundary, bound_scale=3.0), x).tolist() == [[-1.0, 2.0, 3.0]]


def test_reflect_is_a_triangle_wave():
    x = np.linspace(-15, 15, 300, dtype=np.float32).reshape(-1, 3)

    decoded = DECODE(box("reflect"), x)

    # middle 1, half width 2, edge 2; float32 rounding of numbers up to 15
    np.testing.assert_allclose(decoded, 1 + triangle(x, 2.0), atol=3e-6)


def test_clip_stops_at_the_bounds():
    x = np.array([[-9.0, 0.5, 9.0]], np.float32)

    assert DECODE(box("clip"), x).tolist() == [[-1.0, 1.5, 3.0]]


def test_tanh_squashes():
    x = np.linspace(-15, 15, 300, dtype=np.float32).reshape(-1, 3)

    decoded = DECODE(box("tanh"), x)

    np.testing.assert_allclose(decoded, 1 + 2 * np.tanh(x / 2.0), atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_repair_keeps_the_bits_of_what_is_inside(boundary):
    x = np.linspace(-2, 2, 999, dtype=np.float32).reshape(-1, 3)

    assert np.asarray(REPAIR(box(boundary), x)).tobytes() == x.tobytes()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_repair_does_not_change_the_solution(boundary):
    x = np.linspace(-9, 9, 999, dtype=np.float32).reshape(-1, 3)
    space = box(boundary)

    repaired = REPAIR(space, x)

    np.testing.assert_allclose(DECODE(space, repaired), DECODE(space, x), atol=1e-6)


@pytest.mark.parametrize("boundary", ["reflect", "clip"])
def test_repair_brings_everything_within_bound_scale(boundary):
    x = 100 * normal(500, 3)

    assert np.abs(REPAIR(box(boundary), x)).max() <= 2.0


@pytest.mark.parametrize("boundary", ["reflect", "clip"])
def test_a_sample_is_within_the_box(boundary):
    sample = box(boundary, bound_scale=0.5).sample(jax.random.key(0), 500)

    assert np.abs(sample).max() <= 0.5


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_encode_undoes_decode_in_a_box(boundary):
    space, x = box(boundary), np.linspace(-1.9, 1.9, 99, dtype=np.float32).reshape(-1, 3)

    np.testing.assert_allclose(ENCODE(space, DECODE(space, x)), x, atol=2e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_decode_undoes_encode_on_the_bounds_too(boundary):
    space, solutions = box(boundary), np.array([[-1.0, 2.9, 3.0]], np.float32)

    np.testing.assert_allclose(
        DECODE(space, ENCODE(space, solutions)), solutions, rtol=1e-6
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_solutions_outside_are_brought_in_when_encoded(boundary):
    space, solutions = box(boundary), np.array([[-50.0, 4.0, 1e6]], np.float32)

    decoded = np.asarray(DECODE(space, ENCODE(space, solutions)))

    assert ((decoded >= -1) & (decoded <= 3)).all()


def test_bounds_for_each_leaf_and_each_number():
    space = Space(
        {"a": VECTOR, "b": jax.ShapeDtypeStruct((), jnp.float32)},
        lower={"a": np.array([0.0, 10.0, 20.0]), "b": -5.0},
        upper={"a": 100.0, "b": -4.0},
        boundary="clip",
    )

    low, high = (DECODE(space, np.full((1, 4), x, np.float32)) for x in (-9, 9))

    assert (low["a"].tolist(), low["b"].tolist()) == ([[0.0, 10.0, 20.0]], [-5.0])
    assert (high["a"].tolist(), high["b"].tolist()) == ([[100.0] * 3], [-4.0])


def test_bounds_of_an_array_example_are_an_array():
    space = box("clip", lower=np.array([0.0, 1.0, 2.0]), upper=np.array([1.0, 2.0, 3.0]))

    assert DECODE(space, np.full((1, 3), -9, np.float32)).tolist() == [[0.0, 1.0, 2.0]]


def test_bounds_can_be_swept():
    far = np.full((1, 3), 9.0, np.float32)

    swept = jax.vmap(lambda high: box("clip", -high, high).decode(far))(
        jnp.array([1.0, 2.0])
    )

    assert swept.tolist() == [[[1.0] * 3], [[2.0] * 3]]


#: No subnormal numbers, which are 0 in any arithmetic of XLA on a CPU.
bound = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
bounds = st.tuples(bound, bound).filter(lambda pair: pair[0] < pair[1])
points = hnp.arrays(
    np.float32,
    (4, 3),
    elements=st.floats(-1e6, 1e6, width=32)
    | st.sampled_from([2.0, -2.0, 0.0, float(np.float32(3e38))]),
)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@FIXED
@given(bounds, points, st.floats(0.0625, 8, width=32))
def test_every_solution_is_feasible(boundary, pair, x, bound_scale):
    lower, upper = pair
    numbers = map(np.float32, (lower, upper, bound_scale))

    solutions = np.asarray(DECODE(box(boundary, *numbers), x))

    assert ((solutions >= lower) & (solutions <= upper)).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_every_solution_is_feasible_in_the_widest_box(boundary):
    space, x = box(boundary, -3e38, 3e38), np.linspace(-9, 9, 99, dtype=np.float32)

    solutions = np.asarray(DECODE(space, x.reshape(-1, 3)))

    assert (np.abs(solutions) <= np.float32(3e38)).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("lower", "upper"), [(0, 7), (-3, 3), (0.5, 3.5), (0.4, 2.6)])
def test_every_whole_number_is_feasible(boundary, lower, upper):
    example = jax.ShapeDtypeStruct((3,), jnp.int32)
    space = Space(example, lower=lower, upper=upper, boundary=boundary)

    solutions = np.asarray(DECODE(space, np.linspace(-9, 9, 99).reshape(-1, 3)))

    assert ((solutions >= lower) & (solutions <= upper)).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_every_short_float_is_feasible_up_to_the_rounding_of_the_bounds(boundary, dtype):
    space = Space(
        jax.ShapeDtypeStruct((3,), dtype), lower=-0.1, upper=0.3, boundary=boundary
    )

    solutions = DECODE(space, np.linspace(-9, 9, 99, dtype=np.float32).reshape(-1, 3))

    assert bool((solutions >= dtype(-0.1)).all() & (solutions <= dtype(0.3)).all())


# Errors


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ("weights", r"example: got 'weights', want an array"),
        ({"a": jnp.zeros(2), "b": "text"}, r"example\['b'\]: got 'text', want an array"),
        ([True], r"example\[0\]: got True, want an array"),
        ([np.zeros(2, bool)], r"example\[0\]: got dtype bool, want floats or integers"),
        ([jnp.zeros(2, complex)], r"example\[0\]: got dtype complex"),
        (jax.random.key(0), r"example: got dtype key<fry>"),
        (object(), r"example: got <object"),
    ],
    ids=["string", "string leaf", "bool", "bool leaf", "complex", "key", "object"],
)
def test_an_example_that_is_not_of_numbers_is_refused(example, message):
    with pytest.raises(TypeError, match=message):
        Space(example)


@pytest.mark.parametrize("example", [None, {}, [], [np.zeros((0, 3))]])
def test_an_example_without_numbers_is_refused(example):
    with pytest.raises(ValueError, match="example: got no numbers, want at least one"):
        Space(example)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"lower": 1.0, "upper": 0.0},
            r"Space\.lower: got 1 with upper 0 .* lower < upper",
        ),
        ({"lower": 1.0, "upper": 1.0}, r"Space\.lower: got 1 with upper 1"),
        (
            {"lower": np.array([0.0, 5.0, 0.0]), "upper": 2.0},
            r"Space\.lower: got 5 with upper 2 \(number 1 of 3\)",
        ),
        ({"lower": 0.0}, r"Space\.upper: got None, want both bounds or none"),
        ({"upper": 0.0}, r"Space\.lower: got None, want both bounds or none"),
        ({"lower": -np.inf, "upper": 0.0}, r"Space\.lower: got -inf, want a finite"),
        ({"lower": 0.0, "upper": np.nan}, r"Space\.upper: got nan, want a finite"),
        ({"boundary": "wrap"}, r"Space\.boundary: got 'wrap', want one of .*reflect"),
        ({"scale": 0.0}, r"Space\.scale: got 0\.0, want .* > 0"),
        (
            {"lower": 0.0, "upper": 1.0, "bound_scale": -1.0},
            r"Space\.bound_scale: got -1\.0, want .* > 0",
        ),
        ({"lower": [0.0], "upper": 1.0}, r"Space\.lower: got .* want a scalar or"),
        ({"lower": 0.0, "upper": {"a": 1.0}}, r"Space\.upper: got .* want a scalar or"),
        ({"lower": np.zeros(2), "upper": 1.0}, r"Space\.lower: got .*\(2,\).* want"),
    ],
)
def test_bounds_that_make_no_box_are_refused(arguments, message):
    space = Space(VECTOR, **arguments)

    with pytest.raises(ValueError, match=message):
        validation.validate(space)


def test_bounds_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match=r"Space\.lower: got 'low'"):
        validation.validate(Space(VECTOR, lower="low", upper=1.0))


def test_sampling_checks_the_space():
    with pytest.raises(ValueError, match=r"Space\.lower"):
        Space(VECTOR, lower=1.0, upper=0.0).sample(jax.random.key(0), 4)


@pytest.mark.parametrize(
    ("num_solutions", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)]
)
def test_sampling_refuses_what_is_no_count(num_solutions, error):
    with pytest.raises(error, match="num_solutions: got"):
        Space(VECTOR).sample(jax.random.key(0), num_solutions)


@pytest.mark.parametrize(
    "solutions",
    [
        np.zeros((5, 3), np.float32),
        {"a": np.zeros((5, 2), np.float32)},
        {"a": np.zeros((5, 3), np.float32), "c": np.zeros(5, np.float32)},
        {"a": np.zeros(3, np.float32), "b": np.float32(0)},
        {"a": np.zeros((5, 2), np.float32), "b": np.zeros(5, np.float32)},
    ],
    ids=["array", "leaf missing", "other name", "no leading axis", "other shape"],
)
def test_encode_refuses_solutions_unlike_the_example(solutions):
    space = Space({"a": np.zeros(3, np.float32), "b": np.zeros((), np.float32)})

    with pytest.raises(ValueError, match=r"solutions: got .* want "):
        space.encode(solutions)
