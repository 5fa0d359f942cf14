"""Evaluators that hang, die and raise: real ones, in real processes."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import (
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path

import chex
import jax
import light_evaluators as light
import numpy as np
import ode_evaluators as ode
import pytest

import diffevo_jax as de
from diffevo_jax.problems import External, Space, external

#: By the first number: works, hangs, dies, raises, returns NaN; see ``unreliable``.
KINDS = np.array([[0, 1.0], [1, 0], [2, 0], [3, 0], [4, 0], [0, 2], [0, 3], [2, 1]])
WORKS = KINDS[:, 0] == 0


@pytest.fixture(scope="module")
def reliable():
    """Two processes; what they run comes with every call."""
    with external.each(light.negated_sphere, workers=2) as evaluate:
        yield evaluate


def test_rows_go_to_processes_and_come_back_in_their_order(reliable) -> None:
    solutions = np.arange(12.0).reshape(6, 2)
    np.testing.assert_allclose(
        reliable(solutions).fitness, -(solutions**2).sum(axis=1), rtol=1e-6
    )


def test_a_hang_a_crash_and_an_exception_fail_alone() -> None:
    with external.each(light.unreliable, workers=2, timeout=2.0) as evaluate:
        start = time.monotonic()
        fitness = evaluate(KINDS).fitness
        assert time.monotonic() - start < 30  # the one that hangs has 600 seconds to go
        np.testing.assert_array_equal(np.isfinite(fitness), WORKS)
        np.testing.assert_allclose(fitness[WORKS], -(KINDS[WORKS] ** 2).sum(axis=1))
        failures = {"TimeoutError": 1, "BrokenProcessPool": 2, "ValueError": 1}
        assert evaluate.failures == failures
        # and its processes serve the next batch
        assert np.isfinite(evaluate(KINDS[WORKS]).fitness).all()


def test_a_run_with_hangs_crashes_and_exceptions_finishes(key) -> None:
    space = Space(np.zeros(2), lower=-0.49, upper=4.49)  # its first number is the kind
    with external.each(light.unreliable_in_a_box, workers=2, timeout=0.5) as evaluate:
        problem = External(evaluate, space)
        result = de.run(key, de.DiffusionEvolution(3), problem, population_size=8)
        kinds = set(evaluate.failures)
    assert bool(result.history.done[-1])
    assert kinds == {"TimeoutError", "BrokenProcessPool", "ValueError"}
    assert 0 < int(result.history.num_failed.sum()) < 24
    assert np.isfinite(result.best_fitness)


def test_what_fails_is_tried_again_if_wanted(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FLAKY", str(tmp_path))
    with external.each(light.flaky, workers=2, retries=1) as evaluate:
        assert evaluate(np.arange(3.0)[:, None]).fitness.tolist() == [0.0, -1.0, -4.0]
        assert evaluate.failures == {"BrokenProcessPool": 3}


def test_a_process_that_dies_between_two_batches_fails_nobody() -> None:
    with external.each(light.negated_sphere, workers=1) as evaluate:
        evaluate(np.ones((1, 1)))
        (idle,) = evaluate._runs._idle
        os.kill(idle.pid.result(), signal.SIGKILL)
        with contextlib.suppress(BrokenExecutor):  # until the pool knows
            idle.pool.submit(os.getpid).result()
        assert evaluate(np.full((1, 1), 2.0)).fitness.tolist() == [-4.0]
        assert not evaluate.failures


HANGS = """
import light_evaluators, numpy
from diffevo_jax.problems import external
external.each(light_evaluators.says_who_and_hangs, workers=2)(numpy.zeros((2, 1)))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(how) -> None:
    paths = [str(Path(__file__).parent), str(Path(de.__file__).parents[1])]
    parent = subprocess.Popen(
        [sys.executable, "-c", HANGS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
    )
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.send_signal(how)
    try:
        parent.communicate(timeout=10)  # returns when nobody can write any more
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert parent.returncode == -how


def test_a_simulator_that_exits_has_failed(key) -> None:
    space = Space(np.zeros(2), lower=-1.0, upper=1.0)
    with external.each(light.exits, ThreadPoolExecutor(1)) as evaluate:
        result = de.run(
            key, de.DiffusionEvolution(2), External(evaluate, space), population_size=8
        )
    failed = int(result.history.num_failed.sum())
    assert 0 < failed < 16
    assert evaluate.failures == {"SystemExit": failed}


def test_measures_of_what_failed_are_nothing() -> None:
    def evaluate(solution):
        if solution[0] < 0:
            raise ValueError
        return float(solution[0]), {"half": solution[0] / 2, "count": 3}

    with external.each(evaluate, ThreadPoolExecutor(1)) as of_all:
        measures = of_all(np.array([[1.0], [-1.0], [2.0]])).measures
    np.testing.assert_array_equal(measures["half"], [0.5, np.nan, 1.0])
    assert measures["count"].tolist() == [3, 0, 3]


def test_the_seeds_of_a_noisy_problem_go_with_the_solutions(key) -> None:
    with external.each(light.noisy, ThreadPoolExecutor(2)) as evaluate:
        problem = External(evaluate, Space(np.zeros(2)), noisy=True)
        solutions = np.zeros((4, 2), np.float32)
        first, again = (
            problem.evaluate(key, problem.init(key), solutions)[0].fitness for _ in range(2)
        )
    assert len(set(first.tolist())) == 4
    np.testing.assert_array_equal(first, again)


# Others' executors


def test_a_pool_that_breaks_is_made_again_by_the_function_that_makes_it() -> None:
    made = []

    def make() -> ProcessPoolExecutor:
        made.append(1)
        context = external.workers.multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context)

    with external.each(light.unreliable, make) as evaluate:
        fitness = evaluate(np.array([[0.0, 1.0], [2.0, 0.0]])).fitness
        assert np.isnan(fitness).tolist() == [False, True]
        assert evaluate(np.array([[0.0, 1.0]])).fitness.tolist() == [-1.0]
    assert len(made) == 2


