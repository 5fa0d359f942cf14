"""Numbers and parts of a component by name: ``"shaping.temperature"``, ``"kernel"``.

A path is field names joined by dots. It goes through the library's components and through
other dataclasses, such as the parameters of an environment. Any ending of whole words that
belongs to one path stands for it.
"""

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

import jax.numpy as jnp

Component = TypeVar("Component")


def resolve(component: Any, path: str) -> str:
    """The full path that a path, or an ending of one, means.

    Args:
        component: where paths start.
        path: a path, or whole words at the end of exactly one.

    Raises:
        ValueError: there is no such field, and the message has the closest one; or there
            are several, and it has them all.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> paths.resolve(de.DiffusionEvolution(5), "shaping.temperature")
        'denoiser.shaping.temperature'
    """
    found = match_ending(list(names(component)), path)
    if found is None:
        raise ValueError(_unknown(component, path))
    return found


def match_ending(known: Collection[str], path: str) -> str | None:
    """The one of the known paths that a path is, or is the ending of; None if none is.

    Raises:
        ValueError: it is the ending of several.

    Example:
        >>> from diffevo_jax.pytree import paths
        >>> paths.match_ending(["denoiser.kernel", "denoiser.kernel.kappa"], "kernel.kappa")
        'denoiser.kernel.kappa'
    """
    if path in known:
        return path
    found = [name for name in known if name.endswith(f".{path}")]
    if len(found) > 1:
        raise ValueError(f"{path!r} is ambiguous, want one of: {', '.join(found)}")
    return found[0] if found else None


def shortest(component: Any, path: str) -> str:
    """The shortest ending that means a path: of a part its name, else with its part's.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> strategy = de.DiffusionEvolution(5)
        >>> paths.shortest(strategy, "denoiser.shaping.temperature")
        'shaping.temperature'
        >>> paths.shortest(strategy, "denoiser.shaping")
        'shaping'
    """
    known, words = list(names(component)), resolve(component, path).split(".")
    first = 1 if dataclasses.is_dataclass(get(component, path)) else 2
    for count in range(first, len(words)):
        ending = ".".join(words[-count:])
        if sum(name == ending or name.endswith(f".{ending}") for name in known) == 1:
            return ending
    return ".".join(words)


def get(component: Any, path: str) -> Any:
    """The value at a path, or at an ending that means one.

    Raises:
        ValueError: as :func:`resolve`.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> paths.get(de.DiffusionEvolution(5), "sampler.eta")
        1.0
    """
    value = component
    for name in resolve(component, path).split("."):
        value = getattr(value, name)
    return value


def put(component: Component, path: str, value: Any) -> Component:
    """A copy of a component with another value at a path, or at an ending of one.

    Raises:
        ValueError: as :func:`resolve`.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> paths.put(de.DiffusionEvolution(5), "sampler.eta", 0.5).sampler
        DDIM(eta=0.5)
    """
    return _put(component, resolve(component, path).split("."), value)


def put_all(component: Component, values: Mapping[str, Any]) -> Component:
    """A copy with several values, each at a path or at an ending of one.

    A part before its own fields, or it would undo them, in whatever order they are given;
    the fields may be those of the new part.

    Raises:
        ValueError: as :func:`resolve`, or two names mean one field.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> values = {"kappa": 0.5, "kernel": de.kernels.Gaussian()}
        >>> paths.put_all(de.DiffusionEvolution(5), values).denoiser.kernel
        Gaussian(kappa=0.5, floor=None)
    """
    waiting = dict(values)
    while waiting:
        known, found = list(names(component)), dict[str, str]()
        for name in waiting:
            path = match_ending(known, name)
            if path in found:
                raise ValueError(f"{found[path]!r} and {name!r} are the same field")
            if path is not None:
                found[path] = name
        if not found:
            raise ValueError(_unknown(component, next(iter(waiting))))
        first = min(found, key=lambda path: path.count("."))
        component = _put(component, first.split("."), waiting.pop(found[first]))
    return component


