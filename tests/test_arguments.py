"""Every argument of every public callable is checked: name, got, want.

Public is what a catalogue exports. A function holds its arguments to their annotations
when it is called (``annotations.checked``), a component its fields when it is validated,
which every entry point does. Wrong values are drawn for every kind of annotation, and put
in the place of one argument each; the other arguments need not be legal, since kinds are
looked at before anything is computed.
"""

import ast
import collections.abc
import dataclasses
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typing_extensions import get_protocol_members

import diffevo_jax as de
from diffevo_jax import diffusion, pytree
from diffevo_jax.pytree import annotations

KEY = jax.random.key(0)
#: Functions that take any value at all, or are about classes and not about values.
OF_ANYTHING = {
    *("dataclass", "number", "numbers", "static", "select", "strong", "shapes", "offers"),
    *("is_component", "concrete", "short", "equal", "validate", "replace"),
}


def catalogues() -> Iterator[ModuleType]:
    yield de
    for found in pkgutil.walk_packages(de.__path__, "diffevo_jax."):
        if found.ispkg and ".cli" not in found.name:
            yield importlib.import_module(found.name)


def exported() -> Iterator[Any]:
    """What the catalogues export, and the functions of the files that they export whole."""
    for room in catalogues():
        for node in ast.parse(Path(str(room.__file__)).read_text()).body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                value = getattr(room, alias.name, None)
                if alias.asname != alias.name:
                    continue
                yield value
                if isinstance(value, ModuleType) and not hasattr(value, "__path__"):
                    own = [v for n, v in vars(value).items() if not n.startswith("_")]
                    yield from (
                        v for v in own if inspect.isfunction(v) and _is_of(v, value)
                    )


def _is_of(value: Any, module: ModuleType) -> bool:
    inside = module.__name__.startswith(("diffevo_jax.pytree", "diffevo_jax.testing"))
    return value.__module__ == module.__name__ and not inside


PUBLIC = {id(value): value for value in exported() if callable(value)}.values()
FUNCTIONS = [
    value
    for value in PUBLIC
    if inspect.isfunction(value)
    and value.__name__ not in OF_ANYTHING
    and value.__name__ not in ("check_conditions", "total")  # for parts, not for users
]
COMPONENTS = [
    value
    for value in PUBLIC
    if isinstance(value, type) and hasattr(value, "__is_component__")
]


class Place(NamedTuple):
    """An argument of a function, or a field of a component."""

    owner: Any
    name: str
    hint: Any
    kind: str


