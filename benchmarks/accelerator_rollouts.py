"""Rollouts on an accelerator, by lanes and by the numbers of their ladder."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from accelerator_cases import Case, Cases, Row, compiled, peak_memory, repeated

import diffevo_jax as de
from diffevo_jax.problems.control import rollout

#: Logarithms of lanes: those that tell the most first.
POWERS = (10, 12, 14, 16, 17, 18, 19, 20, 11, 13, 15)
#: Solved policies, which are repeated to any number of lanes.
SOLVED = 16
#: What is changed of the ladder, one thing at a time, and at what power of 2 of lanes.
LADDER: tuple[tuple[int, dict[str, int]], ...] = (
    (17, {}),
    (10, {}),
    (20, {}),
    (20, {"width": 2**30}),
    (20, {"width": 2**18}),
    (10, {"unroll": 1}),
    (17, {"unroll": 1}),
    (10, {"unroll": 4}),
    (17, {"unroll": 4}),
    (10, {"packed": True, "unroll": 1}),
    (17, {"packed": True, "unroll": 1}),
    (17, {"block": 16}),
    (17, {"block": 32}),
    (10, {"block": 128}),
    (17, {"smallest": 2**30}),  # nobody is gathered
    (20, {"width": 2**16}),
    (20, {"block": 32}),
    (17, {"shrink": 4}),
    (17, {"unroll": 16}),
)


def lanes(quick: bool, seed: int) -> Cases:
    """An evaluation of so many policies."""
    powers, found = (7,) if quick else POWERS, []
    what = lambda power, kind: f"rollouts, 2^{power} lanes, {kind}"
    for place, power in enumerate(powers):
        near = max((p for p in powers[:place] if p < power), default=0)
        for kind in ("fresh", "solved"):
            measure = functools.partial(episodes, 2**power, kind, seed)
            after = what(near, kind) if near else None
            found.append(Case(what(power, kind), measure, after, 2.0 ** (power - near)))
    return found, ("living_steps_per_second", "all_steps_per_second")


def ladders(quick: bool, seed: int) -> Cases:
    """The same evaluation by other ladders."""
    changes = ((7, {}), (7, {"smallest": 2**30})) if quick else LADDER
    found = []
    for power, change in changes:
        name = ", ".join(f"{field} {value:,}" for field, value in change.items()) or "usual"
        what = lambda kind, name=name, power=power: (
            f"ladder, 2^{power} lanes, {name}, {kind}"
        )
        for kind in ("fresh", "solved"):
            measure = functools.partial(
                episodes, 2**power, kind, seed, tuple(change.items())
            )
            after = f"ladder, 2^{power} lanes, usual, {kind}" if change else None
            found.append(Case(what(kind), measure, after, 2.0))
    return found, ("living_steps_per_second",)


def episodes(
    lanes: int, kind: str, seed: int, changes: tuple[tuple[str, int], ...] = ()
) -> Row:
    """One evaluation: steps that were taken, and those that a plain loop would take."""
    key, weights = jax.random.key(seed), policies(lanes, kind, seed)
    program, row = player(lanes, changes, seed)
    row = row | repeated(lambda: program(key, weights), 5)
    evaluation = program(key, weights)
    living = int(np.sum(np.asarray(evaluation.measures.length), dtype=np.int64))
    steps = lanes * problem().episode_limit
    row |= {"lanes": lanes, "population": kind, "living_steps": living}
    row["living_steps_per_second"] = living / row["seconds"]
    row["all_steps_per_second"] = steps / row["seconds"]
    mean = float(np.mean(np.asarray(evaluation.fitness)))
    return row | {"mean_reward": mean, "peak_memory": peak_memory()}


@functools.lru_cache(maxsize=1)
def player(lanes: int, changes: tuple[tuple[str, int], ...], seed: int) -> tuple[Any, Row]:
    """The program of an evaluation, with a ladder that is changed in some of its numbers.

    Lanes read it when they are traced, so what has been traced is forgotten.
    """
    name = "CPU" if jax.default_backend() == "cpu" else "ACCELERATOR"
    usual = getattr(rollout, name)
    play = lambda key, weights: problem().evaluate(key, (), weights)[0]
    arguments = jax.random.key(seed), policies(lanes, "fresh", seed)
    try:
        setattr(rollout, name, usual._replace(**dict(changes)))
        if changes:
            jax.clear_caches()
        program, row = compiled(play, *arguments)
        return program, row | {"ladder": getattr(rollout, name)._asdict()}
    finally:
        setattr(rollout, name, usual)
        if changes:
            jax.clear_caches()


@functools.lru_cache(maxsize=2)
def policies(lanes: int, kind: str, seed: int) -> Any:
    """So many policies for CartPole: drawn as an evolution begins, or solved."""
    if kind == "fresh":
        space = problem().space
        return space.decode(space.sample(jax.random.key(seed), lanes))
    copies = lambda leaf: jnp.tile(leaf, (lanes // SOLVED, *[1] * (leaf.ndim - 1)))
    return jax.tree.map(copies, solved(seed))


@functools.cache
def solved(seed: int) -> Any:
    """The best policies of a short evolution, by eight episodes each."""
    strategy, _, size = de.published.control("CartPole-v1")
    key = jax.random.key(seed)
    last = de.evolve(key, strategy, problem(), population_size=size, final=0).population
    weights = problem().space.decode(last)
    longer = de.replace(problem(), num_episodes=8)
    evaluation, _ = jax.jit(longer.evaluate)(key, (), weights)
    best = jnp.argsort(-evaluation.fitness)[:SOLVED]
    return jax.tree.map(lambda leaf: leaf[best], weights)


def problem() -> de.problems.Control:
    """CartPole as published."""
    found = de.published.control("CartPole-v1").problem
    assert isinstance(found, de.problems.Control)
    return found
