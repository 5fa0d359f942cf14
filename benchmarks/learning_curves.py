"""CartPole in ten generations, beside four other algorithms: learning curves.

    python benchmarks/learning_curves.py [--only ALGORITHM ...] [--figure]

Every algorithm evaluates 256 policies of 58 weights a generation, an episode each, on the
same problem, and recommends a policy after every generation; that one plays 64 episodes on
keys of its own. CMA-ES, PGPE and OpenAI-ES are those of evosax, with their own numbers and
a mean that starts at the origin; MAP-Elites is here, since evosax has none. Their scale is
chosen on other seeds; and of everyone and after each generation, on 32 more, whether it is
the mean of the search or the best so far that is recommended. PGPE and OpenAI-ES hardly
move in ten generations by their own step; with one that is chosen as well they stand beside
themselves. Of Diffusion Evolution no number is chosen.

Beside evaluations the time to a mean return of 475: generations that all runs take until
then, or take without, for one that succeeds, times the seconds of a generation of a run.

``--figure`` draws ``docs/figures/learning_curves.png`` from what is stored.
"""

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, load, milliseconds, save, stored, summary, table
from matplotlib.figure import Figure
from timing import seconds, to_target

import diffevo_jax as de

EXPERIMENT = de.published.control("CartPole-v1")
PROBLEM, SIZE, GENERATIONS = EXPERIMENT.problem, EXPERIMENT.population_size, 10
POLICY = de.problems.MLP((8,), num_outputs=2)
DIM, EPISODES, CHOOSING = 58, 64, 12
#: A mean return at which CartPole counts as solved.
TARGET = 475
#: What an algorithm recommends; of MAP-Elites the first is its best elite.
RECOMMENDED = ("the mean", "the best so far")
#: MAP-Elites: cells along each of two axes, and what policies are shown to place them.
CELLS, SHOWN = 16, 256

#: From numbers and a key to the recommended policies (GENERATIONS, 2, DIM).
Run = Callable[[jax.Array, jax.Array], jax.Array]


def fitness_of(key: jax.Array, candidates: jax.Array) -> jax.Array:
    """Of policies (N, DIM) in unit scale, an episode each."""
    return PROBLEM.evaluate(key, (), PROBLEM.space.decode(candidates))[0].fitness


def followed(
    ask: Callable[..., Any], tell: Callable[..., Any], state: Any, key: jax.Array
) -> jax.Array:
    """A run: after each generation the algorithm's own answer, and the best so far.

    Args:
        ask: from a key and a state to candidates and the state.
        tell: from a key, a state, candidates and fitness to the state and an answer (DIM,).
        state: before the first generation.
        key: of the run.
    """

    def generation(carry: Any, number: jax.Array) -> tuple[Any, jax.Array]:
        state, best, best_fitness = carry
        keys = de.generation_keys(key, number)
        candidates, state = ask(keys[0], state)
        fitness = fitness_of(keys[1], candidates)
        state, answer = tell(keys[2], state, candidates, fitness)
        top = jnp.argmax(fitness)  # among equals the latest
        better = fitness[top] >= best_fitness
        best = jnp.where(better, candidates[top], best)
        best_fitness = jnp.maximum(best_fitness, fitness[top])
        return (state, best, best_fitness), jnp.stack([answer, best])

    start = state, jnp.zeros(DIM), jnp.asarray(-jnp.inf)
    return jax.lax.scan(generation, start, jnp.arange(GENERATIONS))[1]


def ours(strategy: de.DiffusionEvolution) -> Run:
    """Diffusion Evolution."""

    def run(numbers: jax.Array, key: jax.Array) -> jax.Array:
        _, key_population, key_strategy = de.setup_keys(key)
        population = PROBLEM.space.sample(key_population, SIZE)

        def tell(
            key: jax.Array, state: Any, candidates: jax.Array, fitness: jax.Array
        ) -> tuple[Any, jax.Array]:
            state, _ = de.tell(strategy, key, state, candidates, fitness)
            return state, candidates.mean(axis=0)

        state = de.init(strategy, key_strategy, population)
        return followed(lambda k, state: de.ask(strategy, k, state), tell, state, key)

    return run


