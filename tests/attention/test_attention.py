"""Attention, against the dense definition in float64.

The first part is for whatever ``DiffusionEvolution(attention=...)`` may be given: a kernel
for an accelerator that takes the place of ``attend`` belongs into ``IMPLEMENTATIONS``.
"""

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
from diffevo_jax.attention import Guidance, Tiling, attend, attend_fused
from diffevo_jax.base import Estimate

BLOCK = 16
fused = functools.partial(attend_fused, interpret=True)
IMPLEMENTATIONS: dict[str, Callable[..., Estimate]] = {
    "one block": attend,
    "blocks": functools.partial(attend, block_size=BLOCK),
    "fused, narrow": functools.partial(fused, tiling=Tiling(False, BLOCK, 2, 4)),
    "fused, wide": functools.partial(fused, tiling=Tiling(True, BLOCK, BLOCK, 4)),
}
#: Numbers of queries and keys.
SIZES = {
    "less than a block": (5, 7),
    "whole blocks": (32, 48),
    "parts of blocks": (37, 21),
    "one block of queries": (9, 50),
}
#: Deviation of the points, in widths of the kernel.
KERNELS = {"flat": 0.0, "smooth": 1.0, "sharp": 8.0}
EPS = float(np.finfo(np.float32).eps)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}


class Points(NamedTuple):
    """The arguments of an attention."""

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    log_weight: np.ndarray
    own: np.ndarray


def points(num_queries: int, num_keys: int, scale: float = 1.0, seed: int = 0) -> Points:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return Points(
        queries=np.float32(scale) * draw(num_queries, 3),
        keys=np.float32(scale) * draw(num_keys, 3),
        values=draw(num_keys, 2),
        log_weight=draw(num_keys),
        own=rng.integers(0, num_keys + 2, num_queries).astype(np.int32),  # M, M + 1: none
    )


def dense(given: Points, floor: float | None, guidance: Guidance | None = None) -> Estimate:
    """The definition, in float64."""
    if guidance is not None:
        answer = dense(given, floor)
        plain = dense(given._replace(log_weight=guidance.log_weight), floor)
        beyond = guidance.strength * (answer.clean - plain.clean)
        return de.replace(answer, clean=answer.clean + beyond)
    queries, keys, values, log_weight = (np.float64(array) for array in given[:4])
    logits = -((queries[:, None] - keys[None]) ** 2).sum(axis=-1) / 2
    if floor is not None:
        logits = np.logaddexp(logits, np.log(floor))
    logits = logits + log_weight
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    nobody = np.zeros((len(queries), 2))
    own = np.take_along_axis(np.hstack([weights, nobody]), given.own[:, None], axis=1)
    return Estimate(weights @ values, 1 / (weights**2).sum(axis=1), own[:, 0])


def rounding(given: Points) -> float:
    """A float32 logit is a sum of terms of this size, and so wrong by some ulp of it."""
    length = lambda array: np.sqrt((array**2).sum(axis=1).max())
    query, key = length(given.queries), length(given.keys)
    weights = given.log_weight[np.isfinite(given.log_weight)]
    return 4 * EPS * (1 + (query + key) ** 2 / 2 + np.abs(weights).max())


def rows(got: Estimate) -> tuple[jax.Array, ...]:
    """What has a row for every query."""
    return got.clean, got.effective_sample_size, got.self_weight


def assert_close(got: Estimate, want: Estimate, error: float) -> None:
    """Agreement, where all weights are wrong by a factor of at most ``1 + error``."""
    np.testing.assert_allclose(got.clean, want.clean, atol=8 * error)  # values are below 4
    np.testing.assert_allclose(got.self_weight, want.self_weight, atol=2 * error)
    np.testing.assert_allclose(
        got.effective_sample_size, want.effective_sample_size, rtol=4 * error
    )


@functools.cache
def compiled(attention: Callable[..., Estimate], floor: float | None = None) -> Any:
    return jax.jit(functools.partial(attention, floor=floor), compiler_options=QUICK)


@pytest.fixture(params=often(2, IMPLEMENTATIONS))
def attention(request) -> Callable[..., Estimate]:
    return IMPLEMENTATIONS[request.param]


# Any implementation


