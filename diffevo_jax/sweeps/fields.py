"""What a sweep can change, by name: fields of a strategy, of a problem, and the size.

A name is a path of the whole, or any ending of one that is unambiguous. The strategy comes
first: ``"shaping.temperature"`` is ``strategy.denoiser.shaping.temperature``, and only what
it has not is looked for in the problem. A first word says which of them is meant:
``"problem.scale"``.
"""

import dataclasses
from collections.abc import Collection, Iterable

from diffevo_jax import pytree
from diffevo_jax.base import HasEnvironment, Problem, Strategy
from diffevo_jax.pytree import paths

_PARTS = ("strategy", "problem")


@dataclasses.dataclass(frozen=True)
class Whole:
    """What is run, and where paths start.

    Args:
        strategy: its fields come first.
        problem: what the strategy has not is looked for here.
        population_size: N; None where it is not decided yet.
    """

    strategy: Strategy
    problem: Problem
    population_size: int | None


def full_path(whole: Whole, name: str) -> str:
    """The path that a name means.

    Raises:
        ValueError: there is no such field, and the message has the closest one; or there
            are several, and it has them all.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.sweeps import fields
        >>> whole = fields.Whole(
        ...     de.DiffusionEvolution(5), de.problems.Landscape("beale"), 16)
        >>> [fields.full_path(whole, name) for name in ("kernel.dimension", "scale")]
        ['strategy.denoiser.kernel.dimension', 'problem.scale']
    """
    found = find_path(list(paths.names(whole)), name)
    if found is None:
        known = _with_environment(whole)
        close = paths.closest(known, name)
        hint = paths.within_a_dict(known, name)
        if close and not hint:
            hint = f"; closest: {label(known, close)}"
        raise ValueError(f"got {name!r}, want a field{hint}")
    return found


def find_path(known: Collection[str], name: str) -> str | None:
    """The one of the paths of a whole that a name means; None if none is.

    Raises:
        ValueError: it could mean several.
    """
    if name in known:
        return name
    for part in _PARTS:
        own = [path.removeprefix(f"{part}.") for path in known if path.startswith(part)]
        found = paths.match_ending(own, name.removeprefix(f"{part}."))
        if found is not None:
            return f"{part}.{found}"
    return None


def label(whole: Whole, path: str) -> str:
    """A path as one writes it: what is of the strategy by its shortest ending.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.sweeps import fields
        >>> whole = fields.Whole(
        ...     de.DiffusionEvolution(5), de.problems.Landscape("beale"), 16)
        >>> fields.label(whole, "strategy.denoiser.shaping.temperature")
        'shaping.temperature'
        >>> fields.label(whole, "problem.temperature")
        'problem.temperature'
    """
    part, _, own = path.partition(".")
    return paths.shortest(whole.strategy, own) if own and part == _PARTS[0] else path


def with_environment(whole: Whole, names: Iterable[str]) -> Whole:
    """With an environment's parameters as fields of the problem, if a name means one."""
    unknown = [name for name in names if not _is_known(whole, name)]
    more = _with_environment(whole) if unknown else whole
    return more if any(_is_known(more, name) for name in unknown) else whole


def _with_environment(whole: Whole) -> Whole:
    if not pytree.offers(whole.problem, HasEnvironment):
        return whole
    return dataclasses.replace(whole, problem=whole.problem.with_env_params())


def _is_known(whole: Whole, name: str) -> bool:
    return find_path(list(paths.names(whole)), name) is not None
