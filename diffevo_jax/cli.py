"""The ``diffevo`` command: evolve something from the shell, and see how it went.

Its flags are written down nowhere: they are the fields of the strategy and the problem that
:mod:`diffevo_jax.protocols` has for a name. First the classes of their parts are chosen
(``--kernel tempered``); then tyro has a flag for each number of just these
(``--kernel.dimension 2``), with the help of their docstrings.
"""

import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Annotated, Any, Literal

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec

from diffevo_jax import parallel, protocols, pytree, report
from diffevo_jax.problems import Control, control, landscapes

USAGE = """\
usage: diffevo evolve NAME [flags]    evolve, and show how it went
       diffevo evolve NAME --help     the flags of NAME
       diffevo list                   the names
       diffevo --help | --version

NAME is a gymnax environment, such as cartpole, or a landscape, such as himmelblau.
Capitals, dashes and the version may be left out. Without flags it runs as published.

  diffevo evolve cartpole --seeds 8 --kernel tempered --kernel.dimension 3 --json out.json
"""
#: Fields that follow from NAME, so that they are no flags.
_DECIDED = ("env_name", "name", "num_outputs")
#: Fields whose own fields are flags without a prefix.
_FLAT = ("policy",)
_PLAIN = {int, float, bool, str, type(None), Ellipsis}


