"""The kernel for a GPU, interpreted on a CPU and lowered for a GPU.

That it answers as the definition does is in ``test_attention.py``, where it is one of the
implementations; here are its two forms, what it refuses, and what a GPU is given.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import triton_ir
from for_cuda import KERNEL, lowered, need_triton
from jax.experimental import pallas
from often import often

import diffevo_jax as de
from diffevo_jax.attention import Guidance, Tiling, attend, attend_fused
from diffevo_jax.attention.fused_kernels import (
    THREE,
    Table,
    rounded_to_tf32,
    sums,
    three_products,
    usual_tiling,
)
from diffevo_jax.base import Estimate

NARROW, WIDE = Tiling(False, 16, 2, 4), Tiling(True, 16, 16, 4)
TENSOR_CORES = WIDE._replace(precision=THREE)
TILINGS = {"narrow": NARROW, "wide": WIDE, "wide, three products": TENSOR_CORES}
QUICK = {"xla_backend_optimization_level": 0}


def given(size: int, dim: int, value_dim: int, scale: float = 1.0) -> tuple[Any, ...]:
    """Arguments of an attention; queries have keys of their own, some of weight zero."""
    rng = np.random.default_rng(dim)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    keys = np.float32(scale) * draw(size, dim)
    queries = keys + np.float32(0.5) * draw(size, dim)
    log_weight = draw(size)
    log_weight[::7] = -np.inf
    own = np.arange(size, dtype=np.int32)
    return tuple(map(jnp.asarray, (queries, keys, draw(size, value_dim), log_weight, own)))


def dense(
    queries: Any, keys: Any, values: Any, log_weight: Any, own: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The definition in float64: means, effective sample sizes, own weights."""
    queries, keys, values, log_weight = map(np.float64, (queries, keys, values, log_weight))
    squares = ((queries[:, None] - keys[None]) ** 2).sum(axis=2)
    logits = log_weight - squares / 2
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mine = weights[np.arange(len(own)), np.asarray(own)]
    return weights @ values, 1 / (weights**2).sum(axis=1), mine


def interpreted(tiling: Tiling | None = None, **options: Any) -> Callable[..., Estimate]:
    fused = functools.partial(attend_fused, tiling=tiling, interpret=True, **options)
    return jax.jit(fused, compiler_options=QUICK)


def compare(got: Estimate, want: tuple[np.ndarray, ...], error: float) -> None:
    np.testing.assert_allclose(got.clean, want[0], atol=4 * error)  # values are below 4
    np.testing.assert_allclose(got.effective_sample_size, want[1], rtol=4 * error)
    np.testing.assert_allclose(got.self_weight, want[2], atol=2 * error)


#: Numbers of queries and values, and the form that is the usual one.
SHAPES = {
    "one number": (1, 1, False),
    "one number, long values": (1, 40, True),
    "few": (3, 3, False),
    "as many as are narrow": (9, 9, False),
    "more": (10, 10, True),
    "long queries": (58, 2, True),
    "long": (58, 58, True),
    "the longest": (112, 112, True),
}
OFTEN = ("one number, long values", "few", "long")


@pytest.mark.parametrize(
    ("dim", "value_dim", "wide"),
    [
        pytest.param(*shape, id=name, marks=() if name in OFTEN else pytest.mark.slow)
        for name, shape in SHAPES.items()
    ],
)
def test_any_number_of_dimensions_is_answered(dim, value_dim, wide) -> None:
    # given points among which several count, in whatever dimension
    arguments = given(70, dim, value_dim, scale=dim**-0.5)
    tiling = WIDE if wide else NARROW
    got = interpreted(tiling)(*arguments)
    # then a logit is wrong by some ulp of its terms, which are of the order of d
    compare(got, dense(*arguments), 4 * np.finfo(np.float32).eps * (4 + dim))


@pytest.mark.parametrize("dim", [3, pytest.param(58, marks=pytest.mark.slow)])
def test_three_products_are_as_right_as_full_ones(dim) -> None:
    arguments = given(70, dim, dim, scale=dim**-0.5)
    got = interpreted(TENSOR_CORES)(*arguments)
    compare(got, dense(*arguments), 4 * np.finfo(np.float32).eps * (4 + dim))


THIRD = np.full((1, 1), 1 / 3, np.float32)


def test_a_number_of_tf32_has_ten_binary_digits_after_the_first() -> None:
    # given a third, which is 1.0101... times 2^-2
    short = float(rounded_to_tf32(jnp.asarray(THIRD))[0, 0])
    assert short == round(2**12 / 3) / 2**12


