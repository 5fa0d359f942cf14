"""evosax on the same accelerator: the main job, rollouts and the estimator.

Its rows name the case of ours that they are ``beside``; where that was measured too, the
ratio of their times is in the row. evosax is imported in the cases, each of which fails by
itself where it cannot be.
"""

import functools

import estimator
import jax
import numpy as np
import peer
from accelerator_cases import Case, Cases, Row, compiled, repeated
from accelerator_jobs import evolved
from accelerator_rollouts import policies, problem


def cases(quick: bool, seed: int) -> Cases:
    jobs = evolved("main job", peer.evolution, (1,) if quick else (1, 32, 256), seed)
    # XLA compiles evosax's of 1,024 in 58 dimensions for a minute, larger ones for longer.
    sizes = ((512, 2),) if quick else ((4096, 2), (16_384, 2), (256, 58))
    rollouts = [
        Case(
            f"rollouts, 2^{power} lanes, {kind}",
            functools.partial(episodes, 2**power, kind, seed),
        )
        for power in ((7,) if quick else (16, 12, 18))
        for kind in ("fresh", "solved")
    ]
    generations = [_generation(size, dim, sizes[0]) for size, dim in sizes]
    found = [*map(_named, jobs), *map(_named, rollouts), *generations]
    return found, ("runs_per_second",)


def _named(case: Case) -> Case:
    """As evosax's, with the name of ours in the row."""
    after = None if case.after is None else f"evosax, {case.after}"
    measure = lambda: case.measure() | {"beside": case.what}
    return Case(f"evosax, {case.what}", measure, after, case.growth)


def episodes(lanes: int, kind: str, seed: int) -> Row:
    """One evaluation by evosax of the same policies; it steps all of them to the limit."""
    game, key = (
        peer.game("CartPole-v1", max_steps=problem().episode_limit),
        jax.random.key(0),
    )
    weights = peer.weights(problem(), policies(lanes, kind, seed))
    state = game.init(key)
    program, row = compiled(lambda key, w: game.eval(key, w, state)[0], key, weights)
    row |= repeated(lambda: program(key, weights), 3)
    return row | {"mean_reward": float(np.mean(np.asarray(program(key, weights))))}


def _generation(size: int, dim: int, first: tuple[int, int]) -> Case:
    what = lambda size, dim: f"evosax, generation, N = {size:,}, D = {dim}"
    after = None if (size, dim) == first else what(*first)
    measure = functools.partial(generation, size, dim)
    return Case(what(size, dim), measure, after, (size / first[0]) ** 2)


def generation(size: int, dim: int) -> Row:
    """``tell`` and the next ``ask`` of both sides, the exact kernel."""
    row: Row = {}
    for name, make in (("ours", estimator.our_round), ("evosax", estimator.their_round)):
        both = make(size, dim)
        program, more = compiled(both.function, *both.arguments)
        more |= repeated(lambda p=program, b=both: p(*b.arguments), 5)
        row |= more if name == "evosax" else {"ours": more["seconds"]}
    return row | {"ratio": row["seconds"] / row["ours"]}