class UsageError(ValueError):
    """The command line asks for what cannot be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None takes those of the process.

    Returns:
        Exit code: 0, or 2 if the arguments are wrong, or 130 if interrupted.

    Example:
        >>> from diffevo_jax import cli
        >>> cli.main(["--version"])
        diffevo 0...
        0
    """
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:  # the reader has seen enough, as in: diffevo list | head
        return 141
    except (UsageError, OSError) as error:
        sys.stderr.write(f"diffevo: error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("diffevo: interrupted before the first result\n")
        return 130


def _command(argv: list[str]) -> int:
    if argv and argv[-1] in ("-h", "--help") and argv[:-1] in ([], ["evolve"], ["list"]):
        sys.stdout.write(USAGE)
    elif argv == ["--version"]:
        sys.stdout.write(f"diffevo {metadata.version('diffevo-jax')}\n")
    elif argv == ["list"]:
        sys.stdout.write("\n".join((*landscapes.NAMES, *_environments())) + "\n")
    elif argv[:1] == ["evolve"]:
        return _evolve(argv[1:])
    else:
        raise UsageError(f"got {' '.join(argv)!r}, want 'evolve NAME', 'list' or '--help'")
    return 0


def _evolve(args: list[str]) -> int:
    if not args or args[0].startswith("-"):
        raise UsageError("evolve: want a NAME before the flags; see 'diffevo list'")
    parallel.use_all_cores()
    try:
        name, protocol = _protocol(args[0])
        settings = _parse(protocol, args[1:], f"diffevo evolve {args[0]}")
        keys = report.check(settings)
    except SystemExit:  # the help is printed
        return 0
    except (ImportError, TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    outcome = report.follow(name, settings, keys)
    report.show(outcome)
    report.save(outcome, settings.options)
    return 130 if outcome.interrupted else 0


def _environments() -> tuple[str, ...]:
    import gymnax  # here, not above: it pulls in pandas and seaborn, which takes seconds

    return tuple(gymnax.registered_envs)


def _protocol(given: str) -> tuple[str, protocols.Protocol]:
    """The full name and its published setting; dashes, case and version do not matter."""
    letters = lambda name: re.sub(r"-v\d+$|[-_ ]", "", name.lower())
    known = {letters(name): name for name in landscapes.NAMES}
    if letters(given) not in known:
        known |= {letters(name): name for name in _environments()}
    name = known.get(letters(given))
    if name is not None:
        make = protocols.landscape if name in landscapes.NAMES else protocols.control
        return name, make(name)
    close = [known[near] for near in difflib.get_close_matches(letters(given), known)]
    hint = f"closest: {', '.join(close)}; " if close else ""
    raise UsageError(f"unknown name {given!r}; {hint}see 'diffevo list'")


def _parse(protocol: protocols.Protocol, args: list[str], prog: str) -> Any:
    """The ``options``, ``strategy`` and ``problem`` that the flags ask for."""
    problem, env_params = protocol.problem, None
    if isinstance(problem, Control):
        env_params = control.environment(problem.env_name)[1]
        problem = pytree.replace(problem, env_params=env_params)
    words = dict(itertools.pairwise(word for arg in args for word in arg.split("=", 1)))
    groups: dict[str, Any] = {
        "options": report.Options(protocol.population_size),
        "strategy": _choose(protocol.strategy, words),
        "problem": _choose(problem, words),
    }
    bare = tyro.conf.arg(name="")
    fields = [(name, Annotated[type(group), bare], group) for name, group in groups.items()]
    form = dataclasses.make_dataclass("Settings", fields)
    registry = ConstructorRegistry()
    registry.struct_rule(_rule)
    about = f"{_docs(type(problem))['']} Defaults are as published."
    settings = _ask(form, args=args, prog=prog, description=about, registry=registry)
    if env_params is not None and pytree.equal(settings.problem.env_params, env_params):
        # As constants of the program they are faster.
        settings.problem = pytree.replace(settings.problem, env_params=None)
    return settings


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


def _choose(owner: Any, words: dict[str, str]) -> Any:
    """Give parts the classes that the command line names, with their own defaults."""
    changes = {}
    for name, part in vars(owner).items():
        if pytree.is_component(part):
            cls = _family(owner, name).get(words.get(f"--{name}", ""), type(part))
            if cls is not type(part):
                # Both are dataclasses.MISSING where there is no default.
                fields = dataclasses.fields(cls)
                wanted = [f.name for f in fields if f.default is f.default_factory]
                changes[name] = cls(**dict.fromkeys(wanted, tyro.MISSING))
    return pytree.replace(owner, **changes)


def _family(owner: Any, name: str) -> dict[str, Any]:
    """Classes that a part can have: those beside its own that keep the field's contract.

    Without those that need what no flag can say, as a function.
    """
    package = ".".join(type(getattr(owner, name)).__module__.split(".")[:2])
    contract = vars(typing.get_type_hints(type(owner))[name])
    promises = [promise for promise in contract if not promise.startswith("_")]
    return {
        _kebab(cls): cls
        for cls in vars(sys.modules[package]).values()
        if getattr(cls, "__module__", "").startswith(package)
        and hasattr(cls, "__is_component__")
        and all(hasattr(cls, promise) for promise in promises)
        and all(map(_has_flag, dataclasses.fields(cls)))
    }


def _has_flag(field: Any) -> bool:
    has_default = field.default is not field.default_factory
    return has_default or "number" in field.metadata or field.type is int


def _rule(info: Any) -> Any:
    """How tyro makes a component: what has a flag is replaced, the rest is kept."""
    component = info.default
    if not dataclasses.is_dataclass(component) or isinstance(component, report.Options):
        return None
    known = vars(component)  # the other values have chosen classes
    fill = lambda **values: pytree.replace(
        component, **{name: value for name, value in values.items() if name in known}
    )
    return StructConstructorSpec(fill, tuple(_flags(component)))


def _flags(component: Any) -> Iterator[Any]:
    """A flag for every number; for every part one for its class, and a group of its own."""
    docs, hints = _docs(type(component)), typing.get_type_hints(type(component))
    for field in dataclasses.fields(component):
        name, value = field.name, getattr(component, field.name)
        text = docs.get(name)
        hint: Any = None
        if pytree.is_component(value):
            hint = Literal[tuple(_family(component, name))]
            hint = Annotated[hint, tyro.conf.arg(name=name)]
            yield StructFieldSpec(f"{name}:", hint, _kebab(value), text)
            text = f"{_kebab(value)}: {_docs(type(value))['']}"
        if dataclasses.is_dataclass(value):
            hint = type(value)
        elif field.metadata.get("static"):
            inner = typing.get_args(hints[name]) or (hints[name],)
            hint = hints[name] if _PLAIN.issuperset(inner) else None
        elif "number" in field.metadata or isinstance(value, float):
            hint = float
        elif type(value) is int:  # of an environment
            hint = int
        if hint is not None and name not in _DECIDED:
            hint = Annotated[hint, tyro.conf.arg(name="" if name in _FLAT else None)]
            yield StructFieldSpec(name, hint, value, text)


def _docs(cls: type) -> dict[str, str]:
    """First line (under "") and argument descriptions of a class's docstring."""
    text = re.sub(r":\w+:`~?([^`]*)`|``", r"\1", inspect.getdoc(cls) or "")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.M)
    return {"": text.partition("\n")[0]} | {key: " ".join(v.split()) for key, v in found}


def _kebab(part: Any) -> str:
    name = (part if isinstance(part, type) else type(part)).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
