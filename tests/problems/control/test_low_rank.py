"""Policies of low rank, against the dense ones that they mean."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peaks import PRINT_PEAK, needs_linux

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.problems import MLP, Control, FunctionPolicy, LowRankPolicy
from diffevo_jax.problems.control import dense_weights
from diffevo_jax.problems.control.low_rank import DrawnPolicy
from diffevo_jax.pytree import validation
from tests.jaxprs import equations, largest_array

INPUTS, HIDDEN, OUTPUTS, RANK, COUNT = 9, (24, 16), 3, 2, 6
SEEN = np.random.default_rng(0).normal(size=INPUTS).astype(np.float32)
FROZEN = ("both", "input", "output")
#: Layers of sums of products have 64 weights at most, and are whole.
WIDE = MLP(HIDDEN, num_outputs=OUTPUTS)


def drawn(**changes) -> DrawnPolicy:
    return LowRankPolicy(WIDE, rank=RANK, **changes).sized(SEEN, OUTPUTS)


def cores(policy: DrawnPolicy, count: int = COUNT):
    """Of N(0, 1), leaves (count, ...)."""
    rng = np.random.default_rng(1)
    zeros = policy.init(jax.random.key(0), SEEN)
    draw = lambda leaf: np.float32(rng.normal(size=(count, *leaf.shape)))
    return jax.tree.map(draw, zeros)


def flat(tree) -> np.ndarray:
    """Leaves (N, ...) as (N, D) in float64."""
    rows = lambda leaf: np.float64(leaf).reshape(len(leaf), -1)
    return np.concatenate([rows(leaf) for leaf in jax.tree.leaves(tree)], axis=1)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("frozen", FROZEN)
def test_outputs_are_those_of_the_dense_weights(frozen, activation):
    inner = pytree.replace(WIDE, activation=activation)
    policy = LowRankPolicy(inner, rank=RANK, frozen=frozen).sized(SEEN, OUTPUTS)
    individuals = cores(policy)

    lazy = jax.jit(jax.vmap(lambda core: policy.apply(core, SEEN, ())[0]))(individuals)

    weights = jax.vmap(policy.dense)(individuals)
    dense = jax.vmap(lambda each: inner.apply(each, SEEN, ())[0])(weights)
    np.testing.assert_allclose(lazy, dense, rtol=1e-5, atol=1e-5 * abs(dense).max())
    assert np.abs(np.diff(dense, axis=0)).min() > 1e-3  # individuals differ


@pytest.mark.parametrize("frozen", FROZEN)
def test_distances_of_solutions_are_those_of_dense_weights_in_their_units(frozen):
    policy = drawn(frozen=frozen)
    individuals = cores(policy)
    is_leaf = lambda leaf: hasattr(leaf, "unit")
    units = jax.tree.map(lambda each: each.unit, policy.factors, is_leaf=is_leaf)
    weights = jax.vmap(policy.dense)(individuals)
    points = flat(jax.tree.map(lambda leaf, unit: leaf / unit, weights, units))
    genomes = flat(individuals)

    squares = lambda x: ((x[:, None] - x) ** 2).sum(axis=2)
    np.testing.assert_allclose(squares(genomes), squares(points), rtol=1e-5, atol=1e-4)


def test_the_mean_of_individuals_is_that_of_their_weights():
    policy = drawn()
    individuals = cores(policy)

    mean = policy.dense(jax.tree.map(lambda leaf: leaf.mean(axis=0), individuals))

    weights = jax.vmap(policy.dense)(individuals)
    want = jax.tree.map(lambda leaf: leaf.mean(axis=0), weights)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), mean, want)


@pytest.mark.slow
def test_slopes_are_those_of_the_dense_weights():
    policy = drawn()
    one = jax.tree.map(lambda leaf: leaf[0], cores(policy))
    total = lambda weights: WIDE.apply(weights, SEEN, ())[0].sum()

    lazy = jax.grad(lambda core: policy.apply(core, SEEN, ())[0].sum())(one)

    dense = jax.grad(lambda core: total(policy.dense(core)))(one)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), lazy, dense
    )


def test_a_change_of_one_deviation_is_as_large_as_the_base():
    policy = drawn()
    many = jax.vmap(policy.dense)(cores(policy, 400))
    base = policy.dense(policy.init(jax.random.key(0), SEEN))

    for layer, start in zip(many, base, strict=True):
        change = layer["weight"] - start["weight"]
        ratio = jnp.sqrt(jnp.mean(change**2) / jnp.mean(start["weight"] ** 2))
        assert ratio == pytest.approx(1.0, rel=0.1)  # 400 cores of 4 numbers or more
        bias = layer["bias"] - start["bias"]
        assert jnp.sqrt(jnp.mean(bias**2)) == pytest.approx(1.0, rel=0.1)


def test_a_genome_does_not_grow_with_the_width():
    sizes = [
        Control("cartpole", policy=LowRankPolicy(MLP((width, width)), rank=4)).space.dim
        for width in (64, 1024)
    ]

    assert sizes == [4 * 4 + 4 + 4 * 4 + 4 + 4 * 2 + 2] * 2


def test_what_has_no_fewer_numbers_in_factors_is_whole():
    small, rank = MLP((2,), num_outputs=2), 4
    policy = LowRankPolicy(small, rank=rank).sized(np.zeros(3), 2)

    core = policy.init(jax.random.key(0), np.zeros(3))

    shapes = lambda tree: jax.tree.map(jnp.shape, tree)
    assert shapes(core) == shapes(small.init(jax.random.key(0), np.zeros(3)))


def test_a_base_of_your_own_is_the_policy_of_no_change():
    zeros = WIDE.init(jax.random.key(0), SEEN)
    base = jax.tree.map(lambda leaf: leaf + 0.5, zeros)

    policy = drawn(base=base)

    weights = policy.dense(policy.init(jax.random.key(0), SEEN))
    jax.tree.map(np.testing.assert_array_equal, weights, base)


def test_what_is_drawn_is_the_seeds_and_has_the_variance_of_he():
    same, again, other = (drawn(seed=seed) for seed in (1, 1, 2))
    first = lambda policy: jax.tree.leaves(policy.factors)[1]

    jax.tree.map(np.testing.assert_array_equal, same.factors, again.factors)
    assert not np.array_equal(first(same), first(other))
    wide = LowRankPolicy(MLP((400,), num_outputs=400)).sized(np.zeros(100), 400)
    weights = wide.dense(wide.init(jax.random.key(0), ()))
    assert np.var(weights[0]["weight"]) == pytest.approx(2 / 100, rel=0.05)
    assert not weights[0]["bias"].any()


def test_leaves_of_more_axes_are_drawn_and_change_too():
    kernels = FunctionPolicy(
        init=lambda key, seen: jnp.zeros((3, 3, 40, 50)),
        apply=lambda weights, seen, carry: (weights.sum((0, 1, 2)), carry),
    )

    policy = LowRankPolicy(kernels, rank=2).sized(SEEN, 50)

    zeros = policy.init(jax.random.key(0), SEEN)
    base, changed = policy.dense(zeros), policy.dense(jnp.ones_like(zeros))
    assert zeros.shape == base.shape
    assert np.var(base) == pytest.approx(2 / 360, rel=0.05)  # 18,000 numbers: 1 % off
    np.testing.assert_allclose(changed - base, np.sqrt(np.mean(base**2)), rtol=1e-4)


def test_the_products_with_the_base_are_one_matrix_product_for_all():
    policy = drawn()
    apply = jax.vmap(lambda core, seen: policy.apply(core, seen, ())[0])
    seen = jnp.tile(SEEN, (COUNT, 1))

    jaxpr = jax.make_jaxpr(apply)(cores(policy), seen).jaxpr

    products = [e for e in equations(jaxpr) if e.primitive.name == "dot_general"]
    whole = [e for e in products if {v.aval.shape for v in e.invars} & {(9, 24), (24, 16)}]
    assert len(whole) == 2
    assert not any(e.params["dimension_numbers"][1][0] for e in whole)  # no batch axis
    assert largest_array(jaxpr) < COUNT * 9 * 24  # nobody's own matrix


def test_many_runs_share_one_base():
    problem = Control(
        "CartPole-v1", policy=LowRankPolicy(MLP((32, 32)), rank=RANK), max_steps=20
    )
    solutions = problem.space.decode(jnp.zeros((COUNT, problem.space.dim)))
    keys = jax.random.split(jax.random.key(0), 5)
    evaluate = jax.vmap(lambda key: problem.evaluate(key, (), solutions)[0].fitness)

    jaxpr = jax.make_jaxpr(evaluate)(keys).jaxpr

    assert largest_array(jaxpr) < 4 * 32 * 32  # fewer than one matrix a run


def test_it_plays_as_its_dense_weights_do():
    small = MLP((20,), "tanh")
    problem = Control("CartPole-v1", policy=LowRankPolicy(small, rank=3), max_steps=60)
    solutions = problem.space.decode(problem.space.sample(jax.random.key(0), COUNT))
    weights = jax.vmap(functools.partial(dense_weights, problem))(solutions)
    dense = pytree.replace(problem, policy=small)
    play = jax.jit(lambda problem, x: problem.evaluate(jax.random.key(1), (), x)[0])

    lazy, want = play(problem, solutions), play(dense, weights)

    assert lazy.measures.length.tolist() == want.measures.length.tolist()
    assert len(set(lazy.fitness.tolist())) > 1


def test_a_policy_of_your_own_may_multiply_by_its_matrices():
    own = FunctionPolicy(
        init=lambda key, seen: {"w": jnp.zeros((20, seen.size)), "v": jnp.zeros((2, 20))},
        apply=lambda w, seen, carry: (w["v"] @ jnp.tanh(seen @ w["w"].T), carry),
    )
    problem = Control("CartPole-v1", policy=LowRankPolicy(own, rank=2))
    validation.validate(problem)
    solution = problem.sized_policy().init(jax.random.key(0), ())
    solution = jax.tree.map(lambda leaf: leaf + 1.0, solution)

    output, _ = problem.sized_policy().apply(solution, SEEN[:4], ())

    want, _ = own.apply(dense_weights(problem, solution), SEEN[:4], ())
    np.testing.assert_allclose(output, want, rtol=1e-5)
    assert problem.space.dim == 2 * 2 + 2 * 2


def test_a_policy_that_would_put_its_matrices_together_is_refused():
    own = FunctionPolicy(
        init=lambda key, seen: jnp.zeros((seen.size, 30)),
        apply=lambda w, seen, carry: (jnp.dot(seen, w)[:2], carry),
    )

    with pytest.raises(TypeError, match="FunctionPolicy that uses a matrix as an array"):
        validation.validate(Control("CartPole-v1", policy=LowRankPolicy(own, rank=2)))


def test_an_error_of_the_policys_own_stays_its_own():
    def broken(weights, seen, carry):
        raise TypeError("of my own")

    own = FunctionPolicy(init=lambda key, seen: jnp.zeros((seen.size, 30)), apply=broken)

    with pytest.raises(TypeError, match=r"^of my own$"):
        LowRankPolicy(own).sized(SEEN, 2).apply(jnp.zeros((8, 8)), SEEN, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, r"LowRankPolicy\.rank: got 0"),
        ({"frozen": "none"}, r"LowRankPolicy\.frozen: got 'none', want one of"),
        ({"base": {"a": jnp.zeros((3, 2))}}, r"base: got .* of zeros at \['a'\]"),
        ({"base": {"a": jnp.zeros((3, 2, 2))}}, r"base: got .* of zeros at \['a'\]"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(LowRankPolicy(WIDE, **changes))
    with pytest.raises(ValueError, match=message):  # also where only its size counts
        LowRankPolicy(WIDE, **changes).sized(SEEN, OUTPUTS)


def test_a_base_of_other_shapes_is_refused():
    with pytest.raises(
        ValueError, match=r"LowRankPolicy\.base: got .*weights of its policy"
    ):
        drawn(base=[{"bias": jnp.ones(3), "weight": jnp.ones((9, 3))}])


def test_dense_weights_are_of_its_own_solutions():
    problem = Control("CartPole-v1", policy=LowRankPolicy(MLP((32,)), rank=2))

    with pytest.raises(ValueError, match="policy_params: got"):
        dense_weights(problem, MLP((32,), num_outputs=2).init(jax.random.key(0), SEEN[:4]))
    with pytest.raises(TypeError, match=r"problem\.policy: got MLP, want a LowRankPolicy"):
        dense_weights(Control("CartPole-v1"), {})


PROGRAM = """
import json
import jax, diffevo_jax as de