class Breaks(ThreadPoolExecutor):
    """It takes so many calls, and is broken then."""

    def __init__(self, takes: int) -> None:
        super().__init__(1)
        self.takes = takes

    def submit(self, fn, /, *args):
        if not self.takes:
            raise BrokenExecutor("a process died")
        self.takes -= 1
        return super().submit(fn, *args)


@pytest.mark.parametrize("taken", [0, 2])
def test_a_pool_that_breaks_while_it_is_given_calls_is_made_again(taken) -> None:
    takes = iter([taken, 9])
    make = lambda: Breaks(next(takes))
    with external.each(light.negated_sphere, make, retries=1) as evaluate:
        fitness = evaluate(np.arange(5.0)[:, None]).fitness
    assert fitness.tolist() == [0.0, -1.0, -4.0, -9.0, -16.0]
    assert evaluate.failures == {"BrokenExecutor": 5 - taken}


def test_a_pool_that_is_given_broken_is_an_error() -> None:
    with pytest.raises(BrokenExecutor, match="a process died"):
        external.each(light.negated_sphere, Breaks(0), retries=1)(np.zeros((2, 1)))


@pytest.mark.slow
def test_a_pool_that_hangs_is_given_up_and_its_processes_end() -> None:
    executors = []

    def make() -> ProcessPoolExecutor:
        context = external.workers.multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(2, context)
        executors.append(executor)
        warm = [executor.submit(light.unreliable, np.zeros(2)) for _ in range(2)]
        assert [one.result() for one in warm] == [0.0, 0.0]
        return executor

    with external.each(light.unreliable, make, timeout=5.0) as evaluate:
        fitness = evaluate(np.array([[1.0, 0.0], [0.0, 1.0]])).fitness
        assert np.isnan(fitness).tolist() == [True, False]
    executors[0].shutdown(wait=True)  # returns, since nobody hangs any more


