"""What test_divided_population.py looks at, computed by a process with eight devices."""

import functools
import hashlib
import itertools
import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

import diffevo_jax as de
from diffevo_jax.attention import Attention, attend, attend_fused
from diffevo_jax.running.divided_population import DividedAttention, DividedProblem

#: How many divide a population; the first and the last are enough most of the time.
DEVICES = {"few": (1, 8), "all": (1, 2, 4, 8)}
#: Individuals, below, at and above what the blocks divide; and dimensions.
SIZES = {
    "few": [(1000, 33)],
    "all": list(itertools.product((3, 64, 100, 256, 1000, 2048), (1, 2, 8, 33))),
}


def bits(tree: Any) -> str:
    """A number for all bits of a tree."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()[:16]


def wavy(x: jax.Array) -> jax.Array:
    """A fitness with sines, divisions and sums in it."""
    return -jnp.sum((x - 1.0) ** 2) + jnp.sum(jnp.cos(3.0 * x) / (1.0 + x**2))


def over(function: Any, count: int, *arguments: Any) -> Any:
    """Call on every one of some devices."""
    everywhere = PartitionSpec()
    mesh = de.make_mesh(population=count)
    divided = jax.shard_map(
        function, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
    )
    return jax.jit(divided)(*arguments)


def estimator(size: int, dim: int, count: int, attention: Attention = attend) -> str:
    """Bits of the divided attention."""
    keys = jax.random.split(jax.random.key(size + dim), 3)
    points, noisy = (jax.random.normal(key, (size, dim)) for key in keys[:2])
    log_weight = jax.random.normal(keys[2], (size,))
    own = jnp.arange(size, dtype=jnp.int32)
    divided = DividedAttention(attention, "population", 8)
    return bits(over(divided, count, noisy, points, points, log_weight, own))


def evaluation(size: int, dim: int, count: int) -> str:
    """Bits of the divided evaluation."""
    problem = DividedProblem(de.problems.Function(wavy, dim=dim), "population", 8)
    points = jax.random.normal(jax.random.key(size), (size, dim))
    evaluate = lambda points: problem.evaluate(jax.random.key(0), (), points)[0]
    return bits(over(evaluate, count, points))


def run(count: int, strategy: Any, problem: Any, size: int) -> Any:
    """A whole run on some devices."""
    mesh, key = de.make_mesh(population=count), jax.random.key(0)
    return de.evolve_on(mesh, key, strategy, problem, population_size=size)


def main(which: str) -> None:
    sizes, devices = SIZES[which], DEVICES[which]
    strategy, problem = de.DiffusionEvolution(4), de.problems.Function(wavy, dim=3)
    results = {count: run(count, strategy, problem, 50) for count in (1, 8)}
    plain = de.evolve(jax.random.key(0), strategy, problem, population_size=50)
    flow = de.MonoFlow(4)
    fused = functools.partial(attend_fused, interpret=True)
    told = {
        "estimator": [[estimator(*size, n) for n in devices] for size in sizes],
        "kernel": [[estimator(*sizes[0], n, fused) for n in devices]],
        "evaluation": [[evaluation(*size, n) for n in devices] for size in sizes[::2]],
        "run": [bits(result) for result in results.values()],
        "flow": [bits(run(count, flow, problem, 50)) for count in (1, 8)],
        "difference": float(np.max(np.abs(results[8].population - plain.population))),
        "devices": len(results[8].population.sharding.device_set),
    }
    print(json.dumps(told | (thorough(strategy, problem) if which == "all" else {})))


def thorough(strategy: Any, problem: Any) -> dict[str, Any]:
    """Other problems and kernels, and runs that are divided as well."""
    calibrated = de.replace(strategy, kernel=de.kernels.Perplexity(5.0))
    cartpole = de.problems.Control("CartPole-v1", max_steps=20)
    keys = jax.random.split(jax.random.key(1), 4)
    mesh = de.make_mesh(runs=2, population=4)
    both = de.evolve_on(mesh, keys, strategy, problem, population_size=16)
    alone = jax.vmap(
        lambda key: de.evolve(key, strategy, problem, population_size=16).best_fitness
    )(keys)
    return {
        "episodes": [bits(run(n, strategy, cartpole, 16)) for n in (1, 2)],
        "calibrated": [bits(run(n, calibrated, problem, 16)) for n in (1, 8)],
        "both": np.asarray(both.best_fitness).tolist(),
        "alone": np.asarray(alone).tolist(),
    }


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    main(sys.argv[1])
