"""A flag for every number and every part of a strategy and a problem: which there are."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.cli import parts, values
from diffevo_jax.problems import Control
from diffevo_jax.pytree import paths
from diffevo_jax.running.published import Experiment
from diffevo_jax.sweeps import fields
from diffevo_jax.sweeps.fields import Whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Fields whose own fields are flags without a prefix.
_FLAT = ("denoiser", "policy")


class Flag(NamedTuple):
    """What a flag means.

    Attributes:
        path: of the field, in the whole; of an option its name.
        value: what it is now.
        kind: what it may be; None for a part, whose class it names.
        about: what its docstring says.
    """

    path: str
    value: PyTree
    kind: values.Kind | None
    about: str


def start(experiment: Experiment) -> Whole:
    """Where the paths of flags start: with the parameters of an environment."""
    return start_of(experiment.strategy, experiment.problem)


def start_of(strategy: Strategy, problem: Problem) -> Whole:
    """The same of a strategy and a problem."""
    if isinstance(problem, Control) and problem.env_params is None:
        problem = problem.with_env_params()
    return Whole(strategy, problem, None)


def plain(value: PyTree) -> PyTree:
    """A value as a word can say it; ``...`` if none can, as an array."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return value.item() if value.ndim == 0 else ...
    return value if isinstance(value, bool | int | float | str | tuple | None) else ...


def of_options(options: "DataclassInstance") -> dict[str, Flag]:
    """The flags of a command's own options, with underscores."""
    docs = parts.docs(type(options))
    return {
        field.name: Flag(
            field.name,
            vars(options)[field.name],
            values.kind_of(field.type),
            docs.get(field.name, ""),
        )
        for field in dataclasses.fields(options)
    }


def of_whole(whole: Whole) -> dict[str, Flag]:
    """All flags of a strategy and a problem, with underscores.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import flags
        >>> found = flags.of_whole(flags.start(de.published.landscape("beale")))
        >>> found["kernel.kappa"].path, found["kernel.kappa"].value
        ('strategy.denoiser.kernel.kappa', 1.0)
        >>> found["kernel"].kind is None  # a part
        True
    """
    about = "what evolves; another one keeps the number of generations"
    found = {"strategy": Flag("strategy", whole.strategy, None, about)}
    for part, component in (("strategy", whole.strategy), ("problem", whole.problem)):
        found |= _below(component, "", f"{part}.")
    return found


def _below(component: PyTree, prefix: str, path: str) -> dict[str, Flag]:
    """Flags of a component, parts before their own flags."""
    found, docs = {}, parts.docs(type(component))
    for name, value, hint in parts.fields(component):
        about = docs.get(name, "")
        if hint is not None:
            kind = values.kind_of(hint)
            found[prefix + name] = Flag(path + name, value, kind, about)
            continue
        if pytree.is_component(value):
            found[prefix + name] = Flag(path + name, value, None, about)
        below = prefix if name in _FLAT else f"{prefix}{name}."
        found |= _below(value, below, f"{path}{name}.")
    return found


def find(known: Mapping[str, Flag], word: str) -> Flag | None:
    """The flag that a word means: its name, or any ending of its path; None if none.

    Raises:
        ValueError: it could mean several.
    """
    name = word.replace("-", "_")
    if name in known:
        return known[name]
    by_path = {flag.path: flag for flag in known.values()}
    path = fields.find_path(by_path, name)
    return None if path is None else by_path.get(path)


def spellings(known: Mapping[str, Flag]) -> dict[str, str]:
    """All that means a flag, in the words of the command line, and the flag in full.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import flags
        >>> whole = flags.start(de.published.landscape("beale"))
        >>> flags.spellings(flags.of_whole(whole))["--kappa"]
        '--kernel.kappa'
    """
    found: dict[str, str] = {}
    for name, flag in known.items():
        words = flag.path.split(".")
        for count in range(1, len(words)):
            ending = ".".join(words[-count:])
            found[written(ending)] = "" if written(ending) in found else written(name)
    found |= {written(name): written(name) for name in known}
    for name, flag in known.items():
        if flag.kind is not None and flag.kind.base is bool:
            found[refused(name)] = refused(name)
    return {spelled: full for spelled, full in found.items() if full}


def written(name: str) -> str:
    """A flag as it stands on a command line."""
    return f"--{name}".replace("_", "-")


def refused(name: str) -> str:
    """A flag that says no: ``--no-progress``.

    Example:
        >>> from diffevo_jax.cli import flags
        >>> flags.refused("denoiser.diagonal")
        '--denoiser.no-diagonal'
    """
    head, dot, last = name.rpartition(".")
    return written(f"{head}{dot}no-{last}")


def classes(whole: Whole, path: str) -> dict[str, type]:
    """Classes that the part at a path can have, by name."""
    owner, name = _owner(whole, path)
    return parts.family(owner, name)


def with_class(whole: Whole, path: str, cls: type, plain: Whole | None = None) -> Whole:
    """A part of a class: as it is if it is of it, else with the defaults of the class.

    Args:
        whole: with the part.
        path: of the part.
        cls: wanted.
        plain: where it is taken from if it is of that class there; what has no default is
            still that of ``whole``.
    """
    owner, name = _owner(whole, path)
    part = vars(owner)[name]
    known = plain is not None and path in paths.names(plain)
    if known and type(other := paths.get(plain, path)) is cls:
        kept = {
            each: vars(part)[each] for each in parts.required(cls) if each in vars(part)
        }
        return paths.put(whole, path, pytree.replace(other, **kept))
    if type(part) is cls:
        return whole
    return paths.put(whole, path, parts.with_defaults(cls, owner, name))


def _owner(whole: Whole, path: str) -> tuple[PyTree, str]:
    above, _, name = path.rpartition(".")
    return (paths.get(whole, above) if above else whole), name
