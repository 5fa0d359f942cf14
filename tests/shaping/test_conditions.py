"""Conditions: what is added to the log-weights, by Bayes' rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import pytree
from diffevo_jax.pytree import validation
from diffevo_jax.shaping import conditions

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
    ],
)
def test_what_does_not_fit_the_population_is_refused(condition, message):
    with pytest.raises(ValueError, match=message):
        conditions.total((condition,), POINTS, FITNESS, np.zeros(3, np.float32))


# Fitness, and conditions as labels


def test_a_fitness_that_is_wanted_weighs_most() -> None:
    # given standard scores of -1, -1 and 2 times the root of a half, and a failure
    fitness = np.array([0.0, 0.0, 3.0, np.nan], np.float32)
    condition = conditions.Fitness(value=2 / np.sqrt(2.0), scale=0.5)
    got = log_weight(condition, POINTS[:4], fitness=fitness)
    away = 3 / np.sqrt(2.0)
    np.testing.assert_allclose(got, [-2 * away**2, -2 * away**2, 0.0, -np.inf], atol=1e-4)


LABELLED = {
    "target": (conditions.Target(first, 0.25), POINTS[:, :1], [0.25]),
    "target of two": (conditions.Target(itself, np.array([1.0, -1.0])), POINTS, [1, -1]),
    "fitness": (conditions.Fitness(1.5), np.arange(8.0)[:, None], [3.5 + 1.5 * 5.25**0.5]),
}


@pytest.mark.parametrize("name", LABELLED)
def test_a_label_is_what_is_true_and_the_wanted_one_what_is_asked_for(name) -> None:
    condition, labels, wanted = LABELLED[name]
    got = condition.label(jnp.asarray(POINTS), jnp.arange(8.0), ())
    np.testing.assert_allclose(got, labels)
    assert got.shape[1] == condition.num_labels
    asked = condition.wanted(got, jnp.ones(8, bool))
    np.testing.assert_allclose(asked, wanted, rtol=1e-5)


def test_novelty_asks_for_as_many_deviations_as_it_is_strong() -> None:
    novelty = conditions.Novelty(2.0, num_neighbours=3)
    label = novelty.label(jnp.asarray(POINTS), jnp.zeros(8), ())
    # labels do not depend on the strength, and have mean 0 and deviation 1
    np.testing.assert_allclose(2 * label[:, 0], log_weight(novelty), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(novelty.wanted(label, jnp.ones(8, bool)), [2.0], rtol=1e-3)


def test_what_is_not_known_is_not_felt_in_what_is_wanted() -> None:
    labels, known = jnp.array([[0.0], [2.0], [99.0]]), jnp.array([True, True, False])
    np.testing.assert_allclose(conditions.Fitness(1.0).wanted(labels, known), [2.0])


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_a_label_may_be_of_any_size(factor) -> None:
    labels, known = factor * jnp.array([[1.0], [3.0]]), jnp.ones(2, bool)
    wanted = conditions.Fitness(2.0).wanted(labels, known)
    np.testing.assert_allclose(wanted, [4 * factor], rtol=1e-5)


def test_equal_labels_have_a_finite_derivative() -> None:
    wanted = lambda labels: conditions.Fitness().wanted(labels, jnp.ones(2, bool))[0]
    assert np.isfinite(jax.grad(wanted)(jnp.ones((2, 1)))).all()
