"""The estimator on an accelerator: time, operations, memory, and its error."""

import functools
import itertools
from typing import Any

import counts
import jax
import jax.numpy as jnp
import numpy as np
from accelerator_cases import LONG, Case, Cases, Row, compiled, peak_memory, repeated

import diffevo_jax as de
from diffevo_jax import attention

#: Queries whose answers are compared with those in float64.
CHECKED = 256
#: Numbers of a population at most.
NUMBERS = 2**27
DIMS = (2, 58, 3, 1024)
#: Sizes of the block beside the usual one; the first also meets the largest population.
BLOCKS = (8192, 4096, 2048, 512)
USUAL = attention.BLOCK_SIZE


def cases(quick: bool, seed: int) -> Cases:
    sizes = (100, 1000) if quick else (10**3, 10**4, 10**5)
    found = []
    for before, size in itertools.pairwise((0, *sizes)):
        for dim in (2, 58) if quick else DIMS:
            if size * dim <= NUMBERS:
                found.append(_case(size, dim, seed, before=before))
    for block in (64,) if quick else BLOCKS:
        found.append(_case(size, 58, seed, block, before=size))
    if not quick:
        found.append(_case(10**6, 2, seed, BLOCKS[0], before=size, known=58))
        found += [_case(10**6, dim, seed, before=size) for dim in (2, 58, 3)]
    return found, ("flops_per_second", "error")


def _case(
    size: int, dim: int, seed: int, block: int = USUAL, *, before: int, known: int = 0
) -> Case:
    """One that a smaller population, or the usual block, foretells; all pairs meet."""
    measure = functools.partial(estimate, size, dim, seed, block)
    same = block if before < size else USUAL
    after = _what(before, known or dim, same) if before else None
    growth = (size / before) ** 2 if before else 1.0
    return Case(_what(size, dim, block), measure, after, growth)


def _what(size: int, dim: int, block: int) -> str:
    blocks = "" if block == USUAL else f", blocks of {block:,}"
    return f"estimator, N = {size:,}, D = {dim}{blocks}"


def estimate(size: int, dim: int, seed: int, block_size: int = USUAL) -> Row:
    """One pass of the estimator, and its error.

    A precision of ``D^(-1/2)`` lets logits differ by about one in any dimension, so that
    many points count.
    """
    points, queries, log_weight = data(size, dim, seed)
    precision = dim**-0.5
    attend = functools.partial(attention.attend, block_size=block_size)

    def mean(queries: jax.Array, points: jax.Array, log_weight: jax.Array) -> jax.Array:
        return de.denoisers.posterior_mean(
            queries, points, points, log_weight, jnp.asarray(precision), attention=attend
        ).clean

    program, row = compiled(mean, queries, points, log_weight)
    row |= repeated(lambda: program(queries, points, log_weight), 7)
    count = counts.estimate(size, dim)
    row |= {"size": size, "dim": dim, "block_size": block_size, "flops": count.flops}
    row |= {"functions": count.functions, "peak_memory": peak_memory()}
    row["flops_per_second"] = count.flops / row["seconds"]
    few = queries[:CHECKED]
    if row["seconds"] < LONG:
        got = program(queries, points, log_weight)[:CHECKED]
    else:  # another pass takes too long: a program of the checked queries alone
        got = compiled(mean, few, points, log_weight)[0](few, points, log_weight)
    want = exact(few, points, log_weight, precision)
    error = np.abs(np.asarray(got, float) - want).max() / np.sqrt(np.mean(want**2))
    return row | {"error": float(error), "checked": len(want)}


def data(size: int, dim: int, seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Points (N, D), noisy ones, and log-weights (N,)."""
    key_point, key_noise = jax.random.split(jax.random.key(seed))
    points = jax.random.normal(key_point, (size, dim))
    queries = 0.8 * points + 0.6 * jax.random.normal(key_noise, (size, dim))
    return points, queries, -0.5 * jnp.mean((points - 1.0) ** 2, axis=1)


def exact(queries: Any, points: Any, log_weight: Any, precision: float) -> np.ndarray:
    """The posterior mean in float64, a few queries at a time."""
    queries, points, bias = (np.asarray(a, float) for a in (queries, points, log_weight))
    bias = bias - 0.5 * precision * (points**2).sum(axis=1)
    answers = []
    for few in np.array_split(queries, -(-len(queries) // 32)):
        logits = precision * few @ points.T + bias
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers.append(weights @ points / weights.sum(axis=1, keepdims=True))
    return np.concatenate(answers)
