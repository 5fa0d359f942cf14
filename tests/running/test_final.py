"""The final evaluation: an honest best, by itself under noise, with an interval."""

import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import evolve_summary, sweep_summary
from diffevo_jax.running import ask_tell, evolution, final
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.divided_population import DividedProblem

N, T, D = 64, 5, 2


@de.pytree.dataclass
class Sphere:
    """A sphere under noise; where the first number is negative, it is infeasible."""

    noise: de.pytree.Number = 1.0
    height: de.pytree.Number = 1.0
    failing: float = de.pytree.static(default=0.0)
    constrained: bool = de.pytree.static(default=False)
    noisy: bool = de.pytree.static(default=True)

    @property
    def space(self) -> de.problems.Space:
        return de.problems.Space(jnp.zeros(D))

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(self, key: jax.Array, problem_state: Any, solutions: jax.Array) -> Any:
        key_noise, key_failing = jax.random.split(key)
        shape = (len(solutions),)
        fitness = -self.height * jnp.sum(solutions**2, axis=1)
        fitness += self.noise * jax.random.normal(key_noise, shape)
        failed = jax.random.uniform(key_failing, shape) < self.failing
        fitness = jnp.where(failed, jnp.nan, fitness)
        violation = -solutions[:, 0] if self.constrained else None
        return de.Evaluation(fitness=fitness, violation=violation), problem_state


PROBLEM, STRATEGY = Sphere(), de.DiffusionEvolution(T)
#: Each is what it says, and infeasible where the first number is negative.
POINTS = jnp.array([[2.0, 0], [1.0, 0], [-0.1, 0], [0.5, 0.1]])


def evolve(key: jax.Array, problem: Any = PROBLEM, **options: Any) -> de.Result:
    return de.evolve(key, STRATEGY, problem, population_size=N, **options)


# Choosing and reporting


@pytest.mark.slow
def test_the_report_knows_nothing_of_the_choice(key) -> None:
    # given candidates that are all worth 0, under noise of deviation 1
    problem = Sphere(1.0, 0.0)
    told = jax.vmap(
        lambda key: de.final_evaluation(key, problem, (), jnp.zeros((8, D)), 32)
    )(jax.random.split(key, 400))
    # then 16 evaluations report 0 on average, to four standard errors of 400 runs, where
    # the best of the choosing half would be a deviation of two evaluations too high
    assert abs(float(told.fitness.mean())) < 4 * 0.25 / 20
    assert len(jnp.unique(told.chosen)) == 8
    np.testing.assert_allclose(told.standard_error.mean(), 0.25, rtol=0.05)


def test_the_best_candidate_is_chosen(key) -> None:
    told = de.final_evaluation(key, Sphere(0.1), (), POINTS, 32)
    assert int(told.chosen) == 2
    chex.assert_trees_all_equal(told.solution, POINTS[2])


def test_an_infeasible_one_is_never_chosen_if_a_feasible_one_is_there(key) -> None:
    told = de.final_evaluation(key, Sphere(0.1, constrained=True), (), POINTS, 32)
    assert int(told.chosen) == 3
    assert bool(told.feasible)
    assert float(told.violation) < 0


def test_of_infeasible_ones_the_least_violated_is_chosen_and_said_to_be_so(key) -> None:
    points = jnp.array([[-0.5, 0], [-0.4, 3.0], [-0.6, 0]])
    told = de.final_evaluation(key, Sphere(0.1, constrained=True), (), points, 32)
    assert int(told.chosen) == 1
    assert not bool(told.feasible)
    np.testing.assert_allclose(told.violation, 0.4, rtol=1e-5)


@pytest.mark.parametrize(
    ("fitness", "violation", "chosen", "feasible"),
    [
        ([1, 2, 3, 1, 2, 3], None, 2, True),
        ([1, 2, np.nan, 1, 2, np.nan], None, 1, True),
        ([1, 2, 9, 1, np.inf, 9], [0, 0, np.nan, 0, 0, 0], 1, True),
        ([1, 2, 9, 1, 2, 9], [0, 1, -1, -1, -3, 2], 1, True),
        ([1, 2, 3, 1, 2, 3], [np.nan, 2, np.nan, np.nan, 2, 1], 1, False),
        ([np.nan] * 6, None, 0, False),
    ],
)
def test_choice_by_hand(fitness, violation, chosen, feasible) -> None:
    who = jnp.array([0, 1, 2, 0, 1, 2])
    given = None if violation is None else jnp.array(violation, float)
    told = final.choice(who, 3, jnp.array(fitness, float), given)
    assert (int(told[0]), bool(told[1])) == (chosen, feasible)


