"""Search over settings: scores are those of evolve, and the best setting is found."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import test_util  # counts compilations

import diffevo_jax as de
from diffevo_jax.pytree import paths, validation

KEY = jax.random.key(0)
INNER = de.DiffusionEvolution(3)
SPHERE = de.problems.Function(lambda x: -((x - 0.5) ** 2).sum(), dim=2)
N, SEEDS = 8, 3


def tuning(fields=None, problem=SPHERE, strategy=INNER, **options):
    fields = fields or {"shaping.temperature": (0.01, 10.0, "log")}
    options = {"num_seeds": SEEDS, "population_size": N} | options
    return de.sweeps.Tuning(strategy, problem, fields, **options)


FIELD = "shaping.temperature"
SCALE = "problem.space.scale"
BOTH = {"shaping.temperature": (0.01, 10.0, "log"), "sampler.eta": (0.0, 1.0)}
SOLUTIONS = {
    "shaping.temperature": jnp.array([0.1, 1.0, 0.1]),
    "sampler.eta": jnp.array([0.2, 0.9, 0.2]),
}
CARTPOLE = de.problems.Control("CartPole-v1")
SCORES = jax.jit(lambda tuning, key, solutions: tuning.scores(key, solutions))


@pytest.fixture(scope="module")
def scores():
    """Three settings, the first and the last alike, on three seeds."""
    return SCORES(tuning(BOTH), KEY, SOLUTIONS)


# Scores


def test_a_score_is_that_of_evolve_with_the_numbers_in_place(scores):
    strategy = de.replace(
        INNER,
        shaping=de.shaping.Standardized(1.0),
        sampler=de.samplers.DDIM(eta=0.9),
    )
    for seed, key in enumerate(jax.random.split(KEY, SEEDS)):
        alone = de.evolve(key, strategy, SPHERE, population_size=N)
        # Rounding of another program, grown over three generations.
        np.testing.assert_allclose(
            scores[1, seed], alone.history.mean_fitness[-1], rtol=1e-3
        )


def test_individuals_share_their_seeds_and_generations_do_not(scores):
    again = SCORES(tuning(BOTH), jax.random.key(1), SOLUTIONS)
    np.testing.assert_array_equal(scores[0], scores[2])
    assert len(np.unique(scores[0])) == SEEDS
    assert not np.intersect1d(scores, again).size


def test_batches_do_not_matter():
    fall = de.problems.Function(lambda x: -jnp.sum(x**2), dim=2)
    whole = tuning({SCALE: (0.1, 1.0)}, fall, de.DiffusionEvolution(1))
    # 9 runs in batches of 4 leave one over.
    parts = de.replace(whole, batch_size=4)
    scales = {SCALE: jnp.array([0.1, 0.5, 1.0])}
    np.testing.assert_allclose(
        *(SCORES(problem, KEY, scales) for problem in (whole, parts)),
        rtol=1e-6,  # rounding of another program
    )


def test_the_score_may_be_the_best_of_all_evaluations(scores):
    best = SCORES(tuning(BOTH, score="best"), KEY, SOLUTIONS)
    assert (np.asarray(best) > np.asarray(scores)).all()


def test_fitness_is_the_mean_over_seeds_and_the_scores_are_measures(scores):
    evaluation, state = jax.jit(lambda key, s: tuning(BOTH).evaluate(key, (), s))(
        KEY, SOLUTIONS
    )
    np.testing.assert_allclose(evaluation.fitness, scores.mean(axis=1), rtol=1e-3)
    assert evaluation.measures.shape == (3, SEEDS)
    assert state == ()


# Search. With one generation, the last population is the first: x = s z, z ~ N(0, 1), and
# of -(x^2 - 1)^2 the mean is -(3 s^4 - 2 s^2 + 1), which is highest at s = 1 / sqrt(3).

WELL = de.problems.Function(lambda x: -jnp.sum((x**2 - 1) ** 2), dim=1)


def search(problem, generations, key=KEY, size=16):
    return de.evolve(key, de.DiffusionEvolution(generations), problem, population_size=size)


def well(low, high):
    return tuning(
        {SCALE: (low, high, "log")},
        WELL,
        de.DiffusionEvolution(1),
        num_seeds=64,
        population_size=64,
    )


def test_the_search_finds_a_best_setting_that_is_known():
    found = search(well(0.05, 3.0), 8).best_solution[SCALE]
    # There -(3 s^4 - 2 s^2 + 1) has the curvature 8, and 4,096 draws know it to 0.015: what
    # is within 0.06 of the best cannot be told from it.
    assert abs(float(found) - 1 / math.sqrt(3)) < 0.08


def test_other_numbers_and_ranges_do_not_compile_again():
    search(well(0.05, 3.0), 8)
    other = paths.put(well(0.1, 2.0), "strategy.sampler.eta", 0.5)
    with test_util.count_jit_compilation_cache_miss() as count:
        search(other, 8)
    assert count() == 0


@pytest.mark.slow
def test_the_search_ends_where_a_dense_grid_has_its_best():
    problem = tuning(num_seeds=32, population_size=16)
    found = search(problem, 6)
    grid = jnp.append(jnp.geomspace(0.01, 10.0, 31), found.best_solution[FIELD])
    fresh = jax.random.key(7)
    worth = SCORES(de.replace(problem, num_seeds=128), fresh, {FIELD: grid}).mean(axis=1)
    tuned, best, worst = worth[-1], worth[:-1].max(), worth[:-1].min()
    # The error of a difference is a hundredth of the range, by common seeds.
    assert tuned > best - 0.05 * (best - worst)


def test_a_setting_whose_runs_fail_has_failed_and_the_others_have_not():
    # Of 512 numbers, one is beyond 1 if the scale is 1, and none if it is 0.1.
    brittle = de.problems.Function(
        lambda x: jnp.where(jnp.max(jnp.abs(x)) > 1, jnp.nan, -jnp.sum(x**2)), dim=64
    )
    problem = tuning({SCALE: (0.1, 1.0)}, brittle, de.DiffusionEvolution(1))
    evaluate = jax.jit(lambda scales: problem.evaluate(KEY, (), {SCALE: scales})[0])
    with_it, without = (
        evaluate(jnp.array([0.1, other, 0.12])).fitness for other in (1.0, 0.11)
    )
    assert np.isfinite(with_it).tolist() == [True, False, True]
    np.testing.assert_array_equal(with_it[::2], without[::2])


# What a solution is


def test_the_space_is_a_box_on_the_scales_of_the_ranges():
    space = tuning(BOTH).space
    ends = space.decode(jnp.array([[-2.0, -2.0], [0.0, 0.0], [2.0, 2.0], [9.0, 9.0]]))
    np.testing.assert_allclose(ends["sampler.eta"][:3], [0.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(ends[FIELD][:3], [0.01, 0.1**0.5, 10.0], rtol=1e-5)
    assert float(ends[FIELD].max()) <= 10.0
    np.testing.assert_allclose(
        space.encode({name: value[1:3] for name, value in ends.items()}),
        [[0.0, 0.0], [2.0, 2.0]],
        atol=1e-5,
    )


def test_a_solution_gives_back_the_strategy_and_the_problem():
    fields = {"strategy.sampler.eta": (0.0, 1.0), "problem.env_params.gravity": (5.0, 15.0)}
    problem = tuning(fields, CARTPOLE)
    solution = {"strategy.sampler.eta": 0.25, "problem.env_params.gravity": 12.0}
    validation.validate(problem)
    assert problem.strategy_of(solution).sampler.eta == 0.25
    assert problem.problem_of(solution).env_params.gravity == 12.0
    assert problem.problem_of(solution).env_params.length == 0.5


def test_any_ending_of_a_path_is_a_name():
    problem = tuning({"temperature": (0.1, 1.0), "gravity": (5.0, 15.0)}, CARTPOLE)
    validation.validate(problem)
    solution = {"temperature": 0.5, "gravity": 12.0}
    assert problem.strategy_of(solution).denoiser.shaping.temperature == 0.5
    assert problem.problem_of(solution).env_params.gravity == 12.0


def test_many_solutions_give_a_swept_strategy():
    assert paths.swept(tuning(BOTH).strategy_of(SOLUTIONS)) == {
        "denoiser.shaping.temperature": 3,
        "sampler.eta": 3,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler.etta": (0, 1)}, r"got 'sampler\.etta', .* closest: sampler\.eta"),
        ({"problem.sclae": (0, 1)}, "got 'problem.sclae', want a field; closest: "),
        ({"kernel.kernel": (0, 1)}, "got 'kernel.kernel', want a field; closest: kernel"),
        ({"num_generations": (1, 2)}, "got 3, which is structure, .* axes of de.sweep"),
        ({"kernel": (0, 1)}, "which is structure"),
        ({"problem.fn": (0, 1)}, "which is structure"),
        ({"sampler.eta": (1, 0)}, "got low 1 with high 0, want low < high"),
        ({"sampler.eta": (0, 1, "log")}, "got low 0 on a log scale"),
        ({"sampler.eta": (0, 1, "lgo")}, "got scale 'lgo', want one of"),
        ({"sampler.eta": (0, 2)}, "'sampler.eta': high: got 2.0, want a number >= 0 and"),
        ({"shaping.temperature": (0, 2)}, "low: got 0.0, want a number > 0"),
        ({"sampler.eta": (0, 1), "strategy.sampler.eta": (0, 1)}, "are the same"),
        ({"sampler.eta": (0, 1), "eta": (0, 1)}, "are the same"),
        ({"sampler.eta": 0.5}, "got 0.5, want a Range"),
        ({"sampler.eta": (1,)}, r"got \(1,\), want \(low, high\)"),
        ({"sampler.eta": (0, math.nan)}, "Range.high: got nan"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(fields, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        search(tuning(fields), 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "Tuning.num_seeds: got 0"),
        ({"population_size": 0}, "Tuning.population_size: got 0"),
        ({"batch_size": 0}, "Tuning.batch_size: got 0"),
        ({"score": "worst"}, "Tuning.score: got 'worst', want one of"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search(tuning(**options), 2)


def test_no_fields_are_refused():
    with pytest.raises(ValueError, match="want names and ranges"):
        validation.validate(de.sweeps.Tuning(INNER, SPHERE, {}, 1, N))
