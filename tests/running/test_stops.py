"""Stops: what each looks at, why a run has ended, and many runs that end one by one."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from often import often

import diffevo_jax as de
from diffevo_jax.running import plateaus, stops

PROBLEM = de.problems.Landscape("himmelblau")
STRATEGY = de.DiffusionEvolution(6)
N, R, T = 8, 4, 6
OPTIONS: dict[str, Any] = {"population_size": N, "record": ("population",)}
#: Each of four runs at another generation; the last never.
WHEN = np.array([2, 4, 2, 99])


@de.pytree.dataclass
class Noise:
    """All solutions are worth 0, and measured with deviation 1."""

    noisy: bool = de.pytree.static(default=True)

    @property
    def space(self) -> de.problems.Space:
        return de.problems.Space(jnp.zeros(2))

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(self, key: jax.Array, problem_state: Any, solutions: jax.Array) -> Any:
        fitness = jax.random.normal(key, (len(solutions),))
        return de.Evaluation(fitness=fitness), problem_state


def result(**fields: Any) -> Any:
    """What stops look at, of a run that has had as many generations as it has rows."""
    sigma = np.asarray(fields.pop("sigma", [0.1] * 3))
    mean = np.asarray(fields.pop("mean", np.zeros(sigma.shape)))
    best = np.asarray(fields.pop("best", mean))
    failed = np.asarray(fields.pop("failed", np.zeros(sigma.shape, int)))
    fitness = np.asarray(fields.pop("fitness", np.zeros((*sigma.shape[:-1], N))))
    history = SimpleNamespace(
        sigma=sigma, mean_fitness=mean, best_fitness=best, num_failed=failed
    )
    made = SimpleNamespace(
        history=history,
        fitness=fitness,
        violation=None,
        population=np.zeros((*fitness.shape, 2)),
        best_fitness=best.max(axis=-1),
        num_generations=np.full(sigma.shape[:-1], sigma.shape[-1]),
    )
    vars(made).update(fields)
    return made


def about(num_generations: int = 10, **known: Any) -> stops.About:
    usual = {"length": 1, "noisy": False, "known": False, "lowest": 0.01}
    return stops.About(num_generations, **usual | known)


def at(result: de.Result) -> np.ndarray:
    """A stop of one's own: runs end at their generation in ``WHEN``."""
    return result.history.done.shape[-1] >= WHEN


# What each looks at


def test_a_target_is_reached_by_the_best_feasible() -> None:
    target = de.stops.Target(0.5)
    assert target.holds(result(best_fitness=np.float32(0.5)), about())
    assert not target.holds(result(best_fitness=np.float32(0.499)), about())
    assert not target.holds(result(best_fitness=np.float32(-np.inf)), about())


@pytest.mark.parametrize(
    ("fitness", "violation", "holds"),
    [
        ([9.0] + [0.0] * 7, None, False),  # one is lucky
        ([1.0] * 8, None, True),  # all are as good: nothing to doubt
        ([0.9, 1.2] * 4, None, False),  # 1.05 on average, known to 0.06
        ([1.1, 1.4] * 4, None, True),
        ([2.0] * 4 + [np.nan] * 4, None, True),  # what failed does not count
        ([2.0] * 3 + [np.nan] * 5, None, False),  # but few are left
        ([2.0] * 8, [1.0] * 5 + [0.0] * 3, False),  # nor what is infeasible
        ([2.0] * 8, [1.0] * 4 + [0.0] * 4, True),
    ],
)
def test_under_noise_a_target_is_reached_by_a_generation(fitness, violation, holds) -> None:
    given = None if violation is None else np.array(violation)
    seen = result(fitness=fitness, violation=given, best_fitness=np.float32(9.0))
    assert de.stops.Target(1.0).holds(seen, about(noisy=True)) == holds


@pytest.mark.slow
def test_luck_reaches_no_target(key) -> None:
    # given 20 runs of noise, whose best of 480 is above 2 in each of them
    keys = jax.random.split(key, 20)
    options = {"population_size": 32, "final": 0, "chunk_size": 5}
    let_go = de.run(keys, de.DiffusionEvolution(15), Noise(), **options)
    assert float(let_go.best_fitness.min()) > 2.0
    # when the target is half a deviation above what they are worth
    stopped = de.run(
        keys, de.DiffusionEvolution(15), Noise(), stop=de.stops.Target(0.5), **options
    )
    # then none reaches it
    assert set(stopped.reason) == {"finished"}