def test_who_fails_mostly_is_not_chosen_for_the_rest() -> None:
    who = jnp.repeat(jnp.arange(2), 4)
    fitness = jnp.array([1.0, 1, 1, jnp.nan, 9, jnp.nan, jnp.nan, jnp.nan])
    assert int(final.choice(who, 2, fitness, None)[0]) == 0


def test_failed_evaluations_are_counted_and_do_not_count(key) -> None:
    told = de.final_evaluation(key, Sphere(0.1, failing=0.3), (), POINTS[1:2], 256)
    assert 20 < int(told.num_failed) < 60
    assert int(told.num_evaluations) == 128 - int(told.num_failed)
    np.testing.assert_allclose(told.fitness, -1.0, atol=0.05)
    assert bool(told.feasible)


def test_nothing_but_failures_is_no_number_and_no_nan(key) -> None:
    result = evolve(key, Sphere(failing=2.0), final=32)
    assert float(result.best_fitness) == -np.inf
    told = result.final
    ends = (told.low, told.fitness, told.standard_error, told.high)
    assert [float(end) for end in ends] == [-np.inf, -np.inf, np.inf, np.inf]
    assert not bool(told.feasible)


# The interval


def test_the_quantile_is_students() -> None:
    degrees = np.array([6, 10, 31, 255])
    ours = [float(final.quantile(jnp.float32(v))) for v in degrees]
    np.testing.assert_allclose(ours, stats.t.ppf(0.975, degrees), rtol=1e-4)


def test_the_mean_and_its_error_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).normal(1e4, 1.0, 300)
    mean, error, _, _ = final.value_of(jnp.asarray(values), jnp.zeros(1))
    np.testing.assert_allclose(mean, values.mean(), rtol=1e-7)
    np.testing.assert_allclose(error, values.std(ddof=1) / np.sqrt(300), rtol=1e-3)


