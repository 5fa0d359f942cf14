"""A flag for every number and every part of a strategy and a problem, made by tyro."""

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
)

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.cli import parts, streams
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.problems import Control
from diffevo_jax.pytree import paths
from diffevo_jax.running.published import Experiment
from diffevo_jax.sweeps import fields
from diffevo_jax.sweeps.fields import Whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Fields whose own fields are flags without a prefix.
_FLAT = ("denoiser", "policy")

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")


class Request(NamedTuple, Generic[OptionsT]):
    """What a command line asks for.

    Attributes:
        options: those of the command.
        strategy: what evolves.
        problem: what is maximised.
    """

    options: OptionsT
    strategy: Strategy
    problem: Problem


def parse(
    options: OptionsT, experiment: Experiment, args: list[str], prog: str
) -> "Request[OptionsT]":
    """What the flags ask for.

    Args:
        options: a dataclass of other flags, with defaults.
        experiment: the strategy and the problem without flags.
        args: the flags.
        prog: the command, for its help.

    Raises:
        UsageError: a flag is unknown, or has no such value.
        SystemExit: the help is printed.
    """
    before = start(experiment)
    whole = choose(before, values(args))
    args = spelled(args, options, whole)
    groups = {"options": options, "strategy": whole.strategy, "problem": whole.problem}
    known = [(name, _named(type(group), ""), group) for name, group in groups.items()]
    about = "what evolves; it has flags of its own, and keeps the number of generations"
    kind = _class_flag(whole, "strategy", about=about)
    chosen = ("chosen", kind, parts.kebab(whole.strategy))
    form = dataclasses.make_dataclass("Request", [*known, chosen])
    registry = ConstructorRegistry()
    registry.struct_rule(lambda info: _rule(info, type(options)))
    about = f"{parts.docs(type(whole.problem))['']} Defaults are as published."
    filled = _ask(form, args=args, prog=prog, description=about, registry=registry)
    problem = filled.problem
    if isinstance(problem, Control) and pytree.equal(
        problem.env_params, paths.get(before.problem, "env_params")
    ):  # as constants of the program they are faster
        problem = pytree.replace(problem, env_params=None)
    options = _at_home(filled.options, values(args))
    return Request(options, filled.strategy, problem)


def _at_home(options: OptionsT, words: dict[str, str]) -> OptionsT:
    """Paths with the home folder in the place of ``~``, also where no shell has put it.

    An empty one, as of a variable that is not set, would be the current folder.
    """
    given = {
        name: value for name, value in vars(options).items() if isinstance(value, Path)
    }
    if empty := [name for name in given if words.get(name) == ""]:
        raise UsageError(f"--{empty[0]}: got '', want a path")
    try:
        found = {name: path.expanduser() for name, path in given.items()}
    except RuntimeError as error:
        raise UsageError(f"got {', '.join(map(str, given.values()))}: {error}") from error
    return dataclasses.replace(options, **found)


def start(experiment: Experiment) -> Whole:
    """Where the paths of flags start: with the parameters of an environment."""
    problem: Problem = experiment.problem
    if isinstance(problem, Control):
        problem = problem.with_env_params()
    return Whole(experiment.strategy, problem, experiment.population_size)


def values(args: Sequence[str]) -> dict[str, str]:
    """What follows each flag."""
    words = itertools.pairwise(word for arg in args for word in arg.split("=", 1))
    return {flag.removeprefix("--"): word for flag, word in words if flag[:2] == "--"}


def flags_of(whole: Whole) -> dict[str, str]:
    """All flags of a strategy and a problem, with underscores, and the paths they mean.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import flags
        >>> whole = flags.start(de.published.landscape("beale"))
        >>> flags.flags_of(whole)["kernel.kappa"]
        'strategy.denoiser.kernel.kappa'
    """
    found = {"strategy": "strategy"}
    for part, component in (("strategy", whole.strategy), ("problem", whole.problem)):
        found |= _flags_below(component, "", f"{part}.")
    return found


def _flags_below(component: PyTree, prefix: str, path: str) -> dict[str, str]:
    """Flags of a component, parts before their own flags."""
    found = {}
    for name, value, hint in parts.fields(component):
        if hint or pytree.is_component(value):
            found[prefix + name] = path + name
        if not hint:
            below = prefix if name in _FLAT else f"{prefix}{name}."
            found |= _flags_below(value, below, f"{path}{name}.")
    return found


def find_flag(flags: dict[str, str], word: str) -> str | None:
    """The flag that a word means: its name, or any ending of its path; None if none.

    Raises:
        ValueError: it could mean several.
    """
    name = word.replace("-", "_")
    if name in flags:
        return name
    path = fields.find_path(flags.values(), name)
    return next((flag for flag in flags if flags[flag] == path), None)


def choose(whole: Whole, words: dict[str, str]) -> Whole:
    """Give parts the classes that flags name, with their own defaults; the first counts.

    A part is chosen before those that it has itself.
    """
    done: set[str] = set()
    while True:
        flags, asked = flags_of(whole), dict[str, str]()
        for word, value in words.items():
            with contextlib.suppress(ValueError):  # it may mean one when others are chosen
                path = flags.get(find_flag(flags, word) or "", "")
                if path not in (*done, *asked) and _is_part(whole, path):
                    asked[path] = value
        if not asked:
            return whole
        path = min(asked, key=lambda path: path.count("."))
        done.add(path)
        owner, name = _owner(whole, path)
        cls, part = parts.class_named(owner, name, asked[path]), paths.get(whole, path)
        if cls is not None and cls is not type(part):
            whole = paths.put(whole, path, parts.with_defaults(cls, owner, name))