def evosax(name: str) -> Run:
    """An algorithm of evosax; the numbers are its scale and its learning rate."""
    import optax
    from evosax import algorithms
    from evosax.core.optimizer import clipup

    def made(scale: jax.Array, rate: jax.Array) -> tuple[Any, Any]:
        if name == "OpenAI-ES":
            algorithm = algorithms.Open_ES(
                SIZE,
                jnp.zeros(DIM),
                optimizer=optax.sgd(rate),
                std_schedule=optax.constant_schedule(scale),
            )
            return algorithm, algorithm.default_params
        if name == "PGPE":
            optimizer = clipup(learning_rate=rate, max_velocity=2.0 * rate)  # as its own
            algorithm = algorithms.PGPE(SIZE, jnp.zeros(DIM), optimizer=optimizer)
        else:
            algorithm = algorithms.CMA_ES(SIZE, jnp.zeros(DIM))
        return algorithm, algorithm.default_params.replace(std_init=scale)

    def run(numbers: jax.Array, key: jax.Array) -> jax.Array:
        algorithm, params = made(*numbers)

        def tell(
            key: jax.Array, state: Any, candidates: jax.Array, fitness: jax.Array
        ) -> tuple[Any, jax.Array]:
            state, _ = algorithm.tell(key, candidates, -fitness, state, params)
            return state, algorithm.get_mean(state)

        state = algorithm.init(jax.random.fold_in(key, 2**31), jnp.zeros(DIM), params)
        return followed(lambda k, state: algorithm.ask(k, state, params), tell, state, key)

    return run


