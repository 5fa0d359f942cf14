"""Results that nothing has computed: as those of runs, for tests of what shows them."""

import numpy as np

import diffevo_jax as de
from diffevo_jax.running.final import FinalEvaluation
from diffevo_jax.running.result_files import EndState

TOTAL = 6


def made(
    runs: int | None, size: int, dim: int, *, scale: float = 1.0, final: bool = False
) -> de.Result:
    """Of populations that shrink to a point, with fitness ``-|x|^2``.

    Args:
        runs: R; None for one run without a leading axis.
        size: N.
        dim: D.
        scale: from unit scale to solutions.
        final: whether there is a final evaluation.
    """
    rng = np.random.default_rng(dim)
    lead = () if runs is None else (runs,)
    sigma = np.geomspace(10.0, 0.1, TOTAL)
    spread = np.minimum(sigma, 1.0)[:, None, None]
    paths = rng.normal(size=(*lead, TOTAL, size, dim)) * spread
    paths = paths.astype(np.float32)
    fitness = -np.sum(paths**2, axis=-1)
    every = lambda value: np.broadcast_to(np.float32(value), (*lead, TOTAL))
    history = de.Info(
        best_fitness=fitness.max(axis=-1),
        mean_fitness=fitness.mean(axis=-1),
        sigma=every(sigma),
        effective_sample_size=every(np.linspace(size / 2, 1, TOTAL)),
        self_weight=every(np.linspace(0.1, 0.9, TOTAL)),
        num_failed=every(0).astype(np.int32),
        num_weightless=every(0).astype(np.int32),
        num_diverged=every(0).astype(np.int32),
        num_clipped=every(0).astype(np.int32),
        done=np.broadcast_to(np.arange(TOTAL) == TOTAL - 1, (*lead, TOTAL)),
    )
    flat = fitness.reshape(*lead, -1)
    place = flat.argmax(axis=-1)
    points = paths.reshape(*lead, -1, dim)
    best = points[place] if runs is None else points[np.arange(runs), place]
    none = lambda value: np.full(lead, value)
    state = EndState(
        none(np.int32(TOTAL)), best, flat.max(axis=-1), none(np.float32(0)), none(True)
    )
    judged = FinalEvaluation(
        best,
        state.best_fitness,
        none(0.5),
        state.best_fitness - 1,
        state.best_fitness + 1,
        none(np.int32(8)),
        none(np.int32(0)),
        None,
        none(np.int32(0)),
        none(True),
    )
    return de.Result(
        population=paths[..., -1, :, :],
        fitness=fitness[..., -1, :],
        measures=(),
        violation=None,
        best_solution=scale * best,
        best_fitness=state.best_fitness,
        best_violation=state.best_violation,
        history=history,
        recorded={"population": paths, "fitness": fitness},
        state=state,
        problem_state=(),
        final=judged if final else None,
        stopped=none(np.int32(0)),
    )
