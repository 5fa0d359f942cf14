"""Rollouts beside evosax: one evaluation of a population of policies.

    python benchmarks/rollouts.py

``problem.evaluate`` beside ``GymnaxProblem.eval``, both jitted, on one device: the same
policies (our normalisation of observations is folded into the first layer of theirs), one
episode each, the same longest episode (CartPole and Acrobot 500 steps, MountainCar 200).
Policies are random, or the last of an evolution. evosax steps every policy to the limit,
from one start that all share; ours stops stepping those that have ended, and each has a
start of its own. CartPole also with the population split over all devices of the host by
``de.spread``.

Repetitions alternate, first calls are apart, and what is compared is the ratio of medians.
Living steps are those that our episodes took, by our median time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import peer
from common import arguments, beside_evosax, prepare_devices, save
from timing import Call, alternate, rename

import diffevo_jax as de


class Case(NamedTuple):
    """What to play.

    Attributes:
        env_name: a gymnax name.
        lanes: policies.
        solved: whether they solve the environment.
    """

    env_name: str
    lanes: int
    solved: bool

    @property
    def what(self) -> str:
        kind = "solved" if self.solved else "random"
        return f"{self.env_name}, {self.lanes:,} {kind} policies"


def cases(quick: bool, gpu: bool) -> list[Case]:
    """Random policies, and a population that has been evolved."""
    sizes = (8192, 262_144) if gpu else (256,) if quick else (256, 8192)
    names = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")[: 1 if quick else 3]
    solved = (False, True)[: 1 if quick else 2]
    return [
        Case(name, lanes, kind)
        for name in names
        for lanes in sizes
        for kind in (solved if name == "CartPole-v1" or lanes == 256 else (False,))
    ]


def population(case: Case, key: jax.Array) -> tuple[de.problems.Control, Any]:
    """The problem at the published protocol, and so many policies for it."""
    strategy, problem, size = de.published.control(case.env_name)
    assert isinstance(problem, de.problems.Control)
    points = problem.space.sample(key, case.lanes)
    if case.solved:
        last = de.evolve(key, strategy, problem, population_size=size, final=0).population
        points = jnp.tile(last, (case.lanes // size, 1))
    return problem, problem.space.decode(points)


def measure(case: Case, seed: int, repetitions: int) -> list[dict[str, Any]]:
    """One evaluation on one device, and for CartPole on all."""
    key = jax.random.key(seed)
    problem, weights = population(case, key)
    start = problem.init(key)
    ours = jax.jit(lambda key, weights: problem.evaluate(key, start, weights)[0])
    game = peer.game(case.env_name, max_steps=problem.episode_limit)
    their_weights, state = peer.weights(problem, weights), game.init(key)
    theirs = jax.jit(lambda key, weights: game.eval(key, weights, state)[0])
    calls: dict[str, Call] = {
        "ours": lambda: ours(key, weights),
        "evosax": lambda: theirs(key, their_weights),
    }
    devices = jax.local_device_count()
    spread = devices > 1 and case.lanes % devices == 0 and case.env_name == "CartPole-v1"
    if spread:
        everywhere = de.spread(ours)
        keys = jax.random.split(key, devices)
        parts = jax.tree.map(lambda w: w.reshape(devices, -1, *w.shape[1:]), weights)
        calls["spread"] = lambda: everywhere(keys, parts)
    measured = alternate(calls, repetitions)
    evaluation = ours(key, weights)
    facts = {
        "steps": int(evaluation.measures.length.sum()),
        "limit": problem.episode_limit,
        "mean_reward": float(evaluation.fitness.mean()),
        "evosax_mean_reward": float(theirs(key, their_weights).mean()),
    }
    rows = [describe(case.what, 1, rename(measured, "ours"), facts)]
    if spread:
        over = f"{case.what}, ours over {devices} devices"
        rows.append(describe(over, devices, rename(measured, "spread"), facts))
    return rows


def describe(
    what: str, devices: int, row: dict[str, float], facts: dict[str, float]
) -> dict[str, Any]:
    """A row, with the living steps of a second."""
    rate = facts["steps"] / row["ours"]
    return {"what": what, "devices": devices, **row, **facts, "steps_per_second": rate}


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=11)
    rows = []
    for case in cases(options.quick, options.gpu):
        rows += measure(case, options.seed, options.repetitions)
        print(rows[-1]["what"], f"{rows[-1]['ratio']:.2f}", flush=True)
    print(report(rows))
    save("rollouts", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the table of a document."""
    cell = lambda row: f"{row['steps_per_second'] / 1e6:.1f}"
    return beside_evosax(rows, "living steps, million a second", cell)


if __name__ == "__main__":
    main()