class Late:
    """A future of a scheduler that nobody can wait for."""

    def __init__(self, value: float, looks: int) -> None:
        self.value, self.looks, self.cancelled = value, looks, False

    def done(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def result(self) -> float:
        return self.value

    def cancel(self) -> None:
        self.cancelled = True


class Scheduler:
    """An executor that answers late, and sends what it got at the end of a batch."""

    def __init__(self) -> None:
        self.sent, self.jobs = [], []

    def batch(self):
        return self

    def __enter__(self) -> None:
        self.sent.append(0)

    def __exit__(self, *_: object) -> None: ...

    def submit(self, fn, solution) -> Late:
        self.sent[-1] += 1
        self.jobs.append(Late(fn(solution), 10**9 if solution[0] > 1 else 3))
        return self.jobs[-1]


def test_futures_that_can_only_be_looked_at_are_looked_at() -> None:
    scheduler = Scheduler()
    evaluate = external.each(light.negated_sphere, scheduler, timeout=0.5)
    fitness = evaluate(np.array([[1.0], [2.0]])).fitness
    np.testing.assert_array_equal(fitness, [-1.0, np.nan])
    assert scheduler.sent == [2]
    assert scheduler.jobs[1].cancelled


def test_the_executor_of_joblib_takes_functions_without_a_module(key) -> None:
    loky = pytest.importorskip("joblib.externals.loky")
    offset = 0.5
    make = lambda: loky.get_reusable_executor(max_workers=1)
    with external.each(lambda x: -float(((x - offset) ** 2).sum()), make) as evaluate:
        assert evaluate(np.array([[1.5], [0.5]])).fitness.tolist() == [-1.0, 0.0]


# What is refused, and what is said


def test_if_all_fail_there_is_a_warning_with_the_reason() -> None:
    def fails(solution):
        raise ImportError("no such simulator")

    evaluate = external.each(fails, ThreadPoolExecutor(1))
    message = (
        r"each\(fails\): all 3 evaluations failed, .* ImportError\('no such simulator'"
    )
    with pytest.warns(UserWarning, match=message):
        assert np.isnan(evaluate(np.zeros((3, 1))).fitness).all()
    assert isinstance(evaluate.last_error, ImportError)


def test_a_function_that_other_processes_cannot_import_is_refused() -> None:
    with pytest.raises(TypeError, match=r"fn: got <function .* want a function at the top"):
        external.each(lambda x: 0.0)


def test_a_process_that_cannot_import_the_function_says_so(monkeypatch) -> None:
    monkeypatch.setattr(light.negated_sphere, "__qualname__", "only_here")
    monkeypatch.setattr(light, "only_here", light.negated_sphere, raising=False)
    with (
        external.each(light.only_here, workers=1) as evaluate,
        pytest.raises(RuntimeError, match="fn: got a process that ended before"),
    ):
        evaluate(np.zeros((2, 1)))


def test_a_broken_executor_that_cannot_be_made_again_is_an_error() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        external.each(light.negated_sphere, executor)(np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0.0}, "timeout: got 0.0, want a number > 0"),
        ({"retries": -1}, "retries: got -1, want an int >= 0"),
        ({"workers": 0}, "workers: got 0, want an int >= 1"),
        ({"executor": 3}, "executor: got 3"),
        ({"executor": Future, "workers": 2}, "workers: got 2 with an executor"),
    ],
)
def test_bad_arguments_are_named(options, message) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        external.each(light.negated_sphere, **options)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("nonsense", "fitness: got 'nonsense', want real numbers"),
        (np.zeros(2), "fitness: got shape (2,), want ()"),
    ],
)
def test_nonsense_is_a_mistake_and_not_a_failure(returned, message) -> None:
    evaluate = external.each(lambda x: returned, ThreadPoolExecutor(1))
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        evaluate(np.zeros((1, 1)))


def test_solutions_are_pytrees(key) -> None:
    space = Space({"w": np.zeros(3, np.float32), "n": np.int32(0)})
    of_one = lambda solution: float(solution["w"].sum()) + int(solution["n"])
    with external.each(of_one, ThreadPoolExecutor(1)) as evaluate:
        solutions = space.decode(space.sample(key, 4))
        fitness = evaluate(jax.tree.map(np.asarray, solutions)).fitness
    expected = np.asarray(solutions["w"]).sum(axis=1) + np.asarray(solutions["n"])
    np.testing.assert_allclose(fitness, expected, rtol=1e-6)


