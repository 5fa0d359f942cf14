"""Groups of calls under ``vmap``, on functions and on the attention."""

import functools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import equations, largest_array

from diffevo_jax.attention import Guidance, attend, attend_by_rows
from diffevo_jax.attention.blocks import even_size, in_groups

#: Runs, individuals and dimensions; a block has room for all pairs of two runs.
RUNS, SIZE, DIM = 5, 32, 3
few_at_once = functools.partial(attend, block_size=46)


def product(matrix: jax.Array, named: dict[str, Any]) -> dict[str, jax.Array]:
    return {"product": matrix @ named["vector"], "sum": matrix.sum() + named["number"]}


def populations(size: int = SIZE) -> tuple[jax.Array, ...]:
    """The arguments of an attention, each with an axis of runs."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(RUNS, *shape)), jnp.float32)
    own = jnp.tile(jnp.arange(size, dtype=jnp.int32), (RUNS, 1))
    return draw(size, DIM), draw(size, DIM), draw(size, 2), draw(size), own


@pytest.mark.parametrize(("size", "blocks"), [(1025, 2), (2048, 2), (2049, 3), (2500, 3)])
def test_little_is_filled_up_beside_blocks_that_are_as_few_as_can_be(size, blocks) -> None:
    even = even_size(size, 1024)
    assert -(-size // even) == blocks
    assert 0 <= blocks * even - size < 16 * blocks


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 8], ids="at most {}".format)
def test_groups_of_any_size_answer_as_vmap_does(most) -> None:
    matrices = jnp.arange(7 * 6.0).reshape(7, 2, 3)
    vectors = {"vector": jnp.arange(7 * 3.0).reshape(7, 3), "number": jnp.arange(7)}
    got = jax.vmap(in_groups(product, most))(matrices, vectors)
    want = jax.vmap(product)(matrices, vectors)
    # sums and products of small integers are exact
    np.testing.assert_array_equal(got["product"], want["product"])
    np.testing.assert_array_equal(got["sum"], want["sum"])


def test_what_is_not_mapped_is_shared() -> None:
    x, named = jnp.arange(7.0), {"vector": jnp.ones(100), "number": jnp.int32(1)}
    scaled = lambda x, named: x * named["vector"].sum() + named["number"]
    mapped = jax.vmap(in_groups(scaled, 2), (0, None))
    assert largest_array(jax.make_jaxpr(mapped)(x, named).jaxpr) < 100  # no copy
    np.testing.assert_array_equal(mapped(x, named), 100 * x + 1)


def test_groups_are_as_even_as_can_be() -> None:
    mapped = jax.vmap(in_groups(lambda x: (x[:, None] * x[None]).sum(), 6))
    program = jax.make_jaxpr(mapped)(jnp.ones((7, 10)))
    assert largest_array(program.jaxpr) == 4 * 10**2  # two groups of 4, not of 6


def test_a_group_of_one_call_has_no_axis_of_calls() -> None:
    program = jax.make_jaxpr(jax.vmap(in_groups(lambda x: x @ x, 1)))(jnp.ones((3, 4, 4)))
    names = {e.primitive.name: e for e in equations(program.jaxpr)}
    assert names["dot_general"].outvars[0].aval.shape == (4, 4)


def test_a_map_over_one_call_leaves_the_groups_to_the_maps_around_it() -> None:
    mapped = jax.vmap(jax.vmap(in_groups(lambda x: (x[:, None] * x[None]).sum(), 3)))
    program = jax.make_jaxpr(mapped)(jnp.ones((6, 1, 10)))
    assert largest_array(program.jaxpr) == 3 * 10**2


@pytest.mark.parametrize("most", [1, 6, 11, 12], ids="at most {}".format)
def test_nested_maps_share_the_groups(most) -> None:
    # when 3 x 4 products of 400 numbers are mapped, whose sums are small
    outer = in_groups(lambda x, y: (x[:, None] * y[None]).sum(axis=1), most)
    mapped = jax.vmap(jax.vmap(outer))
    x = jnp.ones((3, 4, 20))

    # then so many are there at once
    assert largest_array(jax.make_jaxpr(mapped)(x, x).jaxpr) <= most * 400
    np.testing.assert_array_equal(mapped(x, x), 20 * x)


def test_what_a_function_closes_over_is_mapped_and_derived() -> None:
    def scaled(x: jax.Array, scale: jax.Array, power: jax.Array) -> jax.Array:
        return in_groups(lambda x: (scale * x**power).sum(), 2)(x)

    x, scales, powers = jnp.full((5, 2), 2.0), jnp.arange(5.0), jnp.arange(5)
    got = jax.vmap(jax.value_and_grad(scaled, argnums=1))(x, scales, powers)
    want = 2 * 2.0 ** np.arange(5)
    np.testing.assert_array_equal(got, (scales * want, want))


def test_many_runs_leave_room_on_an_accelerator(monkeypatch) -> None:
    shapes = [(300, 2048, 3), (300, 2048, 3), (300, 2048, 2), (300, 2048)]
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    own = jax.ShapeDtypeStruct((300, 2048), jnp.int32)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    program = jax.make_jaxpr(jax.vmap(attend))(*given, own)
    assert largest_array(program.jaxpr) <= jax.local_device_count() * 2**28


def test_more_runs_than_any_memory_holds_have_a_shape() -> None:
    """By which they are refused, where somebody counts the bytes."""
    huge = 10**20
    given = [
        jax.ShapeDtypeStruct((huge, *leaf.shape[1:]), leaf.dtype) for leaf in populations()
    ]
    assert jax.eval_shape(jax.vmap(few_at_once), *given).clean.shape == (huge, SIZE, 2)


def test_attention_of_many_runs_meets_as_many_pairs_at_once_as_a_block() -> None:
    program = jax.make_jaxpr(jax.vmap(few_at_once))(*populations())
    assert largest_array(program.jaxpr) == 2 * SIZE**2 <= 46**2


@pytest.mark.parametrize(
    ("size", "block_numbers", "at_once"), [(SIZE, SIZE**2, 1), (1024, 2**22, 2)]
)
def test_rows_of_many_runs_are_as_few_at_once_as_a_block_has(
    size, block_numbers, at_once
) -> None:
    sharp = lambda half_squares, mask: jnp.exp(half_squares.min(axis=1))
    rows = functools.partial(
        attend_by_rows, row_precision=sharp, block_numbers=block_numbers
    )
    program = jax.make_jaxpr(jax.vmap(rows))(*populations(size))
    assert largest_array(program.jaxpr) == at_once * size**2


@pytest.mark.parametrize("strengths", [None, [0.0, 1.0, 0.0, -1.0, 2.0]], ids=str)
def test_each_of_many_runs_has_the_answer_that_it_has_alone(strengths) -> None:
    given, guidance = populations(), None
    if strengths is not None:
        guidance = Guidance(jnp.asarray(strengths), given[3][::-1])
    call = lambda given, guidance: few_at_once(*given, guidance=guidance)
    got = jax.jit(jax.vmap(call))(given, guidance)
    for run in range(RUNS):
        own = jax.tree.map(lambda leaf: leaf[run], (given, guidance))  # noqa: B023
        want = jax.jit(call)(*own)
        # the same operations, which the compiler may fuse otherwise
        np.testing.assert_allclose(got.clean[run], want.clean, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(
            got.effective_sample_size[run], want.effective_sample_size, rtol=2e-5
        )


@pytest.mark.parametrize("of", ["each", "all"])
def test_derivatives_are_those_of_a_program_without_groups(of) -> None:
    given = populations()

    def loss(attention: Any, values: jax.Array) -> jax.Array:
        call = lambda values, rest: attention(*rest[:2], values, *rest[2:]).clean
        rest = given[:2] + given[3:]
        if of == "all":  # the derivative of what is mapped
            return jax.grad(lambda values: (jax.vmap(call)(values, rest) ** 2).sum())(
                values
            )
        square = lambda values, rest: (call(values, rest) ** 2).sum()
        return jax.vmap(jax.grad(square))(values, rest)

    alone = functools.partial(attend, block_size=SIZE * RUNS)
    got, want = loss(few_at_once, given[2]), loss(alone, given[2])
    # sums of 32 terms of the order of 1
    np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_a_second_derivative_is_that_of_the_function(mode) -> None:
    cube = in_groups(lambda x, number: number * x**3, 2)
    second = mode(jax.grad(lambda x: cube(x, jnp.int32(2)).sum()))
    np.testing.assert_allclose(second(jnp.arange(3.0)), np.diag(12 * np.arange(3.0)))


def test_no_runs_have_no_answers() -> None:
    none = jax.vmap(in_groups(jnp.square, 2))(jnp.ones((0, 3)))
    assert none.shape == (0, 3)


def test_a_branch_of_each_run_is_differentiated() -> None:
    def branched(x: jax.Array) -> jax.Array:
        return jax.lax.cond(x > 2, lambda: x**2, lambda: 3 * x)

    slopes = jax.grad(lambda x: jax.vmap(in_groups(branched, 2))(x).sum())
    np.testing.assert_array_equal(slopes(jnp.arange(5.0)), [3, 3, 3, 6, 8])


def test_a_strength_of_each_run_is_differentiated() -> None:
    given, strengths = populations(), jnp.asarray([0.5, 1.0, 1.5, -1.0, 2.0])
    several = functools.partial(attend, block_size=SIZE // 2)
    call = lambda strength, given: several(*given, guidance=Guidance(strength, -given[3]))

    def loss(strengths: jax.Array) -> jax.Array:
        return jax.vmap(call)(strengths, given).clean.sum()

    # an answer is linear in the strength; sums of 64 numbers of the order of 1, in float32
    slopes = jax.grad(loss)(strengths)
    np.testing.assert_allclose(
        slopes.sum(), loss(strengths + 1) - loss(strengths), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("mapped", [(0, 0, 0), (None, 0, None), (0, None, None)], ids=str)
def test_a_program_of_groups_is_differentiated(mapped) -> None:
    # given answers, one by each argument, with the axis of runs behind
    columns = lambda x: jax.lax.map(lambda row: row**2, x)
    call = in_groups(lambda *all_: tuple(map(columns, all_)), 2)
    some = [jnp.ones((2, 3)) if a is None else jnp.ones((5, 2, 3)) for a in mapped]

    # when what is compiled before is differentiated
    square = lambda of: lambda some: sum(x.sum() for x in jax.vmap(of, mapped)(*some))
    got = jax.grad(lambda some: jax.jit(square(call))(some))(some)
    want = jax.grad(square(lambda *all_: tuple(map(columns, all_))))(some)
    jax.tree.map(np.testing.assert_array_equal, got, want)


#: A process of its own, since it takes a new one to have several devices.
DIVIDED = """
import jax, jax.numpy as jnp
from diffevo_jax.attention.blocks import even_size, in_groups

jax.config.update("jax_num_cpu_devices", 2)
runs = jax.sharding.PartitionSpec("runs")
place = jax.sharding.NamedSharding(jax.make_mesh((2,), ("runs",)), runs)
x = jax.device_put(jnp.arange(20 * 3.0).reshape(20, 3), place)
program = jax.jit(jax.vmap(in_groups(lambda x: x @ x, 3))).lower(x).compile()
assert (program(x) == (x * x).sum(axis=1)).all(), program(x)
print(program(x).sharding.spec == runs, "all-gather" in program.as_text())
"""


@pytest.mark.slow
def test_runs_that_the_compiler_divides_stay_on_their_devices() -> None:
    command = [sys.executable, "-c", DIVIDED]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == ["True", "False"]


def test_what_a_function_closes_over_is_not_kept() -> None:
    scaled = lambda x, scale: in_groups(lambda x: x * scale, 2)(x)
    with jax.checking_leaks():
        got = jax.jit(jax.vmap(scaled))(jnp.ones(5), jnp.arange(5.0))
    np.testing.assert_array_equal(got, np.arange(5.0))
