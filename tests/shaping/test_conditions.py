"""Conditions: what is added to the log-weights, by Bayes' rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.pytree import validation
from diffevo_jax.shaping import Rank, Standardized, conditions

#: It is mostly compile time that these tests cost.
JIT = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TOTAL = JIT(conditions.total)
FITNESS = np.array([1.0, np.nan, 2.0, np.inf, -np.inf, 0.0, 3.0, 4.0], np.float32)
POINTS = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)


def first(candidates, measures):
    return candidates[:, 0]


def itself(candidates, measures):
    return candidates


def given(candidates, measures):
    return measures


EVERY = {
    "target": conditions.Target(first, 1.0, 0.5),
    "target of two": conditions.Target(itself, np.array([1.0, -1.0]), 0.5),
    "novelty": conditions.Novelty(2.0, 3),
    "novelty of a measure": conditions.Novelty(2.0, 3, first),
    "density": conditions.Density(),
}
each_condition = pytest.mark.parametrize("condition", EVERY.values(), ids=EVERY)


def log_weight(condition, points=POINTS, measures=(), fitness=None) -> np.ndarray:
    """As ``total`` has it, which is what a strategy adds."""
    fitness = np.zeros(len(points), np.float32) if fitness is None else fitness
    return np.asarray(TOTAL((condition,), jnp.asarray(points), fitness, measures))


# Every condition


@each_condition
def test_failed_fitness_is_not_felt(condition):
    assert np.array_equal(log_weight(condition, fitness=FITNESS), log_weight(condition))


@each_condition
def test_the_order_of_individuals_does_not_matter(condition):
    order = np.random.default_rng(1).permutation(8)

    shuffled = log_weight(condition, POINTS[order])

    # Sums in another order.
    np.testing.assert_allclose(shuffled, log_weight(condition)[order], rtol=1e-4, atol=1e-5)


@each_condition
def test_every_number_can_be_swept(condition):
    # Each number times 0.5, 1 and 2, all at once: what each gives alone.
    factors = np.array([0.5, 1.0, 2.0], np.float32)
    scaled = lambda factor: jax.tree.map(lambda leaf: leaf * factor, condition)

    swept = jax.vmap(lambda factor: conditions.total((scaled(factor),), POINTS, FITNESS))

    alone = np.stack([log_weight(scaled(factor)) for factor in factors])
    np.testing.assert_allclose(JIT(swept)(factors), alone, rtol=1e-5, atol=1e-5)


@each_condition
def test_many_populations_at_once_are_as_each_alone(condition):
    many = np.random.default_rng(2).normal(size=(3, 8, 2)).astype(np.float32)

    swept = jax.vmap(lambda points: conditions.total((condition,), points, FITNESS))

    alone = np.stack([log_weight(condition, points) for points in many])
    np.testing.assert_allclose(JIT(swept)(many), alone, rtol=1e-4, atol=1e-5)


@each_condition
def test_a_legal_condition_is_valid(condition):
    validation.validate(condition)


@each_condition
def test_numbers_that_leave_their_range_when_traced_give_no_nan(condition):
    for number in (0.0, 1e-45, 1e38):
        edge = jax.tree.map(lambda leaf, n=number: np.full_like(leaf, n), condition)

        got = log_weight(pytree.strong(edge))

        assert (np.isfinite(got) | (got == -np.inf)).all()


# The sum of conditions


def test_without_conditions_nothing_is_asked():
    assert np.asarray(TOTAL((), POINTS, FITNESS)).tolist() == [0.0] * 8


def test_conditions_add_up():
    both = TOTAL((EVERY["novelty"], EVERY["target"]), POINTS, FITNESS)

    want = log_weight(EVERY["novelty"]) + log_weight(EVERY["target"])
    np.testing.assert_allclose(both, want, rtol=1e-6)


@pytree.dataclass
class Given:
    """What the measures say, whatever it is."""

    def log_weight(self, candidates, fitness, measures):
        return measures


@pytest.mark.parametrize("failure", [np.nan, np.inf, -np.inf])
def test_a_condition_that_fails_is_weight_zero(failure):
    got = log_weight(Given(), POINTS[:2], np.array([failure, 1.0], np.float32))

    assert got.tolist() == [-np.inf, 1.0]


def test_huge_conditions_do_not_add_up_to_infinity():
    huge = np.full(8, 3e38, np.float32)

    got = TOTAL((Given(), Given()), POINTS, FITNESS, huge)

    assert np.isfinite(got).all()


def test_a_condition_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"Given\.log_weight: got shape \(\), want \(8,\)"):
        conditions.total((Given(),), POINTS, FITNESS, jnp.zeros(()))


# Target


@pytest.mark.parametrize("value", [0.7, np.array([0.7, -0.2])])
def test_a_target_is_a_gaussian_likelihood(value):
    got = log_weight(conditions.Target(itself, value, 0.3))

    want = -(((POINTS.astype(np.float64) - value) / 0.3) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(got, want, rtol=2e-5)


def test_a_target_turns_a_gaussian_population_into_its_posterior():
    # Prior N(0, 1), likelihood N(x; 1, 0.5²): the posterior is N(0.8, 0.2).
    points = np.random.default_rng(3).normal(size=(40_000, 1)).astype(np.float32)

    weight = np.exp(log_weight(conditions.Target(first, 1.0, 0.5), points))

    mean = weight @ points[:, 0] / weight.sum()
    # 5 standard errors of sqrt(0.2 / effective number).
    effective = weight.sum() ** 2 / (weight**2).sum()
    assert abs(mean - 0.8) < 5 * np.sqrt(0.2 / effective)


def test_a_traced_scale_of_zero_wants_exact_hits():
    points = np.array([[1.0], [1.001]], np.float32)

    got = log_weight(conditions.Target(first, 1.0, jnp.zeros(())), points)

    np.testing.assert_array_equal(got, [0.0, -np.inf])


def test_a_measure_that_failed_is_weight_zero():
    measures = np.array([np.nan, np.inf, 1.0], np.float32)

    got = conditions.Target(given, 1.0).log_weight(
        jnp.asarray(POINTS[:3]), FITNESS[:3], jnp.asarray(measures)
    )

    np.testing.assert_array_equal(got, [-np.inf, -np.inf, 0.0])


# Novelty


def paper_novelty(points: np.ndarray, count: int) -> np.ndarray:
    """Standardised mean distance to the nearest others, in float64."""
    points = points.astype(np.float64)
    distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(distance, np.inf)
    sparseness = np.sort(distance, axis=1)[:, :count].mean(axis=1)
    return (sparseness - sparseness.mean()) / sparseness.std()


@pytest.mark.parametrize(("size", "dim", "count"), [(8, 1, 1), (64, 2, 5), (64, 58, 63)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_novelty_is_the_standardised_distance_to_neighbours(size, dim, count, offset):
    rng = np.random.default_rng(size + dim)
    points = (offset + rng.normal(size=(size, dim))).astype(np.float32)

    got = log_weight(conditions.Novelty(3.0, count), points)

    # Squares of distances are off by 1e-7 of the spread, their roots by 3e-4.
    np.testing.assert_allclose(got, 3 * paper_novelty(points, count), atol=2e-3)


def test_novelty_can_be_asked_of_a_measure():
    behaviour = np.random.default_rng(4).normal(size=(8, 3)).astype(np.float32)

    got = log_weight(conditions.Novelty(1.0, 2, given), POINTS, behaviour)

    np.testing.assert_allclose(got, paper_novelty(behaviour, 2), atol=2e-3)


@pytest.mark.parametrize("factor", [1e-18, 1e18])
def test_the_scale_of_a_measure_does_not_matter(factor):
    got = log_weight(conditions.Novelty(1.0, 3), POINTS * np.float32(factor))

    np.testing.assert_allclose(got, log_weight(conditions.Novelty(1.0, 3)), atol=2e-3)


def test_who_has_no_measure_is_excluded_and_nobodys_neighbour():
    behaviour = np.random.default_rng(5).normal(size=(8, 2)).astype(np.float32)
    behaviour[[1, 4]] = [[np.nan, 0.0], [np.inf, 0.0]]
    novelty, valid = conditions.Novelty(1.0, 2, given), [0, 2, 3, 5, 6, 7]

    got = log_weight(novelty, POINTS, behaviour)

    assert (got[[1, 4]] == -np.inf).all()
    np.testing.assert_allclose(got[valid], paper_novelty(behaviour[valid], 2), atol=2e-3)


@pytest.mark.parametrize("num_valid", [0, 1, 2])
def test_too_few_measures_ask_for_nothing(num_valid):
    behaviour = np.full((8, 1), np.nan, np.float32)
    behaviour[:num_valid] = np.arange(num_valid)[:, None]

    got = log_weight(conditions.Novelty(1.0, 3, given), POINTS, behaviour)

    assert got.tolist() == [0.0] * num_valid + [-np.inf] * (8 - num_valid)


@pytest.mark.parametrize("where", [0.0, 0.1, 1e6])
def test_equal_individuals_are_equally_novel(where):
    points = np.full((8, 2), where, np.float32)

    assert log_weight(conditions.Novelty(1.0, 3), points).tolist() == [0.0] * 8


# Dominated novelty


def paper_dominated_novelty(places: np.ndarray, fitness: np.ndarray, count: int):
    """Mean distance to the nearest that are fitter, in float64; infinite without any."""
    places, scores = places.astype(np.float64), np.full(len(places), np.inf)
    for i, place in enumerate(places):
        fitter = places[fitness > fitness[i]]
        distances = np.sort(np.sqrt(((fitter - place) ** 2).sum(axis=1)))[:count]
        if len(distances):
            scores[i] = distances.mean()
    return scores


def dominated(places, fitness, count=3) -> np.ndarray:
    fitness = jnp.asarray(fitness, jnp.float32)
    return np.asarray(DOMINATED(jnp.asarray(places, jnp.float32), fitness, count))


DOMINATED = JIT(conditions.dominated_novelty, static_argnums=2)
#: No two are equally fit.
RANKS = np.random.default_rng(7).permutation(8).astype(np.float32)


@pytest.mark.parametrize(("size", "dim", "count"), [(8, 1, 1), (8, 2, 99), (64, 3, 3)])
def test_dominated_novelty_is_that_of_the_paper(size, dim, count):
    rng = np.random.default_rng(size)
    places = rng.normal(50.0, 3.0, size=(size, dim)).astype(np.float32)
    fitness = rng.integers(0, size // 2, size).astype(np.float32)  # some are equally fit

    got = dominated(places, fitness, count)

    want = paper_dominated_novelty(places, fitness, count)
    want /= spread(places)
    best = np.isinf(want)
    np.testing.assert_allclose(got[~best], want[~best], rtol=1e-3)
    assert best.any()
    assert (got[best] == got[~best].max()).all()


def spread(places: np.ndarray) -> float:
    """Root-mean-square deviation of a coordinate, in float64."""
    places = places.astype(np.float64)
    return float(np.sqrt(((places - places.mean(axis=0)) ** 2).mean()))


@pytest.mark.parametrize("size", [1, 2, 8])
def test_who_is_dominated_by_nobody_counts_like_all_others(size):
    equally_fit = np.ones(size)

    assert dominated(POINTS[:size], equally_fit).tolist() == [0.0] * size


def test_a_poor_individual_counts_where_no_better_one_is_near():
    places = np.array([[0.0], [0.1], [5.0]])

    got = dominated(places, [3.0, 2.0, 1.0])

    assert got[2] == got.max() > 10 * got[1]


@pytest.mark.parametrize("failure", [np.nan, np.inf, -np.inf])
def test_who_failed_dominates_nobody(failure):
    fitness, valid = RANKS.copy(), np.arange(8) != 4
    fitness[4] = failure

    got = dominated(POINTS, fitness)

    assert got[4] == -np.inf
    assert (got[valid] == dominated(POINTS, np.where(valid, RANKS, np.nan))[valid]).all()
    np.testing.assert_allclose(
        got[valid], dominated(POINTS[valid], RANKS[valid]), rtol=1e-3
    )


def test_who_has_no_measure_does_not_compete():
    places, valid = POINTS.copy(), np.arange(8) != 4
    places[4] = np.nan

    got = dominated(places, RANKS)

    assert got[4] == -np.inf
    np.testing.assert_allclose(
        got[valid], dominated(POINTS[valid], RANKS[valid]), rtol=1e-3
    )


def test_all_failed_is_weight_zero_for_all():
    assert (dominated(POINTS, np.full(8, np.nan)) == -np.inf).all()


def test_a_shaping_makes_the_competition_fitness_a_log_weight():
    by_rank = conditions.DominatedNovelty(itself, competition=Rank(0.5))

    got = log_weight(by_rank, fitness=RANKS)

    order = np.sort(dominated(POINTS, RANKS))[::-1]
    assert order[0] == order[1]  # whom nobody dominates, and the most novel
    np.testing.assert_allclose(np.sort(got)[::-1][:3], [-1 / 7, -1 / 7, -4 / 7], rtol=1e-5)
    assert (
        np.argsort(got, stable=True) == np.argsort(dominated(POINTS, RANKS), stable=True)
    ).all()


def test_without_a_measure_all_measures_of_the_problem_are_meant():
    measures = {"at": POINTS, "length": RANKS, "steps": np.arange(8)}
    columns = np.concatenate([POINTS, RANKS[:, None], np.arange(8)[:, None]], axis=1)

    got = log_weight(conditions.DominatedNovelty(), measures=measures, fitness=RANKS)

    own = log_weight(conditions.DominatedNovelty(given), POINTS, columns, RANKS)
    np.testing.assert_array_equal(got, own)


def test_a_competition_can_be_swept_over_temperatures_and_populations():
    one = lambda temperature, points: conditions.total(
        (conditions.DominatedNovelty(itself, competition=Standardized(temperature)),),
        points,
        RANKS,
    )
    temperatures = np.array([0.5, 1.0], np.float32)
    many = np.random.default_rng(8).normal(size=(2, 8, 2)).astype(np.float32)

    swept = JIT(jax.vmap(one))(temperatures, many)

    alone = [JIT(one)(*pair) for pair in zip(temperatures, many, strict=True)]
    np.testing.assert_allclose(swept, np.stack(alone), rtol=1e-3, atol=1e-4)


def test_it_fills_a_descriptor_that_selection_alone_empties():
    # Fitness wants both numbers at a place; the first is the descriptor.
    fitness = lambda x: -0.1 * (x[0] - 1) ** 2 - x[1] ** 2
    problem, key = de.problems.Function(fitness, dim=2), jax.random.key(0)
    alone = de.DiffusionEvolution(10)
    diverse = de.replace(
        alone,
        conditions=(conditions.DominatedNovelty(first),),
        shaping=Rank(1e6),
        guidance=0.0,
    )

    places, quality = [], []
    for strategy in (alone, diverse):
        result = de.evolve(key, strategy, problem, population_size=64)
        places.append(float(result.population[:, 0].std()))
        quality.append(float((result.population[:, 1] ** 2).mean()))

    assert places[0] < 0.1
    assert places[1] > 0.4
    assert quality[1] < 0.3


# Density


def importance_weight(points: np.ndarray, bandwidth: float) -> np.ndarray:
    """Reciprocal of the kernel density estimate, in float64; 1 where all are in one."""
    points = points.astype(np.float64)
    size, dim = points.shape
    deviation = np.sqrt(((points - points.mean(axis=0)) ** 2).mean())
    width = bandwidth * size ** (-1 / (dim + 4)) * deviation
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    return 1 / np.exp(-squared / (2 * width**2)).mean(axis=1)


@pytest.mark.parametrize("dim", [1, 2, 10])
@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 5.0])
def test_density_is_the_reciprocal_of_the_kernel_estimate(dim, bandwidth):
    points = np.random.default_rng(dim).normal(3.0, 2.0, size=(64, dim)).astype(np.float32)

    got = log_weight(conditions.Density(0.5, bandwidth), points)

    want = 0.5 * np.log(importance_weight(points, bandwidth))
    np.testing.assert_allclose(got, want, atol=1e-4)  # exponents near 100 in float32


@pytest.mark.parametrize("size", [1, 2, 8])
@pytest.mark.parametrize("where", [0.0, 0.1, 1e6])
def test_individuals_in_one_place_need_no_correction(size, where):
    points = np.full((size, 2), where, np.float32)

    np.testing.assert_allclose(log_weight(conditions.Density(), points), 0.0, atol=1e-6)


@pytest.mark.parametrize("bandwidth", [1e-9, 1e9])
def test_extreme_bandwidths_correct_nothing(bandwidth):
    got = log_weight(conditions.Density(1.0, bandwidth))

    np.testing.assert_allclose(got, got[0], atol=1e-5)


def test_the_weights_are_within_a_factor_of_the_size_of_the_population():
    points = np.concatenate([np.zeros((63, 1)), [[1e6]]]).astype(np.float32)

    got = log_weight(conditions.Density(), points)

    assert got.min() >= 0
    np.testing.assert_allclose(got.max(), np.log(64), rtol=1e-6)


def test_the_mean_of_a_crowded_side_is_put_right():
    # The truth is N(0, I), but 85 % of the population are on the right. Weighted by the
    # truth alone they count twice; the density takes out where they are.
    rng = np.random.default_rng(6)
    points = rng.normal(size=(64, 128, 2))
    side = np.where(rng.random((64, 128)) < 0.85, 1.0, -1.0)
    points[..., 0] = np.abs(points[..., 0]) * side
    points = points.astype(np.float32)
    truth = -0.5 * (points**2).sum(axis=-1)

    density = conditions.Density()
    added = JIT(jax.vmap(lambda x: conditions.total((density,), x, x[:, 0])))(points)

    def error(log_g: np.ndarray) -> np.ndarray:
        weight = np.exp(log_g)
        return np.abs((weight * points[..., 0]).sum(axis=1) / weight.sum(axis=1))

    gain = error(truth) - error(truth + np.asarray(added))
    # 64 seeds: 5 standard errors, once in 3e6.
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(64)
    assert error(truth + np.asarray(added)).mean() < 0.75 * error(truth).mean()


# Errors


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (conditions.Target(first, 0.0, 0.0), ValueError, r"scale: got 0\.0, want"),
        (conditions.Target(first, "left"), TypeError, "value: got 'left'"),
        (conditions.Target("x", 0.0), TypeError, "measure: got 'x', want a function"),
        (conditions.Novelty(-1.0), ValueError, r"strength: got -1\.0, want"),
        (conditions.Novelty(1.0, 0), ValueError, "num_neighbours: got 0, want"),
        (conditions.Novelty(1.0, 2.5), TypeError, r"num_neighbours: got 2\.5"),
        (conditions.Novelty(1.0, 2, 3), TypeError, "measure: got 3, want a function"),
        (conditions.DominatedNovelty(given, 0), ValueError, "num_neighbours: got 0, want"),
        (conditions.DominatedNovelty(3), TypeError, "measure: got 3, want a function"),
        (
            conditions.DominatedNovelty(competition=Rank(-1.0)),
            ValueError,
            r"temperature: got -1\.0, want",
        ),
        (conditions.Density(-1.0), ValueError, r"strength: got -1\.0, want"),
        (conditions.Density(1.0, 0.0), ValueError, r"bandwidth: got 0\.0, want"),
    ],
)
def test_what_is_not_legal_is_refused(condition, error, message):
    with pytest.raises(error, match=message):
        validation.validate(condition)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (conditions.Target(given, 0.0), r"measure: got shape \(3,\), want \(8,\)"),
        (conditions.Target(itself, np.zeros(3)), r"value: got shape \(3,\), want \(\) or"),
        (conditions.Novelty(1.0, 8), r"num_neighbours: got 8, want < N = 8"),
        (conditions.Novelty(1.0, 2, given), r"measure: got shape \(3,\), want \(8,\)"),
        (conditions.DominatedNovelty(given), r"measure: got shape \(3,\), want \(8,\)"),
    ],
)
def test_what_does_not_fit_the_population_is_refused(condition, message):
    with pytest.raises(ValueError, match=message):
        conditions.total((condition,), POINTS, FITNESS, np.zeros(3, np.float32))


def test_a_problem_without_measures_has_no_dominated_novelty():
    with pytest.raises(ValueError, match=r"DominatedNovelty\.measure: got None, and a"):
        conditions.total((conditions.DominatedNovelty(),), POINTS, FITNESS)