DESIGN = {"stiffness": np.float32(0), "damping": np.float32(0)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_tenth_that_hangs_dies_or_raises_gives_the_bits_of_an_orderly_run(
    workers, key
) -> None:
    space, strategy = Space(DESIGN, lower=0.0, upper=20.0), de.DiffusionEvolution(8)

    def orderly(designs, seeds):
        rows = [
            {name: leaf[n] for name, leaf in designs.items()} for n in range(len(seeds))
        ]
        return np.array(
            [
                np.nan if ode.fate(seed) else ode.spring(row, seed)
                for row, seed in zip(rows, seeds, strict=True)
            ]
        )

    options = {"final": 0, "population_size": 32, "record": ("population", "fitness")}
    calm = de.run(key, strategy, External(orderly, space, noisy=True), **options)
    evaluate = external.each(ode.unreliable_spring, workers=workers, timeout=5.0)
    with evaluate:
        rough = de.run(key, strategy, External(evaluate, space, noisy=True), **options)
    chex.assert_trees_all_equal(rough, calm)
    failed = int(rough.history.num_failed.sum())
    print(f"{failed} of 256 failed: {dict(evaluate.failures)}, {rough}")
    assert sum(evaluate.failures.values()) == failed
    assert set(evaluate.failures) == {
        "TimeoutError",
        "BrokenProcessPool",
        "ArithmeticError",
    }
    assert 12 <= failed <= 42  # a tenth, within three and a half standard errors


# What the function gets


def test_a_worker_gets_what_people_would_write() -> None:
    space = Space(
        {
            "kind": de.problems.Categorical(("adam", "sgd")),
            "layers": de.problems.Integer(1, 8),
            "rate": de.problems.Range(0.1, 0.3),
        }
    )
    with external.each(light.described, workers=1, space=space) as evaluate:
        solutions = space.decode(space.sample(jax.random.key(0), 6))
        found = evaluate(jax.tree.map(np.asarray, solutions))
    assert not evaluate.failures, evaluate.last_error
    indices = np.asarray(solutions["kind"])
    assert set(indices.tolist()) == {0, 1}
    np.testing.assert_array_equal(found.measures["is_sgd"], indices == 1)
    np.testing.assert_allclose(found.fitness, solutions["rate"], rtol=1e-6)


def test_its_solutions_are_those_of_the_space() -> None:
    space = Space({"kind": de.problems.Categorical(("adam", "sgd"))})
    evaluate = external.each(light.described, workers=1, space=space)
    with pytest.raises(ValueError, match=r"solutions: got .*want"):
        evaluate({"sort": np.zeros(2, np.int32)})


# Mistakes that are seen before anything runs


def three(design, seed, extra):
    return 0.0


def one(design):
    return 0.0


@pytest.mark.parametrize("fn", [lambda: 0.0, three, lambda *, design: 0.0])
def test_a_function_that_takes_no_solution_is_refused(fn) -> None:
    with pytest.raises(TypeError, match=r"fn: got .*called as fn\(solution\) or fn\("):
        external.each(fn, ThreadPoolExecutor)


def test_a_noisy_problem_wants_a_function_of_a_seed_too() -> None:
    space = Space(np.zeros(2))
    alone = external.each(one, ThreadPoolExecutor)
    for fn, noisy in ((alone, True), (one, True), (lambda x, seed: x[:, 0], False)):
        problem = External(fn, space, noisy=noisy)
        with pytest.raises(TypeError, match=r"External\.fn: got .*called as External\.fn"):
            de.pytree.validate(problem)
    problem = External(one, space, reject=lambda: True)
    with pytest.raises(TypeError, match=r"External\.reject: got .*\(solutions\)"):
        de.pytree.validate(problem)


def test_a_warning_names_the_line_that_called_the_library() -> None:
    evaluate = external.each(math.sqrt, ThreadPoolExecutor(1))
    problem = External(evaluate, Space(de.problems.Range(-2.0, -1.0)))
    with pytest.warns(UserWarning, match="all 4 evaluations failed") as warned:
        de.run(jax.random.key(0), de.DiffusionEvolution(1), problem, population_size=4)
    assert [one.filename for one in warned] == [__file__]