def map_elites(numbers: jax.Array, key: jax.Array) -> jax.Array:
    """MAP-Elites with the variation along lines between elites.

    Mouret and Clune, 2015, arXiv:1504.04909; Vassiliades and Mouret, 2018,
    arXiv:1804.03906. The numbers are the deviations of its isotropic part and of the part
    along a line.
    """
    isotropic, line = numbers
    shown = jax.random.normal(jax.random.key(0), (SHOWN, 4))

    def ask(key: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        elites, fitness = state
        keys = jax.random.split(key, 4)
        filled = jnp.where(jnp.isfinite(fitness), 0.0, -jnp.inf)
        first, second = elites[jax.random.categorical(keys[0], filled, shape=(2, SIZE))]
        noise = jax.random.normal(keys[1], (SIZE, DIM))
        along = jax.random.normal(keys[2], (SIZE, 1))
        children = first + isotropic * noise + line * along * (second - first)
        fresh = jax.random.normal(keys[3], (SIZE, DIM))
        return jnp.where(jnp.any(filled == 0.0), children, fresh), state

    def tell(
        key: jax.Array, state: Any, candidates: jax.Array, fitness: jax.Array
    ) -> tuple[Any, jax.Array]:
        before, scores = state
        where = cells(candidates, shown)
        elites, scores = kept(before, scores, candidates, fitness, where)
        return (elites, scores), elites[jnp.argmax(scores)]

    empty = jnp.zeros((CELLS**2, DIM)), jnp.full(CELLS**2, -jnp.inf)
    return followed(ask, tell, empty, key)


def cells(candidates: jax.Array, shown: jax.Array) -> jax.Array:
    """The cell of each policy: how often it pushes right, leaning left and leaning right.

    Args:
        candidates: (N, DIM), unit scale.
        shown: (S, 4) observations, normalised.
    """

    def pushes(weights: Any) -> jax.Array:
        act = lambda seen: jnp.argmax(POLICY.apply(weights, seen, ())[0])
        return jax.vmap(act)(shown)

    right = jax.vmap(pushes)(PROBLEM.space.decode(candidates)).astype(float)
    leans = shown[:, 2] > 0
    shares = [jnp.mean(right, axis=1, where=which) for which in (~leans, leans)]
    row, column = (jnp.minimum(CELLS * share, CELLS - 1).astype(int) for share in shares)
    return CELLS * row + column


def kept(
    elites: jax.Array,
    elite_fitness: jax.Array,
    candidates: jax.Array,
    fitness: jax.Array,
    cell: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The archive with the best candidate of each cell, if not worse than who is there."""
    inside = cell == jnp.arange(len(elites))[:, None]
    scores = jnp.where(inside, fitness, -jnp.inf)
    top = jnp.argmax(scores, axis=1)
    best = jnp.max(scores, axis=1)
    better = jnp.isfinite(best) & (best >= elite_fitness)
    elites = jnp.where(better[:, None], candidates[top], elites)
    return elites, jnp.where(better, best, elite_fitness)


SCALES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
MADE: dict[str, Callable[[], Run]] = {
    "Diffusion Evolution": lambda: ours(de.DiffusionEvolution(GENERATIONS)),
    "the same, as published": lambda: ours(EXPERIMENT.strategy),
    "CMA-ES": lambda: evosax("CMA-ES"),
    "PGPE": lambda: evosax("PGPE"),
    "OpenAI-ES": lambda: evosax("OpenAI-ES"),
    "MAP-Elites": lambda: map_elites,
}
#: What may be chosen: pairs of numbers.
CHOICES: dict[str, list[tuple[float, float]]] = {
    "Diffusion Evolution": [(0.0, 0.0)],
    "the same, as published": [(0.0, 0.0)],
    "CMA-ES": [(scale, 0.0) for scale in SCALES],
    "PGPE": [(scale, 0.01) for scale in SCALES],
    "PGPE, step chosen": list(itertools.product(SCALES[1:5], (0.3, 1.0, 3.0, 10.0))),
    "OpenAI-ES": [(scale, 0.001) for scale in SCALES],
    "OpenAI-ES, step chosen": list(
        itertools.product(SCALES[1:5], (3.0, 10.0, 30.0, 100.0))
    ),
    "MAP-Elites": list(itertools.product((0.03, 0.1, 0.3, 1.0), (0.0, 0.2, 0.5))),
}


@functools.cache
def compiled(name: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Many runs of an algorithm, each with its numbers and its key."""
    return jax.jit(jax.vmap(MADE[name]()), compiler_options=de.compiler_options())


def measure(name: str, seed: int, seeds: int, choosing: int) -> dict[str, Any]:
    """Choose on some seeds, and follow the runs of others."""
    runs, choices = compiled(name.split(", step")[0]), CHOICES[name]
    keys = jax.random.split(jax.random.key(1_031_000 + seed), choosing)
    every = np.repeat(np.array(choices, np.float32), choosing, axis=0)
    found = runs(jnp.asarray(every), jnp.tile(keys, len(choices)))[:, -1:]
    ends = worth(keys[0], found).reshape(len(choices), choosing, 2).mean(axis=1)
    best = int(np.argmax(ends.max(axis=1)))
    given = jnp.tile(jnp.array(choices[best], jnp.float32), (seeds, 1))
    more, fresh = (
        jax.random.split(jax.random.key(first + seed), seeds)
        for first in (1_034_000, 1_032_000)
    )
    answer = np.argmax(worth(more[0], runs(given, more)).mean(axis=0), axis=1)
    # Compiled by the runs before: the time of a run among so many at once.
    spent = seconds(lambda: runs(given, fresh)) / (seeds * GENERATIONS)
    both = worth(jax.random.key(1_033_000 + seed), runs(given, fresh))
    curves = np.take_along_axis(both, answer[None, :, None], axis=2)[..., 0]
    each = [summary(curves[:, g]) for g in range(GENERATIONS)]
    return {
        "what": name,
        "numbers": list(choices[best]),
        "recommended": [RECOMMENDED[one] for one in answer],
        "mean": [round(one["mean"], 2) for one in each],
        "interval": [round(one["interval"], 2) for one in each],
        "ends": [round(float(v), 2) for v in curves[:, -1]],
        "to_target": to_target(curves, TARGET, spent),
        "both": np.round(both.mean(axis=0), 2).tolist(),
        "tried": [
            [*each, *(round(float(v), 1) for v in end)]
            for each, end in zip(choices, ends, strict=True)
        ],
    }


@jax.jit
def played(key: jax.Array, policies: jax.Array) -> jax.Array:
    """Mean return of policies (P, DIM) over EPISODES fresh episodes each, (P,)."""
    many = jnp.repeat(policies, EPISODES, axis=0)
    return fitness_of(key, many).reshape(-1, EPISODES).mean(axis=1)


def worth(key: jax.Array, found: jax.Array) -> np.ndarray:
    """Expected return of what was recommended (R, G, 2, DIM), in batches of one shape."""
    flat, batch = np.asarray(found).reshape(-1, DIM), 256
    padded = np.concatenate([flat, np.zeros((-len(flat) % batch, DIM), flat.dtype)])
    parts = [
        played(jax.random.fold_in(key, first), jnp.asarray(padded[first : first + batch]))
        for first in range(0, len(padded), batch)
    ]
    return np.concatenate(parts)[: len(flat)].reshape(found.shape[:-1])


def report(rows: list[dict[str, Any]]) -> str:
    """After five and ten generations, and how far Diffusion Evolution is ahead."""
    first, timed = np.array(rows[0]["ends"]), any("to_target" in row for row in rows)
    lines = []
    for row in rows:
        ahead = summary(first - np.array(row["ends"]))
        solved = np.mean(np.array(row["ends"]) >= TARGET)
        spent = row.get("to_target", {}).get("seconds")
        lines.append(
            [
                row["what"],
                ", ".join(f"{number:g}" for number in row["numbers"] if number) or "-",
                row["recommended"][-1],
                *(
                    f"{row['mean'][g]:.0f} ± {row['interval'][g]:.0f}"
                    for g in (4, GENERATIONS - 1)
                ),
                f"{solved:.0%}",
                *([milliseconds(spent)] if timed else []),
                f"{ahead['mean']:.0f} ± {ahead['interval']:.0f}" if row != rows[0] else "-",
            ]
        )
    return table(
        [
            "algorithm",
            "chosen numbers",
            "it recommends",
            "after 5 generations",
            "after 10",
            f"runs above {TARGET}",
            *(["ms to get there"] if timed else []),
            "behind by",
        ],
        lines,
    )


#: Colours that the colour-blind can tell apart (Okabe and Ito, 2008), and dashes.
LOOKS = {
    "Diffusion Evolution": ("#D55E00", "-"),
    "CMA-ES": ("#0072B2", "-"),
    "PGPE": ("#009E73", "-"),
    "PGPE, step chosen": ("#009E73", ":"),
    "OpenAI-ES": ("#CC79A7", "-"),
    "OpenAI-ES, step chosen": ("#CC79A7", ":"),
    "MAP-Elites": ("#222222", "--"),
}


def figure(rows: list[dict[str, Any]]) -> Figure:
    """The curves with their bands, each named at its end."""
    picture = Figure(figsize=(8.6, 4.2), layout="constrained")
    axis, x = picture.subplots(), np.arange(1, GENERATIONS + 1)
    shown = [row for row in rows if row["what"] in LOOKS]
    heights = apart(np.array([row["mean"][-1] for row in shown]), 11.0)
    for row, height in zip(reversed(shown), reversed(heights), strict=True):
        color, dashes = LOOKS[row["what"]]
        mean, band = np.array(row["mean"]), np.array(row["interval"])
        low, high = np.maximum(mean - band, 0), np.minimum(mean + band, 500)
        alpha = 0.3 if row is shown[0] else 0.09
        axis.fill_between(x, low, high, color=color, alpha=alpha, lw=0)
        axis.plot(x, mean, color=color, ls=dashes, lw=2.2)
        axis.text(
            GENERATIONS + 0.15,
            height,
            f"{row['what']}, {mean[-1]:.0f}",
            color=color,
            va="center",
        )
    axis.set(
        xlim=(1, GENERATIONS),
        ylim=(300, 503),
        xticks=x,
        xlabel="generation of 256 episodes",
        ylabel="expected return of the recommended policy",
        title="CartPole-v1, 58 weights: 32 runs each, 95 % bands",
    )
    axis.grid(axis="y", color="0.9")
    axis.spines[["top", "right"]].set_visible(False)
    return picture


def apart(heights: np.ndarray, least: float) -> np.ndarray:
    """Heights of labels, moved down until they are so far from each other."""
    order, moved = np.argsort(-heights, kind="stable"), heights.astype(float)
    for above, below in itertools.pairwise(order):
        moved[below] = min(moved[below], moved[above] - least)
    return moved


def main() -> None:
    if "--figure" in sys.argv:
        figure(load("learning_curves")).savefig(FIGURES / "learning_curves.png", dpi=130)
        return
    options = arguments(__doc__ or "", seeds=32, only="algorithms")
    choosing = 2 if options.quick else CHOOSING
    known = load("learning_curves") if options.only and stored("learning_curves") else []
    rows = []
    for name in CHOICES:
        row = next((row for row in known if row["what"] == name), None)
        if row is None or name in options.only:
            row = measure(name, options.seed, options.seeds, choosing)
        rows.append(row)
        print({k: rows[-1][k] for k in ("what", "numbers", "recommended", "mean")})
    save("learning_curves", options, rows)
    print(report(rows))


if __name__ == "__main__":
    main()
