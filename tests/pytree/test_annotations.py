"""Values are held to annotations: of fields before a run, of arguments at a call."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion, pytree
from diffevo_jax.pytree import annotations, arrays
from diffevo_jax.pytree.annotations import Index, checked

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

KEY = jax.random.key(0)
X = np.zeros((4, 2))

#: Components with a field of another kind than annotated; what is said of it.
WRONG_FIELDS = {
    "flag": (de.samplers.Heun(frozen="no"), r"Heun\.frozen: got 'no' \(str\), want True"),
    "flag of a problem": (
        de.problems.Control("CartPole-v1", rewrite="no"),
        r"Control\.rewrite: got 'no' \(str\), want True or False",
    ),
    "diagonal": (de.denoisers.GaussianFit(diagonal="x"), r"GaussianFit\.diagonal: got 'x'"),
    "floor": (de.kernels.Gaussian(floor="a"), r"Gaussian\.floor: got 'a' .*a number or No"),
    "count": (de.denoisers.Best(2.5), r"Best\.count: got 2\.5 \(float\), want an int"),
    "kernel": (
        de.denoisers.Population(kernel=None),
        r"Population\.kernel: got None, want an object like Tempered\(\); .* no 'init'",
    ),
    "kernel in a kernel": (de.kernels.SelfConditioned(3), r"kernel: got 3, want a Kernel"),
    "a class": (
        de.DiffusionEvolution(3, sampler=de.samplers.DDIM),
        r"DiffusionEvolution\.sampler: got <class .*, want .*; it is a class",
    ),
    "a dict": (de.MonoFlow(3, grid={}), r"MonoFlow\.grid: got \{\}, want .* VE\(\)"),
    "generator": (de.MonoFlow(3, generator=3), r"generator: got 3, want a Generator or No"),
    "one of a tuple": (
        de.denoisers.Population(conditions=(de.conditions.Density(), None)),
        r"Population\.conditions\[1\]: got None, want a Condition, with log_weight",
    ),
    "no tuple": (diffusion.MLP(hidden=[8]), r"MLP\.hidden: got \[8\], want a tuple"),
    "policy": (
        de.problems.Control("CartPole-v1", policy=7),
        r"Control\.policy: got 7, want an object like MLP\(\)",
    ),
    "space": (de.problems.Function(jnp.sum, space=3), r"Function\.space: got 3, want a Sp"),
}


@pytest.mark.parametrize(("part", "message"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_field_of_another_kind_is_named(part: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pytree.validate(part)


def test_what_is_no_component_is_not_validated() -> None:
    for value in (None, 3, de.samplers.DDIM):
        with pytest.raises(TypeError, match=r"component: got .*, want one of a pytree"):
            pytree.validate(value)


def test_structure_that_cannot_be_hashed_is_named() -> None:
    @pytree.dataclass
    class Part:
        names: Any = pytree.static()

    with pytest.raises(TypeError, match=r"Part\.names: got \['a'\], want .* hashed"):
        pytree.validate(Part(["a"]))


def test_what_only_type_checkers_import_is_not_checked_here() -> None:
    @pytree.dataclass
    class Part:
        frame: "pandas.DataFrame | None" = pytree.static(default=None)
        axes: "Axes" = pytree.static(default=None)

    pytree.validate(Part("x", 3))


@checked
def draw(
    key: jax.Array,
    points: jax.Array,
    count: int = 1,
    first: Index = 0,
    sigma: pytree.Number = 1.0,
    *more: jax.Array,
    kernel: de.Kernel | None = None,
    record: tuple[str, ...] = (),
    quick: bool = False,
    **options: Any,
) -> Any:
    return points


#: Arguments, and what is said of the one that is wrong.
WRONG_ARGUMENTS = {
    "no key": ((3, X), {}, TypeError, r"key: got int, want a typed key"),
    "old key": ((jax.random.PRNGKey(0), X), {}, TypeError, r"key: got an array of uint32"),
    "no array": ((KEY, "x"), {}, TypeError, r"points: got 'x' \(str\), want an array"),
    "of words": ((KEY, ["a"]), {}, TypeError, r"points: got \['?a'?\], want an array"),
    "complex": ((KEY, X + 1j), {}, TypeError, r"points: got .*, want an array of real"),
    "ragged": ((KEY, [[1.0], [1.0, 2.0]]), {}, TypeError, r"points: got \[\[1\.0\]"),
    "too large": ((KEY, X + 1e300), {}, ValueError, r"points: got 1e\+300, want .*e\+38"),
    "half": ((KEY, X, 0.5), {}, TypeError, r"count: got 0\.5 \(float\), want an int"),
    "none": ((KEY, X, 0), {}, ValueError, r"count: got 0, want an int >= 1"),
    "true": ((KEY, X, True), {}, TypeError, r"count: got True \(bool\), want an int"),
    "index": ((KEY, X, 1, -1), {}, ValueError, r"first: got -1, want an int >= 0"),
    "number": ((KEY, X, 1, 0, "2"), {}, TypeError, r"sigma: got '2' \(str\), want a num"),
    "one of more": ((KEY, X, 1, 0, 2.0, X, None), {}, TypeError, r"more\[1\]: got None"),
    "part": ((KEY, X), {"kernel": "x"}, TypeError, r"kernel: got 'x'.* want a Kernel"),
    "a string": ((KEY, X), {"record": "x"}, TypeError, r"record: got 'x'.* want a tuple"),
    "in a tuple": ((KEY, X), {"record": (1,)}, TypeError, r"record\[0\]: got 1 \(int\)"),
    "flag": ((KEY, X), {"quick": 1}, TypeError, r"quick: got 1 \(int\), want True or Fa"),
    "missing": ((KEY,), {}, TypeError, r"draw: missing .*'points', want arguments among"),
}


@pytest.mark.parametrize(
    ("args", "options", "error", "message"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS
)
def test_an_argument_of_another_kind_is_named(args, options, error, message) -> None:
    with pytest.raises(error, match=message):
        draw(*args, **options)


def test_what_is_legal_comes_through() -> None:
    traced = jax.jit(lambda key, x: draw(key, x, 3, 0, x[0, 0], anything=3))(KEY, X)
    assert traced.shape == X.shape
    assert draw(KEY, X) is X
    assert draw(KEY, [1, 2]).shape == (2,)
    assert draw.__name__ == "draw"


# Numbers of the host: JAX cuts long integers, and makes large floats infinite.


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (np.array([3_000_000_000, 1]), [3e9, 1.0]),
        (np.array([2**32 + 5, 1]), [2.0**32, 1.0]),
        (np.array([-(2**40), 1]), [-(2.0**40), 1.0]),
        (np.array([2**64 - 1, 1], np.uint64), [2.0**64, 1.0]),
        ([3_000_000_000, 1], [3e9, 1.0]),
        ([2**70, 1], [2.0**70, 1.0]),
        ([[2**40], [1]], [[2.0**40], [1.0]]),
        (np.array([np.nan, np.inf]), [np.nan, np.inf]),
        (2**70, 2.0**70),
        ([2**70, -1], [2.0**70, -1]),
    ],
)
def test_numbers_of_the_host_keep_their_size(given, want) -> None:
    got = arrays.as_floats("fitness", given)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, np.asarray(want, np.float32))


@pytest.mark.parametrize(
    "large", [1e300, np.float64(-1e39), [0.0, 1e39], 2**200, 2**2000, [1, -(2**2000)]]
)
def test_numbers_that_would_be_infinite_are_refused(large) -> None:
    with pytest.raises(ValueError, match=r"fitness: got .*, want numbers up to 3\.4"):
        arrays.as_floats("fitness", large)


def test_short_integers_stay_integers() -> None:
    for given in (np.array([1, 2**31 - 1]), np.int64(7)):
        assert arrays.as_given("labels", given) is given


def test_the_best_of_the_host_wins_by_hand_and_in_evolve() -> None:
    strategy, fitness = de.DiffusionEvolution(2), np.array([1, 3_000_000_000, 2, 2**32 + 5])

    @jax.jit  # in one program, which the numbers of the host are in
    def by_hand():
        state = de.init(strategy, KEY, X + np.arange(4)[:, None])
        candidates, state = de.ask(strategy, KEY, state)
        return de.tell(strategy, KEY, state, candidates, fitness)

    state, info = by_hand()
    assert float(info.best_fitness) == 2.0**32
    assert float(state.best_solution[0]) == 3.0
    problem = de.problems.Function(lambda x: np.int64(3_000_000_000), dim=2)
    result = de.evolve(KEY, strategy, problem, population_size=4)
    assert float(result.best_fitness) == np.float32(3e9)


def test_a_number_field_of_the_host_is_not_made_infinite() -> None:
    with pytest.raises(ValueError, match=r"Boltzmann\.temperature: got 1e\+300, want num"):
        pytree.validate(de.shaping.Boltzmann(1e300))
    pytree.validate(de.shaping.Boltzmann(np.int64(3_000_000_000)))


def test_every_public_annotation_has_a_meaning() -> None:
    assert annotations.words(int | None) == "an int or None"
    assert (
        annotations.words(jax.typing.ArrayLike | None) == "an array of real numbers or None"
    )
    assert annotations.is_kind(3.0, jax.typing.ArrayLike)
    assert not annotations.is_kind(3.0j, jax.typing.ArrayLike)


def test_a_number_field_may_be_an_integer_beyond_64_bits() -> None:
    pytree.validate(de.shaping.Boltzmann(2**70))
    with pytest.raises(ValueError, match=r"Boltzmann\.temperature: got .* want numbers up"):
        pytree.validate(de.shaping.Boltzmann(2**2000))


def test_a_name_that_nothing_defines_is_no_annotation() -> None:
    def misspelt(count: "Itn") -> None:  # type: ignore[name-defined] # noqa: F821
        """Not checked, if names that are not found are left alone."""

    with pytest.raises(NameError, match="Itn"):
        annotations.checked(misspelt)("x")
