"""Constraints: one sign, hard and soft, and never an infeasible best."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.problems import Constrained, Constraint, Function, Space
from diffevo_jax.pytree import validation

KEY = jax.random.key(0)
#: It is mostly compile time that these tests cost.
JIT = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
POINTS = jnp.array([[0.5, 0.0], [1.0, 1.0], [-2.0, 0.0], [0.0, 3.0]])


def height(x):
    return -(x**2).sum()


def first(x):
    return x[0]


PLAIN = Function(height, dim=2)


def evaluated(*constraints, problem=PLAIN, points=POINTS):
    return Constrained(problem, constraints).evaluate(KEY, (), points)[0]


# The sign


def test_a_constraint_is_satisfied_where_it_is_at_most_zero():
    got = evaluated(Constraint(lambda x: x[0] - 0.5))

    assert got.violation.tolist() == [0.0, 0.5, 0.0, 0.0]
    assert got.fitness.tolist() == [-0.25, -2.0, -4.0, -9.0]


def test_a_vector_is_several_constraints_and_violations_add_up():
    both = Constraint(lambda x: x - 0.5)

    got = evaluated(both, Constraint(lambda x: -x[0]))

    assert got.violation.tolist() == [0.0, 1.0, 2.0, 2.5]


def test_a_tolerance_is_no_violation():
    got = evaluated(Constraint(lambda x: x[0] - 0.5, tolerance=0.25))

    assert got.violation.tolist() == [0.0, 0.25, 0.0, 0.0]


def test_an_equality_holds_within_its_tolerance_on_both_sides():
    circle = Constraint(lambda x: (x**2).sum() - 2.0, equal=True, tolerance=1.75)

    assert evaluated(circle).violation.tolist() == [0.0, 0.0, 0.25, 5.25]


def test_an_equality_of_integers_needs_no_tolerance():
    space = Space(np.zeros(2, int), lower=0, upper=5)
    problem = Function(lambda n: n.sum().astype(float), space=space)
    five = Constraint(lambda n: n.sum() - 5, equal=True)

    got = evaluated(five, problem=problem, points=jnp.array([[2, 3], [5, 1]]))

    assert got.violation.tolist() == [0.0, 1.0]


def test_what_is_not_known_is_not_feasible():
    got = evaluated(Constraint(lambda x: jnp.log(x[0])), Constraint(lambda x: 0 * x[0]))

    # the logarithms of 0.5, 1, -2 and 0
    np.testing.assert_array_equal(got.violation, [0.0, 0.0, np.nan, 0.0])


# What a constraint sees


def test_a_constraint_gets_a_decoded_solution():
    space = Space({"a": jnp.zeros(2), "n": jnp.zeros((), jnp.int32)}, lower=0, upper=4)
    problem = Function(lambda x: x["a"].sum(), space=space)
    limit = Constraint(lambda x: x["n"] - 2)

    points = space.encode({"a": jnp.ones((2, 2)), "n": jnp.array([2, 4])})
    got = evaluated(limit, problem=problem, points=space.decode(points))

    assert got.violation.tolist() == [0.0, 2.0]


@de.pytree.dataclass
class Measured:
    """It measures the second number, and counts its evaluations."""

    space: Space

    def init(self, key):
        return jnp.zeros((), jnp.int32)

    def evaluate(self, key, problem_state, solutions):
        fitness = solutions.sum(axis=1)
        said = jnp.where(solutions[:, 0] > 0, 1.0, -5.0)
        return de.Evaluation(fitness, solutions[:, 1], said), problem_state + 1


MEASURED = Measured(Space(jnp.zeros(2)))


def test_a_function_of_two_gets_the_measures_too():
    limit = Constraint(lambda x, measure: x[0] + measure - 2.5)

    got, _ = Constrained(MEASURED, (limit,)).evaluate(KEY, 0, POINTS)

    assert got.measures.tolist() == [0.0, 1.0, 0.0, 3.0]
    # what the problem says adds to it, and being well inside makes up for nothing
    assert got.violation.tolist() == [1.0, 1.0, 0.0, 0.5]


def test_a_parameter_with_a_default_is_no_measure():
    got = evaluated(Constraint(lambda x, limit=0.5: x[0] - limit))

    assert got.violation.tolist() == [0.0, 0.5, 0.0, 0.0]


def test_all_else_is_the_problems_own():
    problem = Constrained(MEASURED, (Constraint(first),))

    _, after = problem.evaluate(KEY, problem.init(KEY), POINTS)

    assert problem.space is MEASURED.space
    assert int(after) == 1
    assert problem.noisy is False


def test_a_noisy_problem_stays_one():
    @de.pytree.dataclass
    class Noisy(Measured):
        noisy: bool = de.pytree.static(default=True)

    assert Constrained(Noisy(MEASURED.space), (Constraint(first),)).noisy is True


def test_the_parameters_of_an_environment_are_reached_through_it():
    control = de.problems.Control("Pendulum-v1")
    inner = Constrained(control, (Constraint(lambda x, episode: 0.0),)).with_env_params()

    assert (
        inner.problem.env_params.max_speed == control.with_env_params().env_params.max_speed
    )
    assert de.equal(
        Constrained(PLAIN, (Constraint(first),)).with_env_params().problem, PLAIN
    )


# Soft ones


def test_a_soft_constraint_costs_deviations_and_is_no_violation():
    got = evaluated(Constraint(lambda x: x[0] - 0.5, softness=0.25), Constraint(first))

    assert got.penalty.tolist() == [0.0, 2.0, 0.0, 0.0]
    assert got.violation.tolist() == [0.5, 1.0, 0.0, 0.0]


def test_softness_can_be_swept_down_to_a_hard_one():
    def both(softness):
        got = evaluated(Constraint(first, softness=softness))
        return got.violation[1], got.penalty[1]

    violation, penalty = jax.vmap(both)(jnp.array([0.0, 0.5]))

    assert (violation.tolist(), penalty.tolist()) == ([1.0, 0.0], [0.0, 2.0])


def test_a_soft_constraint_moves_the_population_and_not_the_best():
    # given an optimum at 1, and a soft wish to be below 0
    problem = lambda softness: Constrained(
        Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2),
        (Constraint(first, softness=softness),),
    )

    @JIT
    @functools.partial(jax.vmap, in_axes=(0, None))
    def run(key, softness):
        strategy = de.DiffusionEvolution(15)
        result = de.evolve(key, strategy, problem(softness), population_size=32)
        fitness = result.history.best_fitness.max()
        return result.population[:, 0].mean(), result.best_fitness == fitness

    keys = jax.random.split(KEY, 16)
    (wished, best), (free, _) = run(keys, 0.1), run(keys, 1e6)

    # then it is nearer to what is wished, by five standard errors; the best is the fittest
    shift = np.asarray(free - wished, float)
    assert shift.mean() > 5 * shift.std(ddof=1) / np.sqrt(16)
    assert best.all()


# A run


def test_a_run_says_what_is_feasible():
    strategy = de.DiffusionEvolution(10)
    problem = Constrained(PLAIN, (Constraint(lambda x: 0.5 - x[0]),))

    result = de.evolve(KEY, strategy, problem, population_size=32, record=("violation",))

    np.testing.assert_allclose(
        result.violation, jnp.maximum(0.5 - result.population[:, 0], 0.0), atol=1e-6
    )
    assert result.recorded["violation"].shape == (10, 32)
    assert float(result.best_violation) == 0.0
    assert float(result.best_solution[0]) >= 0.5
    np.testing.assert_allclose(result.best_fitness, -0.25, atol=0.02)
    assert "best_violation=0.0" in repr(result)


def test_where_nothing_is_feasible_the_best_violates_least():
    strategy = de.DiffusionEvolution(10)
    problem = Constrained(PLAIN, (Constraint(lambda x: (x[0] - 1.0) ** 2 + 0.5),))

    result = de.run(KEY, strategy, problem, population_size=32)

    assert float(result.best_fitness) == -np.inf
    assert (result.history.best_fitness == -np.inf).all()
    np.testing.assert_allclose(result.best_violation, 0.5, atol=1e-3)
    np.testing.assert_allclose(result.best_solution[0], 1.0, atol=0.05)


def test_a_problem_without_constraints_says_nothing_of_them():
    result = de.evolve(KEY, de.DiffusionEvolution(2), PLAIN, population_size=8)

    assert result.violation is None
    assert float(result.best_violation) == 0.0
    assert "violation" not in repr(result)


# A thousand random constraints

N, T, CASES = 16, 5, 1000


@de.pytree.dataclass
class Random:
    """A wavy fitness, and a random constraint of a volume above 0; some evaluations fail.

    Attributes:
        centre: (2,) of the fitness, where a ball may be infeasible.
        normal: (2,) of a plane.
        level: () which side of it is feasible.
        kind: () 0 for a half plane, 1 for a ball, 2 for all but a ball, 3 for stripes.
        failing: () share of the evaluations that fail, and of violations not known.
    """

    centre: jax.Array
    normal: jax.Array
    level: jax.Array
    kind: jax.Array
    failing: jax.Array

    @property
    def space(self):
        return Space(jnp.zeros(2))

    def init(self, key):
        return ()

    def evaluate(self, key, problem_state, solutions):
        away = solutions - self.centre
        fitness = jnp.sin(3.0 * away).sum(axis=1) - (away**2).sum(axis=1)
        along = solutions @ self.normal
        square = (away**2).sum(axis=1)
        kinds = (along, square - 0.5, 0.5 - square, jnp.sin(4.0 * along))
        limit = jnp.select([self.kind == k for k in range(4)], kinds) - self.level
        first, second = jax.random.uniform(key, (2, len(solutions))) < self.failing
        measures = jnp.where(second, jnp.nan, limit)
        return de.Evaluation(jnp.where(first, jnp.nan, fitness), measures), problem_state


def limits(solution, measure):
    return measure


def random_problems():
    draw = np.random.default_rng(0)
    single = lambda *values: jnp.asarray(np.array(values, np.float32))
    return jax.vmap(Random)(
        centre=jnp.asarray(draw.normal(size=(CASES, 2)).astype(np.float32)),
        normal=jnp.asarray(draw.normal(size=(CASES, 2)).astype(np.float32)),
        level=single(*draw.uniform(-0.4, 0.4, CASES)),
        kind=jnp.asarray(np.arange(CASES) % 4),
        failing=single(*draw.choice([0.0, 0.2, 0.7], CASES)),
    )


@pytest.mark.parametrize(
    "strategy",
    [
        de.DiffusionEvolution(T),
        pytest.param(de.MonoFlow(T), marks=pytest.mark.slow),
        pytest.param(
            de.DiffusionEvolution(
                T, de.denoisers.Population(memory=de.denoisers.Archive(2))
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["default", "monoflow", "archive"],
)
def test_the_best_is_never_infeasible_if_a_feasible_one_was_evaluated(strategy):
    @JIT
    @jax.vmap
    def run(key, inner):
        problem = Constrained(inner, (Constraint(limits),))
        return de.evolve(
            key,
            strategy,
            problem,
            population_size=N,
            record=("fitness", "violation", "population"),
        )

    result = jax.device_get(run(jax.random.split(KEY, CASES), random_problems()))

    fitness, violation = result.recorded["fitness"], result.recorded["violation"]
    valid = np.isfinite(fitness)
    feasible = valid & (violation <= 0)
    some = feasible.any(axis=(1, 2))
    # then the best is the fittest feasible one, with its bits
    highest = np.where(feasible, fitness, -np.inf).max(axis=(1, 2))
    np.testing.assert_array_equal(result.best_fitness, highest)
    assert (result.best_violation[some] == 0).all()
    # or, if none was, the least infeasible one
    known = np.where(valid & np.isfinite(violation), np.maximum(violation, 0), np.inf)
    np.testing.assert_array_equal(result.best_violation, known.min(axis=(1, 2)))
    evaluated = result.recorded["population"].reshape(CASES, -1, 2)
    score = np.where(some[:, None, None], np.where(feasible, -fitness, np.inf), known)
    score = score.reshape(CASES, -1)
    is_best = (evaluated == result.best_solution[:, None]).all(axis=2)
    any_known = np.isfinite(score.min(axis=1))
    assert (np.where(is_best, score, np.inf).min(axis=1) == score.min(axis=1))[
        any_known
    ].all()
    # and there are cases of both kinds
    assert 900 < some.sum() < CASES


# Errors


@pytest.mark.parametrize(
    ("problem", "error", "message"),
    [
        (Constraint(3.0), TypeError, r"Constraint\.fn: got 3\.0"),
        (Constraint(lambda: 0.0), TypeError, "want a function of a solution, or of a"),
        (Constraint(lambda x, m, k: 0.0), TypeError, "want a function of a solution"),
        (Constraint(first, tolerance=-1.0), ValueError, r"tolerance: got -1\.0, want"),
        (Constraint(first, softness=-1.0), ValueError, r"softness: got -1\.0, want"),
        (Constraint(first, equal="no"), TypeError, r"equal: got 'no' \(str\), want"),
        (Constrained(PLAIN, ()), ValueError, "constraints: got none, want at least one"),
        (Constrained(PLAIN, (first,)), TypeError, r"constraints\[0\]: got .* Constraint"),
        (Constrained(height, (Constraint(first),)), TypeError, "want a Problem"),
    ],
)
def test_what_is_no_constraint_is_refused(problem, error, message):
    with pytest.raises(error, match=message):
        validation.validate(problem)


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match=r"Constraint\.fn: got bool, want real numbers"):
        evaluated(Constraint(lambda x: x[0] > 0))
    with pytest.raises(ValueError, match=r"fn: got shape \(2, 1\), want \(\) or \(m,\)"):
        evaluated(Constraint(lambda x: x[:, None]))


def test_a_constraint_of_numpy_says_so() -> None:
    limit = de.problems.Constraint(lambda x: float(np.linalg.norm(x)) - 1.0)
    problem = de.problems.Constrained(
        de.problems.Function(lambda x: -x.sum(), dim=2), (limit,)
    )
    with pytest.raises(
        TypeError, match=r"Constraint\.fn: got a function that cannot be tr"
    ):
        de.evolve(jax.random.key(0), de.DiffusionEvolution(2), problem, population_size=4)