def spelled(args: Sequence[str], options: "DataclassInstance", whole: Whole) -> list[str]:
    """Flags in full, and names of classes, as tyro knows them; others as they are."""
    own, flags = {field.name for field in dataclasses.fields(options)}, flags_of(whole)
    found, path = [], ""
    for arg in args:
        word, mark, value = arg.partition("=")
        if not arg.startswith("--") or word[2:].replace("-", "_") in own:
            found.append(_class(whole, path, arg))
            path = ""
            continue
        flag = _flag(flags, word[2:])
        path = flags.get(flag, "")
        found.append(f"--{flag}".replace("_", "-") + mark + _class(whole, path, value))
        path = "" if mark else path
    return found


def _flag(flags: dict[str, str], word: str) -> str:
    """A flag in full, also one that says no."""
    try:
        flag, (head, dot, last) = find_flag(flags, word), word.rpartition(".")
        if flag is None and last.startswith("no-"):
            whole = find_flag(flags, head + dot + last.removeprefix("no-"))
            if whole is not None:
                head, dot, last = whole.rpartition(".")
                return f"{head}{dot}no-{last}"
    except ValueError as error:
        raise UsageError(f"--{word}: {error}") from None
    return flag or word


def _class(whole: Whole, path: str, word: str) -> str:
    if not word or not _is_part(whole, path):
        return word
    cls = parts.class_named(*_owner(whole, path), word)
    return word if cls is None else parts.kebab(cls)


def _owner(whole: Whole, path: str) -> tuple[Any, str]:
    above, _, name = path.rpartition(".")
    return (paths.get(whole, above) if above else whole), name


def _is_part(whole: Whole, path: str) -> bool:
    return bool(path) and pytree.is_component(paths.get(whole, path))


def _ask(form: type, prog: str, **options: Any) -> PyTree:
    """Ask tyro, and turn its boxes into one line."""
    printed, shown = streams.Captured(), streams.Captured()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(shown):
            return tyro.cli(form, prog=prog, **options)
    except SystemExit as end:
        if not end.code:
            streams.say(shown.getvalue())
            raise
    box = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]  # the first is a title
    is_rule = lambda line: not line.strip("╰╯─-")
    text = itertools.dropwhile(is_rule, lines)
    message = " ".join(itertools.takewhile(lambda line: not is_rule(line), text))
    close = re.findall(r"^[│ ]+(--[a-z][\w.-]*)", box.partition("meant:")[2], re.M)
    hint = f"; closest: {', '.join(close)}" if close else f"; see '{prog} --help'"
    unknown = re.findall(r"--[a-z][\w.-]*", message.partition("Unrecognized")[2])
    renamed = [hint_at(word, ()) for word in unknown]
    raise UsageError(f"{_plain(message.rstrip('.'))}{''.join(renamed) or hint}")


def _plain(message: str) -> str:
    """What tyro says of a word that is no number, as all others here say it.

    Example:
        >>> from diffevo_jax.cli import flags
        >>> flags._plain("Error parsing --rate: could not convert string to float: 'x'")
        "--rate: got 'x', want a number"
    """
    said = r"Error parsing (--[\w.-]+): .*?\b(int|float)\b.*?((['\"]).*\4)\]?"
    if (found := re.fullmatch(said, message, re.IGNORECASE)) is None:
        return message
    want = {"int": "an int", "float": "a number"}[found[2].lower()]
    return f"{found[1]}: got {found[3]}, want {want}"


def _rule(info: StructTypeInfo, options: type) -> StructConstructorSpec | None:
    """How tyro makes a component: what has a flag is replaced, the rest is kept."""
    component = info.default
    if not dataclasses.is_dataclass(component) or isinstance(component, options):
        return None
    known = vars(component)  # the other values have chosen classes
    fill = lambda **values: pytree.replace(
        component, **{name: value for name, value in values.items() if name in known}
    )
    return StructConstructorSpec(fill, tuple(_flags(component)))


def _flags(component: PyTree) -> Iterator[StructFieldSpec]:
    """A flag for every number; for every part one for its class, and a group of its own."""
    docs = parts.docs(type(component))
    for name, value, hint in parts.fields(component):
        text = docs.get(name)
        if pytree.is_component(value):
            chosen = parts.kebab(value)
            if chosen in parts.family(component, name):  # else no word makes one
                kind = _class_flag(component, name)
                yield StructFieldSpec(f"{name}:", kind, chosen, text)
            text = f"{chosen}: {parts.docs(type(value))['']}"
        kind = _named(hint or type(value), "" if name in _FLAT else None)
        yield StructFieldSpec(name, kind, value, text)


def _class_flag(owner: PyTree, name: str, about: str | None = None) -> PyTree:
    """The type of a flag that names the class of a part."""
    return _named(Literal[tuple(parts.family(owner, name))], name, about)


def _named(kind: object, name: str | None, about: str | None = None) -> PyTree:
    """A type of flags of another name, with a help of its own."""
    return Annotated[kind, tyro.conf.arg(name=name, help=about)]