@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
@pytest.mark.parametrize("scale", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_answer_is_that_of_the_definition(attention, sizes, scale, floor) -> None:
    given = points(*sizes, scale)
    got = compiled(attention, floor)(*given)
    assert_close(got, dense(given, floor), rounding(given))


def guided(attention: Callable[..., Estimate], floor: float | None = None) -> Any:
    """The attention of points, a strength and plain log-weights."""

    def answer(given: Points, *guidance: Any) -> Estimate:
        return attention(*given, floor=floor, guidance=Guidance(*guidance))

    return jax.jit(answer, compiler_options=QUICK)


def plain_weights(num_keys: int) -> np.ndarray:
    """Others than those of the points, and not all there."""
    weights = np.random.default_rng(1).normal(size=num_keys).astype(np.float32)
    weights[::5] = -np.inf
    return weights


@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
@pytest.mark.parametrize("scale", often(2, KERNELS.values()), ids=KERNELS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_guidance_goes_beyond_the_mean_and_away_from_the_plain_one(
    attention, sizes, scale, floor
) -> None:
    given, plain = points(*sizes, scale), plain_weights(sizes[1])
    answer = guided(attention, floor)
    for strength in (-1.0, 0.5, 3.0):
        got = answer(given, strength, plain)
        want = dense(given, floor, Guidance(strength, plain))
        assert_close(got, want, (1 + 2 * abs(strength)) * rounding(given))


@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
def test_guidance_of_strength_0_changes_no_bit(attention, floor) -> None:
    given = points(37, 50)
    got = guided(attention, floor)(given, 0.0, plain_weights(50))
    want = compiled(attention, floor)(*given)
    assert all(map(np.array_equal, rows(got), rows(want)))


def test_guidance_of_many_strengths_is_one_program(attention) -> None:
    given, plain = points(37, 50), plain_weights(50)
    strengths = jnp.array([0.0, 0.75, 3.0])
    together = jax.vmap(guided(attention), (None, 0, None))(given, strengths, plain)
    for number, strength in enumerate(strengths):
        got = jax.tree.map(lambda leaf, n=number: leaf[n], rows(together))
        want = rows(guided(attention)(given, strength, plain))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, want)


def test_keys_that_only_the_plain_mean_has_are_gone_away_from(attention) -> None:
    # Two keys, of which the second has no weight: the answer goes on past the first.
    keys = np.array([[1.0], [-1.0]], np.float32)
    given = Points(keys[:1] * 0, keys, keys, np.array([0.0, -np.inf]), np.array([2]))
    given = Points(*(jnp.asarray(array) for array in given))
    got = guided(attention)(given, 2.0, jnp.zeros(2))
    np.testing.assert_allclose(got.clean, [[3.0]], rtol=1e-6)


WEIGHTLESS = {
    "the first block": slice(0, 16),
    "the middle block": slice(16, 32),
    "the last block": slice(32, 48),
    "all but the last": slice(0, 47),
    "all but the first": slice(1, 48),
    "every other": slice(0, 48, 2),
}


@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
@pytest.mark.parametrize("weightless", WEIGHTLESS.values(), ids=WEIGHTLESS)
def test_keys_of_weight_zero_are_not_heard(attention, weightless, floor) -> None:
    given = points(32, 48)
    given.log_weight[weightless] = -np.inf
    got = compiled(attention, floor)(*given)
    assert_close(got, dense(given, floor), rounding(given))
    silent = np.isin(given.own, np.arange(48)[weightless])
    assert silent.any()
    assert (np.asarray(got.self_weight)[silent] == 0).all()


@pytest.mark.parametrize("slope", [-300.0, 300.0], ids=["falling", "rising"])
def test_weights_of_any_size_keep_the_sums_in_range(attention, slope) -> None:
    # given logits from -300 to 300, whose exponentials no float32 can hold
    given = points(32, 48)
    given = given._replace(log_weight=np.linspace(-slope, slope, 48, dtype=np.float32))
    got = compiled(attention)(*given)
    assert_close(got, dense(given, None), rounding(given))


def test_a_key_is_its_own_number_and_no_other(attention) -> None:
    # given a sharp kernel, and every query at a key
    given = points(48, 48)
    given = given._replace(keys=30 * given.queries, queries=30 * given.queries)
    here = compiled(attention)(*given._replace(own=np.arange(48, dtype=np.int32)))
    np.testing.assert_allclose(here.self_weight, 1.0, rtol=1e-5)
    there = compiled(attention)(*given._replace(own=np.roll(np.arange(48), 1)))
    np.testing.assert_allclose(there.self_weight, 0.0, atol=1e-5)


def test_vmap_is_a_loop(attention) -> None:
    batch = [points(37, 21, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *batch)
    together = jax.jit(jax.vmap(attention), compiler_options=QUICK)(*stacked)
    for run, given in enumerate(batch):
        mine = jax.tree.map(lambda leaf, run=run: leaf[run], together)
        assert_close(mine, compiled(attention)(*given), rounding(given))


@functools.cache
def gradient(attention: Callable[..., Estimate]) -> Any:
    """The derivatives of a number that depends on all of the answer."""

    def score(queries, keys, values, log_weight, own) -> jax.Array:
        got = attention(queries, keys, values, log_weight, own)
        waves = jnp.cos(jnp.arange(len(own)))
        return sum(jnp.sum(waves * leaf.T) for leaf in rows(got))

    return jax.jit(jax.grad(score, (0, 1, 2, 3)), compiler_options=QUICK)


def dense_in_jax(queries, keys, values, log_weight, own) -> Estimate:
    distance = jnp.sum((queries[:, None] - keys[None]) ** 2, axis=-1)
    weights = jax.nn.softmax(log_weight - distance / 2, axis=1)
    mine = jnp.concatenate([weights, jnp.zeros((len(own), 2))], axis=1)
    return Estimate(
        jnp.matmul(weights, values, precision="highest"),
        1 / jnp.sum(weights**2, axis=1),
        jnp.take_along_axis(mine, own[:, None], axis=1)[:, 0],
    )


@pytest.mark.parametrize("weightless", [slice(0), slice(0, 16)], ids=["all", "some"])
def test_gradients_are_finite_and_those_of_the_definition(attention, weightless) -> None:
    given = points(37, 48)
    given.log_weight[weightless] = -np.inf
    got, want = gradient(attention)(*given), gradient(dense_in_jax)(*given)
    for ours, wanted in zip(got, want, strict=True):
        assert np.isfinite(ours).all()
        # float32 rounding, relative to the largest derivative
        size = np.abs(wanted).max()
        np.testing.assert_allclose(ours, wanted, atol=size * rounding(given))


@pytest.mark.parametrize(
    ("population_size", "limit"), [(16_384, 64 * 2**20), (65_536, 256 * 2**20)]
)
def test_a_generation_takes_memory_of_the_order_of_the_population(
    attention, population_size, limit
) -> None:
    strategy = de.DiffusionEvolution(
        10, denoiser=de.denoisers.Population(attention=attention)
    )
    population = jax.ShapeDtypeStruct((population_size, 58), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(strategy.init, key, population)
    fitness = jax.ShapeDtypeStruct((population_size,), jnp.float32)
    tell = jax.jit(de.tell, compiler_options=QUICK)
    program = tell.lower(strategy, key, state, population, fitness).compile()
    assert program.memory_analysis().temp_size_in_bytes < limit


def test_no_array_is_as_large_as_all_pairs(attention) -> None:
    program = jax.make_jaxpr(attention)(*points(4096, 4096))
    assert largest_array(program.jaxpr) <= 4096**2 / 8


# Blocks


@pytest.mark.parametrize(("platform", "largest"), [("cpu", 1504 * 1008), ("gpu", 1504**2)])
def test_the_usual_blocks_are_larger_where_more_work_at_once_costs_less(
    monkeypatch, platform, largest
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    program = jax.make_jaxpr(lambda *given: attend(*given))(*points(3000, 3000))
    assert largest_array(program.jaxpr) == largest


@pytest.mark.parametrize("by_rows", [False, True], ids=["blocks", "rows"])
def test_arrays_of_numpy_are_taken_without_a_trace_however_many_blocks(by_rows) -> None:
    given = points(20, 9)
    if by_rows:
        got = rows_of_one_bandwidth(*given, block_numbers=9 * BLOCK)
    else:
        got = attend(*given, block_size=BLOCK)
    assert_close(got, dense(given, None), rounding(given))


@pytest.mark.parametrize("block_size", [8, 36, 64])
def test_block_sizes_agree_to_rounding(block_size) -> None:
    given = points(37, 50)
    blocks = functools.partial(attend, block_size=block_size)
    assert_close(compiled(blocks)(*given), compiled(attend)(*given), rounding(given))


@pytest.mark.parametrize("num_keys", [16, 50])
def test_the_bits_of_a_block_do_not_depend_on_the_queries_that_follow(num_keys) -> None:
    given = points(70, num_keys)
    blocks = jax.jit(IMPLEMENTATIONS["blocks"])

    def first_block(num_queries: int) -> Any:
        got = blocks(given.queries[:num_queries], *given[1:4], given.own[:num_queries])
        return [leaf[:BLOCK] for leaf in rows(got)]

    # given one block of queries alone, and five of which the last is not full
    assert de.equal(first_block(BLOCK), first_block(70))


# In the strategy


def test_the_strategy_asks_the_attention_it_is_given(key) -> None:
    asked = []

    def constant(queries, keys, values, log_weight, own, *, floor, guidance) -> Estimate:
        plain = guidance.log_weight.shape
        asked.append((queries.shape, keys.shape, values.shape, plain, floor))
        same = lambda number: jnp.full(len(queries), number)
        mean = jnp.full((len(queries), values.shape[1]), 0.25)
        return Estimate(mean, same(3.0), same(0.5))

    strategy = de.DiffusionEvolution(
        4,
        denoiser=de.denoisers.Population(
            kernel=de.kernels.Gaussian(floor=1e-9), attention=constant
        ),
    )
    population = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    state = jax.jit(strategy.init)(key, population)
    tell = jax.jit(strategy.tell, compiler_options=QUICK)
    state, info = tell(key, state, population, population[:, 0])
    assert asked == [((8, 3), (8, 3), (8, 3), (8,), 1e-9)]
    want = np.full((8, 3), 0.25)
    np.testing.assert_allclose(state.clean_estimate, want, rtol=1e-6)
    assert (float(info.self_weight), float(info.effective_sample_size)) == (0.5, 3.0)


# Several modes

#: Deviation of a cluster, in widths of the kernel, that leaves everyone some neighbours.
TIGHT = 2.0


def clusters(size: int, dim: int, sigma: float, centres: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(dim)
    spread = sigma * TIGHT / np.sqrt(dim)
    which = rng.integers(0, len(centres), size)
    return np.float32(centres[which] + spread * rng.normal(size=(size, dim)))


#: Centres of clusters, in units of the space, of D dimensions.
PLACES: dict[str, Callable[[int, float], np.ndarray]] = {
    "one, 1,000 deviations off": lambda dim, spread: np.full((1, dim), 1000 * spread),
    "two far ones": lambda dim, _: np.array([[1.0], [-1.0]]) * np.ones(dim),
    "two of different signs": lambda dim, _: np.resize([1.0, 1.0, -1.0], (2, dim)),
}


DIMENSIONS = [
    2,
    1000,
    *(pytest.param(dim, marks=pytest.mark.slow) for dim in (100, 10_000)),
]


@pytest.mark.parametrize("by_rows", [False, True], ids=["blocks", "rows"])
@pytest.mark.parametrize("where", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("alpha_bar", [0.5, 0.9999])
@pytest.mark.parametrize("dim", DIMENSIONS)
def test_an_answer_is_right_in_the_spread_of_its_own_cluster(
    dim, alpha_bar, where, by_rows
) -> None:
    # given clusters that are as tight as the kernel is narrow, however far apart
    sigma = float(np.sqrt((1 - alpha_bar) / alpha_bar))
    spread = sigma * TIGHT / np.sqrt(dim)
    points = clusters(64, dim, sigma, where(dim, spread))
    log_weight = np.float32(np.random.default_rng(1).normal(size=64))
    attention = rows_of_one_bandwidth if by_rows else attend
    got = clusters_mean(attention)(points, log_weight, np.float32(1 / sigma**2))
    # then the answer is what float64 says of these points, to the answer's own rounding
    far = points.astype(np.float64)
    squares = ((far[:, None] - far[None]) ** 2).sum(axis=2)
    logits = log_weight - squares / (2 * sigma**2)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    want = weights @ far
    allowed = 1e-4 * spread + 0.5 * np.spacing(np.abs(want).astype(np.float32))
    assert (np.abs(np.float64(got.clean) - want) <= allowed).all()
    np.testing.assert_allclose(
        got.effective_sample_size, 1 / (weights**2).sum(axis=1), rtol=1e-3
    )


def rows_of_one_bandwidth(*given: Any, **options: Any) -> Estimate:
    ones = lambda half, mask: jnp.ones(len(half), half.dtype)
    return de.attention.attend_by_rows(*given, row_precision=ones, **options)


@functools.cache
def clusters_mean(attention: Callable[..., Estimate]) -> Any:
    def mean(points: Any, log_weight: Any, precision: Any) -> Estimate:
        return de.denoisers.posterior_mean(
            points, points, points, log_weight, precision, attention=attention
        )

    return jax.jit(mean, compiler_options=QUICK)


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e8])
@pytest.mark.parametrize("size", [2, 7, 100])
@pytest.mark.parametrize("name", often(1, ["one block", "fused, narrow", "fused, wide"]))
def test_one_dimension_is_right_however_narrow_the_kernel_is(name, size, scale) -> None:
    # given one-dimensional features far apart in widths of the kernel
    points = np.float32(scale) * np.random.default_rng(size).normal(size=(size, 1))
    points, own = np.float32(points), np.arange(size, dtype=np.int32)
    log_weight = np.float32(np.random.default_rng(1).normal(size=size))
    for compiler in (None, QUICK):
        function = jax.jit(IMPLEMENTATIONS[name], compiler_options=compiler)
        got = function(points, points, points, log_weight, own)
        want = dense(Points(points, points, points, log_weight, own), None)
        assert_close(
            de.replace(got, clean=got.clean / scale),
            de.replace(want, clean=want.clean / scale),
            8 * EPS,
        )
