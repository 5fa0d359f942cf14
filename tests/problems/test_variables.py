"""Variables: every candidate is legal, and what was decoded is decoded again."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import diffevo_jax as de
import diffevo_jax.testing
from diffevo_jax import pytree
from diffevo_jax.problems import Categorical, Fixed, Integer, Range, Space, starts
from diffevo_jax.problems.columns import BOUNDARIES
from diffevo_jax.pytree import validation

KEY = jax.random.key(0)
DECODE = jax.jit(lambda space, x: space.decode(x))
ENCODE = jax.jit(lambda space, solutions: space.encode(solutions))
DRAW = jax.jit(
    lambda space, key, num: space.decode(space.sample(key, num)), static_argnums=2
)


# Random structures


def any_range(rng):
    """A float: linear of any size and place, log over many decades or few, or steps."""
    kind = rng.integers(4)
    if kind == 0:
        low = rng.normal() * 10.0 ** rng.uniform(-6, 6)
        return Range(low, low + 10.0 ** rng.uniform(-2, 6) * max(abs(low), 1e-3))
    if kind == 1:  # around 0
        return Range(*(10.0 ** rng.uniform(-4, 4) * sign for sign in (-1, 1)))
    if kind == 2:
        low = 10.0 ** rng.uniform(-12, 6)
        return Range(low, low * 10.0 ** rng.uniform(0.01, 12), "log")
    step, low = 10.0 ** rng.uniform(-3, 1), rng.normal()
    return Range(low, low + step * rng.integers(1, 50), step=step)


def any_integer(rng):
    """An integer: small, far, on a log scale, or with steps."""
    kind = rng.integers(4)
    if kind == 0:
        low = int(rng.integers(-20, 20))
        return Integer(low, low + int(rng.integers(1, 30)))
    if kind == 1:
        return Integer(*sorted(rng.choice(2**21, 2, replace=False) - 2**20))
    if kind == 2:
        low = int(rng.integers(1, 100))
        return Integer(low, int(low + 1 + 10 ** rng.uniform(0, 6)), "log")
    step, low = int(rng.integers(1, 9)), int(rng.integers(-9, 9))
    return Integer(low, low + step * int(rng.integers(1, 30)) + step // 2, step=step)


def any_choice(rng):
    """A category of strings, numbers, or of all kinds."""
    kinds = [("adam", "sgd", "lion"), (16, 32, 64, 128), (True, False), ("a", 1, 2.5, None)]
    return Categorical(kinds[rng.integers(4)])


def any_array(rng):
    """An array of floats or integers."""
    shape = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(0, 3))))
    return jax.ShapeDtypeStruct(shape, rng.choice(["float32", "int32", "float16"]))


def any_fixed(rng):
    values = (3, 0.25, True, "relu", np.arange(3.0))
    return Fixed(values[rng.integers(len(values))])


def any_space(seed):
    """A space of 2 to 9 leaves of all kinds, some of them deeper in; its arrays bounded."""
    rng = np.random.default_rng(seed)
    kinds = (any_range, any_range, any_integer, any_integer, any_choice, any_array)
    leaves = {f"x{i}": rng.choice(kinds)(rng) for i in range(int(rng.integers(2, 8)))}
    leaves["fixed"] = any_fixed(rng)
    bounded, scale = rng.random() < 0.8, 10.0 ** rng.uniform(-1, 1)
    example = {"in": [leaves.pop("x0"), {"deep": leaves}]}
    boundary = str(rng.choice(BOUNDARIES))
    arrays = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves_of(example))
    ends = {"lower": -3.0, "upper": 5.0} if bounded and arrays else {}
    return Space(example, scale, **ends, boundary=boundary), example


def leaves_of(example):
    return jax.tree.leaves(example, is_leaf=pytree.is_component)


def is_legal(leaf, values, bounded):
    """Whether every value is one that a leaf of an example may have; said anew."""
    exact = np.asarray(values, np.float64)
    if not np.isfinite(exact).all():
        return False
    if isinstance(leaf, Categorical):
        return values.dtype == np.int32 and ((exact >= 0) & (exact < leaf.width)).all()
    if isinstance(leaf, Fixed):
        want = 0 if leaf.label else np.float32(leaf.value)
        return (exact == want).all()
    if isinstance(leaf, Range | Integer):
        low, high = np.float64(np.float32(leaf.low)), np.float64(np.float32(leaf.high))
        inside = ((exact >= low) & (exact <= high)).all()
        if isinstance(leaf, Integer):
            whole = np.issubdtype(values.dtype, np.integer)
            return whole and inside and ((exact - low) % float(leaf.step) == 0).all()
        if leaf.step is not None:
            places = (exact - low) / float(leaf.step)
            return inside and (abs(places - np.round(places)) < 1e-3).all()
        return inside
    whole = np.issubdtype(leaf.dtype, np.integer)
    inside = not bounded or ((exact >= -3) & (exact <= 5)).all()
    return inside and (not whole or (exact == np.round(exact)).all())


def hold(seed, num_points):
    """One structure: nothing illegal, nothing lost between decode, encode and decode."""
    space, example = any_space(seed)
    validation.validate(space)
    points = np.random.default_rng(seed).normal(size=(num_points, space.dim)) * 2.0
    points[: num_points // 10] *= 1e3  # far outside
    points[0], points[1] = -2.0, 2.0  # in the corners
    solutions = DECODE(space, points.astype(np.float32))
    encoded = ENCODE(space, solutions)
    again = DECODE(space, encoded)
    worst = 0.0
    triples = (leaves_of(example), jax.tree.leaves(solutions), jax.tree.leaves(again))
    for leaf, first, second in zip(*triples, strict=True):
        first, second = np.asarray(first), np.asarray(second)
        assert is_legal(leaf, first, space.lower is not None), (seed, leaf)
        if isinstance(leaf, Range):
            apart = abs(first.astype(np.float64) - second) / np.spacing(abs(first))
            worst = max(worst, float(apart.max()))
        elif not isinstance(leaf, jax.ShapeDtypeStruct):
            np.testing.assert_array_equal(first, second, err_msg=f"{seed}: {leaf}")
    variables = np.repeat(space.layout.named, space.layout.widths)
    stable = np.asarray(ENCODE(space, again))
    np.testing.assert_array_equal(
        np.asarray(encoded)[:, variables], stable[:, variables], err_msg=str(seed)
    )
    return worst


@pytest.mark.parametrize("seed", range(2))
def test_random_structures_have_no_illegal_candidate_and_lose_nothing(seed):
    assert hold(seed, 500) <= 2.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_50_structures_of_10000_points_lose_nothing(seed):
    assert hold(seed, 10_000) <= 2.0


# Each kind of variable

MIXED = {
    "rate": Range(1e-5, 1e-1, "log"),
    "momentum": Range(0.0, 1.0),
    "dropout": Range(0.0, 0.5, step=0.1),
    "layers": Integer(1, 8),
    "units": Integer(8, 512, "log"),
    "kind": Categorical(("adam", "sgd", "lion")),
    "depth": Fixed(3),
    "name": Fixed("run"),
    "weights": jnp.zeros(2),
}
ENDS = {name: 1.0 if name == "weights" else None for name in MIXED}
BOXED = Space(MIXED, lower={name: end and -end for name, end in ENDS.items()}, upper=ENDS)


def test_a_mixed_space_keeps_the_promises_of_a_space():
    de.testing.check_space(BOXED)


@pytest.mark.slow
def test_a_problem_of_mixed_variables_keeps_the_promises_of_a_problem():
    de.testing.check_problem(
        de.problems.Function(
            lambda s: s["rate"] - 0.1 * s["layers"] + s["kind"], space=BOXED
        )
    )


def test_decoded_solutions_have_a_leaf_for_every_name():
    solutions = BOXED.decode(jnp.zeros((5, BOXED.dim)))
    kinds = {name: (leaf.shape, str(leaf.dtype)) for name, leaf in solutions.items()}
    floats = dict.fromkeys(("rate", "momentum", "dropout"), ((5,), "float32"))
    whole = ("layers", "units", "kind", "depth", "name")
    assert kinds == {**floats, **dict.fromkeys(whole, ((5,), "int32"))} | {
        "weights": ((5, 2), "float32")
    }


def test_the_largest_number_of_a_category_is_the_choice_and_the_first_of_equal_ones():
    space = Space({"kind": Categorical(("a", "b", "c"))})
    points = jnp.array([[0.1, 0.2, 0.3], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [9.0, 0.0, 0.1]])
    # 9 is mirrored at 2 to 1
    assert space.decode(points)["kind"].tolist() == [2, 1, 0, 0]


def test_steps_are_the_values_and_nothing_else():
    space = Space({"dropout": Range(0.0, 0.5, step=0.1)}, start="uniform")
    drawn = space.named(DRAW(space, KEY, 2_000))["dropout"]
    assert np.unique(drawn).tolist() == [0.1 * k for k in range(6)]


def test_an_end_that_is_no_step_away_is_not_reached():
    space = Space({"n": Integer(1, 9, step=5)}, start="uniform")
    assert np.unique(DRAW(space, KEY, 100)["n"]).tolist() == [1, 6]


def test_python_values_do_not_leave_the_ends_as_they_were_given():
    # the float32 next to 0.3 is above it
    space = Space({"x": Range(0.1, 0.3)}, boundary="clip")
    (row,) = space.as_python(space.decode(jnp.array([[9.0]])))
    assert float(np.float32(0.3)) > 0.3
    assert row == {"x": 0.3}


def test_rows_have_choices_and_numbers_of_python():
    (row,) = BOXED.as_python(BOXED.decode(jnp.zeros((1, BOXED.dim))))
    kinds = {name: type(value) for name, value in row.items()}
    floats = dict.fromkeys(("rate", "momentum", "dropout"), float)
    whole = dict.fromkeys(("layers", "units", "depth"), int)
    text = dict.fromkeys(("kind", "name"), str)
    assert kinds == {**floats, **whole, **text, "weights": np.ndarray}
    assert (row["kind"], row["name"], row["depth"]) == ("adam", "run", 3)


def test_a_table_has_a_column_for_every_number_of_an_array():
    table = BOXED.named(BOXED.decode(jnp.zeros((4, BOXED.dim))))
    assert tuple(table) == BOXED.names
    assert BOXED.names[-2:] == ("weights[0]", "weights[1]")
    assert all(column.shape == (4,) for column in table.values())


def test_names_are_paths():
    space = Space({"net": [Integer(1, 3), {"w": jnp.zeros((1, 2))}]})
    assert space.names == ("net.0", "net.1.w[0][0]", "net.1.w[0][1]")
    assert Space(jnp.zeros(2)).names == ("x[0]", "x[1]")


def test_known_designs_are_encoded():
    rows = [
        {"kind": "sgd", "layers": 8, "units": 8, "rate": 1e-5, "momentum": 0.25},
        {"kind": "adam", "layers": 1, "units": 512, "rate": 0.1, "momentum": 1.0},
    ]
    rest = {"dropout": 0.3, "depth": 3, "name": "run", "weights": np.array([0.5, -1.0])}
    solutions = BOXED.from_python([row | rest for row in rows])
    again = BOXED.as_python(BOXED.decode(BOXED.encode(solutions)))
    assert [row["kind"] for row in again] == ["sgd", "adam"]
    assert [(row["layers"], row["units"]) for row in again] == [(8, 8), (1, 512)]
    assert [row["momentum"] for row in again] == [0.25, 1.0]


def test_every_integer_up_to_a_million_can_be_encoded():
    far = 2**20
    for variable in (Integer(1, far, "log"), Integer(-far, far)):
        whole = np.random.default_rng(0).integers(1, far, 50_000, endpoint=True)
        whole[:3] = 1, far, far - 1
        space = Space({"n": variable})
        again = DECODE(space, ENCODE(space, {"n": whole.astype(np.int32)}))["n"]
        np.testing.assert_array_equal(again, whole)


def test_ends_can_be_swept():
    far = jnp.full((1, 1), -2.0)
    lows = jax.vmap(lambda low: Space({"x": Range(low, 9.0, "log")}).decode(far)["x"])(
        jnp.array([1.0, 2.0])
    )
    assert lows.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("low", "high", "wrong"), [(0.1, 0.9, 0), (0.9, 0.1, 1), (-1.0, 1.0, 1), (np.nan, 1, 1)]
)
def test_traced_ends_that_make_no_range_are_made_safe_and_counted(low, high, wrong):
    result = evolved_in_a_range(low, high)
    assert np.isfinite(result.best_solution["x"])
    assert float(result.best_solution["x"]) > 0
    assert result.history.num_clipped.tolist() == [wrong] * 2


@jax.jit
def evolved_in_a_range(low, high):
    space = Space({"x": Range(low, high, "log")})
    problem = de.problems.Function(lambda s: -s["x"], space=space)
    return de.evolve(KEY, de.DiffusionEvolution(2), problem, population_size=4)


# Boundaries


def test_boundaries_of_their_own():
    example = {"a": jnp.zeros(()), "b": Range(0.0, 1.0), "n": Integer(0, 3)}
    ends = {"a": 1.0, "b": None, "n": None}
    space = Space(
        example,
        lower={"a": 0.0, "b": None, "n": None},
        upper=ends,
        boundary={"a": "clip", "b": "tanh", "n": "reflect"},
    )
    solutions = space.decode(jnp.array([[3.0, 3.0, 3.0]]))
    assert float(solutions["a"][0]) == 1.0
    assert float(solutions["b"][0]) == pytest.approx(0.5 + 0.5 * math.tanh(1.5), abs=1e-6)
    assert int(solutions["n"][0]) == 2  # 3 is mirrored to 1: three quarters of the box


def test_arrays_without_bounds_are_beside_those_with():
    space = Space(
        {"free": jnp.zeros(()), "held": jnp.zeros(())},
        scale=5.0,
        lower={"free": None, "held": -1.0},
        upper={"free": None, "held": 1.0},
    )
    solutions = space.decode(jnp.array([[9.0, 3.0]]))
    assert (solutions["free"].tolist(), solutions["held"].tolist()) == ([45.0], [0.5])
    assert not space.bounded


# Starts


def test_the_ends_of_an_integer_are_as_frequent_as_its_middle():
    counts = np.bincount(
        DRAW(Space({"n": Integer(0, 9)}, start="uniform"), KEY, 100_000)["n"]
    )
    # chi-square with 9 degrees of freedom; 0.1 % of seeds fail
    assert stats.chisquare(counts).pvalue > 1e-3
    assert len(counts) == 10


def test_choices_are_as_frequent_as_each_other():
    space = Space({"kind": Categorical(tuple("abcde"))}, start="uniform")
    counts = np.bincount(DRAW(space, KEY, 100_000)["kind"])
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("start", ["uniform", "sobol"])
def test_a_log_variable_starts_uniform_in_its_logarithm(start, boundary):
    space = Space({"rate": Range(1e-6, 1e2, "log")}, start=start, boundary=boundary)
    drawn = np.log10(np.asarray(DRAW(space, KEY, 50_000)["rate"], np.float64))
    assert stats.kstest(drawn, stats.uniform(-6, 8).cdf).pvalue > 1e-3


def test_the_default_start_is_normal():
    space = Space({"x": Range(-1.0, 1.0)}, bound_scale=5.0)
    drawn = np.asarray(space.sample(KEY, 50_000))[:, 0]
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_sobol_points_are_one_in_each_part_of_an_axis():
    space = Space({f"x{i}": Range(0.0, 1.0) for i in range(12)}, start="sobol")
    drawn = np.stack(list(space.decode(space.sample(KEY, 256)).values()), axis=1)
    parts = np.sort(np.floor(256 * drawn), axis=0)
    np.testing.assert_array_equal(parts, np.repeat(np.arange(256)[:, None], 12, axis=1))


def test_sobol_points_are_those_of_scipy_shifted():
    ours = np.asarray(starts.sobol(KEY, 64, 7), np.float64)
    base = stats.qmc.Sobol(7, scramble=False).random(64)
    bits = [np.floor(points * 2**23).astype(np.int64) for points in (ours, base)]
    shift = bits[0] ^ bits[1]
    # the last bit of 23 may be rounded by neither; all rows have one shift
    np.testing.assert_array_equal(shift, np.repeat(shift[:1], 64, axis=0))


def test_other_keys_give_other_sobol_points():
    first, second = (starts.sobol(jax.random.key(k), 16, 3) for k in (0, 1))
    assert not np.intersect1d(first, second).size


# Errors


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"x": de.samplers.DDIM()}, r"example\['x'\]: got DDIM\(eta=1\.0\), want an array"),
        ([Space(jnp.zeros(2))], r"example\[0\]: got Space"),
        ({"x": de.pytree.replace}, r"example\['x'\]: got <function"),
    ],
)
def test_a_component_that_is_no_variable_is_refused(example, message):
    with pytest.raises(TypeError, match=message):
        Space(example)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (Range(1.0, 0.0), "'x': got low 1 with high 0, want low < high"),
        (Range(0.0, 1.0, "log"), "'x': got low 0 on a log scale, want a number > 0"),
        (Range(0.0, 1.0, "lgo"), "'x': got scale 'lgo', want one of"),
        (Range(0.1, 1.0, "log", 0.1), "'x': got step 0.1 on a log scale, want None"),
        (Range(0.0, 1.0, step=2.0), "'x': got step 2 from 0 to 1, want 1 to"),
        (Range(1e6, 1e6 + 1, step=0.01), "'x': got step 0.01 .* 0.0625 apart, want a step"),
        (Range(0.0, np.nan), "Range.high: got nan, want a number"),
        (Integer(0, 4.5), "'x': got high 4.5, want a whole number within 1048576"),
        (Integer(3, 3), "'x': got low 3 with high 3, want low < high"),
        (Integer(0, 2**21), "'x': got high 2097152, want a whole number within 1048576"),
        (Integer(0, 9, "log"), "'x': got low 0 on a log scale, want a number >= 1"),
        (Integer(1, 9, "log", 2), "'x': got step 2 on a log scale, want 1"),
        (Integer(1, 9, step=1.5), "'x': got step 1.5, want a whole number"),
        (Categorical(("a",)), r"choices: got \('a',\), want two or more"),
        (Categorical(("a", "a")), r"choices: got \('a', 'a'\), want two or more"),
    ],
)
def test_variables_that_are_none_are_refused(variable, message):
    space = Space({"x": variable})
    with pytest.raises(ValueError, match=message):
        validation.validate(space)


@pytest.mark.parametrize("value", [None, {"a": 1}, object()])
def test_a_fixed_value_is_a_number_an_array_or_a_string(value):
    with pytest.raises(TypeError, match=r"Fixed\.value: got"):
        Space({"x": Range(0.0, 1.0), "y": Fixed(value)})
    with pytest.raises(TypeError, match=r"Fixed\.value: got"):
        validation.validate(Fixed(value))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "gauss"}, r"Space\.start: got 'gauss', want one of"),
        ({"start": "sobol"}, r"Space\.start: got 'sobol', want 'normal', or a box"),
        ({"lower": {"x": 0.0, "w": 0.0}, "upper": {"x": 1.0, "w": 1.0}}, "for a variable"),
        (
            {"lower": {"x": None, "w": 0.0}, "upper": {"x": None, "w": None}},
            r"Space\.upper: got None for 'w', want both",
        ),
        ({"boundary": {"x": "wrap", "w": "clip"}}, r"Space\.boundary: got 'wrap', want"),
    ],
)
def test_spaces_that_do_not_go_together_are_refused(options, message):
    space = Space({"x": Range(0.0, 1.0), "w": jnp.zeros(2)}, **options)
    with pytest.raises(ValueError, match=message):
        validation.validate(space)


def test_sobol_points_have_no_more_numbers_than_those_of_scipy():
    space = Space(jnp.zeros(21_202), lower=0.0, upper=1.0, start="sobol")
    with pytest.raises(
        ValueError, match=r"Space\.start: got 'sobol' for 21202, want at most"
    ):
        validation.validate(space)


def test_a_whole_example_may_be_a_variable():
    space = Space(Integer(1, 6))
    solutions = space.from_python([1, 6])
    assert space.encode(solutions).shape == (2, 1)
    assert space.as_python(space.decode(space.encode(solutions))) == [1, 6]


def test_integers_are_mirrored_and_nothing_else():
    space = Space({"n": Integer(0, 3)}, boundary={"n": "clip"})
    with pytest.raises(ValueError, match=r"Space\.boundary: got 'clip' for 'n'"):
        validation.validate(space)


def test_names_of_boundaries_are_like_the_example():
    with pytest.raises(ValueError, match=r"boundary: got .* want a name, or names like"):
        Space({"n": Integer(0, 3)}, boundary={"m": "clip"})


@pytest.mark.parametrize(
    ("solutions", "message"),
    [
        ([], "solutions: got none"),
        ([{"kind": "c"}], "solutions: got 'c' for 'kind', want one of"),
        ([{"kin": "a"}], "solutions: got .* want each like"),
    ],
)
def test_designs_unlike_the_example_are_refused(solutions, message):
    space = Space({"kind": Categorical(("a", "b"))})
    with pytest.raises(ValueError, match=message):
        space.from_python(solutions)


#: Of arrays of a number in [-1, 1] and of a count.
ENDS = {"w": -1.0, "count": 0}, {"w": 1.0, "count": 9}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"layers": 2.7},
            ValueError,
            "got 2.7 for 'layers', want a whole number from 1 to",
        ),
        ({"layers": 9}, ValueError, "got 9 for 'layers', want a whole number"),
        ({"layers": math.nan}, ValueError, "got nan for 'layers', want a whole number"),
        ({"layers": True}, TypeError, r"got True \(bool\) for 'layers', want a number"),
        ({"layers": "2"}, TypeError, r"got '2' \(str\) for 'layers', want a number"),
        ({"rate": 2.0}, ValueError, "got 2.0 for 'rate', want a number from 0 to 1"),
        ({"rate": "0.5"}, TypeError, r"got '0.5' \(str\) for 'rate', want a number"),
        ({"rate": None}, TypeError, r"got None \(NoneType\) for 'rate', want a number"),
        ({"drop": 0.27}, ValueError, "got 0.27 for 'drop', want 0 and a multiple of 0.1"),
        ({"depth": 4}, ValueError, "got 4 for 'depth', want 3, which is fixed"),
        ({"w": [math.nan, 0]}, ValueError, "got nan for 'w', want finite numbers"),
        ({"w": [0.0, 2.5]}, ValueError, "got 2.5 for 'w', want numbers from -1 to 1"),
        ({"w": ["1", "2"]}, TypeError, "'w': got .* want real numbers"),
        ({"w": [True, False]}, TypeError, "got truth values for 'w', want numbers"),
        ({"count": 1.7}, ValueError, "got 1.7 for 'count', want whole numbers"),
        ({"count": 2**40}, ValueError, "got 1.09951e\\+12 for 'count', want whole numbers"),
    ],
)
def test_a_design_that_there_is_not_is_refused_and_not_made_another(
    changed, error, message
) -> None:
    space = Space(
        {
            "layers": Integer(1, 6),
            "rate": Range(0.0, 1.0),
            "drop": Range(0.0, 0.5, step=0.1),
            "depth": Fixed(3),
            "w": jnp.zeros(2),
            "count": jnp.zeros((), jnp.int32),
        },
        lower={"layers": None, "rate": None, "drop": None, "depth": None} | ENDS[0],
        upper={"layers": None, "rate": None, "drop": None, "depth": None} | ENDS[1],
    )
    known = {"layers": 2.0, "rate": 0.5, "drop": 0.1 * 3, "depth": 3, "w": [0.0, 1.0]}
    assert space.from_python([known | {"count": 1}])["layers"].tolist() == [2]
    with pytest.raises(error, match=message):
        space.from_python([known | {"count": 1} | changed])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"kind": np.array([2]), "x": np.zeros(1)}, ValueError, "got 2 for a category"),
        ({"kind": np.array([0.5]), "x": np.zeros(1)}, TypeError, "got float64 for a cat"),
        ({"kind": np.array(["a"]), "x": np.zeros(1)}, TypeError, "got <U1 for a category"),
        ({"kind": np.array([0]), "x": np.array([np.nan])}, ValueError, "got NaN"),
    ],
)
def test_solutions_that_there_are_not_are_not_encoded(values, error, message) -> None:
    space = Space({"kind": Categorical(("a", "b")), "x": Range(0.0, 1.0)})
    with pytest.raises(error, match=f"solutions: {message}"):
        space.encode(values)


def test_what_is_not_finite_is_decoded_to_something_legal() -> None:
    space = Space(
        {
            "n": Integer(1, 8),
            "m": Integer(16, 1024, "log"),
            "x": Range(1.0, 2.0),
            "y": jnp.zeros(2),
        }
    )
    broken = jnp.stack([jnp.full(space.dim, bad) for bad in (jnp.nan, jnp.inf, -jnp.inf)])
    solutions = space.decode(broken)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(solutions))
    assert (solutions["n"] >= 1).all()
    assert (solutions["m"] >= 16).all()


def test_choices_that_no_integer_type_holds_come_back() -> None:
    kind = Categorical((2**63, -1))
    space = Space({"kind": kind})
    rows = space.as_python({"kind": jnp.array([0, 1])})
    assert [row["kind"] for row in rows] == [2**63, -1]
    assert space.from_python(rows)["kind"].tolist() == [0, 1]


def test_one_solution_is_one_dict_of_python() -> None:
    space = Space({"kind": Categorical(("a", "b")), "n": Integer(1, 8), "y": jnp.zeros(2)})
    solutions = space.decode(space.sample(jax.random.key(0), 3))
    one = jax.tree.map(lambda leaf: leaf[1], solutions)
    many, single = space.as_python(solutions)[1], space.as_python(one)
    assert (single["kind"], single["n"]) == (many["kind"], many["n"])
    np.testing.assert_array_equal(single["y"], many["y"])
