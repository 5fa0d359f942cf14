"""Policies of a million weights: size, time, memory and returns, and which form is better.

    python benchmarks/large_policies.py [--only ENVIRONMENT ... | forms]

Environments: 1,024 policies of some 1,060,000 weights by the library's defaults, each
environment in a process of its own, whose peak memory it is, and every seed with a base of
its own. Time is the mean of the runs after the first, which compile nothing; none has a
final evaluation.

``forms``: what may be the genome of a small network, so that the dense one can be measured
beside the others: 512 policies on Breakout. Where both factors are the genome an individual
is ``W_0 + u A B^T``, of A (n, r) and B (m, r) ~ N(0, 1).

The rank and the unit were chosen on seeds 101 to 106 of Breakout, with 256 units a layer.
"""

import json
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, load, save, stored, summary, table
from timing import child, megabytes, peak_memory

import diffevo_jax as de
from diffevo_jax.base import Policy, PyTree
from diffevo_jax.problems.control.low_rank import he_normal
from diffevo_jax.problems.control.policies import flatten

#: Environment, hidden layers, generations.
TASKS = (
    ("CartPole-v1", (1024, 1024), 10),
    ("Breakout-MinAtar", (1024, 640), 15),
    ("SpaceInvaders-MinAtar", (1024, 420), 15),
)
POPULATION = 1024
#: Of the comparison of forms.
SMALL, FEW, GENERATIONS, INPUTS, OUTPUTS = (64, 64), 512, 15, 400, 3


def task(env_name: str, hidden: tuple[int, ...], count: int, size: int, seeds: int) -> None:
    """Evolve, and print a row as JSON; in a process of its own."""
    policy = de.problems.LowRankPolicy(de.problems.MLP(hidden))
    strategy, curves, spent = de.DiffusionEvolution(count), [], []
    for seed in range(seeds):
        base = drawn_base(env_name, hidden, seed)
        problem = de.problems.Control(env_name, policy=de.replace(policy, base=base))
        start = time.perf_counter(), time.process_time()
        result = de.evolve(
            jax.random.key(seed), strategy, problem, population_size=size, final=0
        )
        jax.block_until_ready(result.fitness)
        spent.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        curves.append(np.asarray(result.history.mean_fitness, float).tolist())
    # What is compiled is what the first run takes longer.
    wall, processor = np.mean(spent[1:] or spent, axis=0) / count
    row = {
        "what": env_name,
        "hidden": hidden,
        "weights": sum(leaf.size for leaf in jax.tree.leaves(base)),
        "population": size,
        "genome": problem.space.dim,
        "generations": count,
        "seconds": float(wall),
        "processor_seconds": float(processor),
        "first_run_seconds": spent[0][0],
        "peak_bytes": peak_memory(),
        "mean_return": curves,
    }
    print(json.dumps(row))


def drawn_base(env_name: str, hidden: tuple[int, ...], seed: int) -> PyTree:
    """He's initialisation of the dense policy."""
    dense = de.problems.Control(env_name, policy=de.problems.MLP(hidden))
    shapes = jax.eval_shape(
        lambda x: jax.tree.map(lambda leaf: leaf[0], dense.space.decode(x)),
        jax.ShapeDtypeStruct((1, dense.space.dim), jnp.result_type(float)),
    )
    return he_normal(jax.random.key(seed), shapes)


@de.pytree.dataclass
class BothFactors:
    """A policy whose genome is both factors of every matrix, and all of the biases."""

    base: PyTree
    rank: int = de.pytree.static()

    def init(self, key: jax.Array, observation: PyTree) -> PyTree:
        """Zeros: of every layer A, B and the bias."""
        shapes = [layer["weight"].shape for layer in self.base]
        return [
            {
                "first": jnp.zeros((rows, self.rank)),
                "second": jnp.zeros((self.rank, columns)),
                "bias": jnp.zeros(columns),
            }
            for rows, columns in shapes
        ]

    def initial_carry(self) -> tuple[()]:
        """No memory."""
        return ()

    def apply(
        self, policy_params: PyTree, observation: PyTree, carry: tuple[()]
    ) -> tuple[jax.Array, tuple[()]]:
        """The output, with changes as large as the base in root mean square."""
        signal, last = flatten(observation), len(self.base) - 1
        for number, (layer, own) in enumerate(zip(self.base, policy_params, strict=True)):
            weight = layer["weight"]
            unit = jnp.sqrt(jnp.mean(weight**2) / self.rank)
            change = (signal @ own["first"]) @ own["second"]
            signal = signal @ weight + unit * change + own["bias"]
            signal = signal if number == last else jax.nn.relu(signal)
        return signal, carry