def test_a_budget_counts_individuals_that_were_asked_about() -> None:
    budget, seen = de.stops.Evaluations(40), result(sigma=[0.1] * 4)  # 32 so far
    assert not budget.holds(seen, about())
    assert budget.holds(seen, about(length=2))
    assert not budget.holds(seen, about(length=2, known=True))
    assert not budget.holds(seen, about(5, length=2))  # only one generation is left


def test_time_is_that_of_the_call(key, monkeypatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(stops, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ended = de.run(key, STRATEGY, PROBLEM, stop=de.stops.Seconds(3.0), **OPTIONS)
    assert (ended.reason, int(ended.num_generations)) == ("time", 3)


def test_failures_are_those_of_the_last_generations() -> None:
    stop = de.stops.Failures(0.5, generations=2)
    assert not stop.holds(result(sigma=[1.0], failed=[8]), about())
    assert stop.holds(result(failed=[0, 8, 1]), about())
    assert not stop.holds(result(failed=[8, 8, 0]), about())
    many = result(sigma=np.ones((2, 2)), failed=[[8, 8], [4, 4]])
    np.testing.assert_array_equal(stop.holds(many, about()), [True, False])


# Stagnation

#: Levels of ten generations, of which the last six are at most 0.5.
FALLING = np.array([9.0, 4.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])


def first(stop: stops.Stop, mean: list[float], **known: Any) -> int | None:
    """After which generation it holds first."""
    for count in range(1, len(mean)):
        seen = result(sigma=FALLING[:count], mean=mean[:count], best=known["best"][:count])
        seen.fitness = np.asarray(known["fitness"])
        if stop.holds(seen, about(noisy=known["noisy"])):
            return count
    return None


@pytest.mark.parametrize(
    ("mean", "after"),
    [
        ([0.0] * 10, 7),  # flat: judged from the fifth on, and two more
        ([0, 0, 0, 0, 0, 0, 1, 1, 1, 1], 9),
        ([0, 0, 0, 0, 5, 0, 1, 2, 3, 4], 7),
        ([9, 0, 0, 0, 0, 1, 2, 3, 4, 5], None),  # what was before does not count
        ([0, 0, 0, 0, 0, 1, 2, 3, 4, 5], None),
        ([0, 0, 0, 0, 0, 0.02, 0.04, 0.06, 0.08, 0.1], 7),  # less than the error
        ([-np.inf] * 10, 7),
    ],
)
def test_stagnation_is_judged_once_the_annealing_can_show(mean, after) -> None:
    # under noise of which a mean has an error of 0.1
    known = {"fitness": np.array([-0.2646, 0.2646] * 4), "noisy": True, "best": mean}
    assert plateaus.standard_error(known["fitness"]) == pytest.approx(0.1, rel=1e-3)
    assert first(de.stops.Stagnation(), mean, **known) == after


def test_without_noise_a_rise_of_the_best_is_progress() -> None:
    known = {"fitness": np.zeros(N), "best": np.arange(10.0)}
    assert first(de.stops.Stagnation(), [0.0] * 10, noisy=False, **known) is None
    assert first(de.stops.Stagnation(), [0.0] * 10, noisy=True, **known) == 7
    patient = de.stops.Stagnation(tolerance=3.0)
    assert first(patient, [0.0] * 10, noisy=False, **known) == 7


def test_patience_is_a_share_of_the_generations() -> None:
    flat = result(sigma=[0.1] * 5)
    assert de.stops.Stagnation(patience=0.2).holds(flat, about(20))
    assert not de.stops.Stagnation(patience=0.3).holds(flat, about(20))


def test_with_constraints_the_best_feasible_of_a_generation_counts() -> None:
    stop, flat = de.stops.Stagnation(), {"violation": np.zeros(N), "sigma": [0.1] * 5}
    falling = {"mean": [5.0, 4.0, 3.0, 2.0, 1.0]}
    assert not stop.holds(result(best=np.arange(5.0), **flat, **falling), about())
    assert stop.holds(result(best=np.zeros(5), **flat, **falling), about())
    assert not stop.holds(result(best=np.full(5, -np.inf), **flat, **falling), about())


def test_a_strategy_that_does_not_anneal_is_judged_from_its_first_generation() -> None:
    stop, flat = de.stops.Stagnation(), result(sigma=[3.0] * 4)
    assert not stop.holds(flat, about())
    assert stop.holds(flat, about(lowest=np.inf))
    assert stop.holds(result(sigma=[np.nan] * 4), about(lowest=np.inf))
    # nor is one whose levels end above the one it is judged from
    assert not stop.holds(result(sigma=[4.0, 3.0, 2.0, 2.0, 2.0][:4]), about(lowest=2.0))
    assert stop.holds(result(sigma=[4.0, 3.0, 2.0, 2.0, 2.0]), about(lowest=2.0))


@pytest.fixture
def measure(monkeypatch) -> Any:
    """Where runs that are let go would have been ended; the benchmark's own function."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    import stagnation

    return stagnation.measure


@pytest.mark.slow
def test_an_annealed_run_is_not_ended_before_it_can_show_anything(measure) -> None:
    # given a run whose mean is flat at first, and that gains all at its end
    strategy, problem, _ = de.published.landscape("himmelblau")
    row = measure(strategy, problem, 64, 8, seed=7)
    assert row["last"] > 3 * row["first"]
    # then patience that knows of the annealing does not end it, and patience alone does
    assert row["annealing"]["premature"] == 0
    assert row["mean alone"]["premature"] >= 4


@pytest.mark.slow
def test_a_run_that_is_stuck_is_ended(measure) -> None:
    row = measure(de.DiffusionEvolution(30), Noise(), 64, 8, seed=7)
    assert row["annealing"]["ended"] >= 6
    assert row["annealing"]["saved"] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("env_name", ["Acrobot-v1", "Pendulum-v1", "CartPole-v1"])
def test_no_run_of_the_published_experiments_is_ended_too_early(measure, env_name) -> None:
    strategy, problem, size = de.published.control(env_name)
    for count in (10, 30):
        longer = de.replace(strategy, num_generations=count)
        row = measure(longer, problem, size, 32, seed=7)
        assert row["annealing"]["premature"] == 0


# Why a run has ended


def test_the_first_that_holds_is_the_reason(key) -> None:
    both = (lambda result: True, de.stops.Evaluations(N))
    for stop, reason in ((both, "own function"), (both[::-1], "evaluations")):
        ended = de.run(key, STRATEGY, PROBLEM, stop=stop, **OPTIONS)
        assert (ended.reason, int(ended.num_generations)) == (reason, 1)
        assert f"reason={reason!r}" in repr(ended)


def test_a_run_that_has_all_its_generations_is_finished(key) -> None:
    done = lambda result: bool(result.state.done)
    ended = de.run(key, STRATEGY, PROBLEM, stop=done, **OPTIONS)
    assert (ended.reason, int(ended.num_generations)) == ("finished", T)
    assert "reason" not in repr(ended)
    whole = jax.vmap(lambda k: de.evolve(k, STRATEGY, PROBLEM, population_size=N))(
        jax.random.split(key)
    )
    assert whole.reason == ("finished", "finished")


@pytest.mark.slow
def test_what_neither_ended_nor_was_stopped_is_going_on(key) -> None:
    keys = jax.random.split(key, R)
    half, *_, last = de.iterate(keys, STRATEGY, PROBLEM, stop=at, **OPTIONS)
    assert "going on" in half.reason
    assert "going on" not in last.reason


def test_what_is_interrupted_had_neither_ended_nor_been_stopped(key) -> None:
    keys = jax.random.split(key, R)
    results = de.iterate(keys, STRATEGY, PROBLEM, stop=at, **OPTIONS)
    half = next(one for one in results if one.history.done.shape[-1] == 3)
    reasons = stops.interrupted(half).reason
    assert reasons == ("own function", "interrupted", "own function", "interrupted")
    *_, last = results
    assert stops.interrupted(last).reason == (*("own function",) * 3, "finished")


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (de.stops.Target(np.nan), "Target.fitness: got nan, want a finite number"),
        (de.stops.Evaluations(0), "Evaluations.count: got 0, want an int >= 1"),
        (de.stops.Evaluations(2 * N - 1), "takes 16, want at least so many"),
        (de.stops.Seconds(0.0), "Seconds.seconds: got 0.0, want a number > 0"),
        (de.stops.Failures(1.0), "Failures.share: got 1.0, want a number < 1"),
        (de.stops.Stagnation(patience=1.5), "Stagnation.patience: got 1.5, want a number"),
        (de.stops.Target, "stop: got the class Target, want one of it"),
        (3, "stop: got 3"),
        ((None,), "stop: got (None,)"),
        (lambda result: np.ones(3), "stop: got shape (3,)"),
    ],
)
def test_what_cannot_stop_a_run_is_named(stop, message, key) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        de.run(key, STRATEGY, PROBLEM, stop=stop, chunk_size=2, **OPTIONS)


# Many runs


def assert_each_has_ended_where_it_was_stopped(
    stopped: de.Result, let_go: list[de.Result]
) -> None:
    """Compare runs that ``at`` has ended with what they were after each generation."""
    counts = np.minimum(WHEN, T)
    np.testing.assert_array_equal(stopped.num_generations, counts)
    assert stopped.reason == (*("own function",) * 3, "finished")
    for run, count in enumerate(counts):
        there = let_go[count - 1]
        for name in ("population", "fitness", "best_solution", "best_fitness", "state"):
            one, other = (
                jax.tree.map(lambda leaf, run=run: leaf[run], getattr(some, name))
                for some in (stopped, there)
            )
            chex.assert_trees_all_equal(one, other)
        for name in ("history", "recorded"):
            rows = jax.tree.map(lambda leaf, run=run: leaf[run], getattr(stopped, name))
            before = jax.tree.map(lambda leaf, run=run: leaf[run], getattr(there, name))
            first = jax.tree.map(lambda leaf, count=count: leaf[:count], rows)
            chex.assert_trees_all_equal(first, before)
            last = jax.tree.map(lambda leaf, count=count: leaf[count - 1 :], rows)
            same = jax.tree.map(lambda leaf: np.broadcast_to(leaf[:1], leaf.shape), last)
            chex.assert_trees_all_equal(last, same)


def test_each_of_many_runs_ends_by_itself_and_keeps_its_bits(key) -> None:
    keys = jax.random.split(key, R)
    stopped = de.run(keys, STRATEGY, PROBLEM, stop=at, **OPTIONS)
    let_go = list(de.iterate(keys, STRATEGY, PROBLEM, **OPTIONS))
    assert_each_has_ended_where_it_was_stopped(stopped, let_go)
    assert "reasons=(1 finished, 3 own function)" in repr(stopped)


@pytest.mark.parametrize("noisy", often(1, [False, True]))
def test_runs_that_have_ended_are_not_evaluated_on_the_host(key, noisy) -> None:
    calls = []

    def sphere(solutions: np.ndarray, seeds: np.ndarray | None = None) -> np.ndarray:
        calls.append(len(solutions))
        found = -np.sum(solutions**2, axis=1)
        return found if seeds is None else found + 1e-10 * seeds

    space = de.problems.Space(np.zeros(2))
    problem = de.problems.External(sphere, space, noisy=noisy)
    keys, options = jax.random.split(key, R), OPTIONS | {"final": 0}
    stopped = de.run(keys, STRATEGY, problem, stop=at, **options)
    assert calls == [N * R, N * R, N * 2, N * 2, N, N]
    counts = np.minimum(WHEN, T)
    np.testing.assert_array_equal(stopped.problem_state.num_evaluated, N * counts)
    let_go = list(de.iterate(keys, STRATEGY, problem, **OPTIONS))
    assert_each_has_ended_where_it_was_stopped(stopped, let_go)


def test_the_loop_ends_when_all_runs_have(key) -> None:
    keys = jax.random.split(key, R)
    early = lambda result: at(result) | (result.history.done.shape[-1] >= 5)
    lengths = [
        one.history.done.shape[-1]
        for one in de.iterate(keys, STRATEGY, PROBLEM, stop=early, **OPTIONS)
    ]
    assert lengths == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_runs_that_have_ended_are_judged_at_the_end(key) -> None:
    keys = jax.random.split(key, R)
    options = {"population_size": N, "final": 16, "chunk_size": 2}
    ended = de.run(keys, STRATEGY, Noise(), stop=at, **options)
    assert ended.final is not None
    assert np.isfinite(ended.final.fitness).all()
    assert ended.reason == (*("own function",) * 3, "finished")


def test_a_function_that_returns_nothing_is_no_stop(key) -> None:
    with pytest.raises(TypeError, match="stop: got None"):
        de.run(
            key,
            de.DiffusionEvolution(3),
            Noise(),
            population_size=4,
            stop=lambda result: None,
        )
