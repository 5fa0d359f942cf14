"""Attention whose kernel, or weights, depend on the row, against float64 and ``attend``."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import largest_array
from often import often

import diffevo_jax as de
from diffevo_jax.attention import Guidance, attend
from diffevo_jax.attention.row_wise import BLOCK_NUMBERS, attend_by_rows
from diffevo_jax.base import Estimate

N, M, D = 37, 50, 2
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
#: Numbers of a block: of one row though a row is longer, of 8 rows that do not divide the
#: queries, of all but one, of all.
BLOCKS = {"row": 1, "parts": 8 * M, "all but one": 36 * M, "whole": BLOCK_NUMBERS}


class Points(NamedTuple):
    """The arguments of an attention."""

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    log_weight: np.ndarray
    own: np.ndarray


def points(num_queries: int = N, *, failed: bool = False, far: float = 1.0) -> Points:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    given = Points(
        queries=np.float32(far) * draw(num_queries, 3),
        keys=draw(M, 3),
        values=draw(M, D),
        log_weight=draw(M),
        own=rng.integers(0, M + 2, num_queries).astype(np.int32),  # M, M + 1: none
    )
    if failed:
        given.log_weight[:20] = -np.inf
    return given


def constant(half_squares: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.ones(len(half_squares))


def by_spread(half_squares: Any, mask: Any, xp: Any = jnp) -> Any:
    """A precision that is not the same for all, and no constant of a row matters."""
    some = xp.where(mask, half_squares, half_squares[:, -1:])
    return 2.0 / xp.std(some, axis=1)


def by_share(log_kernel: Any, xp: Any = jnp) -> Any:
    """Log-weights that favour the neighbours with a high number."""
    weight = xp.exp(log_kernel - xp.max(log_kernel, axis=1, keepdims=True))
    weight = weight / xp.sum(weight, axis=1, keepdims=True)
    return 5.0 * weight * xp.cos(xp.arange(M))


@functools.cache
def compiled(function: Callable[..., Estimate], **options: Any) -> Any:
    return jax.jit(functools.partial(function, **options), compiler_options=QUICK)


def dense(
    given: Points,
    floor: float | None,
    row_log_weight: Any = None,
    precision: Any = by_spread,
) -> Estimate:
    """The definition with ``by_spread``, in float64."""
    queries, keys, values, log_weight = (np.float64(array) for array in given[:4])
    half = 0.5 * ((queries[:, None] - keys[None]) ** 2).sum(axis=-1)
    mask = np.isfinite(log_weight)
    log_kernel = -precision(half, mask, np)[:, None] * half
    if floor is not None:
        log_kernel = np.logaddexp(log_kernel, np.log(floor))
    logits = log_kernel + log_weight
    if row_log_weight is not None:
        logits = logits + row_log_weight(np.where(mask, log_kernel, -np.inf), np)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    nobody = np.zeros((len(queries), 2))
    own = np.take_along_axis(np.hstack([weights, nobody]), given.own[:, None], axis=1)
    return Estimate(weights @ values, 1 / (weights**2).sum(axis=1), own[:, 0])


def assert_close(got: Estimate, want: Estimate, error: float = 1e-5) -> None:
    """Agreement to float32 rounding: logits are below 30, so wrong by some 1e-6."""
    np.testing.assert_allclose(got.clean, want.clean, atol=error)
    np.testing.assert_allclose(got.self_weight, want.self_weight, atol=error)
    np.testing.assert_allclose(
        got.effective_sample_size, want.effective_sample_size, rtol=error
    )


@pytest.mark.parametrize("failed", [False, True], ids=["all", "failed"])
@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
@pytest.mark.parametrize("numbers", BLOCKS.values(), ids=BLOCKS)
def test_with_one_precision_for_all_it_is_attend(numbers, floor, failed) -> None:
    given = points(failed=failed)
    options = {"row_precision": constant, "block_numbers": numbers, "floor": floor}
    got = compiled(attend_by_rows, **options)(*given)
    assert_close(got, compiled(attend, floor=floor)(*given))


@pytest.mark.parametrize("weigh", [None, by_share], ids=["kernel", "weights"])
@pytest.mark.parametrize("numbers", often(1, BLOCKS.values()), ids=BLOCKS)
def test_guidance_goes_away_from_the_plain_mean_of_the_same_kernel(numbers, weigh) -> None:
    # Weights that depend on the row are fitness too: the plain mean knows none of them.
    given = points(failed=True)
    plain = np.where(np.arange(M) < 10, -np.inf, 0.0).astype(np.float32)
    options = {"row_precision": by_spread, "row_log_weight": weigh}

    def answer(strength: float) -> Estimate:
        rows = functools.partial(attend_by_rows, block_numbers=numbers, **options)
        guidance = Guidance(strength, plain)
        return jax.jit(rows, compiler_options=QUICK)(*given, guidance=guidance)

    mean = dense(given, None, weigh)
    known = np.isfinite(given.log_weight)

    def same_kernel(half: np.ndarray, mask: np.ndarray, xp: Any = np) -> np.ndarray:
        return by_spread(half, known, np)

    away = dense(given._replace(log_weight=plain), None, precision=same_kernel)
    for strength in (0.0, -1.0, 2.0):
        want = mean.clean + strength * (mean.clean - away.clean)
        assert_close(answer(strength), de.replace(mean, clean=want), 3e-5)


@pytest.mark.parametrize("weigh", [None, by_share], ids=["kernel", "weights"])
@pytest.mark.parametrize("failed", [False, True], ids=["all", "failed"])
@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
def test_the_answer_is_that_of_the_definition(floor, failed, weigh) -> None:
    given = points(failed=failed)
    got = compiled(
        attend_by_rows,
        row_precision=by_spread,
        row_log_weight=weigh,
        floor=floor,
        block_numbers=8 * M,
    )(*given)
    assert_close(got, dense(given, floor, weigh), 3e-5)


def test_queries_full_of_noise_are_told_apart() -> None:
    # given queries of a noise level of 10,000, whose squares no float32 holds to 1 in 1e8
    given = points(far=1e4)
    got = compiled(attend_by_rows, row_precision=by_spread)(*given)
    assert_close(got, dense(given, None), 1e-4)


@pytest.mark.parametrize("own", [20, 21, M, M + 5])
def test_only_a_key_that_is_heard_has_a_weight_of_its_own(own) -> None:
    given = points(failed=True)._replace(own=np.full(N, own, np.int32))
    given.log_weight[21] = -np.inf
    got = compiled(attend_by_rows, row_precision=constant)(*given)
    assert bool((got.self_weight > 0).any()) == (own == 20)


def test_the_bits_of_a_block_do_not_depend_on_the_queries_that_follow() -> None:
    # given one block of 16 queries alone, and five of which the last is not full
    given = points(70)
    rows = compiled(attend_by_rows, row_precision=by_spread, block_numbers=16 * M)

    def first_block(count: int) -> Any:
        got = rows(given.queries[:count], *given[1:4], given.own[:count])
        answers = (got.clean, got.effective_sample_size, got.self_weight)
        return [leaf[:16] for leaf in answers]

    assert de.equal(first_block(16), first_block(70))


def test_vmap_is_a_loop() -> None:
    options = {"row_precision": by_spread, "block_numbers": 8 * M}
    rows = functools.partial(attend_by_rows, **options)
    given = [points(), points(failed=True)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *given)
    together = jax.jit(jax.vmap(rows), compiler_options=QUICK)(*stacked)
    for run, alone in enumerate(given):
        mine = jax.tree.map(lambda leaf, run=run: leaf[run], together)
        assert_close(mine, compiled(attend_by_rows, **options)(*alone))


@pytest.mark.parametrize("numbers", [2**17, 2**20])
def test_no_array_is_larger_than_a_block(numbers) -> None:
    # given blocks that are larger than the queries, and far smaller than all pairs
    given = points(30_000)
    rows = functools.partial(attend_by_rows, row_precision=constant, block_numbers=numbers)
    assert largest_array(jax.make_jaxpr(rows)(*given).jaxpr) <= numbers < 30_000 * M


@pytest.mark.parametrize(
    "strategy",
    [
        de.DiffusionEvolution(
            3, denoiser=de.denoisers.Population(kernel=de.kernels.Perplexity())
        ),
        de.DiffusionEvolution(
            3, denoiser=de.denoisers.Population(shaping=de.shaping.Local())
        ),
    ],
    ids=["perplexity", "local"],
)
def test_a_generation_never_holds_all_pairs(strategy) -> None:
    population = jax.ShapeDtypeStruct((16_384, 4), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(strategy.init, key, population)
    fitness = jax.ShapeDtypeStruct((16_384,), jnp.float32)
    program = jax.make_jaxpr(strategy.tell)(key, state, population, fitness)
    assert largest_array(program.jaxpr) <= BLOCK_NUMBERS < 16_384**2
