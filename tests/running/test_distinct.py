"""Different solutions: which are, by lengths and by valleys; and their table."""

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import diffevo_jax as de
from diffevo_jax.problems import landscapes
from diffevo_jax.running import distinct, judged, peaks

KEY = jax.random.key(0)
#: Himmelblau's minima.
MINIMA = np.array(
    [[3, 2], [-2.805118, 3.131312], [-3.77931, -3.283186], [3.584428, -1.848126]]
)


def himmelblau(x: jax.Array) -> jax.Array:
    return -landscapes.himmelblau(x)


PROBLEM = de.problems.Function(himmelblau, dim=2)


def result_of(points, fitness=None, best=None, problem=PROBLEM, measures=(), mean=-100.0):
    """A result as a run would leave it."""
    points = jnp.asarray(points, jnp.float32)
    if fitness is None:
        fitness = problem.evaluate(KEY, (), problem.space.decode(points))[0].fitness
    fitness = jnp.asarray(fitness, jnp.float32)
    template = jax.eval_shape(
        lambda: de.evolve(KEY, de.DiffusionEvolution(1), PROBLEM, population=points)
    )
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), template)
    valid = jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf)
    top = int(jnp.argmax(valid))
    solution, height = (points[top], valid[top]) if best is None else best
    return de.replace(
        empty,
        population=points,
        fitness=fitness,
        measures=measures,
        best_fitness=jnp.asarray(height),
        history=de.pytree.replace(empty.history, mean_fitness=jnp.full(1, mean)),
        state=de.pytree.replace(empty.state, best_solution=jnp.asarray(solution)),
    )


def around(minima, size=40, deviation=0.02):
    noise = np.random.default_rng(0).normal(size=(len(minima), size, 2))
    return (minima[:, None] + deviation * noise).reshape(-1, 2)


def test_the_nearest_better_tree_is_that_of_brute_force() -> None:
    points = np.random.default_rng(1).normal(size=(60, 3))
    tree = peaks.nearest_better(points)
    for index in range(1, 60):
        distances = np.linalg.norm(points[:index] - points[index], axis=1)
        assert tree.parent[index] == np.argmin(distances)
        assert tree.length[index] == pytest.approx(distances.min())


def test_blocks_of_distances_make_the_tree_of_one(monkeypatch) -> None:
    points = np.random.default_rng(2).normal(size=(50, 2))
    whole = peaks.nearest_better(points)
    monkeypatch.setattr(peaks, "_ROWS", 7)
    np.testing.assert_array_equal(peaks.nearest_better(points).parent, whole.parent)


@pytest.mark.parametrize("num_evaluations", [0, 400])
def test_himmelblau_has_four(num_evaluations: int) -> None:
    found = de.solutions(
        PROBLEM, result_of(around(MINIMA)), key=KEY, num_evaluations=num_evaluations
    )
    distance = np.linalg.norm(found.solutions[:, None] - MINIMA, axis=-1)
    assert sorted(distance.argmin(axis=1)) == [0, 1, 2, 3]
    assert distance.min(axis=1).max() < 0.05
    assert found.count.tolist() == [40, 40, 40, 40]
    assert found.num_evaluations <= num_evaluations


def test_two_groups_on_one_hill_are_one_by_the_valley_test_alone() -> None:
    sphere = de.problems.Function(lambda x: -jnp.sum(x**2), dim=2)
    result = result_of(around(np.array([[0.0, 0.0], [3.0, 0.0]])), problem=sphere)
    # when there are no evaluations the gap between them is all there is to see
    assert len(de.solutions(sphere, result)) == 2
    found = de.solutions(sphere, result, key=KEY, num_evaluations=2000)
    assert found.count.tolist() == [80]


def test_two_points_on_two_peaks_need_the_valley_test() -> None:
    result = result_of(MINIMA[:2])
    assert len(de.solutions(PROBLEM, result)) == 1
    assert len(de.solutions(PROBLEM, result, key=KEY, num_evaluations=20)) == 2


def test_a_valley_is_lower_than_both_ends() -> None:
    inner = np.array([[1.0, 2.0], [0.9, 2.0], [np.nan, 2.0], [1 - 1e-7, 2.0]])
    assert peaks.has_valley(inner, np.ones(4)).tolist() == [False, True, True, False]


def test_the_order_of_individuals_does_not_matter() -> None:
    points = np.round(around(MINIMA), 1)  # with ties and duplicates
    shuffled = np.random.default_rng(3).permutation(points)
    one, other = (de.solutions(PROBLEM, result_of(some)) for some in (points, shuffled))
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.count, other.count)