def test_three_products_are_wrong_by_the_square_of_what_one_is() -> None:
    third = jnp.asarray(THIRD)
    one = float(rounded_to_tf32(third)[0, 0]) ** 2
    three = float(three_products(third, third)[0, 0])
    # one is wrong by some 2^-12 of itself, so three by less than float32 can say
    assert 2**-17 < abs(one - 1 / 9) < 2**-12
    assert abs(three - 1 / 9) < 2**-24


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "value_dim", "wide"), SHAPES.values(), ids=list(SHAPES))
def test_the_usual_tiling_is_right_too(dim, value_dim, wide) -> None:
    arguments = given(70, dim, value_dim, scale=dim**-0.5)
    got = interpreted()(*arguments)
    compare(got, dense(*arguments), 4 * np.finfo(np.float32).eps * (4 + dim))


def test_few_columns_are_narrow_and_many_are_wide() -> None:
    # of d = 3 and d = 58 with their cells
    assert not usual_tiling(10**5, 7, 4).wide
    assert usual_tiling(10**5, 64, 61).wide


def test_of_many_queries_more_are_answered_together() -> None:
    few, many = usual_tiling(10**5, 7, 4), usual_tiling(10**6, 7, 4)
    assert few.queries < many.queries


@pytest.mark.slow
@pytest.mark.parametrize("tiling", TILINGS.values(), ids=TILINGS)
def test_sums_of_many_keys_lose_no_digits(tiling) -> None:
    # given 20,000 keys that count nearly the same, more than are added one after the other
    arguments = given(20_000, 3, 3, scale=1e-2)
    few = (arguments[0][:16], *arguments[1:4], arguments[4][:16])
    got = interpreted(tiling)(*few)
    want = dense(*few)
    # then their sum is right to a few ulp, and not to those of 20,000 additions
    np.testing.assert_allclose(got.effective_sample_size, want[1], rtol=3e-6)
    np.testing.assert_allclose(got.clean, want[0], atol=3e-6)


