"""What a sweep runs: settings, and groups of them that one program can run."""

import contextlib
import inspect
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.pytree import paths, validation
from diffevo_jax.pytree.objects import described
from diffevo_jax.running.arguments import check_run
from diffevo_jax.sweeps.fields import Whole, find_path, full_path, label, with_environment

#: An axis: values, or labels and values; of several fields together, tuples of values.
Axes = Mapping[str | tuple[str, ...], Sequence[Any] | Mapping[str, Any]]


class Setting(NamedTuple):
    """One point of a sweep.

    Attributes:
        values: what is swept, as :func:`diffevo_jax.sweeps.fields.label` names it: a
            number, or what stands for a value.
        strategy: with the values in place.
        problem: with the values in place.
        population_size: N.
    """

    values: dict[str, Any]
    strategy: Strategy
    problem: Problem
    population_size: int


class Group(NamedTuple):
    """Settings that differ in numbers only: one program runs them all.

    Attributes:
        numbers: which settings they are, in the order of the sweep.
        varying: leaves of strategy and problem that differ, ``(K, ...)`` each; None for
            those that do not.
        fixed: leaves that are equal in all; None for those that vary.
        structure: of the pair of strategy and problem.
        population_size: N.
        num_generations: of the strategy.
    """

    numbers: list[int]
    varying: tuple[np.ndarray | None, ...]
    fixed: tuple[Any, ...]
    structure: jax.tree_util.PyTreeDef
    population_size: int
    num_generations: int


def settings_of(
    strategy: Strategy,
    problem: Problem,
    population_size: int | None,
    axes: Axes | None,
) -> list[Setting]:
    """All settings of a sweep; see :func:`diffevo_jax.sweep`.

    Raises:
        ValueError: an axis names no field, is empty, or lengths do not match.
    """
    names = [name for given in axes or {} for name in _names(given)]
    try:
        whole = with_environment(Whole(strategy, problem, population_size), names)
        rows = [_axis(whole, given, values) for given, values in (axes or {}).items()]
        rows = [_zipped(whole), *rows]
        labels = {path: label(whole, path) for row in rows for path in row[0]}
        swept = [path for row in rows for path in row[0]]
        for path in swept:
            if swept.count(path) > 1:
                raise ValueError(f"{labels[path]!r} is swept twice")
        # A part before its own fields, or it would undo them.
        ordered = {path: labels[path] for path in sorted(swept, key=_depth)}
        return [_setting(whole, ordered, parts) for parts in itertools.product(*rows)]
    except ValueError as error:
        raise ValueError(f"axes: {error}") from None


def _setting(
    whole: Whole, labels: Mapping[str, str], parts: Sequence[dict[str, Any]]
) -> Setting:
    values = {path: value for part in parts for path, value in part.items()}
    changed = whole
    for path, name in labels.items():
        # A part of another axis may have the field elsewhere, or not at all.
        known = list(paths.names(changed))
        place = path if path in known else find_path(known, name)
        if place is None:
            raise ValueError(f"{name!r}: a value of another axis has no such field")
        changed = paths.put(changed, place, values[path][1])
    named = {labels[path]: name for path, (name, _) in values.items()}
    return Setting(named, *vars(changed).values())