def test_failed_evaluations_are_not_listed_nor_counted() -> None:
    points = around(MINIMA[:2], size=20)
    fitness = np.array(jax.vmap(himmelblau)(jnp.asarray(points)))
    fitness[:3], fitness[3], fitness[4] = np.nan, np.inf, -np.inf
    found = de.solutions(PROBLEM, result_of(points, fitness))
    assert sorted(found.count) == [15, 20]
    assert np.isfinite(found.fitness).all()


def test_nothing_is_listed_where_everything_failed() -> None:
    found = de.solutions(PROBLEM, result_of(np.zeros((3, 2)), [np.nan] * 3))
    assert len(found) == 0
    assert found.solutions.shape == (0, 2)


def test_duplicates_stand_for_one() -> None:
    found = de.solutions(PROBLEM, result_of(np.repeat(MINIMA[:1], 9, axis=0)))
    assert found.count.tolist() == [9]


def test_one_individual_is_one_solution() -> None:
    found = de.solutions(PROBLEM, result_of(MINIMA[:1]), key=KEY, num_evaluations=10)
    assert found.count.tolist() == [1]


def test_equal_fitness_is_one_plateau() -> None:
    flat = de.problems.Function(lambda x: 0.0 * jnp.sum(x), dim=2)
    points = np.random.default_rng(4).normal(size=(30, 2))
    result = result_of(points, problem=flat, mean=0.0)
    found = de.solutions(flat, result, key=KEY, num_evaluations=3000)
    assert found.count.tolist() == [30]


def test_a_record_holder_that_was_left_is_listed() -> None:
    result = result_of(around(MINIMA[:1]), best=(MINIMA[1].astype(np.float32), 0.0))
    found = de.solutions(PROBLEM, result, key=KEY, num_evaluations=200)
    assert found.count.tolist() == [0, 40]


@pytest.mark.parametrize("within", [0.0, 0.1])
def test_within_says_who_is_good(within: float) -> None:
    # given two peaks, the lower one 5 % of the way from the first mean to the best
    points, fitness = around(np.array([[0.0, 0.0], [5.0, 5.0]])), np.repeat([0.0, -5.0], 40)
    found = de.solutions(PROBLEM, result_of(points, fitness), within=within, phi=10.0)
    assert len(found) == (1 if within == 0.0 else 2)


def test_evaluations_stay_within_what_is_allowed() -> None:
    used = [
        de.solutions(
            PROBLEM, result_of(around(MINIMA)), key=KEY, num_evaluations=n
        ).num_evaluations
        for n in (1, 4, 5, 33, 100)
    ]
    assert used[:2] == [0, 0]
    assert all(u <= n for u, n in zip(used, (1, 4, 5, 33, 100), strict=True))


def structured() -> de.Solutions:
    space = de.problems.Space({"rate": jnp.zeros(()), "w": jnp.zeros(2)})
    problem = de.problems.Function(lambda x: -jnp.sum(x["w"] ** 2), space=space)
    points = np.array([[1 / 3, 0.0, 0.0], [0.5, 0.0, 1e-3]], np.float32)
    template = de.evolve(KEY, de.DiffusionEvolution(1), problem, population=points)
    history = de.pytree.replace(template.history, mean_fitness=jnp.full(1, -1.0))
    lengths = {"length": jnp.array([3, 4])}
    result = de.pytree.replace(template, measures=lengths, history=history)
    return de.solutions(problem, result, within=1.0, phi=0.5)


