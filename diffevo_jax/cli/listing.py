"""``diffevo list``: what there is to evolve, and what to evolve it with."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping

from diffevo_jax.cli import experiments, flags, pages, parts
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.problems import landscapes
from diffevo_jax.running import published

#: What an episode is about; of other environments their own docstring says it.
TASKS = {
    "CartPole-v1": "balance a pole on a cart; 4 observations, 2 actions",
    "Pendulum-v1": "swing a pendulum up; 3 observations, a torque",
    "Acrobot-v1": "swing two links up; 6 observations, 3 actions",
    "MountainCar-v0": "rock a car up a hill; 2 observations, 3 actions",
    "MountainCarContinuous-v0": "the same with a force; 2 observations",
    "Asterix-MinAtar": "collect gold, avoid enemies; 10 x 10 pictures",
    "Breakout-MinAtar": "break bricks with a ball; 10 x 10 pictures",
    "Freeway-MinAtar": "cross a road of cars; 10 x 10 pictures",
    "Seaquest-MinAtar": "rescue divers from a submarine; 10 x 10 pictures",
    "SpaceInvaders-MinAtar": "shoot aliens; 10 x 10 pictures",
    "Catch-bsuite": "catch what falls",
    "DeepSea-bsuite": "explore: one way in 2^N leads to the treasure",
    "MemoryChain-bsuite": "remember the first observation to the end",
    "UmbrellaChain-bsuite": "credit: the first action counts at the end",
    "DiscountingChain-bsuite": "choose between rewards that come sooner or later",
    "MNISTBandit-bsuite": "name a digit",
    "SimpleBandit-bsuite": "find the best of 11 arms",
    "FourRooms-misc": "find the goal in four rooms",
    "MetaMaze-misc": "find rewards in a maze again and again",
    "PointRobot-misc": "move a point to a goal on a half circle",
    "BernoulliBandit-misc": "find the best of two arms, which change",
    "GaussianBandit-misc": "choose between a sure and an unsure arm",
    "Reacher-misc": "reach a point with an arm of links",
    "Swimmer-misc": "swim forwards with a chain of links",
    "Pong-misc": "play pong",
    "FrozenLake-misc": "cross a lake of ice and holes",
}
_ABOUT = {
    "rosenbrock": "Rosenbrock's curved valley; 0 at (1, 1).",
    "himmelblau": "Himmelblau's function; 0 at four points, such as (3, 2).",
    "ackley": "Ackley's function, many shallow minima; 0 at (0, 0).",
    "two_peaks": "Two Gaussian peaks, at (-1, -1) and (1, 1); 1 at each.",
    "two_peaks_step": "The same, as steps without a slope.",
}


def text(what: str = "") -> str:
    """The list.

    Args:
        what: names (of problems) or parts; empty for names and strategies.

    Raises:
        UsageError: it is none of them.
    """
    sections = {"names": _names, "parts": _parts}
    if what and what not in sections:
        hint = hint_at(what, sections)
        raise UsageError(f"list: got {what!r}, want {' or '.join(sections)}{hint}")
    wanted = sections[what]() if what else _names() | _strategies()
    blocks = ["\n".join([f"{title}:", *_columns(known)]) for title, known in wanted.items()]
    return "\n\n".join(blocks) + "\n"


def _columns(known: Mapping[str, str]) -> Iterator[str]:
    """Names, and beside each what it is, in lines that fit."""
    wide = max(map(len, known)) + 2
    room = max(20, pages.width() - wide - 2)
    for name, about in known.items():
        for number, line in enumerate(textwrap.wrap(about, room) or [""]):
            yield f"  {'' if number else name:{wide}}{line}".rstrip()


def _names() -> dict[str, dict[str, str]]:
    environments = [one for one in experiments.known_names() if one not in landscapes.NAMES]
    return {
        "landscapes of two numbers; fitness is a density, at most 1": {
            name: _landscape(name) for name in landscapes.NAMES
        },
        "environments, which a policy plays": {
            name: TASKS.get(name) or experiments.about(name) for name in environments
        },
    }


def _landscape(name: str) -> str:
    said = inspect.getdoc(getattr(landscapes, name)) or ""
    return _ABOUT.get(name) or said.partition("\n")[0].replace("`", "")


def _strategies() -> dict[str, dict[str, str]]:
    whole = flags.start(published.landscape("beale"))
    return {"strategies, for --strategy": _described(flags.classes(whole, "strategy"))}


def _parts() -> dict[str, dict[str, str]]:
    """Classes of all parts that a strategy has, or a part of it, by their flags."""
    told: dict[tuple[str, ...], dict[str, str]] = {}
    used: dict[tuple[str, ...], list[str]] = {}
    whole = flags.start(published.landscape("beale"))
    for cls in flags.classes(whole, "strategy").values():
        chosen = flags.with_class(whole, "strategy", cls)
        for name, flag in flags.of_whole(chosen).items():
            known = flags.classes(chosen, flag.path) if flag.kind is None else {}
            if known and name != "strategy":
                told[tuple(known)] = _described(known)
                spelled = used.setdefault(tuple(known), [])
                spelled += [flags.written(name)] * (flags.written(name) not in spelled)
    return _strategies() | {f"for {', '.join(used[key])}": told[key] for key in told}


def _described(known: Mapping[str, type]) -> dict[str, str]:
    return {name: parts.docs(cls)[""] for name, cls in known.items()}
