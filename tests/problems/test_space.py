"""Spaces: pytrees in, pytrees out, always within their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import diffevo_jax as de
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
        ({"lower": -np.inf, "upper": 0.0}, r"Space\.lower: got -inf, want a number >="),
        ({"lower": 0.0, "upper": np.nan}, r"Space\.upper: got nan, want a number >="),
        ({"boundary": "wrap"}, r"Space\.boundary: got 'wrap', want one of .*reflect"),
        ({"scale": 0.0}, r"Space\.scale: got 0\.0, want .* > 0"),
        (
            {"lower": 0.0, "upper": 1.0, "bound_scale": -1.0},
            r"Space\.bound_scale: got -1\.0, want .* >= 1e-30",
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


# The edges of dtypes

#: Bounds that a leaf of a dtype cannot have, or no number is between; what is said of them.
NOT_OF_THE_DTYPE = {
    "int8 above": (
        "int8",
        200,
        220,
        r"Space\.lower: got 200 .* int8, want .*\[-128, 127\]",
    ),
    "int8 over": ("int8", 0, 128, r"Space\.upper: got 128 .* int8"),
    "uint8 below": ("uint8", -1, 5, r"Space\.lower: got -1 .* uint8, want .*\[0, 255\]"),
    "above 2^24": ("int32", 0, 2**24 + 1, r"Space\.upper: got 16777217 .*tells apart"),
    "nearly 6": ("int32", 0, 5.9999999999, r"Space\.upper: got 6 .* that float32 tells"),
    "nearly 0": ("int32", 1e-40, 5.0, r"Space\.lower: got 1e-40 .* that float32 tells"),
    "of the host": (
        "int32",
        np.int64(2**40),
        np.int64(2**41),
        r"Space\.lower: got 1\.09951",
    ),
    "half": ("float16", -1e5, 1e5, r"Space\.lower: got -100000 .* float16, want .*65504\]"),
    "brain": ("bfloat16", 0.0, 3.3e38, r"Space\.upper: got 3\.3e\+38, want .* <= 8e\+37"),
    "denormal": ("float32", 1e-40, 1.0, r"Space\.lower: got 1e-40 .*0 or of a size"),
    "denormal width": ("float32", 1e-30, 1e-30 + 1e-38, r"got 1e-30 with upper 1e-30"),
    "no half between": (
        "float16",
        1.0001,
        1.0002,
        r"got .* want lower < upper, in float32",
    ),
    "one brain between": (
        "bfloat16",
        1.0,
        1.001,
        r"got 1 with upper 1 .* want lower < upper",
    ),
    "no integer between": ("int16", 0.2, 0.8, r"got 1 with upper 0 .* want lower < upper"),
}


@pytest.mark.parametrize(
    ("dtype", "lower", "upper", "message"), NOT_OF_THE_DTYPE.values(), ids=NOT_OF_THE_DTYPE
)
def test_bounds_that_the_dtype_cannot_keep_are_refused(dtype, lower, upper, message):
    space = Space(jax.ShapeDtypeStruct((2,), dtype), lower=lower, upper=upper)
    with pytest.raises(ValueError, match=message):
        validation.validate(space)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "complex64"])
def test_dtypes_that_cannot_be_kept_within_bounds_are_refused(dtype):
    with pytest.raises(TypeError, match=rf"example: got dtype {dtype}, want floats or int"):
        Space(jax.ShapeDtypeStruct((2,), dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32", "int32", "float16"])
def test_without_bounds_nothing_leaves_the_range_of_the_dtype(dtype):
    space = Space(jax.ShapeDtypeStruct((3,), dtype), scale=1e30)
    lowest, highest = ends(dtype)

    got = np.asarray(DECODE(space, np.array([[-9.0, 0.0, 9.0]], np.float32)), np.float64)[0]

    assert got[0] == lowest
    assert got[1] == 0.0
    assert highest * (1 - 2**-24) < got[2] <= highest


def ends(dtype):
    limits = (jnp.iinfo if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo)(dtype)
    return float(limits.min), float(limits.max)


#: Points at which a box is asked for solutions: far, near, at the bounds and in the middle.
PLACES = np.array([0.0, -2.0, 2.0, -1e-30, 1.9999999, 3.0, -77.7, 1e9, -3e38], np.float32)


def any_box(rng):
    """A dtype, two bounds of any size and near the ends of the dtype, and two options."""
    kinds = ["float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32"]
    dtype = str(rng.choice(kinds))
    low, high = ends(dtype)
    kind = rng.integers(5)
    if kind == 0:  # somewhere near an end of the dtype
        first = rng.choice([low, high]) * rng.choice([1.0, 0.999, 0.5])
        second = first * rng.uniform(0.5, 1.0)
    elif kind == 1:  # narrow, somewhere
        first = rng.normal() * 10.0 ** rng.uniform(-3, 9)
        second = first * (1 + 10.0 ** rng.uniform(-8, -1))
    elif kind == 2:  # of any size
        first, second = (rng.normal() * 10.0 ** rng.uniform(-42, 38) for _ in range(2))
    elif kind == 3:  # small whole numbers
        first, second = rng.integers(-300, 300, 2).astype(float)
    else:  # one-ended
        first, second = 0.0, rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-42, 38)
    lower, upper = sorted((float(np.float32(first)), float(np.float32(second))))
    scale = 10.0 ** rng.choice([0.0, 0.3, rng.uniform(-30, 30)])
    return dtype, lower, upper, str(rng.choice(BOUNDARIES)), scale


@jax.jit
def there_and_back(space, x):
    solutions = space.decode(x)
    encoded = space.encode(solutions)
    return space.repair(x), encoded, solutions, space.decode(encoded)


def hold_boxes(seed, number):
    """How many of some boxes are accepted; those decode to what is finite and inside."""
    rng, accepted = np.random.default_rng(seed), 0
    for _ in range(number):
        dtype, lower, upper, boundary, scale = any_box(rng)
        example = jax.ShapeDtypeStruct((len(PLACES),), dtype)
        space = Space(example, 1.0, lower, upper, boundary, scale)
        try:
            validation.validate(space)
        except ValueError:
            continue
        accepted += 1
        drawn = rng.normal(size=len(PLACES)) * scale
        made = there_and_back(space, np.stack([PLACES, drawn.astype(np.float32)]))
        for values in map(np.float64, made):
            assert np.isfinite(values).all(), (space, made)
        for solutions in made[2:]:
            exact = np.float64(solutions)
            assert ((exact >= lower) & (exact <= upper)).all(), (space, exact)
    return accepted


def test_500_boxes_are_feasible_and_finite():
    assert hold_boxes(0, 500) > 150


@pytest.mark.slow
def test_10000_boxes_are_feasible_and_finite():
    assert hold_boxes(1, 10_000) > 3_000


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(1.0, -1.0), (np.nan, 1.0), (-1.0, np.nan), (1.0, 1.0), (-8e37, 8e37)],
)
def test_traced_bounds_that_make_no_box_are_put_in_order_and_counted(lower, upper):
    result = evolved_in_a_box(lower, upper)

    assert np.isfinite(result.population).all()
    assert np.isfinite(result.best_solution).all()
    wrong = int(np.isnan(lower)) + int(np.isnan(upper)) or 3 * (lower > upper)
    assert result.history.num_clipped.min() >= wrong
    assert (wrong > 0) == bool(result.history.num_clipped.max() > 0)


@jax.jit
def evolved_in_a_box(lower, upper):
    space = Space(VECTOR, lower=lower, upper=upper)
    problem = de.problems.Function(lambda x: -jnp.sum(x**2), space=space)
    strategy, key = de.DiffusionEvolution(2), jax.random.key(0)
    return de.evolve(key, strategy, problem, population_size=4)
