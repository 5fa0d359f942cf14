"""A flag for every number and every part of a strategy and a problem, made by tyro."""

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec

from diffevo_jax import pytree
from diffevo_jax.cli import parts
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.problems import Control, control
from diffevo_jax.running import published

#: Fields whose own fields are flags without a prefix.
_FLAT = ("policy",)


def parse(options: Any, protocol: published.Protocol, args: list[str], prog: str) -> Any:
    """The ``options``, ``strategy`` and ``problem`` that the flags ask for.

    Args:
        options: a dataclass of other flags, with defaults.
        protocol: the strategy and the problem without flags.
        args: the flags.
        prog: the command, for its help.

    Raises:
        UsageError: a flag is unknown, or has no such value.
        SystemExit: the help is printed.
    """
    problem, env_params = protocol.problem, None
    if isinstance(problem, Control):
        env_params = control.environment(problem.env_name)[1]
        problem = pytree.replace(problem, env_params=env_params)
    words = values(args)
    groups: dict[str, Any] = {
        "options": options,
        "strategy": parts.choose(protocol.strategy, words),
        "problem": parts.choose(problem, words),
    }
    bare = tyro.conf.arg(name="")
    fields = [(name, Annotated[type(group), bare], group) for name, group in groups.items()]
    form = dataclasses.make_dataclass("Settings", fields)
    registry = ConstructorRegistry()
    registry.struct_rule(lambda info: _rule(info, type(options)))
    about = f"{parts.docs(type(problem))['']} Defaults are as published."
    settings = _ask(form, args=args, prog=prog, description=about, registry=registry)
    if env_params is not None and pytree.equal(settings.problem.env_params, env_params):
        # As constants of the program they are faster.
        settings.problem = pytree.replace(settings.problem, env_params=None)
    return settings


def values(args: Sequence[str]) -> dict[str, str]:
    """What follows each word; for a flag, its value."""
    return dict(itertools.pairwise(word for arg in args for word in arg.split("=", 1)))


def names(component: Any, prefix: str = "") -> Iterator[str]:
    """Names of all flags of a component, with underscores, parts before their own flags.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import flags
        >>> list(flags.names(de.problems.MLP()))
        ['hidden', 'activation']
    """
    for name, value, hint in parts.fields(component):
        if hint or pytree.is_component(value):
            yield prefix + name
        if not hint:
            yield from names(value, prefix if name in _FLAT else f"{prefix}{name}.")


def _ask(form: Any, **options: Any) -> Any:
    """Ask tyro, and turn its boxes into one line."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(form, **options)
    except SystemExit as end:
        if not end.code:
            raise
    box = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]  # the first is a title
    is_rule = lambda line: not line.strip("╰╯─-")
    text = itertools.dropwhile(is_rule, lines)
    message = " ".join(itertools.takewhile(lambda line: not is_rule(line), text))
    close = re.findall(r"^[│ ]+(--[a-z][\w.-]*)", box.partition("meant:")[2], re.M)
    hint = f"closest: {', '.join(close)}" if close else f"see '{options['prog']} --help'"
    raise UsageError(f"{message.rstrip('.')}; {hint}")


def _rule(info: Any, options: type) -> Any:
    """How tyro makes a component: what has a flag is replaced, the rest is kept."""
    component = info.default
    if not dataclasses.is_dataclass(component) or isinstance(component, options):
        return None
    known = vars(component)  # the other values have chosen classes
    fill = lambda **values: pytree.replace(
        component, **{name: value for name, value in values.items() if name in known}
    )
    return StructConstructorSpec(fill, tuple(_flags(component)))


def _flags(component: Any) -> Iterator[Any]:
    """A flag for every number; for every part one for its class, and a group of its own."""
    docs = parts.docs(type(component))
    for name, value, hint in parts.fields(component):
        text = docs.get(name)
        if pytree.is_component(value):
            classes: Any = Literal[tuple(parts.family(component, name))]
            classes = Annotated[classes, tyro.conf.arg(name=name)]
            chosen = parts.kebab(value)
            yield StructFieldSpec(f"{name}:", classes, chosen, text)
            text = f"{chosen}: {parts.docs(type(value))['']}"
        kind: Any = hint or type(value)
        kind = Annotated[kind, tyro.conf.arg(name="" if name in _FLAT else None)]
        yield StructFieldSpec(name, kind, value, text)