def _names(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return given if isinstance(given, tuple) else (given,)


def _depth(path: str) -> int:
    return path.count(".")


def _zipped(whole: Whole) -> list[dict[str, Any]]:
    """Rows of the leaves that have an axis of their own, which go together."""
    found = paths.swept(whole)
    if len(set(found.values())) > 1 or 0 in found.values():
        lengths = ", ".join(f"{label(whole, name)} {n}" for name, n in found.items())
        raise ValueError(f"got lengths {lengths}, want equal ones, not 0")
    count = next(iter(found.values()), 1)
    columns = {name: np.asarray(paths.get(whole, name)) for name in found}
    rows = []
    for number in range(count):
        row = {}
        for name, column in columns.items():
            # A leaf with axes of its own has no one number that could be its label.
            shown = float(column[number]) if column.ndim == 1 else number
            row[name] = (shown, column[number])
        rows.append(row)
    return rows


def _axis(
    whole: Whole, given: str | tuple[str, ...], values: Collection[Any]
) -> list[dict[str, Any]]:
    full = [full_path(whole, name) for name in _names(given)]
    if len(set(full)) < len(full):
        raise ValueError(f"{given!r}: got one field twice, want each once")
    single = isinstance(values, str) or (_is_array(values) and values.ndim == 0)
    if single or not isinstance(values, Collection) or not len(values):
        raise ValueError(f"{given!r}: got {values!r}, want a sequence of values")
    shown = list(values) if isinstance(values, Mapping) else [None] * len(values)
    items = values.values() if isinstance(values, Mapping) else values
    rows = []
    for name, item in zip(shown, items, strict=True):
        parts = item if isinstance(given, tuple) else (item,)
        if not isinstance(parts, Sequence) or len(parts) != len(full):
            raise ValueError(
                f"{given!r}: got {item!r}, want {len(full)} values, one for each field"
            )
        rows.append(
            {
                path: (_shown(part) if name is None else name, part)
                for path, part in zip(full, parts, strict=True)
            }
        )
    return rows


def _shown(value: object) -> str | float:
    """How a value stands in the table."""
    if isinstance(value, bool | str) or value is None:
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) or (_is_array(value) and value.ndim == 0):
        return float(value)
    if inspect.isfunction(value) or inspect.isclass(value):
        return str(value.__name__)
    return described(value)


def _is_array(value: object) -> TypeGuard[np.ndarray | jax.Array]:
    return isinstance(value, np.ndarray | jax.Array)


def check_settings(key: jax.Array, settings: Sequence[Setting]) -> None:
    """Raise the first thing that is wrong with a setting, and say with which.

    What only the structure decides, such as whether a policy fits its environment, is
    found out once for each structure: it takes as long as a hundred other checks.

    Raises:
        ValueError: a number is out of range, or a count is wrong.
        TypeError: a value has the wrong type.
    """
    known: set[Any] = set()
    for number, (_, strategy, problem, size) in enumerate(settings):
        leaves, structure = jax.tree.flatten((strategy, problem))
        shape = (structure, size, *map(np.shape, leaves))
        with named_in_errors(settings, number):
            if shape not in known:
                check_run(key, strategy, problem, size, None, ())
                known.add(shape)
                continue
            for part in filter(pytree.is_component, (strategy, problem)):
                validation.validate(part, shapes=False)


@contextlib.contextmanager
def named_in_errors(settings: Sequence[Setting], number: int) -> Iterator[None]:
    """Say in an error with which setting it came."""
    values = settings[number].values
    named = ", ".join(f"{name}={value}" for name, value in values.items())
    where = f"setting {number} ({named}): " if named else ""
    try:
        yield
    except Exception as error:
        if where and type(error) in (TypeError, ValueError):
            raise type(error)(f"{where}{error}") from error
        if where:  # others are not made of a message alone
            error.add_note(f"in {where[:-2]}")
        raise


def grouped(settings: Sequence[Setting]) -> list[Group]:
    """Groups in the order of their first settings."""
    members: dict[Any, list[int]] = {}
    leaves_of, structures = [], []
    for number, setting in enumerate(settings):
        leaves, structure = jax.tree.flatten((setting.strategy, setting.problem))
        leaves_of.append([np.asarray(leaf) for leaf in leaves])
        structures.append(structure)
        shapes = tuple(leaf.shape for leaf in leaves_of[-1])
        members.setdefault((structure, shapes, setting.population_size), []).append(number)
    found = []
    for (structure, _, size), numbers in members.items():
        columns = zip(*(leaves_of[number] for number in numbers), strict=True)
        varying, fixed = [], []
        for column in columns:
            same = all(np.array_equal(leaf, column[0]) for leaf in column)
            varying.append(None if same else np.stack(column))
            fixed.append(column[0] if same else None)
        length = settings[numbers[0]].strategy.num_generations
        group = Group(numbers, tuple(varying), tuple(fixed), structure, size, length)
        found.append(group)
    return found


def assemble(
    structure: jax.tree_util.PyTreeDef, leaves: Sequence[Any]
) -> tuple[Strategy, Problem]:
    """The pair of strategy and problem, of strong numbers."""
    pair: PyTree = jax.tree.unflatten(structure, leaves)
    strategy, problem = pair
    return pytree.strong(strategy), pytree.strong(problem)
