"""Which results are of the same problem, so that their fitness stands on one axis.

A result says its problem in its configuration. Two are of one problem if a solution is
worth the same in both: the same environment with another policy is one, a landscape of
another dimension is another one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from diffevo_jax.base import PyTree
from diffevo_jax.report.configurations import flat
from diffevo_jax.report.sources import Run

#: Of the classes of problems, what changes no fitness: how solutions are looked for, how
#: often they are evaluated, and how fast.
_BESIDE = {
    "Landscape": {"scale"},
    "Space": {"scale", "boundary", "bound_scale", "start"},
    "External": {"remember", "callback"},
    "Control": {
        *("policy", "scale", "num_episodes", "observation"),
        *("rewrite", "fast_trigonometry"),
    },
}
#: Fields that say which problem of its class it is.
_NAMES = ("env_name", "name", "fn")


class Group(NamedTuple):
    """Results of one problem.

    Attributes:
        name: of the problem, as the page says it.
        runs: in the order of the page.
    """

    name: str
    runs: list[Run]


def by_problem(runs: Sequence[Run]) -> list[Group]:
    """Results parted by their problems, in the order in which these come first.

    Problems are compared by their configurations: functions by their names. Results that
    do not say their problem are together if they have as many numbers.

    Args:
        runs: what the page shows.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        problem = run.config.get("problem")
        told = flat(_worth(problem)) if problem else {"": str(run.num_numbers)}
        groups.setdefault(tuple(sorted(told.items())), []).append(run)
    firsts = [each[0] for each in groups.values()]
    named = _names([dict(key) for key in groups], firsts)
    return [Group(name, each) for name, each in zip(named, groups.values(), strict=True)]


def name_of(problem: PyTree) -> str:
    """What a problem is called, by its configuration.

    Example:
        >>> from diffevo_jax.report import problem_groups
        >>> problem_groups.name_of({"class": "Landscape", "name": "beale", "dim": 2})
        'beale'
        >>> inner = {"class": "Function", "fn": "<lambda>"}
        >>> problem_groups.name_of({"class": "Constrained", "problem": inner})
        'Constrained Function'
    """
    if not isinstance(problem, Mapping):
        return str(problem)
    kind = str(problem.get("class", "problem"))
    if isinstance(inner := problem.get("problem"), Mapping):
        return f"{kind} {name_of(inner)}"
    said = [problem[name] for name in _NAMES if isinstance(problem.get(name), str)]
    return next((name for name in said if name != "<lambda>"), kind)


def _worth(problem: PyTree) -> PyTree:
    """A configuration without what changes no fitness."""
    if isinstance(problem, Mapping):
        beside = _BESIDE.get(str(problem.get("class")), set())
        return {name: _worth(part) for name, part in problem.items() if name not in beside}
    if isinstance(problem, list):
        return [_worth(part) for part in problem]
    return problem


def _names(told: Sequence[dict[str, str]], firsts: Sequence[Run]) -> list[str]:
    """A name for each problem; where several have the same one, with what differs."""
    names = []
    for run in firsts:
        said = f"of {run.num_numbers:,} numbers, " if run.num_numbers else ""
        problem = run.config.get("problem")
        names.append(name_of(problem) if problem else f"a problem {said}not named")
    full = []
    for name, own in zip(names, told, strict=True):
        alike = [one for other, one in zip(names, told, strict=True) if other == name]
        differing = [
            f"{key.rpartition('.')[2]} {value}"
            for key, value in own.items()
            if any(one.get(key) != value for one in alike)
        ]
        full.append(f"{name}, {', '.join(differing)}" if differing else name)
    return full