def forms(base: PyTree) -> dict[str, Policy]:
    """Policies with this base."""
    inner = de.problems.MLP(SMALL)
    low = lambda rank, frozen: de.problems.LowRankPolicy(
        inner, rank=rank, frozen=frozen, base=base
    )
    return {
        "both factors frozen, rank 4": low(4, "both"),
        "both factors frozen, rank 8": low(8, "both"),
        "both factors frozen, rank 16": low(16, "both"),
        "output factor frozen, rank 1": low(1, "output"),
        "output factor frozen, rank 4": low(4, "output"),
        "input factor frozen, rank 1": low(1, "input"),
        "input factor frozen, rank 4": low(4, "input"),
        "both factors the genome, rank 1": BothFactors(base, 1),
        "both factors the genome, rank 4": BothFactors(base, 4),
        "all weights": low(400, "both"),
    }


def compare(seeds: int, size: int, count: int, every: int) -> list[dict[str, Any]]:
    """A row for every so many forms: genome, return at first and at last."""
    bases = [drawn_base("Breakout-MinAtar", SMALL, seed) for seed in range(seeds)]
    rows = []
    for name in [*forms(bases[0])][::every]:
        ends = []
        for seed, base in enumerate(bases):
            problem = de.problems.Control("Breakout-MinAtar", policy=forms(base)[name])
            result = de.evolve(
                jax.random.key(seed),
                de.DiffusionEvolution(count),
                problem,
                population_size=size,
                final=0,
            )
            ends.append(np.asarray(result.history.mean_fitness)[[0, -1]].tolist())
        row = {
            "what": name,
            "genome": problem.space.dim,
            "first": summary([first for first, _ in ends]),
            "last": summary([last for _, last in ends]),
        }
        rows.append(row)
        print(form_line(row), flush=True)
    return rows


def form_line(row: dict[str, Any]) -> list[str]:
    """One line of the table of forms."""
    last = row["last"]
    return [
        row["what"],
        f"{row['genome']:,}",
        f"{row['first']['mean']:.2f}",
        f"{last['mean']:.2f} ± {last['interval']:.2f}",
    ]


def report(rows: list[dict[str, Any]]) -> str:
    """Sizes, time, memory and returns; means over seeds."""
    head = [
        "environment",
        "weights",
        "genome",
        "seconds a generation (of the processor)",
        "peak memory",
        "mean return, first",
        "half-way",
        "last",
    ]
    lines = []
    for row in rows:
        curve = np.mean(row["mean_return"], axis=0)
        half = curve[len(curve) // 2]
        lines.append(
            [
                row["what"],
                f"{row['weights']:,}",
                f"{row['genome']:,}",
                f"{row['seconds']:.1f} ({row['processor_seconds']:.1f})",
                megabytes(row["peak_bytes"]),
                *(f"{value:.2f}" for value in (curve[0], half, curve[-1])),
            ]
        )
    return table(head, lines)


def report_forms(rows: list[dict[str, Any]]) -> str:
    """The forms as a table; intervals of 95 %."""
    head = ["what evolves", "genome", "mean return, first", "last"]
    return table(head, [form_line(row) for row in rows])


def main() -> None:
    options = arguments(__doc__ or "", seeds=3, only="environments or forms")
    quick, wanted = options.quick, options.only or [*(name for name, *_ in TASKS), "forms"]
    known = load("large_policies") if stored("large_policies") and not quick else []
    rows = {row["what"]: row for row in known}
    for env_name, hidden, count in TASKS:
        if env_name in wanted:
            given = (env_name, hidden, count, POPULATION, options.seeds)
            if quick:
                given = (env_name, (96, 96), 2, 32, 1)
            row = child(f"import large_policies as l; l.task(*{given!r})")
            print(report([row]), flush=True)
            rows[env_name] = row
            ordered = [rows[name] for name, *_ in TASKS if name in rows]
            save("large_policies", options, ordered)
    if "forms" in wanted:
        sizes = (1, 32, 2, 4) if quick else (2 * options.seeds, FEW, GENERATIONS, 1)
        save("large_policies_forms", options, compare(*sizes))


if __name__ == "__main__":
    main()