def _put(component: Any, names: list[str], value: Any) -> Any:
    if len(names) > 1:
        value = _put(getattr(component, names[0]), names[1:], value)
    return dataclasses.replace(component, **{names[0]: value})


def names(component: Any, prefix: str = "") -> Iterator[str]:
    """All paths of a component, parts before their own fields.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> list(paths.names(de.kernels.Tempered()))
        ['dimension']
    """
    for name in _fields(component):
        yield prefix + name
        yield from names(getattr(component, name), f"{prefix}{name}.")


def swept(component: Any) -> dict[str, int]:
    """Number fields that have one axis more than they declare, and its length.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> strategy = de.DiffusionEvolution(5, sampler=de.samplers.DDIM(jnp.arange(3.0)))
        >>> paths.swept(strategy)
        {'sampler.eta': 3}
    """
    found = {}
    for path, limits in _numbers(component):
        value = get(component, path)
        if value is not None and jnp.ndim(value) == len(limits["shape"]) + 1:
            found[path] = len(value)
    return found


def number_names(component: Any) -> list[str]:
    """Paths of all number fields.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> paths.number_names(de.samplers.DPMSolver2M())
        ['eta', 'trust']
    """
    return [path for path, _ in _numbers(component)]


def limits(component: Any, path: str) -> dict[str, Any] | None:
    """What the number field at a path declares; None if it is another field.

    Raises:
        ValueError: as :func:`resolve`.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> paths.limits(de.DiffusionEvolution(5), "sampler.eta")["high"]
        1.0
        >>> paths.limits(de.DiffusionEvolution(5), "sampler") is None
        True
    """
    whole, _, name = resolve(component, path).rpartition(".")
    owner = get(component, whole) if whole else component
    (field,) = (field for field in dataclasses.fields(owner) if field.name == name)
    found: dict[str, Any] | None = field.metadata.get("number")
    return found


def _numbers(component: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and limits of number fields."""
    for field in dataclasses.fields(component) if _fields(component) else ():
        if "number" in field.metadata:
            yield prefix + field.name, field.metadata["number"]
        part = getattr(component, field.name)
        yield from _numbers(part, f"{prefix}{field.name}.")


def _fields(value: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in dataclasses.fields(value))
    return ()


def _unknown(component: Any, path: str) -> str:
    close = closest(component, path)
    hint = f"; closest: {shortest(component, close)}" if close else ""
    named = ", ".join(shortest(component, name) for name in names(component))
    wanted = f"want one of {named}" if named else "it has no fields"
    said = f"{hint}{within_a_dict(component, path)}"
    return f"{type(component).__name__} has no field {path!r}{said}; {wanted}"


def within_a_dict(component: object, path: str) -> str:
    """What to say of a path that means a key of a dict; nothing if it means none.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> problem = de.problems.Control("cartpole", env_params={"mass": 1.0})
        >>> paths.within_a_dict(problem, "mass")
        "; 'env_params' is a dict, whose keys have no paths: make it a dataclass"
    """
    key = path.rpartition(".")[2]
    for name in names(component):
        value = get(component, name)
        if isinstance(value, Mapping) and key in value:
            return f"; {name!r} is a dict, whose keys have no paths: make it a dataclass"
    return ""


def closest(component: Any, path: str) -> str | None:
    """The path with an ending that is most like one that does not exist; None if none is.

    One that ends in the same word is, wherever it is.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import paths
        >>> paths.closest(de.DiffusionEvolution(5), "shaping.eta")
        'sampler.eta'
    """
    known = list(names(component))[::-1]  # of several the first counts
    last = {name.rpartition(".")[2]: name for name in known}
    end = path.rpartition(".")[2]
    if end in last:
        return last[end]
    words = path.count(".") + 1
    endings = {".".join(name.split(".")[-words:]): name for name in known}
    for given, choices in ((path, endings), (end, last)):
        close = difflib.get_close_matches(given, choices, 1)
        if close:
            return choices[close[0]]
    return None
