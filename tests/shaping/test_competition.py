"""Local competition: everyone is compared with those that are fitter and near."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.base import Evaluated
from diffevo_jax.denoisers import Best, Elites, Population
from diffevo_jax.denoisers.evidence import log_weights
from diffevo_jax.pytree import validation
from diffevo_jax.shaping import DominatedNovelty, Local, Rank, Standardized
from diffevo_jax.shaping import competition as competitions

#: It is mostly compile time that these tests cost.
JIT = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
DOMINATED = JIT(competitions.dominated_novelty, static_argnums=2)
POINTS = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
#: No two are equally fit.
RANKS = np.random.default_rng(7).permutation(8).astype(np.float32)


def first(candidates, measures):
    return candidates[:, 0]


def dominated(places, fitness, count=3) -> np.ndarray:
    fitness = jnp.asarray(fitness, jnp.float32)
    return np.asarray(DOMINATED(jnp.asarray(places, jnp.float32), fitness, count))


def paper_dominated_novelty(places: np.ndarray, fitness: np.ndarray, count: int):
    """Mean distance to the nearest that are fitter, in float64; infinite without any."""
    places, scores = places.astype(np.float64), np.full(len(places), np.inf)
    for i, place in enumerate(places):
        fitter = places[fitness > fitness[i]]
        distances = np.sort(np.sqrt(((fitter - place) ** 2).sum(axis=1)))[:count]
        if len(distances):
            scores[i] = distances.mean()
    return scores


def deviation(places: np.ndarray) -> float:
    """Root-mean-square deviation of a coordinate, in float64."""
    places = places.astype(np.float64)
    return float(np.sqrt(((places - places.mean(axis=0)) ** 2).mean()))


# The competition fitness


@pytest.mark.parametrize(("size", "dim", "count"), [(8, 1, 1), (8, 2, 99), (64, 3, 3)])
def test_dominated_novelty_is_that_of_the_paper(size, dim, count):
    rng = np.random.default_rng(size)
    places = rng.normal(50.0, 3.0, size=(size, dim)).astype(np.float32)
    fitness = rng.integers(0, size // 2, size).astype(np.float32)  # some are equally fit

    got = dominated(places, fitness, count)

    want = paper_dominated_novelty(places, fitness, count) / deviation(places)
    best = np.isinf(want)
    np.testing.assert_allclose(got[~best], want[~best], rtol=1e-3)
    assert best.any()
    assert (got[best] == got[~best].max()).all()


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
    assert (got == dominated(POINTS, np.where(valid, RANKS, np.nan))).all()
    alone = dominated(POINTS[valid], RANKS[valid])
    np.testing.assert_allclose(got[valid], alone, rtol=1e-3)


def test_who_has_no_descriptor_does_not_compete():
    places, valid = POINTS.copy(), np.arange(8) != 4
    places[4] = np.nan

    got = dominated(places, RANKS)

    assert got[4] == -np.inf
    alone = dominated(POINTS[valid], RANKS[valid])
    np.testing.assert_allclose(got[valid], alone, rtol=1e-3)


def test_if_all_failed_nobody_competes():
    assert (dominated(POINTS, np.full(8, np.nan)) == -np.inf).all()


def test_many_populations_at_once_are_as_each_alone():
    many = np.random.default_rng(8).normal(size=(2, 8, 2)).astype(np.float32)
    of_one = lambda points: competitions.dominated_novelty(points, RANKS, 3)

    together = JIT(jax.vmap(of_one))(many)

    alone = np.stack([dominated(points, RANKS) for points in many])
    np.testing.assert_allclose(together, alone, rtol=1e-3)


# The shaping


def test_without_a_measure_all_measures_of_the_problem_are_meant():
    measures = {"at": POINTS, "length": RANKS, "steps": np.arange(8)}

    got = DominatedNovelty(dim=4).describe(jnp.asarray(POINTS), measures)

    columns = np.concatenate([POINTS, RANKS[:, None], np.arange(8)[:, None]], axis=1)
    np.testing.assert_array_equal(got, columns)


def learnt(denoiser: Population, *generations):
    """What a population knows after generations of points and fitness, one by one."""
    state = denoiser.init(jax.random.key(0), jnp.zeros_like(generations[0][0]))
    learn = JIT(denoiser.learn)
    for points, fitness in generations:
        told = Evaluated(points, fitness, clean=points, sigma=jnp.ones(()))
        state = learn(jax.random.key(1), state, told)
        yield state


HALVES = [(POINTS[rows], RANKS[rows]) for rows in (slice(0, 4), slice(4, 8))]


def test_the_log_weights_are_those_of_a_competition_with_all_that_is_remembered():
    shaping = DominatedNovelty(1, first, num_neighbours=2, weighting=Rank(0.5))

    *_, state = learnt(Population(shaping=shaping, memory=Elites(4)), *HALVES)

    evidence = state.evidence
    competing = dominated(evidence.points[:, :1], evidence.fitness, 2)
    want = de.shaping.log_weight(Rank(0.5), competing)
    np.testing.assert_allclose(state.log_weight, want, atol=1e-5)
    assert sorted(evidence.fitness.tolist()) == list(range(8))


def test_elites_stay_until_a_better_one_is_near():
    shaping = DominatedNovelty(1, first, num_neighbours=1)
    denoiser = Population(shaping=shaping, memory=Elites(2))
    told = ([-3.0, 3.0], [5.0, 1.0]), ([-3.1, -2.9], [4.0, 3.0]), ([0.0, 2.9], [0.0, 2.0])
    told = [(np.array(x, np.float32)[:, None], np.array(f, np.float32)) for x, f in told]

    states = list(learnt(denoiser, *told))

    # Nobody yet; then the two of the start, and not those that are near the best.
    kept = [sorted(state.evidence.points[2:, 0].tolist()) for state in states]
    assert kept == [[0.0, 0.0], [-3.0, 3.0], [-3.0, 3.0]]
    # The better one at 3 has come last: in the next generation it is one of the two.
    best = jax.lax.top_k(states[-1].log_weight, 2)[1]
    np.testing.assert_allclose(sorted(states[-1].evidence.points[best, 0]), [-3.0, 2.9])


def test_elites_of_a_plain_shaping_are_the_fittest():
    denoiser = Population(shaping=Standardized(), memory=Elites(3))

    *_, state = learnt(denoiser, *HALVES)

    kept = np.sort(state.evidence.fitness[4:])
    np.testing.assert_array_equal(kept, np.sort(RANKS[:4])[1:])


@pytest.mark.slow
def test_it_fills_a_descriptor_that_selection_alone_empties():
    # Fitness wants both numbers at a place; the first is the descriptor.
    fitness = lambda x: -0.1 * (x[0] - 1) ** 2 - x[1] ** 2
    problem, key = de.problems.Function(fitness, dim=2), jax.random.key(0)
    diverse = Population(
        de.kernels.Gaussian(),
        DominatedNovelty(1, first),
        memory=Elites(64),
        support=Best(64),
        guidance=0.0,
    )
    strategy = de.DiffusionEvolution(
        20, diverse, de.samplers.Consistency(), de.noise.Constant(0.2)
    )

    result = de.evolve(key, strategy, problem, population_size=64)

    evidence = result.state.denoiser.evidence
    elites = evidence.points[64:]
    assert elites[:, 0].std() > 1.0
    assert (elites[:, 1] ** 2).mean() < 0.1


# Errors


@pytest.mark.parametrize(
    ("shaping", "error", "message"),
    [
        (DominatedNovelty(0), ValueError, r"dim: got 0, want"),
        (DominatedNovelty(2, 3), TypeError, "measure: got 3, want a function"),
        (DominatedNovelty(2, first, 0), ValueError, "num_neighbours: got 0, want"),
        (DominatedNovelty(2, weighting=Rank(-1.0)), ValueError, r"temperature: got -1\.0"),
        (
            DominatedNovelty(2, weighting=Local()),
            ValueError,
            "weighting: got Local, want one",
        ),
        (DominatedNovelty(2, weighting=DominatedNovelty(2)), ValueError, "want one"),
        (Elites(0), ValueError, "count: got 0, want"),
        (de.MonoFlow(3, shaping=DominatedNovelty(2)), ValueError, "got DominatedNovelty"),
    ],
)
def test_what_is_not_legal_is_refused(shaping, error, message):
    with pytest.raises(error, match=message):
        validation.validate(shaping)


@pytest.mark.parametrize(
    ("shaping", "measures", "message"),
    [
        (DominatedNovelty(2), (), "measure: got None, and a problem without measures"),
        (DominatedNovelty(2, first), (), r"measure: got shape \(8,\), want \(8, 2\)"),
        (DominatedNovelty(1), POINTS, r"measure: got shape \(8, 2\), want \(8, 1\)"),
    ],
)
def test_descriptors_of_another_shape_are_refused(shaping, measures, message):
    with pytest.raises(ValueError, match=message):
        shaping.describe(jnp.asarray(POINTS), measures)


def test_a_denoiser_that_remembers_no_descriptors_says_so():
    evidence = de.denoisers.Evidence(jnp.zeros((3, 1)), jnp.zeros(3), jnp.zeros(3))

    with pytest.raises(ValueError, match=r"shaping: got DominatedNovelty, and a denoiser"):
        log_weights(DominatedNovelty(1), evidence, jnp.zeros(3))
