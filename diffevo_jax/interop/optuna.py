"""Optuna as the searcher: it asks for settings, and one compiled program runs them.

Needs the extra ``optuna``. For the problem, see :class:`diffevo_jax.sweeps.Tuning`.
"""

import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.pytree import arrays, validation
from diffevo_jax.sweeps.tuning import Tuning

if TYPE_CHECKING:
    import optuna


def optimize(
    study: "optuna.Study",
    key: jax.Array,
    tuning: Tuning,
    *,
    num_batches: int,
    batch_size: int,
) -> None:
    """Let a study search over settings, a batch of trials at a time.

    Every batch runs as one program, ``batch_size * num_seeds`` inner runs, which is
    compiled once for all batches. The trials of a batch see the same seeds; every batch
    sees fresh ones, also if a stored study goes on.

    A trial's value is the mean of its scores, which are its user attribute ``"scores"``. A
    trial with a failed run is told as failed; so are the trials of a batch that raises.

    Args:
        study: an ``optuna.study.Study`` with the direction ``"maximize"`` and any sampler.
            A sampler that learns from each trial by itself, such as TPE, needs batches much
            smaller than the number of trials.
        key: a typed key, of the seeds.
        tuning: what to search.
        num_batches: >= 1.
        batch_size: trials of a batch, >= 1.

    Raises:
        ImportError: optuna is not installed.
        ValueError: the study does not maximise one value.

    Example:
        >>> import jax, optuna, diffevo_jax as de
        >>> from diffevo_jax.interop.optuna import optimize
        >>> tuning = de.sweeps.Tuning(
        ...     de.DiffusionEvolution(2), de.problems.Landscape("beale"),
        ...     {"sampler.eta": (0.0, 1.0)}, num_seeds=2, population_size=8)
        >>> study = optuna.create_study(direction="maximize")
        >>> optimize(study, jax.random.key(0), tuning, num_batches=2, batch_size=4)
        >>> len(study.trials), 0.0 <= study.best_params["sampler.eta"] <= 1.0
        (8, True)
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "interop.optuna needs optuna: install diffevo-jax[optuna]"
        ) from error
    arrays.check_key("key", key)
    validation.validate(tuning)
    validation.check_count("num_batches", num_batches)
    validation.check_count("batch_size", batch_size)
    directions = [direction.name.lower() for direction in study.directions]
    if directions != ["maximize"]:
        raise ValueError(f"study: got {', '.join(directions)}, want maximize, once")
    distributions: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(
            float(ends.low), float(ends.high), log=ends.scale == "log"
        )
        for name, ends in tuning.fields.items()
    }
    tuning = pytree.strong(tuning)
    for _ in range(num_batches):
        trials = [study.ask(distributions) for _ in range(batch_size)]
        try:
            scores = _batch(key, tuning, trials)
        except BaseException:
            for trial in trials:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        for trial, row in zip(trials, scores, strict=True):
            trial.set_user_attr("scores", row.tolist())
            value = float(row.mean())
            if math.isfinite(value):
                study.tell(trial, value)
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _batch(key: jax.Array, tuning: Tuning, trials: list[Any]) -> np.ndarray:
    """Scores of trials, (batch_size, num_seeds)."""
    solutions = {
        name: np.array([trial.params[name] for trial in trials], np.float32)
        for name in tuning.fields
    }
    key = jax.random.fold_in(key, trials[0].number)
    return np.asarray(_scores(key, tuning, solutions), float)


@jax.jit
def _scores(key: jax.Array, tuning: Tuning, solutions: dict[str, jax.Array]) -> jax.Array:
    """The core: one program for all batches."""
    return tuning.scores(key, solutions)
