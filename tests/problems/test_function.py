"""A problem from a plain function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import diffevo_jax as de
from diffevo_jax.problems import Function, Space
from diffevo_jax.pytree import validation


def negated_sphere(x: jax.Array) -> jax.Array:
    return -(x**2).sum()


def test_the_function_sees_one_solution_at_a_time():
    shapes = []

    def fn(x):
        shapes.append(x.shape)
        return x.sum()

    evaluation, state = Function(fn, dim=3).evaluate(jax.random.key(0), (), np.ones((5, 3)))

    assert shapes == [(3,)]
    assert (evaluation.fitness.tolist(), state) == ([3.0] * 5, ())


def test_the_space_of_a_vector_function_has_its_dimension():
    space = Function(negated_sphere, 4).space

    assert space.dim == 4
    assert space.decode(jnp.ones((2, 4))).dtype == jnp.asarray(1.0).dtype


def test_the_function_may_take_a_pytree():
    space = Space({"a": np.zeros(2, np.float32), "b": np.float32(0)}, scale=2.0)
    problem = Function(lambda tree: tree["a"].sum() + 10 * tree["b"], space=space)

    evaluation, _ = problem.evaluate(
        jax.random.key(0), (), problem.space.decode(jnp.ones((4, 3)))
    )

    assert evaluation.fitness.tolist() == [24.0] * 4


def test_a_problem_of_the_same_function_is_the_same_structure():
    first, second = Function(negated_sphere, dim=3), Function(negated_sphere, dim=3)

    assert jax.tree.structure(first) == jax.tree.structure(second)


def test_the_numbers_of_its_space_are_leaves():
    space = Space(np.zeros(3, np.float32), lower=-1.0, upper=2.0)
    problem = Function(negated_sphere, space=space)

    doubled = jax.tree.map(lambda leaf: 2 * leaf, problem)

    assert (doubled.space.lower, doubled.space.upper) == (-2.0, 4.0)
    assert doubled.fn is negated_sphere


def test_it_has_no_state_and_no_measures():
    problem = Function(negated_sphere, dim=1)

    evaluation, state = problem.evaluate(jax.random.key(0), (), jnp.ones((2, 1)))

    assert problem.init(jax.random.key(0)) == state == evaluation.measures == ()


def test_the_numbers_of_its_space_are_validated():
    space = Space(np.zeros(3, np.float32), lower=1.0, upper=0.0)

    with pytest.raises(ValueError, match=r"Space\.lower: got 1 with upper 0"):
        validation.validate(Function(negated_sphere, space=space))


@pytest.mark.parametrize("fn", [None, 3.0, "sphere"])
def test_what_cannot_be_called_is_refused(fn):
    with pytest.raises(TypeError, match=r"fn: got .* want a function of one solution"):
        Function(fn, dim=2)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [({}, "neither"), ({"dim": 2, "space": Space(np.zeros(2, np.float32))}, "both")],
)
def test_one_of_dimension_and_space_is_wanted(arguments, got):
    with pytest.raises(ValueError, match=f"dim, space: got {got}, want one of them"):
        Function(negated_sphere, **arguments)


@pytest.mark.parametrize(("dim", "error"), [(0, ValueError), (2.0, TypeError)])
def test_a_dimension_is_a_count(dim, error):
    with pytest.raises(error, match="dim: got"):
        Function(negated_sphere, dim=dim)


def test_what_is_no_space_is_refused_before_a_run():
    problem = de.problems.Function(lambda x: -(x**2).sum(), space=(-2.0, 2.0))
    with pytest.raises(TypeError, match=r"Function\.space: got \(-2\.0, 2\.0\), want"):
        de.evolve(jax.random.key(0), de.DiffusionEvolution(3), problem, population_size=4)


UNTRACEABLE = {
    "numpy": lambda x: float(np.sum(np.sin(x))),
    "float": lambda x: -(float(x[0]) ** 2),
    "if": lambda x: x[0] if x[0] > 0 else -x[0],
    "index": lambda x: x[x > 0].sum(),
    "integer": lambda x: sum(range(int(x[0]))),
    "scipy": lambda x: -solve_ivp(lambda t, y: -x[0] * y, (0, 1), [1.0]).y[0, -1],
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_a_function_that_cannot_be_traced_is_sent_to_external(name):
    problem = Function(UNTRACEABLE[name], dim=2)

    with pytest.raises(TypeError, match=r"fn: got a function that cannot be traced .*Ext"):
        de.evolve(jax.random.key(0), de.DiffusionEvolution(2), problem, population_size=4)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: -(x**2).sum(axis=1),
        lambda x: x[:, 0] * x[:, 1],
        jax.vmap(lambda x: x @ x),
        lambda x: jnp.einsum("nd,nd->n", x, x),
    ],
    ids=["axis", "index", "vmap", "einsum"],
)
def test_a_function_of_a_population_is_told_that_it_takes_one_solution(fn):
    with pytest.raises(TypeError, match=r"fn: got a function of a population .*one so"):
        Function(fn, dim=3).evaluate(jax.random.key(0), (), jnp.ones((5, 3)))


def test_several_numbers_of_one_solution_are_told_that_one_is_wanted():
    with pytest.raises(ValueError, match=r"got shape \(5, 3\), want \(5,\): fn takes"):
        Function(lambda x: x, dim=3).evaluate(jax.random.key(0), (), jnp.ones((5, 3)))


def test_other_mistakes_of_a_function_are_its_own():
    def mistaken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Function(mistaken, dim=3).evaluate(jax.random.key(0), (), jnp.ones((5, 3)))