def test_a_rare_failure_that_was_not_seen_is_in_the_interval() -> None:
    """The rule of three, which Student's interval of equal numbers knows nothing of."""
    mean, _, low, high = final.value_of(jnp.full(200, 1.0), jnp.array([0.0, jnp.nan, 1.0]))
    assert (float(mean), float(high)) == (1.0, 1.0)
    np.testing.assert_allclose(1 - low, 3 / 200, rtol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal", "failures", "exponential", "two values"])
def test_the_interval_covers_what_is_skewed(name) -> None:
    # given 2,000 times 64 evaluations, and a hundred others that say how far they reach
    draw = np.random.default_rng(1)
    shape = (2000, 164)
    draws, value = {
        "normal": (draw.normal(size=shape), 0.0),
        "failures": (100.0 * (draw.uniform(size=shape) > 0.02), 98.0),
        "exponential": (-draw.exponential(size=shape), -1.0),
        "two values": (draw.uniform(size=shape) < 0.4, 0.4),
    }[name]
    draws = jnp.asarray(draws, jnp.float32)
    _, _, low, high = jax.vmap(final.value_of)(draws[:, :64], draws[:, 64:])
    covered = float(((low <= value + 1e-4) & (value - 1e-4 <= high)).mean())
    # then 95 % of the intervals cover, to two standard errors of 2,000
    assert covered > 0.94


# As the end of a run


def test_a_noisy_problem_has_it_by_itself_and_the_rest_keeps_its_bits(key) -> None:
    with_it, without = evolve(key), evolve(key, final=0)
    assert without.final is None
    assert int(with_it.final.num_evaluations) == N * T // 5 // 2
    for name in ("population", "fitness", "history", "state"):
        chex.assert_trees_all_equal(getattr(with_it, name), getattr(without, name))


def test_the_best_is_honest_and_the_record_is_kept(key) -> None:
    result = evolve(key, Sphere(3.0), final=256)
    assert float(result.state.best_fitness) > 3.0  # nothing is worth more than 0
    assert float(result.best_fitness) == float(result.final.fitness)
    assert abs(float(result.best_fitness)) < 1.0
    assert float(result.final.low) < 0 < float(result.final.high)
    chex.assert_trees_all_equal(result.best_solution, result.final.solution)


def test_a_problem_without_noise_pays_nothing(key) -> None:
    """The program is that of no final evaluation, equation by equation."""
    problem = de.problems.Landscape("beale")
    asked = [
        str(jax.make_jaxpr(lambda key, f=f: evolve(key, problem, final=f).history)(key))
        for f in (None, 0)
    ]
    assert asked[0] == asked[1]
    assert evolve(key, problem).final is None
    assert evolve(key, Sphere(noisy=False)).final is None


def test_candidates_are_the_record_the_means_and_the_last_generations_best(key) -> None:
    result = evolve(key, final=0)
    told = final.candidates_of(result.state, result.population, result.fitness, 8)
    best = np.argsort(-np.asarray(result.fitness), kind="stable")[:5]
    chex.assert_trees_all_equal(told[0], result.state.best_solution)
    np.testing.assert_allclose(told[1], result.population.mean(axis=0), rtol=1e-5)
    clean = result.state.clean_estimate.mean(axis=0)
    np.testing.assert_allclose(told[2], clean, rtol=1e-5)
    chex.assert_trees_all_equal(told[3:], result.population[best])


def test_feasible_candidates_come_first(key) -> None:
    result = evolve(key, final=0)
    violation = jnp.where(result.fitness > jnp.median(result.fitness), 1.0, jnp.nan)
    violation = violation.at[jnp.array([3, 5])].set(0.0)
    told = final.candidates_of(
        result.state, result.population, result.fitness, 5, violation
    )
    best = sorted((3, 5), key=lambda i: -float(result.fitness[i]))
    chex.assert_trees_all_equal(told[3:], result.population[jnp.array(best)])


def test_a_small_population_gives_what_candidates_it_has(key) -> None:
    result = de.evolve(key, STRATEGY, PROBLEM, population_size=2, final=32)
    assert 0 <= int(result.final.chosen) < 5


def test_its_key_is_that_of_no_generation(key) -> None:
    own = jax.random.key_data(ask_tell.final_key(key)).tolist()
    others = [de.setup_keys(key), *(de.generation_keys(key, g) for g in range(20))]
    data = [jax.random.key_data(one).tolist() for keys in others for one in keys]
    assert own not in data
    with jax.debug_key_reuse(True):
        evolve(key, final=16)


#: Of one generation: no rounding has grown.
SHORT = de.DiffusionEvolution(1)
FEW: dict[str, Any] = {"population_size": 16, "final": 32}


def one(key: jax.Array) -> de.Result:
    return de.evolve(key, SHORT, PROBLEM, **FEW)


def assert_the_last_is(many: de.Result, alone: de.Result) -> None:
    assert many.final.low.shape == (2,)
    last = jax.tree.map(lambda leaf: leaf[1], (many.final, many.best_solution))
    chex.assert_trees_all_close(last, (alone.final, alone.best_solution), rtol=1e-4)


def test_run_and_evolve_and_many_runs_agree(key) -> None:
    keys = jax.random.split(key, 2)
    alone = one(keys[1])
    assert_the_last_is(jax.vmap(one)(keys), alone)
    assert_the_last_is(de.run(keys, SHORT, PROBLEM, **FEW), alone)


@pytest.mark.slow
def test_runs_that_are_spread_agree(key) -> None:
    keys, devices = jax.random.split(key, 2), jax.devices()[:1]
    alone = de.run(keys[1], SHORT, PROBLEM, **FEW)
    assert_the_last_is(de.spread(one, devices=devices)(keys), alone)
    assert_the_last_is(de.run(keys, SHORT, PROBLEM, devices=devices, **FEW), alone)


@pytest.mark.slow
def test_a_run_that_is_stopped_has_it_too(key) -> None:
    result = de.run(
        key, STRATEGY, PROBLEM, population_size=N, stop=lambda result: True, final=32
    )
    assert result.history.done.shape == (1,)
    assert float(result.best_fitness) == float(result.final.fitness)


def test_noise_passes_through_a_division() -> None:
    assert final.is_noisy(DividedProblem(PROBLEM, "population", 8))
    assert not final.is_noisy(DividedProblem(de.problems.Landscape("beale"), "x", 8))


@pytest.mark.slow
def test_one_population_on_devices_has_it(key) -> None:
    mesh = de.make_mesh()
    result = de.evolve_on(mesh, key, STRATEGY, PROBLEM, population_size=N)
    assert int(result.final.num_evaluations) == N * T // 5 // 2
    none = de.evolve_on(mesh, key, STRATEGY, PROBLEM, population_size=N, final=0)
    assert none.final is None


@pytest.mark.slow
def test_no_sweep_takes_it(key) -> None:
    pytest.importorskip("xarray")
    told = de.sweep(key, STRATEGY, PROBLEM, num_seeds=2, population_size=N)
    run = evolve(jax.random.fold_in(key, 1), final=0)
    np.testing.assert_allclose(told.final_best.values[0, 1], run.best_fitness, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "size", "count"),
    [(None, 256, 512), (None, 16, 32), (None, 15, 0), (None, 51, 102), (64, 2, 64)],
)
def test_how_many_evaluations_it_takes(given, size, count) -> None:
    assert final.count_of(given, PROBLEM, 10, size) == count


