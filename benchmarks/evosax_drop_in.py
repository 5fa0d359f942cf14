"""Our Diffusion Evolution in the place of evosax's, on evosax's BBOB suite.

    python benchmarks/evosax_drop_in.py

Both run in the same loop with what evosax starts from: a uniform population of its
problem, 128 individuals, 64 evaluations of it, and default parameters. All 24 functions, at
2, 4, 8 and 16 dimensions, each with 32 seeds; a seed has an optimum, rotations and a first
population of its own, which both sides get. Compared is the median over the seeds of the
best cost above the optimum's: a function at one dimension is won by the lower median, a tie
by nobody. Nothing was chosen on these functions.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, prepare_devices, save, table

SIZE, GENERATIONS, SEEDS = 128, 64, 32
FIRST_SEED = 1000
DIMENSIONS = (2, 4, 8, 16)


def algorithm(name: str, dim: int) -> Any:
    """One side, by name."""
    from evosax.algorithms import DiffusionEvolution as Theirs

    from diffevo_jax.interop.evosax import DiffusionEvolution as Ours

    cls = {"ours": Ours, "evosax": Theirs}[name]
    return cls(SIZE, jnp.zeros(dim), num_generations=GENERATIONS)


def best_costs(name: str, functions: list[str], dim: int, seeds: jax.Array) -> jax.Array:
    """Best cost above the optimum's of each function and seed, (F, S)."""
    from evosax.problems.bbob.meta_bbob import MetaBBOBProblem

    problem = MetaBBOBProblem(functions, dim, dim)
    side = algorithm(name, dim)
    params = side.default_params

    def run(number: jax.Array, seed: jax.Array) -> jax.Array:
        key_problem, key_start, key = jax.random.split(jax.random.key(seed), 3)
        rules = problem.sample_params(key_problem).replace(fn_id=number)
        problem_state = problem.init(key_problem, rules)
        start = jax.vmap(problem.sample)(jax.random.split(key_start, SIZE))
        cost, problem_state, _ = problem.eval(key, start, problem_state, rules)
        state = side.init(key, start, cost, params)

        def generation(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            state, problem_state = carry
            key_ask, key_eval, key_tell = jax.random.split(key, 3)
            candidates, state = side.ask(key_ask, state, params)
            cost, problem_state, _ = problem.eval(
                key_eval, candidates, problem_state, rules
            )
            state, _ = side.tell(key_tell, candidates, cost, state, params)
            return (state, problem_state), jnp.nanmin(cost)

        keys = jax.random.split(key, GENERATIONS - 1)
        costs = jax.lax.scan(generation, (state, problem_state), keys)[1]
        return jnp.minimum(jnp.min(cost), jnp.nanmin(costs)) - rules.f_opt

    # One program of all functions: mapped, so that a run computes its own one alone.
    over_seeds = jax.vmap(run, (None, 0))
    numbers = jnp.arange(len(functions))
    return jax.jit(lambda: jax.lax.map(lambda n: over_seeds(n, seeds), numbers))()


def compare(functions: list[str], dim: int, seeds: jax.Array) -> list[dict[str, Any]]:
    """Both sides on all functions."""
    ours, theirs = (
        np.asarray(best_costs(name, functions, dim, seeds)) for name in ("ours", "evosax")
    )
    return [
        {
            "function": function,
            "dim": dim,
            "ours": float(np.median(our)),
            "evosax": float(np.median(their)),
            "seeds_won": int(np.sum(our < their)),
            "seeds_lost": int(np.sum(our > their)),
        }
        for function, our, their in zip(functions, ours, theirs, strict=True)
    ]


def sign_test(won: int, lost: int) -> float:
    """Two-sided p of so many won and lost, if both were as likely."""
    total, fewer = won + lost, min(won, lost)
    tail = sum(math.comb(total, k) for k in range(fewer + 1)) / 2**total
    return min(1.0, 2 * tail)


def report(rows: list[dict[str, Any]]) -> str:
    """Won and lost functions by dimension."""
    lines = []
    for dim in (*DIMENSIONS, None):
        some = [row for row in rows if dim in (row["dim"], None)]
        won = sum(row["ours"] < row["evosax"] for row in some)
        lost = sum(row["ours"] > row["evosax"] for row in some)
        lines.append(
            [
                "all" if dim is None else str(dim),
                str(won),
                str(lost),
                f"{sign_test(won, lost):.1e}",
                str(sum(row["seeds_won"] for row in some)),
                str(sum(row["seeds_lost"] for row in some)),
            ]
        )
    header = ["dimensions", "functions won", "lost", "p of a sign test", "seeds won"]
    return table([*header, "lost"], lines)


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=1)
    from evosax.problems.bbob.bbob_fns import bbob_fns

    dims = DIMENSIONS[:1] if options.quick else DIMENSIONS
    functions = list(bbob_fns)[:2] if options.quick else list(bbob_fns)
    seeds = FIRST_SEED + jnp.arange(SEEDS)
    rows = []
    for dim in dims:
        rows += compare(functions, dim, seeds)
        print(report(rows), flush=True)
    save("evosax_drop_in", options, rows)


if __name__ == "__main__":
    main()
