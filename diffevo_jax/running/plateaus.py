"""Whether a run still rises: the last generations against those before, and their errors.

What :mod:`diffevo_jax.running.stops` computes, in float64 on the host, for one run or for
many with leading axes.
"""

import numpy as np

#: The mean of a noisy generation is known to so many standard errors.
ERRORS = 2.0
#: A rise of the fitness by less than so much of its size is rounding.
ROUNDING = 1e-6


def judged_since(sigma: np.ndarray, level: float) -> np.ndarray:
    """Number of the first generation since which sigma ``(..., T)`` has not been above.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import plateaus
        >>> int(plateaus.judged_since(np.array([8.0, 2.0, 0.5, 0.1]), 1.0))
        2
    """
    above = sigma > level  # not where it is NaN, of a strategy that has none
    since = sigma.shape[-1] - np.argmax(above[..., ::-1], axis=-1)
    return np.asarray(np.where(above.any(axis=-1), since, 0))


def is_stagnant(
    score: np.ndarray, since: np.ndarray, patience: int, rise: np.ndarray
) -> np.ndarray:
    """Whether the last generations have not risen above those before.

    Args:
        score: (..., T) of each generation so far.
        since: (...) number of the first that counts.
        patience: how many are the last.
        rise: (...) by how much is more than nothing.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import plateaus
        >>> score = np.array([0.0, 9.0, 3.0, 5.0, 4.0, 5.0])
        >>> nothing = np.zeros(())
        >>> [bool(plateaus.is_stagnant(score, np.array(n), 2, nothing)) for n in (1, 2, 4)]
        [True, True, False]
    """
    number = np.arange(score.shape[-1])
    last = number >= score.shape[-1] - patience
    counted = (number >= since[..., None]) & ~last
    before = np.max(score, axis=-1, where=counted, initial=-np.inf)
    lately = np.max(score, axis=-1, where=last, initial=-np.inf)
    finite = np.where(np.isfinite(before), before, 0.0)
    more = np.maximum(rise, ROUNDING * np.abs(finite))
    return np.asarray(counted.any(axis=-1) & ~(lately > before + more))


def standard_error(fitness: np.ndarray) -> np.ndarray:
    """Standard error ``(...)`` of the mean of fitness ``(..., N)``; 0 of fewer than two."""
    return _moments(fitness, np.isfinite(fitness))[1]


def surely(fitness: np.ndarray, violation: np.ndarray | None) -> np.ndarray:
    """What the mean of a generation ``(..., N)`` is above, with two standard errors.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import plateaus
        >>> [float(plateaus.surely(np.array(x), None)) for x in ([3.0, 3.0], [1.0, 5.0])]
        [3.0, -1.0]
    """
    valid = np.isfinite(fitness)
    if violation is not None:
        valid &= violation <= 0
    mean, error, count = _moments(fitness, valid)
    enough = (2 * count >= fitness.shape[-1]) & (count > 1)
    return np.asarray(np.where(enough, mean - ERRORS * error, -np.inf))


def _moments(
    fitness: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, its standard error, and the number of those that are valid, in float64."""
    fitness = fitness.astype(np.float64)
    top = np.max(fitness, axis=-1, where=valid, initial=-np.inf, keepdims=True)
    # From the top, so that equal ones have no spread.
    apart = np.where(valid, fitness - np.where(np.isfinite(top), top, 0.0), 0.0)
    count = valid.sum(axis=-1)
    mean = apart.sum(axis=-1) / np.maximum(count, 1)
    squares = np.where(valid, (apart - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    error = np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))
    return top[..., 0] + mean, error, count