def test_a_long_run_of_few_does_not_evaluate_many_more_at_once() -> None:
    assert final.count_of(None, PROBLEM, 1000, 16) == 8 * 16


def test_a_reward_of_evosax_is_noisy_and_a_cost_is_not() -> None:
    bbob = pytest.importorskip("evosax.problems").BBOBProblem("sphere", num_dims=2)
    from diffevo_jax.interop.evosax import from_problem

    assert not final.is_noisy(from_problem(bbob))
    assert final.is_noisy(from_problem(bbob, maximize=True))
    assert final.is_noisy(from_problem(bbob, noisy=True))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (2, ValueError, "final: got 2, want None, 0 or an even int >= 16"),
        (33, ValueError, "final: got 33, want None, 0 or an even int >= 16"),
        (-2, ValueError, "final: got -2"),
        (True, TypeError, "final: got True"),
    ],
)
def test_a_count_that_cannot_be_is_named(given, error, message, key) -> None:
    for entry in (de.evolve, de.run):
        with pytest.raises(error, match=re.escape(message)):
            entry(key, STRATEGY, PROBLEM, population_size=N, final=given)


def test_more_candidates_than_evaluations_are_refused(key) -> None:
    message = "candidates: got 9, want at most 8, one evaluation each"
    with pytest.raises(ValueError, match=message):
        de.final_evaluation(key, PROBLEM, (), jnp.zeros((9, D)), 16)


def test_policies_are_noisy_and_functions_are_not() -> None:
    noisy = {
        "control": de.problems.Control("CartPole-v1"),
        "function": de.problems.Function(jnp.sum, dim=2),
        "landscape": de.problems.Landscape("beale"),
    }
    told = {name: final.is_noisy(problem) for name, problem in noisy.items()}
    assert told == {"control": True, "function": False, "landscape": False}


# What is shown


@pytest.mark.slow
def test_the_bar_shows_the_mean_under_noise_and_then_the_judged_best(key, capsys) -> None:
    run = lambda **options: de.run(
        key, STRATEGY, PROBLEM, population_size=N, progress=True, **options
    )
    told = run().final
    out = capsys.readouterr().out
    shown = f"best {float(told.fitness):.4g} ± {float(told.standard_error):.2g}  mean"
    assert shown in out
    run(final=0)
    assert "best" not in capsys.readouterr().out


def test_the_bar_of_a_result_that_is_not_noisy_shows_the_best(key, capsys) -> None:
    results = iter([evolve(key, Sphere(noisy=False))])
    assert len(list(show_generations(results, T))) == 1
    assert "best" in capsys.readouterr().out


CARTPOLE = (
    *("evolve", "cartpole", "--population-size=32", "--num-generations=5"),
    *("--hidden", "--max-steps=20"),
)


@pytest.mark.slow
def test_the_command_tells_the_judged_best_of_noise(capsys, tmp_path) -> None:
    assert cli.main([*CARTPOLE, f"--json={tmp_path / 'out.json'}"]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("best"))
    assert re.fullmatch(r"best +\S+, 95 % in \[\S+, \S+\] by 16 new evaluations", line)
    assert "│ best" not in out
    assert '"standard_error"' in (tmp_path / "out.json").read_text()


