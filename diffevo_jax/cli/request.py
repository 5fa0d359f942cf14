"""What a command line asks for: its words, and the keys of a file, become fields.

Both are found in :mod:`diffevo_jax.cli.flags`, and put into the fields that they mean:
first the classes of parts, then the numbers.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.cli import flags, parts, values
from diffevo_jax.cli.classes import with_classes
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.flags import Flag
from diffevo_jax.cli.naming import Names, said_by
from diffevo_jax.cli.words import HELP, Given
from diffevo_jax.problems import Control
from diffevo_jax.pytree import paths
from diffevo_jax.running.published import Experiment
from diffevo_jax.sweeps.fields import Whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Options that may be given again, and mean all of it.
_REPEATED = ("axis",)
#: Flags that another command has, and what to take here.
_INSTEAD = MappingProxyType(
    {"-o": "; want --out", "--plot": "; 'diffevo report' draws the file of --out"}
)
OptionsT = TypeVar("OptionsT", bound="DataclassInstance")


class Request(NamedTuple, Generic[OptionsT]):
    """What a command line asks for.

    Attributes:
        options: those of the command.
        strategy: what evolves.
        problem: what is maximised.
        typed: paths of fields that were asked for, and how an error calls them.
    """

    options: OptionsT
    strategy: Strategy
    problem: Problem
    typed: Mapping[str, str] = MappingProxyType({})

    @property
    def names(self) -> Names:
        """What errors call the fields."""
        options = [field.name for field in dataclasses.fields(self.options)]
        return Names(options, flags.start_of(self.strategy, self.problem), self.typed)


def parse(
    options: OptionsT,
    experiment: Experiment,
    words: Sequence[Given],
    keys: Sequence[Given] = (),
    prog: str = "diffevo",
) -> "Request[OptionsT]":
    """What is asked for.

    Args:
        options: a dataclass of other flags, with defaults.
        experiment: the strategy and the problem without flags.
        words: of a command line. They count where a file says something else; a part whose
            class they name is not that of the file.
        keys: of a file.
        prog: the command, for its help.

    Raises:
        UsageError: a flag is unknown, or has no such value.
    """
    before = flags.start(experiment)
    typed: dict[str, str] = {}
    options, whole = _with(options, before, keys, typed)
    plain = with_classes(before, words) if keys else None
    options, whole = _with(options, whole, words, typed, plain, f"; see '{prog} --help'")
    for name, flag in flags.of_whole(whole).items():
        if flag.value is parts.MISSING and flag.kind is not None:
            raise UsageError(
                f"{flags.written(name)}: got no value, want {flag.kind.wanted}"
            )
    problem = whole.problem
    if isinstance(problem, Control) and pytree.equal(
        problem.env_params, paths.get(before.problem, "env_params")
    ):  # as constants of the program they are faster
        problem = pytree.replace(problem, env_params=None)
    return Request(options, whole.strategy, problem, typed)


def _with(
    options: OptionsT,
    whole: Whole,
    given: Sequence[Given],
    typed: dict[str, str],
    plain: Whole | None = None,
    help_: str = "",
) -> tuple[OptionsT, Whole]:
    """Options and whole with all that is given in its place; what was typed is added."""
    own = flags.of_options(options)
    whole = with_classes(whole, [one for one in given if _key(one) not in own], plain)
    known = own | {k: v for k, v in flags.of_whole(whole).items() if k not in own}
    found: dict[str, PyTree] = {}
    seen: dict[str, str] = {}
    for one in given:
        flag, negated = _find(known, one, help_)
        if one.typed and flag.path in seen:
            raise UsageError(
                f"{one.where}: got it twice, the other time as {seen[flag.path]}"
            )
        seen[flag.path] = one.name
        typed[flag.path] = one.where
        if flag.kind is None:
            continue
        with _named(one.where, help_ * (not one.typed)):
            if flag.path in _REPEATED and not one.value:
                raise ValueError("got no value, want FIELD=VALUES")
            value = _value(flag.kind, one, negated)
            more = found.get(flag.path, ()) if flag.path in _REPEATED else ()
            found[flag.path] = more + value if more else value
    changed = {name: found.pop(name) for name in own if name in found}
    with said_by(Names(list(own), whole, typed)):
        strategy = _filled(whole.strategy, "strategy", found)
        problem = _filled(whole.problem, "problem", found)
    options = dataclasses.replace(options, **changed)
    return options, dataclasses.replace(whole, strategy=strategy, problem=problem)


def _key(one: Given) -> str:
    return one.name.replace("-", "_")


def _find(known: Mapping[str, Flag], one: Given, help_: str) -> tuple[Flag, bool]:
    """What a name means; and whether it says no."""
    head, dot, last = one.name.rpartition(".")
    with _named(one.where, ""):
        flag = flags.find(known, one.name)
        if flag is None and last.startswith("no-") and not one.typed:
            flag = flags.find(known, head + dot + last.removeprefix("no-"))
            if flag is not None and flag.kind is not None and flag.kind.base is bool:
                return flag, True
            flag = None
    if flag is None and one.typed:
        inner = f"{one.name}."
        if one.value == {} and any(each.path.startswith(inner) for each in known.values()):
            raise UsageError(f"{one.where}: got {{}}, want keys in it, or no such table")
        raise UsageError(_unknown_key(known, one))
    if flag is None:
        spelled = flags.spellings(known) | {f"--{name}": f"--{name}" for name in HELP}
        hint = hint_at(one.where, spelled, spelled) or _INSTEAD.get(one.where) or help_
        raise UsageError(f"unknown flag {one.where}{hint}")
    return flag, False


def _unknown_key(known: Mapping[str, Flag], one: Given) -> str:
    """What to say of a key of a file that is none of its table."""
    table, _, key = one.name.partition(".")
    path = one.where.removesuffix(one.name).rstrip()
    of_table = {
        name: flag for name, flag in known.items() if flag.path.startswith(f"{table}.")
    }
    key_of = lambda spelled: spelled.removeprefix("--").replace("-", "_")
    spellings = flags.spellings(of_table).items()
    spelled = {key_of(one): key_of(full) for one, full in spellings}
    spelled = {one: full for one, full in spelled.items() if full in of_table}
    spelled |= {
        f"{spelling}.class": f"{full}.class"
        for spelling, full in spelled.items()
        if known[full].kind is None
    }
    hint = hint_at(key, [*spelled, "class"], spelled)
    return (
        f"{path} [{table}] got {key!r}{hint or ', want a key that --print-config prints'}"
    )


@contextlib.contextmanager
def _named(where: str, more: str) -> Iterator[None]:
    """Say in an error of what it is."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{where}: {error}{more}") from None


def _value(kind: values.Kind, one: Given, negated: bool) -> PyTree:
    if one.typed:
        value = values.of_toml(kind, one.value)
    else:
        value = values.of_words(kind, one.value)
    if negated and one.value:
        raise ValueError(f"got {' '.join(one.value)!r}, want no value")
    if not isinstance(value, Path):
        return not value if negated else value
    try:
        return value.expanduser()  # also where no shell has done it
    except RuntimeError as error:  # nobody has such a home
        raise ValueError(f"got {value}: {error}") from None


def _filled(component: PyTree, prefix: str, found: Mapping[str, PyTree]) -> PyTree:
    """A component with values at their paths, all of a part at once."""
    changes = {}
    for field in dataclasses.fields(component):
        path, value = f"{prefix}.{field.name}", vars(component)[field.name]
        if path in found:
            changes[field.name] = found[path]
        elif any(other.startswith(f"{path}.") for other in found):
            changes[field.name] = _filled(value, path, found)
    return pytree.replace(component, **changes) if changes else component
