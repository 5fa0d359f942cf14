"""Optuna as the searcher, and its search spaces as ours.

It asks for settings, and one compiled program runs them (:func:`optimize`); or any strategy
searches where its distributions say (:func:`from_optuna`). Needs the extra ``optuna``. For
the problem of settings, see :class:`diffevo_jax.sweeps.Tuning`.
"""

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.problems.space import Space
from diffevo_jax.problems.variables import Categorical, Fixed, Integer, Range, Variable
from diffevo_jax.pytree import arrays, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.records import extra
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
    trial with a failed run is told as failed; so are the trials of a batch that raises. A
    batch is a trial of :meth:`optuna.Study.optimize` and those asked for beside it, so that
    a sampler that knows when its search is over, such as ``GridSampler``, ends it: there
    are then fewer batches.

    Args:
        study: an ``optuna.study.Study`` with the direction ``"maximize"`` and any sampler.
            A sampler that learns from each trial by itself, such as TPE, needs batches much
            smaller than the number of trials.
        key: a typed key, of the seeds.
        tuning: what to search.
        num_batches: >= 1; fewer if the sampler stops the study.
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
    _check_installed()
    import optuna

    arrays.check_key("key", key)
    validation.validate(tuning)
    validation.check_count("num_batches", num_batches)
    validation.check_count("batch_size", batch_size)
    directions = [direction.name.lower() for direction in study.directions]
    if directions != ["maximize"]:
        raise ValueError(f"study: got {', '.join(directions)}, want maximize, once")
    suggest = functools.partial(_suggest, dict(tuning.fields))
    tuning = pytree.strong(tuning)

    def objective(first: "optuna.Trial") -> float:
        """A batch: the trial of the study's own loop, and others that are asked for here.

        A sampler whose search is over says so by ``Study.stop``, which only exists within
        this loop; the batch is told to its end.
        """
        others: list[optuna.Trial] = []
        try:
            suggest(first)
            for _ in range(batch_size - 1):
                others.append(study.ask())
                suggest(others[-1])
            scores = _batch(key, tuning, [first, *others])
        except BaseException:
            for trial in others:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        value, *values = (
            _value(trial, row) for trial, row in zip([first, *others], scores, strict=True)
        )
        for trial, told in zip(others, values, strict=True):
            if math.isnan(told):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, told)
        return value

    study.optimize(objective, n_trials=num_batches)


@checked
def from_optuna(distributions: Mapping[str, Any], start: str = "normal") -> Space:
    """The space of Optuna's distributions, a variable for each name.

    Args:
        distributions: by name, for example ``study.best_trial.distributions``: floats and
            integers, with ``log`` or ``step``, and categories. Where there is one value
            alone, it is fixed.
        start: of the space, see :class:`diffevo_jax.problems.Space`.

    Returns:
        A space, whose ``as_python`` gives what ``study.enqueue_trial`` takes.

    Raises:
        ImportError: optuna is not installed.
        TypeError: something is no distribution, or a choice is none of ours.
        ValueError: ends that a variable cannot have, for example integers beyond 2^20.

    Example:
        >>> import jax.numpy as jnp, optuna
        >>> from diffevo_jax.interop.optuna import from_optuna
        >>> space = from_optuna({
        ...     "rate": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        ...     "layers": optuna.distributions.IntDistribution(2, 8, step=2)})
        >>> space.as_python(space.decode(jnp.array([[-2.0, 2.0]])))
        [{'layers': 2, 'rate': 1.0}]
    """
    _check_installed()
    from optuna import distributions as kinds

    def variable(name: str, one: object) -> Variable:
        if isinstance(one, kinds.CategoricalDistribution):
            choices = one.choices
            return Categorical(choices) if len(choices) > 1 else Fixed(choices[0])
        if not isinstance(one, kinds.FloatDistribution | kinds.IntDistribution):
            raise TypeError(
                f"distributions[{name!r}]: got {one!r}, want a FloatDistribution, "
                "IntDistribution or CategoricalDistribution"
            )
        if one.low == one.high:
            return Fixed(one.low)
        scale = "log" if one.log else "linear"
        if isinstance(one, kinds.FloatDistribution):
            return Range(one.low, one.high, scale, one.step)
        return Integer(one.low, one.high, scale, one.step)

    space = Space({n: variable(n, one) for n, one in distributions.items()}, start=start)
    validation.validate(space)
    return space


def _check_installed() -> None:
    """Raise ImportError, with the extra's name, unless Optuna is installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError(f"interop.optuna needs optuna: {extra('optuna')}") from error


def _suggest(fields: dict[str, Range], trial: "optuna.Trial") -> None:
    for name, ends in fields.items():
        low, high = float(ends.low), float(ends.high)
        trial.suggest_float(name, low, high, log=ends.scale == "log")


def _value(trial: "optuna.Trial", scores: np.ndarray) -> float:
    """What a trial is worth, after its scores are kept; NaN, a failure, if one failed."""
    trial.set_user_attr("scores", scores.tolist())
    value = float(scores.mean())
    return value if math.isfinite(value) else math.nan


def _batch(key: jax.Array, tuning: Tuning, trials: "list[optuna.Trial]") -> np.ndarray:
    """Scores of trials, (batch_size, num_seeds)."""
    solutions = {
        name: np.array([trial.params[name] for trial in trials], jnp.result_type(float))
        for name in tuning.fields
    }
    key = jax.random.fold_in(key, trials[0].number)
    return np.asarray(_scores(key, tuning, solutions), float)


@jax.jit
def _scores(key: jax.Array, tuning: Tuning, solutions: dict[str, jax.Array]) -> jax.Array:
    """The core: one program for all batches."""
    return tuning.scores(key, solutions)