def test_a_csv_is_read_back_as_it_was(tmp_path: Path) -> None:
    found = structured()
    found.to_csv(tmp_path / "found.csv")
    with (tmp_path / "found.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ["fitness", "feasible", "count", "rate", "w[0]", "w[1]", "measures.length"]
    assert list(rows[0]) == names
    assert [np.float32(row["rate"]) for row in rows] == found.solutions["rate"].tolist()
    assert [int(row["measures.length"]) for row in rows] == [3, 4]


def test_a_frame_has_a_row_for_each() -> None:
    pytest.importorskip("pandas")
    frame = structured().to_pandas()
    assert frame.shape == (2, 7)
    assert frame["feasible"].all()


def test_it_prints_as_a_table() -> None:
    text = repr(structured())
    assert text.splitlines()[0] == "different solutions: 2"
    assert "w[1]" in text


def test_what_is_wrong_is_said() -> None:
    result = result_of(MINIMA)
    with pytest.raises(ValueError, match="key: got None"):
        de.solutions(PROBLEM, result, num_evaluations=10)
    with pytest.raises(ValueError, match="within: got 2"):
        de.solutions(PROBLEM, result, within=2.0)
    with pytest.raises(ValueError, match="phi: got 0"):
        de.solutions(PROBLEM, result, phi=0.0)
    with pytest.raises(ValueError, match="want \\(N, 3\\)"):
        de.solutions(de.problems.Function(himmelblau, dim=3), result)


def test_minima_of_shubert_and_vincent() -> None:
    # closed form for Vincent; Shubert's is the published value of the suite
    ks = np.exp((np.pi / 2 + 2 * np.pi * np.arange(-2, 4)) / 10)
    assert ks.min() > 0.25
    assert ks.max() < 10
    grid = jnp.asarray(np.stack(np.meshgrid(ks, ks), axis=-1).reshape(-1, 2))
    np.testing.assert_allclose(jax.vmap(landscapes.vincent)(grid), -1.0, atol=1e-5)
    best = jnp.array([-1.42512843, -0.80032110])
    assert float(landscapes.shubert(best)) == pytest.approx(-186.7309088, abs=1e-3)


def test_only_the_feasible_are_listed_and_what_is_not_lies_between_them() -> None:
    # given one hill, the middle of which is forbidden
    hill = de.problems.Function(lambda x: -jnp.abs(x[0]), dim=1)
    apart = de.problems.Constraint(lambda x: 0.5 - jnp.abs(x[0]))
    problem, key = de.problems.Constrained(hill, (apart,)), jax.random.key(0)
    population = jnp.linspace(-1.0, 1.0, 65)[:, None]
    result = de.evolve(key, de.DiffusionEvolution(1), problem, population=population)
    # when the solutions are listed, then both sides are, and all are feasible
    found = de.solutions(problem, result, key=key, num_evaluations=100, within=0.5)
    assert found.columns()["feasible"].all()
    assert found.points[:, 0].tolist() in ([0.5, -0.5], [-0.5, 0.5])
    assert "violation" in found.columns()


def test_categories_are_listed_by_their_names() -> None:
    space = de.problems.Space({"kind": de.problems.Categorical(("a", "b"))})
    problem = de.problems.Function(lambda s: 1.0 * s["kind"], space=space)
    result = de.evolve(
        jax.random.key(0), de.DiffusionEvolution(5), problem, population_size=16
    )
    assert de.solutions(problem, result).columns()["kind"].tolist() == ["b"]


def test_on_the_host_nothing_is_evaluated_but_what_is_counted() -> None:
    # given two peaks, and an evaluator that counts
    asked = []

    def two(solutions: np.ndarray) -> np.ndarray:
        asked.append(len(solutions))
        return -np.abs(np.abs(solutions[:, 0]) - 1.0)

    problem = de.problems.External(two, de.problems.Space(np.zeros(1)))
    points = around(np.array([[1.0], [-1.0]]), size=20)[:, :1]
    start = jnp.asarray(points, jnp.float32)
    result = de.run(KEY, de.DiffusionEvolution(1), problem, population=start)
    asked.clear()
    # when they are told apart
    found = de.solutions(problem, result, key=KEY, num_evaluations=60, within=1.0)
    # then the table says what it cost
    assert len(found) == 2
    assert sum(asked) == found.num_evaluations > 0


class Measured:
    """A function of rows in NumPy, measured with noise; counts what it is asked."""

    noisy, space = True, de.problems.Space(np.zeros(2))

    def __init__(self, fn, deviation: float) -> None:
        self.fn, self.deviation, self.asked = fn, deviation, 0
        self.draws = np.random.default_rng(5)

    def init(self, key):
        return ()

    def evaluate(self, key, problem_state, solutions):
        self.asked += len(solutions)
        noise = self.deviation * self.draws.normal(size=len(solutions))
        return de.Evaluation(self.fn(np.asarray(solutions)) + noise), problem_state


def heights(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return -((x[:, 0] ** 2 + x[:, 1] - 11) ** 2) - (x[:, 0] + x[:, 1] ** 2 - 7) ** 2


def lucky(problem: de.Problem, points: np.ndarray, **options: float) -> de.Result:
    """A result whose fitness is that of one noisy evaluation each."""
    evaluation, _ = problem.evaluate(KEY, (), jnp.asarray(points, jnp.float32))
    return result_of(points, evaluation.fitness, problem=problem, **options)


def test_noisy_peaks_are_listed_with_what_they_are_worth() -> None:
    # given four peaks, and noise that is as large as the way down to an individual
    problem = Measured(heights, deviation=3.0)
    result = lucky(problem, around(MINIMA))
    # when they are judged, then all are listed, and within four standard errors
    found = de.solutions(problem, result, key=KEY, num_evaluations=4000)
    distance = np.linalg.norm(found.solutions[:, None] - MINIMA, axis=-1)
    assert sorted(distance.argmin(axis=1)) == [0, 1, 2, 3]
    assert (np.abs(found.fitness - heights(found.points)) < 4 * found.standard_error).all()
    assert (found.standard_error < 3.0).all()
    assert found.num_evaluations <= 4000
    assert (np.diff(found.fitness) <= 0).all()


def test_one_noisy_hill_is_seldom_two() -> None:
    # given one hill whose height differs by less than the noise, and its luckiest fifty
    problem = Measured(lambda x: -np.sum(x**2, axis=1), deviation=1.0)
    draws, lengths = np.random.default_rng(6), []
    for _ in range(40):
        result = lucky(problem, 0.3 * draws.normal(size=(50, 2)))
        found = de.solutions(problem, result, key=KEY, num_evaluations=4000, within=0.9)
        lengths.append(len(found))
    # then a tenth of the lists at most have a peak that is none, by chance
    assert np.mean(np.array(lengths) > 1) <= 0.1
    # where the same lists at their word have several
    assert len(de.solutions(problem, result, within=0.9)) > 1


def test_a_noisy_list_without_evaluations_says_that_it_is_lucky() -> None:
    problem = Measured(heights, deviation=3.0)
    found = de.solutions(problem, lucky(problem, around(MINIMA)))
    assert np.isinf(found.columns()["standard_error"]).all()
    assert "judged by one noisy evaluation" in repr(found).splitlines()[0]


def test_without_noise_there_is_no_error_to_list() -> None:
    found = de.solutions(PROBLEM, result_of(around(MINIMA)))
    assert found.standard_error is None
    assert "standard_error" not in found.columns()


@pytest.mark.parametrize("num_evaluations", [32, 100, 700])
def test_noisy_evaluations_stay_within_what_is_allowed(
    num_evaluations: int, monkeypatch
) -> None:
    problem = Measured(heights, deviation=3.0)
    result = lucky(problem, around(MINIMA))
    monkeypatch.setattr(distinct, "evaluates_on_host", lambda problem: True)
    problem.asked = 0
    found = de.solutions(problem, result, key=KEY, num_evaluations=num_evaluations)
    assert 0 < problem.asked == found.num_evaluations <= num_evaluations


def test_noisy_evaluations_that_fail_do_not_count() -> None:
    # given a third of the evaluations fails
    draws = np.random.default_rng(7)
    failing = lambda x: np.where(draws.random(len(x)) < 1 / 3, np.nan, heights(x))
    problem = Measured(failing, deviation=3.0)
    found = de.solutions(
        problem, lucky(problem, around(MINIMA)), key=KEY, num_evaluations=4000
    )
    assert len(found) == 4
    assert np.isfinite(found.fitness).all()


def test_too_few_noisy_evaluations_are_refused() -> None:
    problem = Measured(heights, deviation=3.0)
    result = lucky(problem, around(MINIMA))
    with pytest.raises(ValueError, match="num_evaluations: got 31, want 0 or at least 32"):
        de.solutions(problem, result, key=KEY, num_evaluations=31)
    with pytest.raises(ValueError, match="num_repeats: got 1, want"):
        de.solutions(problem, result, key=KEY, num_evaluations=100, num_repeats=1)


def test_a_sure_valley_is_that_of_welch() -> None:
    # given evaluations, some of which failed
    draws = np.random.default_rng(8)
    inner = draws.normal(size=(30, 1, 12)) - 0.7
    lower = 2.0 * draws.normal(size=(30, 7))
    inner[:, :, 3], lower[:, 2] = np.nan, -np.inf
    known = lambda values: values[np.isfinite(values)]
    chance = [
        stats.ttest_ind(known(a), known(b), equal_var=False, alternative="less").pvalue
        for a, b in zip(inner, lower, strict=True)
    ]
    expected = np.array(chance) < judged.LEVEL
    assert 0 < expected.sum() < 30
    np.testing.assert_array_equal(judged.has_sure_valley(inner, lower), expected)


def test_where_no_evaluation_differs_any_lower_point_is_a_sure_valley() -> None:
    inner = np.stack([np.full((2, 4), 1.0), np.full((2, 4), 3.0), np.full((2, 4), np.nan)])
    lower = np.full((3, 4), 2.0)
    assert judged.has_sure_valley(inner, lower).tolist() == [True, False, True]