policy = de.problems.LowRankPolicy(de.problems.MLP((1024, 1024)))
problem = de.problems.Control("CartPole-v1", policy=policy)
result = de.evolve(
    jax.random.key(0), de.DiffusionEvolution(2), problem, population_size=1024, final=0)
solution = jax.tree.map(lambda leaf: leaf[0], problem.space.decode(result.population[:1]))
weights = de.problems.control.dense_weights(problem, solution)
print(json.dumps({
    "weights": sum(leaf.size for leaf in jax.tree.leaves(weights)),
    "mean": result.history.mean_fitness.tolist()}))
"""


@pytest.mark.slow
@needs_linux
def test_a_thousand_policies_of_a_million_weights_fit_two_gibibytes():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM + PRINT_PEAK],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    *_, said, peak = run.stdout.splitlines()
    found = json.loads(said)
    assert found["weights"] == 1_056_770
    assert int(peak) < 2 * 2**30  # dense, the weights alone are 4 GiB
    assert found["mean"][1] > found["mean"][0]


@pytest.mark.slow
def test_an_individual_leaves_as_one_file(tmp_path):
    pytest.importorskip("flatbuffers")  # by which jax.export writes programs
    problem = Control("CartPole-v1", policy=LowRankPolicy(MLP((64, 64)), rank=4))
    solutions = problem.space.decode(problem.space.sample(jax.random.key(0), 1))
    solution = jax.tree.map(lambda leaf: leaf[0], solutions)

    de.problems.control.save_controller(tmp_path / "policy.zip", problem, solution)

    saved = de.problems.control.load_controller(tmp_path / "policy.zip")
    for seen in np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32):
        assert saved(seen)[0] == problem.controller(solution)(seen)[0]


def test_an_attribute_that_arrays_have_is_explained_too():
    init = lambda key, seen: jnp.zeros((INPUTS, 24))
    apply = lambda weights, seen, carry: (seen @ weights.astype(float), carry)
    policy = LowRankPolicy(FunctionPolicy(init, apply), rank=RANK).sized(SEEN, 24)
    with pytest.raises(TypeError, match="uses a matrix as an array, want products"):
        policy.apply(policy.init(jax.random.key(0), SEEN), SEEN, ())


def test_a_base_that_is_not_finite_is_refused():
    base = WIDE.init(jax.random.key(0), SEEN)
    base[0]["weight"] = jnp.full((INPUTS, HIDDEN[0]), jnp.nan)
    with pytest.raises(ValueError, match="got numbers that are not finite"):
        validation.validate(LowRankPolicy(WIDE, base=base))


def test_a_complex_base_is_refused():
    base = WIDE.init(jax.random.key(0), SEEN)
    base[0]["bias"] = base[0]["bias"].astype(complex)
    with pytest.raises(TypeError, match="got complex numbers"):
        validation.validate(LowRankPolicy(WIDE, base=base))


def test_matrices_of_integers_are_whole():
    init = lambda key, seen: jnp.zeros((INPUTS, 24), jnp.int32)
    policy = FunctionPolicy(init, lambda weights, seen, carry: (seen @ weights, carry))
    drawn = LowRankPolicy(policy, rank=1).sized(SEEN, 24)
    cores = jnp.ones((INPUTS, 24), jnp.int32)
    np.testing.assert_array_equal(drawn.dense(cores), cores)


def test_outputs_are_of_the_precision_of_the_weights():
    init = lambda key, seen: jnp.zeros((INPUTS, 24), jnp.bfloat16)
    apply = lambda weights, seen, carry: (seen @ weights, carry)
    policy = LowRankPolicy(FunctionPolicy(init, apply), rank=RANK).sized(SEEN, 24)
    output, _ = policy.apply(jnp.ones((2, 2), jnp.bfloat16), jnp.bfloat16(SEEN), ())
    assert output.dtype == jnp.bfloat16


def test_weights_of_no_rows_are_drawn():
    init = lambda key, seen: {"weight": jnp.zeros((INPUTS, 24)), "none": jnp.zeros((0, 3))}
    policy = LowRankPolicy(FunctionPolicy(init, lambda *given: given), rank=RANK)
    assert policy.sized(SEEN, 24).factors["none"].base.shape == (0, 3)