@pytest.mark.parametrize("dim", [2, pytest.param(58, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tiling", TILINGS.values(), ids=TILINGS)
def test_a_point_of_a_far_cluster_is_answered_in_the_spread_of_its_own(dim, tiling) -> None:
    # given two clusters, 200 times as far from each other as the kernel is wide
    sigma, size = 1e-2, 48
    rng = np.random.default_rng(0)
    centres = np.where(np.arange(size)[:, None] % 2, 1.0, -1.0) * np.ones(dim)
    spread = 2 * sigma / np.sqrt(dim)
    points = np.float32(centres + spread * rng.normal(size=(size, dim)))
    log_weight = np.float32(rng.normal(size=size))
    attention = functools.partial(attend_fused, tiling=tiling, interpret=True)
    mean = functools.partial(de.denoisers.posterior_mean, attention=attention)
    precision = np.float32(1 / sigma**2)
    mean = jax.jit(mean, compiler_options=QUICK)
    got = mean(points, points, points, log_weight, precision)
    far = np.float64(points)
    want = dense(far / sigma, far / sigma, far, log_weight, np.arange(size))
    allowed = 1e-4 * spread + 0.5 * np.spacing(np.float32(1.0))
    assert np.abs(np.float64(got.clean) - want[0]).max() <= allowed
    np.testing.assert_allclose(got.effective_sample_size, want[1], rtol=1e-3)


def test_a_round_of_keys_of_weight_zero_is_not_heard() -> None:
    # given three rounds of the narrow form, of which the first has no weight at all
    arguments = list(given(1100, 2, 2))
    arguments[3] = arguments[3].at[:600].set(-jnp.inf)
    few = (arguments[0][:5], *arguments[1:4], arguments[4][:5])
    compare(interpreted(NARROW)(*few), dense(*few), 1e-5)


def test_the_bits_of_an_answer_do_not_depend_on_the_queries_beside_it() -> None:
    arguments = given(40, 3, 3)
    fused = interpreted(NARROW)
    whole = fused(*arguments)
    half = fused(arguments[0][:16], *arguments[1:4], arguments[4][:16])
    np.testing.assert_array_equal(whole.clean[:16], half.clean)


# What it is differentiated as


def test_its_derivatives_are_those_of_the_blocked_form() -> None:
    arguments = given(20, 3, 3)

    def slope(attention: Callable[..., Estimate]) -> Any:
        def answer(values: Any, strength: Any) -> Any:
            guidance = Guidance(strength, jnp.zeros(20))
            found = attention(*arguments[:2], values, *arguments[3:], guidance=guidance)
            return found.clean, found.effective_sample_size

        at = (arguments[2], jnp.asarray(0.5))
        return jax.jit(lambda *at: jax.jvp(answer, at, at)[1], compiler_options=QUICK)(*at)

    got = slope(functools.partial(attend_fused, tiling=NARROW, interpret=True))
    want = slope(attend)
    np.testing.assert_allclose(got[0], want[0], atol=1e-6)  # one program, in another
    assert np.abs(want[0]).max() > 0.1


# In a strategy


@pytest.mark.parametrize(
    "strategy", ["evolution", pytest.param("flow", marks=pytest.mark.slow)]
)
def test_a_strategy_evolves_by_it_as_by_the_blocked_form(key, strategy) -> None:
    def evolved(attention: Callable[..., Estimate]) -> Any:
        parts = {
            "evolution": de.DiffusionEvolution(
                3, denoiser=de.denoisers.Population(attention=attention)
            ),
            "flow": de.MonoFlow(3, ratio=de.flows.KernelRatio(attention=attention)),
        }
        problem = de.problems.Landscape("beale")
        run = functools.partial(de.evolve, population_size=24)
        return jax.jit(run, compiler_options=QUICK)(key, parts[strategy], problem)

    got = evolved(functools.partial(attend_fused, tiling=NARROW, interpret=True))
    want = evolved(attend)
    # the rounding of three generations, of points of the order of 1
    np.testing.assert_allclose(got.population, want.population, atol=1e-4)


def test_it_makes_no_rows_for_kernels_that_need_them() -> None:
    denoiser = de.denoisers.Population(
        kernel=de.kernels.Perplexity(), attention=attend_fused
    )
    strategy = de.DiffusionEvolution(3, denoiser=denoiser)
    with pytest.raises(ValueError, match="does not make the rows"):
        de.init(strategy, jax.random.key(0), jnp.zeros((4, 2)))


# What it refuses


@pytest.mark.parametrize("name", ["queries", "keys", "values", "log_weight"])
def test_other_numbers_than_float32_are_refused(name) -> None:
    names = ("queries", "keys", "values", "log_weight", "own")
    arguments = dict(zip(names, given(8, 2, 2), strict=True))
    arguments[name] = arguments[name].astype(jnp.bfloat16)
    with pytest.raises(TypeError, match=f"{name}: got bfloat16, want float32"):
        attend_fused(**arguments, interpret=True)


@pytest.mark.parametrize(("name", "dims"), [("queries", (113, 2)), ("values", (2, 113))])
def test_more_dimensions_than_there_is_room_for_are_refused(name, dims) -> None:
    with pytest.raises(ValueError, match=f"{name}: got 113 dimensions, want at most 112"):
        attend_fused(*given(8, *dims), interpret=True)


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (NARROW._replace(queries=48), "queries=48, want a power of 2"),
        (WIDE._replace(keys=8), "keys=8, want a power of 2, at least 16"),
        (WIDE._replace(precision=jax.lax.Precision.DEFAULT), "precision=DEFAULT, want"),
        (WIDE._replace(num_stages=0), "num_stages=0, want at least 1"),
        (NARROW._replace(num_warps=0), "num_warps=0, want a power of 2, at least 1"),
    ],
)
def test_a_tiling_that_no_kernel_has_is_refused(tiling, message) -> None:
    with pytest.raises(ValueError, match=message):
        attend_fused(*given(8, 2, 2), tiling=tiling, interpret=True)


# Where there is no kernel


@pytest.fixture
def without_a_gpu() -> None:
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU")


@pytest.mark.usefixtures("without_a_gpu")
def test_where_there_is_no_kernel_it_says_so_and_the_blocked_form_answers() -> None:
    arguments = given(40, 3, 3)
    with pytest.warns(UserWarning, match="attend_fused .*: attend answers"):
        got = jax.jit(attend_fused)(*arguments)
    assert de.equal(got, jax.jit(attend)(*arguments))


# What a GPU is given


def shapes(size: int, dim: int, *runs: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    of = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct((*runs, *shape), dtype)
    points = of(size, dim)
    return points, points, points, of(size), of(size, dtype=jnp.int32)


@pytest.mark.usefixtures("without_a_gpu")
@pytest.mark.parametrize("floor", [None, 1e-3], ids=["exact", "floor"])
@pytest.mark.parametrize(("size", "dim"), [(10**6, 3), (10**5, 58), (1000, 1)])
def test_for_a_gpu_it_is_one_kernel(size, dim, floor) -> None:
    text = lowered(functools.partial(attend_fused, floor=floor), *shapes(size, dim))
    assert text.count(KERNEL) == 1
    assert "while" not in text  # nor a loop over blocks beside it


@pytest.mark.usefixtures("without_a_gpu")
def test_for_a_gpu_guidance_is_a_second_kernel() -> None:
    def guided(strength: Any, plain: Any, *arguments: Any) -> Estimate:
        return attend_fused(*arguments, guidance=Guidance(strength, plain))

    strength = jax.ShapeDtypeStruct((), jnp.float32)
    arguments = shapes(1000, 3)
    assert lowered(guided, strength, arguments[3], *arguments).count(KERNEL) == 2


@pytest.mark.usefixtures("without_a_gpu")
def test_for_a_gpu_many_runs_are_one_kernel() -> None:
    assert lowered(jax.vmap(attend_fused), *shapes(1000, 3, 7)).count(KERNEL) == 1


def alone(kernel: Callable[..., Any], *arrays: jax.Array) -> list[np.ndarray]:
    return triton_ir.run(kernel, *arrays)


def beside_another_run(kernel: Callable[..., Any], *arrays: jax.Array) -> list[np.ndarray]:
    both = [jnp.stack([jnp.zeros_like(array), array]) for array in arrays]
    return [leaf[1] for leaf in triton_ir.run(jax.vmap(kernel), *both)]


@pytest.mark.usefixtures("without_a_gpu")
@pytest.mark.parametrize(
    ("columns", "value_columns", "tiling", "floor", "runs"),
    often(
        2,
        [
            (7, 4, NARROW._replace(queries=32), None, alone),
            (20, 17, WIDE, 1e-3, alone),
            (7, 4, NARROW, 1e-3, alone),
            (7, 4, NARROW, None, beside_another_run),
            (20, 17, WIDE, None, beside_another_run),
            (1, 2, NARROW, None, alone),
            (1, 2, NARROW, 1e-3, alone),
            (1, 17, WIDE, None, alone),
            (1, 17, WIDE, 1e-3, alone),
            (64, 61, usual_tiling(37, 64, 61), None, alone),
            (7, 4, usual_tiling(37, 7, 4), None, alone),
        ],
    ),
)
def test_the_program_that_a_gpu_is_given_sums_up_the_same(
    monkeypatch, columns, value_columns, tiling, floor, runs
) -> None:
    need_triton()
    # given a table whose sizes no tiling divides, with keys of weight zero
    rng = np.random.default_rng(columns)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape).astype(np.float32))
    table = Table(
        queries=draw(37, columns),
        half_square=draw(37) ** 2,
        own=jnp.asarray(rng.integers(0, 28, 37), jnp.int32),  # 26, 27: none
        keys=draw(26, columns),
        log_kernel=draw(26),
        log_weight=draw(26),
        values=draw(26, value_columns),
    )
    silent = "log_kernel" if floor is None else "log_weight"
    table = table._replace(**{silent: draw(26).at[::7].set(-jnp.inf)})
    want = sums(table, floor, tiling, interpret=True)

    # when its kernel is lowered, and what the GPU's compiler gets is run by NumPy
    def pallas_call(*arguments: Any, **options: Any) -> Callable[..., Any]:
        return functools.partial(runs, original(*arguments, **options))

    original = pallas.pallas_call
    monkeypatch.setattr(pallas, "pallas_call", pallas_call)
    got = sums(table, floor, tiling, interpret=False)

    # then it is what Pallas's interpreter said, up to the order of sums
    error = 4 * np.finfo(np.float32).eps * (1 + columns)
    for ours, wanted in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=4 * error, atol=4 * error)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")
@pytest.mark.parametrize("precision", ["full", "usual"])
@pytest.mark.parametrize(("dim", "value_dim", "wide"), SHAPES.values(), ids=list(SHAPES))
def test_a_gpu_answers_as_the_definition_does(dim, value_dim, wide, precision) -> None:
    arguments = given(3000, dim, value_dim, scale=dim**-0.5)
    full = Tiling(wide, *((64, 32) if wide else (128, 8)), 4)
    tiling = full if precision == "full" else None
    got = jax.jit(functools.partial(attend_fused, tiling=tiling))(*arguments)
    compare(got, dense(*arguments), 4 * np.finfo(np.float32).eps * (4 + dim))
