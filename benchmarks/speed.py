"""The main job and its rollouts beside evosax with gymnax, in one process.

    python benchmarks/speed.py

CartPole-v1, 58 weights, population 256, 10 generations, one episode each. Both sides are
one compiled program, on one device; repetitions alternate; compiling is timed apart. The
evosax pipeline is its own DiffusionEvolution, latent in two dimensions, and its
GymnaxProblem, in one ``lax.scan`` under ``vmap``. Rollouts are timed on a random
population and on a solved one. What is compared is the ratio of the medians.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, save, table
from evosax.algorithms.population_based.diffusion_evolution import (
    DiffusionEvolution,
    cosine_schedule,
)
from evosax.problems.networks import MLP
from evosax.problems.rl.gymnax import GymnaxProblem

import diffevo_jax as de

SIZE, GENERATIONS = 256, 10


def argmax(logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
    return jnp.argmax(logits)


def peer() -> tuple[GymnaxProblem, Any]:
    """The problem of evosax, and an example of its policy's weights."""
    policy = MLP(layer_sizes=(8, 2), activation=jax.nn.relu, output_fn=argmax)
    problem = GymnaxProblem("CartPole-v1", policy, use_normalize_obs=False)
    return problem, policy.init(jax.random.key(0), jnp.zeros(4), jax.random.key(0))


def peer_run(key: jax.Array) -> jax.Array:
    """One evolution by evosax: the mean fitness of the last generation."""
    problem, example = peer()
    algorithm = DiffusionEvolution(
        SIZE,
        example,
        num_generations=GENERATIONS,
        alpha_schedule=cosine_schedule,
        num_latent_dims=2,
    )
    draw = lambda leaf: jax.random.normal(key, (SIZE, *leaf.shape))
    population = jax.tree.map(draw, example)
    params = algorithm.default_params
    problem_state = problem.init(key)
    fitness, problem_state, _ = problem.eval(key, population, problem_state)
    state = algorithm.init(key, population, -fitness, params)

    def generation(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        state, problem_state = carry
        population, state = algorithm.ask(key, state, params)
        fitness, problem_state, _ = problem.eval(key, population, problem_state)
        state, _ = algorithm.tell(key, population, -fitness, state, params)
        return (state, problem_state), fitness.mean()

    keys = jax.random.split(key, GENERATIONS - 1)
    return jax.lax.scan(generation, (state, problem_state), keys)[1][-1]


def our_run(key: jax.Array) -> jax.Array:
    """One evolution by diffevo_jax."""
    strategy, problem, size = de.protocols.control("CartPole-v1")
    return de.evolve(key, strategy, problem, population_size=size).history.mean_fitness[-1]


def alternate(
    ours: Callable[..., Any], theirs: Callable[..., Any], arguments: Any, repetitions: int
) -> dict[str, float]:
    """First calls, then alternated ones: medians and spreads, in seconds."""
    row, times = {}, {"ours": [], "evosax": []}
    for name, call in (("ours", ours), ("evosax", theirs)):
        begin = time.perf_counter()
        jax.block_until_ready(call(*arguments[name]))
        row[f"{name}_first"] = time.perf_counter() - begin
    for _ in range(repetitions):
        for name, call in (("ours", ours), ("evosax", theirs)):
            begin = time.perf_counter()
            jax.block_until_ready(call(*arguments[name]))
            times[name].append(time.perf_counter() - begin)
    for name, values in times.items():
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return row | {"ratio": row["evosax"] / row["ours"]}


def main_job(runs: int, seed: int, repetitions: int) -> dict[str, Any]:
    """So many whole evolutions in one program."""
    keys = jax.random.split(jax.random.key(seed), runs)
    if runs == 1:
        ours, theirs, argument = jax.jit(our_run), jax.jit(peer_run), keys[0]
    else:
        ours, theirs, argument = (
            *(jax.jit(jax.vmap(f)) for f in (our_run, peer_run)),
            keys,
        )
    both = {"ours": (argument,), "evosax": (argument,)}
    what = f"evolution, {runs} run{'s' * (runs > 1)}"
    return {"what": what, **alternate(ours, theirs, both, repetitions)}


def rollouts(lanes: int, solved: bool, seed: int, repetitions: int) -> dict[str, Any]:
    """One evaluation of a population of so many policies."""
    strategy, problem, size = de.protocols.control("CartPole-v1")
    key = jax.random.key(seed)
    population = problem.space.sample(key, lanes)
    if solved:
        last = de.evolve(key, strategy, problem, population_size=size).population
        population = jnp.tile(last, (lanes // size, 1))
    weights = problem.space.decode(population)
    problem_of_peer, _ = peer()
    layers = {f"Dense_{i}": _dense(layer) for i, layer in enumerate(weights)}
    state = problem_of_peer.init(key)
    ours = jax.jit(lambda key, weights: problem.evaluate(key, (), weights)[0].fitness)
    theirs = jax.jit(lambda key, w: problem_of_peer.eval(key, w, state)[0])
    both = {"ours": (key, weights), "evosax": (key, {"params": layers})}
    what = f"rollouts, {lanes:,} {'solved' if solved else 'random'} policies"
    return {"what": what, **alternate(ours, theirs, both, repetitions)}


def _dense(layer: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {"bias": layer["bias"], "kernel": layer["weight"]}


def main() -> None:
    options = arguments(__doc__ or "", seeds=11)
    repetitions = options.seeds
    rows = [main_job(runs, options.seed, repetitions) for runs in (1, 32)]
    for lanes in (256, 8192):
        for solved in (False, True):
            rows.append(rollouts(lanes, solved, options.seed, repetitions))
    save("speed", options, rows)
    print(report(rows))


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the README's table."""
    lines = [
        [
            row["what"],
            f"{1e3 * row['ours']:.1f} ({row['ours_first']:.1f} s)",
            f"{1e3 * row['evosax']:.1f} ({row['evosax_first']:.1f} s)",
            f"{row['ratio']:.1f}",
        ]
        for row in rows
    ]
    header = ["what", "ours, ms (first call)", "evosax, ms (first call)", "times faster"]
    return table(header, lines)


if __name__ == "__main__":
    main()