def places() -> list[Place]:
    found = []
    for function in FUNCTIONS:
        hints = annotations.annotations_of(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                found.append(Place(function, name, hints.get(name, Any), "argument"))
    for component in COMPONENTS:
        hints = annotations.annotations_of(component)
        for field in dataclasses.fields(component):
            kinds = [k for k in ("number", "numbers", "static") if k in field.metadata]
            found.append(
                Place(component, field.name, hints[field.name], *kinds or ["part"])
            )
    return [place for place in found if not _is_anything(place.hint)]


def _is_anything(hint: Any) -> bool:
    return any(kind is Any or isinstance(kind, typing.TypeVar) for kind in kinds_of(hint))


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """What a union is of; where arrays of NumPy are among it, single numbers are, too."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (hint,)
    numbers = (np.ndarray, np.bool_, np.number, bool, int, float, complex)
    kinds = typing.get_args(hint)
    whole = jax.Array in kinds and np.ndarray in kinds
    return tuple(k for k in kinds if not (whole and k in numbers))


class Nothing:
    """An object with no members of any contract."""


#: Wrong for most annotations; those that are right for one are left out.
WRONG = (
    *(None, True, -3, 0, 2.5, "x", "", b"x", 1j, {}, {"a": 1}, [], ["x"], (), (None,)),
    *(Nothing(), Nothing, print, np.array(["a"]), np.array([1j]), KEY, KEY[None]),
    *(jax.random.PRNGKey(0), 2**200, 1e300, np.float64(-1e39), np.array([1e300]), np.nan),
    *(set(), range(3), Path("x"), de.samplers.DDIM, de.samplers.DDIM(), de.problems, ...),
)


def wrong_values(place: Place) -> list[Any]:
    return [value for value in WRONG if is_wrong(place, value)]


def is_wrong(place: Place, value: Any) -> bool:
    """Said anew, and not by what is tested: whether a value is of none of the kinds."""
    return not any(is_right(place, kind, value) for kind in kinds_of(place.hint))


def is_right(place: Place, kind: Any, value: Any) -> bool:
    if typing.get_origin(kind) is Annotated and typing.get_args(kind)[0] is int:
        return type(value) is int and value >= 0
    if kind is annotations.Keys or (kind is jax.Array and place.name == "key"):
        typed = hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        return typed and (kind is annotations.Keys or value.ndim == 0)
    if kind is None or kind is type(None):
        return value is None
    if kind is bool or kind is str:
        return isinstance(value, kind) and not (
            kind is str and Path in kinds_of(place.hint)
        )
    if kind is Path:
        return isinstance(value, Path) or (isinstance(value, str) and bool(value))
    if kind is int:  # a count as an argument; a field says itself how many
        return type(value) is int and (place.kind == "static" or value >= 1)
    if kind is float or kind is jax.Array:
        return is_number(place, kind, value)
    if kind is np.ndarray:
        return isinstance(value, np.ndarray)
    if kind in (np.number, np.bool_, complex):
        return False
    origin = typing.get_origin(kind) or kind
    if origin is collections.abc.Callable:
        return callable(value)
    if getattr(origin, "_is_protocol", False):
        members = [m for m in get_protocol_members(origin) if not m.startswith("_")]
        return not isinstance(value, type) and all(hasattr(value, m) for m in members)
    if origin is tuple:  # of an argument a list, too
        args = typing.get_args(kind)
        some = isinstance(value, tuple if place.kind != "argument" else tuple | list)
        if kind == tuple[()]:
            return some and not value
        any_length = args[1:] == (...,)
        return some and any_length and all(is_right(place, args[0], one) for one in value)
    numbers = typing.get_args(kind)[:1] in ((float,), (int,), (Any,))
    if origin is collections.abc.Sequence and isinstance(value, np.ndarray | jax.Array):
        return numbers and is_number(place, jax.Array, value)
    return not isinstance(origin, type) or isinstance(value, origin)


def is_number(place: Place, kind: Any, value: Any) -> bool:
    """Whether a value is a number, or an array of such; of a list it may be."""
    if isinstance(value, bool | str | bytes | complex | type(None) | dict | set):
        return False
    if isinstance(value, int | float | np.generic):
        is_nan = bool(value != value)  # wrong for what has a range; states may hold one
        return not abs(value) > 3.4e38 and not (is_nan and place.kind.startswith("number"))
    if isinstance(value, np.ndarray | jax.Array) and kind is jax.Array:
        real = any(jnp.issubdtype(value.dtype, k) for k in (np.floating, np.integer))
        return real and not (np.abs(np.asarray(value, np.float64)) > 3.4e38).any()
    return isinstance(value, list | tuple | range) and value != ["x"] and value != (None,)


def attack(place: Place, value: Any) -> str | None:
    """Put a wrong value in a place; None if it is refused well, else what happened."""
    try:
        call(place, value)
    except (TypeError, ValueError) as error:
        message = str(error)
        named = re.search(rf"\b{place.name}\b", message)
        well = named and "got" in message and "want" in message
        return None if well else f"{type(error).__name__}: {message}"
    except Exception as error:  # an AttributeError from deep inside, say
        return f"{type(error).__name__}: {error}"
    return "accepted"


def call(place: Place, value: Any) -> None:
    if place.kind == "argument":
        signature = inspect.signature(place.owner)
        given = {name: legal(place.owner, name) for name in signature.parameters}
        parameter = signature.parameters[place.name]
        several = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        if {"population", "population_size"} <= given.keys():
            given["population_size"] = 4  # one of the two is asked for
        given[place.name] = (value,) if several else value
        bound = inspect.BoundArguments(signature, collections.OrderedDict(given))
        place.owner(*bound.args, **bound.kwargs)
        return
    component = filled(place.owner)
    object.__setattr__(component, place.name, value)
    pytree.validate(component)


def legal(function: Callable[..., Any], name: str) -> Any:
    """What an argument may be, by its annotation: it is looked at, and no more."""
    parameter = inspect.signature(function).parameters[name]
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return ()
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return {}
    if parameter.default is not inspect.Parameter.empty:
        return parameter.default
    hint = annotations.annotations_of(function).get(name, Any)
    return KEY if name == "key" else of_kind(annotations._kinds(hint)[0])


#: What stands for a part that must be one of the library's own.
MIXTURE = de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
REAL: dict[Any, Any] = {
    de.Strategy: de.DiffusionEvolution(3),
    de.Problem: de.problems.Landscape("beale"),
    de.problems.Space: de.problems.Space(jnp.zeros(2)),
    de.problems.space.Layout: de.problems.Space(jnp.zeros(2)).layout,
    type(MIXTURE): MIXTURE,
    jax.sharding.Mesh: de.make_mesh(),
    np.ndarray: np.zeros(2),
    diffusion.NetworkDenoiser: diffusion.NetworkDenoiser(
        diffusion.MLP((2,)), diffusion.EDM(1.0), (), (2,)
    ),
}


def legal_field(owner: Any, field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if "number" in field.metadata or "numbers" in field.metadata:
        return 1.0
    return of_kind(annotations._kinds(annotations.annotations_of(owner)[field.name])[0])


def of_kind(kind: Any) -> Any:
    """Something that looks as an annotation wants it."""
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Annotated:
        return of_kind(args[0])
    simple = {int: 3, float: 1.0, bool: True, str: "x", jax.Array: np.zeros((4, 2))}
    simple |= {collections.abc.Callable: print, type(None): None, dict: {}}
    simple |= {collections.abc.Mapping: {}, Any: ()}
    if origin in REAL or origin in simple:
        return REAL.get(origin, simple.get(origin))
    if origin is tuple:
        return () if args[1:] == (...,) else tuple(map(of_kind, args))
    if getattr(origin, "_is_protocol", False):
        members = dict.fromkeys(annotations.members(origin), lambda *_, **__: 0)
        return pytree.dataclass(type("Some", (), members))()
    several = ("Sequence", "Collection", "Iterable")
    if origin in [vars(collections.abc)[name] for name in several]:
        return ()
    if hasattr(origin, "__is_component__"):
        return filled(origin)
    return object.__new__(origin) if isinstance(origin, type) else object()


def filled(component: Any) -> Any:
    """One with something legal in every field."""
    made = object.__new__(component)
    for field in dataclasses.fields(component):
        object.__setattr__(made, field.name, legal_field(component, field))
    return made


PLACES = places()


def drawn(seed: int, number: int) -> list[tuple[Place, Any]]:
    """Wrong arguments: every place at least once where there are so many, then any."""
    rng, all_ = np.random.default_rng(seed), [p for p in PLACES if wrong_values(p)]
    order = [all_[i] for i in rng.permutation(len(all_))]
    order += [all_[i] for i in rng.integers(len(all_), size=max(number - len(all_), 0))]
    return [
        (place, (values := wrong_values(place))[int(rng.integers(len(values)))])
        for place in order[:number]
    ]


def failures(attacks: list[tuple[Place, Any]]) -> list[str]:
    return [
        f"{place.owner.__module__}.{place.owner.__name__}({place.name}={value!r}): {got}"
        for place, value in attacks
        if (got := attack(place, value)) is not None
    ]


def test_150_wrong_arguments_are_refused_by_name() -> None:
    assert failures(drawn(0, 150)) == []


@pytest.mark.slow
def test_wrong_arguments_of_everything_public_are_refused_by_name() -> None:
    assert failures(drawn(1, 3_000)) == []


def test_every_public_function_holds_its_arguments_to_their_annotations() -> None:
    for function in FUNCTIONS:
        with pytest.raises(TypeError, match=r"want arguments among"):
            function(no_such_argument=3)


#: Arguments that are of the right kind, and wrong all the same; what is said of them.
STRATEGY, PROBLEM = de.DiffusionEvolution(3), de.problems.Landscape("beale")
X = np.zeros((4, 2), np.float32)
STATE = de.init(STRATEGY, KEY, X)
ORACLE = de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
OTHER = de.DiffusionEvolution(3, sampler=de.samplers.DPMSolver2M())
SAMPLE = {"grid": de.noise.VE(), "sampler": de.samplers.DDIM(), "shape": (4, 2)}
NOT_SO = {
    "another sampler's state": (
        lambda: de.ask(OTHER, KEY, STATE),
        r"state: got DiffusionEvolutionState.*, want one of this DiffusionEvolution",
    ),
    "another strategy's state": (
        lambda: de.ask(de.MonoFlow(3), KEY, STATE),
        r"state: got DiffusionEvolutionState.*, want one of this MonoFlow",
    ),
    "another state, told": (
        lambda: de.tell(OTHER, KEY, STATE, X, X[:, 0]),
        r"state: got DiffusionEvolutionState.*, want one of this DiffusionEvolution",
    ),
    "no state": (lambda: de.ask(STRATEGY, KEY, 3), r"state: got 3, want one of this"),
    "a start of NaN": (
        lambda: de.sample(KEY, ORACLE.denoise, **SAMPLE, num_levels=3, start=X + np.nan),
        r"start: got NaN or infinity, want finite",
    ),
    "another dimension": (
        lambda: de.sample(
            KEY,
            de.denoisers.bind(STRATEGY.denoiser, STATE.denoiser),
            **SAMPLE | {"shape": (4, 3)},
            num_levels=3,
        ),
        r"y: got shape \(4, 3\), want \(N, 2\)",
    ),
    "another dimension, fitted": (
        lambda: de.sample(
            KEY,
            de.denoisers.bind(
                de.denoisers.GaussianFit(), de.denoisers.GaussianFit().init(KEY, X)
            ),
            **SAMPLE | {"shape": (4, 3)},
            num_levels=3,
        ),
        r"y: got shape \(4, 3\), want \(N, 2\)",
    ),
    "a negative generation": (
        lambda: de.strategies.renoise(STRATEGY, KEY, STATE, -3),
        r"generation: got -3, want an int >= 0",
    ),
    "a generation too late": (
        lambda: de.strategies.renoise(STRATEGY, KEY, STATE, jnp.array(3)),
        r"generation: got 3, want one in \[0, 2\]",
    ),
    "a generation that is no int": (
        lambda: de.generation_keys(KEY, jnp.array(1.5)),
        r"generation: got 1\.5, want an int",
    ),
    "a negative generation, an array": (
        lambda: de.generation_keys(KEY, jnp.array(-1)),
        r"generation: got -1, want an int >= 0",
    ),
    "several generations": (
        lambda: de.strategies.renoise(STRATEGY, KEY, STATE, jnp.array([0, 1])),
        r"generation: got shape \(2,\), want \(\)",
    ),
    "a weight for all": (
        lambda: de.denoisers.posterior_mean(X, X, X, jnp.zeros(1), 1.0),
        r"log_weight: got shape \(1,\), want \(4,\)",
    ),
    "a precision for each": (
        lambda: de.denoisers.posterior_mean(X, X, X, jnp.zeros(4), jnp.ones(2)),
        r"precision: got shape \(2,\), want \(\)",
    ),
    "a negative precision": (
        lambda: de.denoisers.posterior_weights(X, X, jnp.zeros(4), -1.0),
        r"precision: got -1\.0, want a number >= 0",
    ),
    "points of another dimension": (
        lambda: de.denoisers.posterior_mean(X[:, :1], X, X, jnp.zeros(4), 1.0),
        r"queries: got shape \(4, 1\), want \(4, 2\)",
    ),
    "one point": (
        lambda: de.denoisers.gaussian_mean(X[0], X, jnp.zeros(4), 1.0),
        r"y: got shape \(2,\), want \(2, 2\)",
    ),
    "more points than values": (
        lambda: de.denoisers.gaussian_mean(np.ones((5, 2)), X, jnp.zeros(4), 1.0),
        r"own: got True with 4 values, want 5 or more",
    ),
    "attention to keys of another dimension": (
        lambda: de.attention.attend(X[:, :1], X, X, X[:, 0], np.arange(4, dtype=np.int32)),
        r"queries: got shape \(4, 1\), want \(4, 2\)",
    ),
    "attention to own keys that are no numbers of keys": (
        lambda: de.attention.attend(X, X, X, X[:, 0], X[:, 0]),
        r"own: got float32, want integer numbers",
    ),
    "a floor of 0": (
        lambda: de.attention.attend(
            X, X, X, X[:, 0], np.arange(4, dtype=np.int32), floor=0.0
        ),
        r"floor: got 0\.0, want None or > 0",
    ),
    "more than there are": (
        lambda: de.metrics.top(X, X[:, 0], 5),
        r"count: got 5, want an int <= N = 4",
    ),
    "fitness of others": (
        lambda: de.metrics.top(X, np.zeros(3), 2),
        r"fitness: got shape \(3,\), want \(4,\)",
    ),
    "a box that is none": (
        lambda: de.metrics.qd_score(X, X[:, 0], low=4.0, high=-4.0),
        r"low: got 4\.0, want a number < high",
    ),
    "a level in per cent": (
        lambda: de.sweeps.interval([1.0, 2.0], 95),
        r"level: got 95, want a number in \(0, 1\)",
    ),
    "an interval of one": (
        lambda: de.sweeps.interval([1.0]),
        r"values: got shape \(1,\), want \(R,\) with R >= 2",
    ),
    "negative noise": (
        lambda: de.noise.diffuse(KEY, X, -1.0),
        r"sigma: got -1\.0, want a number >= 0",
    ),
    "an answer that is complex": (
        lambda: de.sample(KEY, lambda y, sigma: y * 1j, **SAMPLE, num_levels=3),
        r"denoise: got an answer of complex64, want floats",
    ),
    "no devices": (
        lambda: de.run(
            jax.random.split(KEY), STRATEGY, PROBLEM, population_size=4, devices=[]
        ),
        r"devices: got none, want at least one",
    ),
    "no devices of a sweep": (
        lambda: de.sweep(KEY, STRATEGY, PROBLEM, population_size=4, devices=[]),
        r"devices: got none, want at least one",
    ),
    "no folder": (
        lambda: de.sweep(KEY, STRATEGY, PROBLEM, population_size=4, folder=""),
        r"folder: got '', want a path",
    ),
    "no cache": (lambda: de.use_cache(""), r"directory: got '', want a path"),
    "one field twice": (
        lambda: de.sweep(
            KEY,
            STRATEGY,
            PROBLEM,
            population_size=4,
            axes={("sampler.eta", "eta"): [(0.0, 1.0)]},
        ),
        r"axes: \('sampler\.eta', 'eta'\): got one field twice, want each once",
    ),
    "no field of the part": (
        lambda: de.replace(de.DiffusionEvolution(3, grid=de.noise.Cosine()), sigma_max=1.0),
        r"has no field 'sigma_max'.*want one of .*sampler.eta, grid, grid.margin",
    ),
    "no component": (lambda: de.replace(3, eta=1.0), r"component: got 3, want"),
    "no dataset": (lambda: de.sweeps.ranking({}), r"dataset: got \{\}, want an xarray"),
    "a field of a part": (
        lambda: de.DiffusionEvolution(25, guidance=1.0),
        r"DiffusionEvolution: got an unexpected keyword argument 'guidance', want "
        r"arguments among num_generations, denoiser, sampler, grid; .* by replace",
    ),
    "a field of a part, for several": (
        lambda: de.DiffusionEvolution.for_several(50, guidance=2.0),
        r"for_several: got an unexpected keyword argument 'guidance', want .* by replace",
    ),
    "numbers that are many": (
        lambda: de.DiffusionEvolution.for_several("x"),
        r"num_generations: got 'x' \(str\), want an int",
    ),
}


@pytest.mark.parametrize(("called", "message"), NOT_SO.values(), ids=NOT_SO)
def test_what_is_of_the_right_kind_and_wrong_is_named(called, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        called()


def test_an_argument_that_is_not_checked_is_noticed() -> None:
    def plain(points: jax.Array, count: int = 1) -> jax.Array:
        return points[:count]

    place = Place(plain, "count", int, "argument")
    assert attack(place, None) == "accepted"
    assert "slice indices" in str(attack(place, "x"))
    assert attack(place._replace(owner=annotations.checked(plain)), "x") is None


def test_a_field_that_is_not_checked_is_noticed() -> None:
    class Loose(de.samplers.DDIM):
        """Its annotation promises nothing."""

        frozen: Any = pytree.static(default=False)

    place = Place(pytree.dataclass(Loose), "frozen", bool, "static")
    assert attack(place, "no") == "accepted"
    assert attack(Place(de.samplers.Heun, "frozen", bool, "static"), "no") is None