@pytest.mark.parametrize("noisy", [True, False])
def test_a_sweep_under_noise_shows_no_luck(capsys, noisy) -> None:
    xarray = pytest.importorskip("xarray")
    flat = ("setting", "seed")
    table: dict[str, Any] = dict.fromkeys(("final_mean", "final_best"), (flat, [[1.0]]))
    table |= dict.fromkeys(("failed", "missing"), (flat, [[False]]))
    table["evaluations"] = ("setting", [16])
    sweep_summary.show_best(xarray.Dataset(table, attrs={"name": "it"}), 1, {}, noisy)
    out = capsys.readouterr().out
    assert "final mean" in out
    assert ("best" in out) != noisy


@pytest.mark.slow
def test_the_line_of_many_runs_says_how_sure_each_is(key) -> None:
    told = jax.vmap(evolve)(jax.random.split(key, 2))
    config = {"problem": PROBLEM, "strategy": STRATEGY, "population_size": N}
    lines = list(evolve_summary._lines(evolve_summary.Ended(config, told, [1.0], False)))
    (line,) = (line for line in lines if line.startswith("best"))
    assert "each by 32 new evaluations with a standard error of" in line
    none = de.pytree.replace(told, final=None)
    lines = list(evolve_summary._lines(evolve_summary.Ended(config, none, [1.0], False)))
    assert any(re.fullmatch(r"luckiest .*, of single evaluations", one) for one in lines)


def test_what_the_reporting_half_says_of_feasibility_counts(key) -> None:
    # given a choice that was lucky: feasible in its own half, and not in the other
    lucky = final.FinalEvaluation(
        solution=jnp.zeros(1),
        fitness=jnp.asarray(3.0),
        standard_error=jnp.asarray(0.1),
        low=jnp.asarray(2.0),
        high=jnp.asarray(4.0),
        num_evaluations=jnp.asarray(8),
        num_failed=jnp.asarray(0),
        violation=jnp.asarray(0.5),
        chosen=jnp.asarray(0),
        feasible=jnp.asarray(True),
    )
    result = de.evolve(key, STRATEGY, PROBLEM, population_size=4, final=0)
    for violation, fitness, excess in (
        (0.5, -jnp.inf, 0.5),
        (jnp.nan, -jnp.inf, jnp.inf),
        (-1.0, 3.0, 0.0),
    ):
        told = de.replace(lucky, violation=jnp.asarray(violation))
        judged = evolution.with_final(result, told, jnp.zeros(1))
        assert float(judged.best_fitness) == fitness
        assert float(judged.best_violation) == excess


def test_what_is_evaluated_on_the_host_is_judged_there() -> None:
    def noisy(solutions, seeds):
        noise = [np.random.default_rng(seed).normal() for seed in seeds]
        return -np.abs(solutions[:, 0]) + 0.1 * np.array(noise)

    problem = de.problems.External(noisy, de.problems.Space(np.zeros(1)), noisy=True)
    candidates = jnp.array([[3.0], [0.0], [2.0]])
    judged = de.final_evaluation(
        jax.random.key(0), problem, problem.init(jax.random.key(1)), candidates, 64
    )
    assert int(judged.chosen) == 1
    assert float(judged.low) < 0.0 < float(judged.high)


@pytest.mark.slow
def test_what_is_evaluated_on_the_host_at_the_end_is_counted() -> None:
    calls = []

    def noisy(solutions, seeds):
        calls.append(len(seeds))
        return -np.abs(solutions[:, 0]) + np.array([seed % 7 for seed in seeds])

    problem = de.problems.External(
        noisy, de.problems.Space(np.zeros(1)), noisy=True, reject=lambda x: x[:, 0] > 0.5
    )
    keys = jax.random.split(jax.random.key(0), 2)
    for key, runs in ((keys[0], 1), (keys, 2)):
        calls.clear()
        run = de.run(key, de.DiffusionEvolution(2), problem, population_size=8, final=32)
        counts = run.problem_state
        assert np.sum(counts.num_evaluated) == sum(calls)
        asked = counts.num_evaluated + counts.num_rejected
        assert np.ravel(asked).tolist() == [16 + 32] * runs
