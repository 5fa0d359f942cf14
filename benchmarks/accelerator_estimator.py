"""The estimator on an accelerator: time, operations, memory, and its error.

``cases`` are those of the default, in blocks; ``kernels`` those of ``attend_fused``, with
the ways in which its work may be cut.
"""

import functools
import itertools
import warnings
from typing import Any

import counts
import jax
import jax.numpy as jnp
import numpy as np
from accelerator_cases import LONG, Case, Cases, Row, compiled, peak_memory, repeated

import diffevo_jax as de
from diffevo_jax import attention
from diffevo_jax.attention import Blocks, Tiling, usual_blocks

#: Queries whose answers are compared with those in float64.
CHECKED = 256
#: Numbers of a population at most.
NUMBERS = 2**27
DIMS = (2, 58, 3, 1024)
#: Sizes of the block beside the usual ones; the first also meets the largest population.
BLOCKS = (8192, 4096, 1024)
#: Ways to cut the work of the kernel, beside the usual ones.
THREE_PRODUCTS = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
THREE = [
    (dim, Tiling(True, queries, keys, num_warps, num_stages, THREE_PRODUCTS))
    for dim, queries, keys, num_warps, num_stages in (
        (58, 64, 64, 4, 1),
        (58, 128, 32, 4, 2),
        (58, 64, 32, 4, 3),
        (58, 128, 64, 4, 2),
        (10, 64, 64, 4, 2),
        (10, 128, 32, 4, 2),
        (28, 64, 64, 4, 2),
        (28, 128, 32, 4, 2),
        (112, 32, 32, 4, 2),
        (112, 64, 32, 4, 2),
        (4, 64, 32, 4, 2),
    )
]
FULL = [(58, Tiling(True, 32, 32, 4)), (58, Tiling(True, 64, 16, 4, 1))]
NARROW = [
    (dim, Tiling(False, queries, keys, num_warps))
    for dim, queries, keys, num_warps in (
        (3, 512, 8, 4),
        (3, 256, 8, 2),
        (3, 128, 16, 2),
        (5, 256, 8, 4),
    )
]


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
    size: int,
    dim: int,
    seed: int,
    block: int | None = None,
    *,
    before: int,
    known: int = 0,
) -> Case:
    """One that a smaller population, or the usual blocks, foretell; all pairs meet."""
    measure = functools.partial(estimate, size, dim, seed, block)
    same = block if before < size else None
    after = _what(before, known or dim, same) if before else None
    growth = (size / before) ** 2 if before else 1.0
    return Case(_what(size, dim, block), measure, after, growth)


def _what(size: int, dim: int, block: int | None) -> str:
    blocks = "" if block is None else f", blocks of {block:,}"
    return f"estimator, N = {size:,}, D = {dim}{blocks}"


def kernels(quick: bool, seed: int) -> Cases:
    """The kernel's: its goals first, then the ways to cut it, then other dimensions."""
    if quick:
        found = [_kernel_case(100, dim, seed) for dim in (2, 58)]
        found.append(_kernel_case(100, 2, seed, Tiling(False, 32, 2, 4)))
        return found, ("flops_per_second", "error")
    found = [_kernel_case(10**4, dim, seed) for dim in (3, 58)]
    found += [_kernel_case(10**5, dim, seed, before=10**4) for dim in (3, 58)]
    found.append(_kernel_case(10**6, 3, seed, before=10**5))
    found.append(_kernel_case(10**6, 58, seed, before=10**5))
    found += [_kernel_case(10**5, dim, seed) for dim in (2, 4, 5, 10, 28, 112)]
    for dim, tiling in THREE + FULL + NARROW:
        found.append(_kernel_case(10**5, dim, seed, tiling))
    return found, ("flops_per_second", "error")


def _kernel_case(
    size: int, dim: int, seed: int, tiling: Tiling | None = None, *, before: int = 0
) -> Case:
    """One that the kernel's own guess foretells, of as many or of fewer points."""
    measure = functools.partial(kernel, size, dim, seed, tiling)
    after = _kernel_what(before, dim, None) if before else None
    growth = (size / before) ** 2 if before else 1.0
    return Case(_kernel_what(size, dim, tiling), measure, after, growth)


def _kernel_what(size: int, dim: int, tiling: Tiling | None) -> str:
    name = f"kernel, N = {size:,}, D = {dim}"
    if tiling is None:
        return name
    form = "wide" if tiling.wide else "narrow"
    three = ", 3 x TF32" if tiling.precision == THREE_PRODUCTS else ""
    cut = f"{tiling.queries} x {tiling.keys}, {tiling.num_warps} warps"
    return f"{name}, {form}, {cut}, {tiling.num_stages} stages{three}"


def kernel(size: int, dim: int, seed: int, tiling: Tiling | None) -> Row:
    """One pass of the kernel; on a CPU, where it is interpreted, only its error counts."""
    platform = jax.default_backend()
    if platform not in ("cpu", "gpu"):
        raise RuntimeError(f"kernel: got the platform {platform!r}, want a GPU")
    fused = functools.partial(
        attention.attend_fused, tiling=tiling, interpret=platform == "cpu"
    )
    with warnings.catch_warnings():  # of JAX, that its back end for the kernel will go
        warnings.simplefilter("ignore", DeprecationWarning)
        row = measured(size, dim, seed, fused)
    cut = tiling and tiling._asdict() | {"precision": str(tiling.precision)}
    return row | {"interpreted": platform == "cpu", "tiling": cut}


def estimate(size: int, dim: int, seed: int, block_size: int | None = None) -> Row:
    """One pass of the default estimator, and its error; by its usual blocks if None."""
    attend = functools.partial(attention.attend, block_size=block_size)
    most = usual_blocks() if block_size is None else Blocks(block_size, block_size)
    return measured(size, dim, seed, attend) | {"blocks": most._asdict()}


def measured(size: int, dim: int, seed: int, attend: attention.Attention) -> Row:
    """One pass of an estimator, and its error.

    A precision of ``D^(-1/2)`` lets logits differ by about one in any dimension, so that
    many points count.
    """
    points, queries, log_weight = data(size, dim, seed)
    precision = dim**-0.5

    def mean(queries: jax.Array, points: jax.Array, log_weight: jax.Array) -> jax.Array:
        return de.denoisers.posterior_mean(
            queries, points, points, log_weight, jnp.asarray(precision), attention=attend
        ).clean

    program, row = compiled(mean, queries, points, log_weight)
    row |= repeated(lambda: program(queries, points, log_weight), 7)
    count = counts.estimate(size, dim)
    row |= {"size": size, "dim": dim, "flops": count.flops}
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
