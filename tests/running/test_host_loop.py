"""The host loop: chunks, progress, early stop."""

import collections
import functools
import re
import threading
import time
from collections.abc import Callable, Iterator

import chex
import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.compilation import Ahead
from diffevo_jax.running import plan
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.chunks import Program

PROBLEM = de.problems.Landscape("himmelblau")
STRATEGY = de.DiffusionEvolution(
    7, denoiser=de.denoisers.Population(shaping=de.shaping.Identity())
)
OPTIONS = {"population_size": 16, "record": ("population",)}


def test_chunks_of_any_length_give_the_same_bits(key) -> None:
    whole = de.run(key, STRATEGY, PROBLEM, chunk_size=100, **OPTIONS)
    for chunk_size in (1, 2, 3, 7):
        chunked = de.run(key, STRATEGY, PROBLEM, chunk_size=chunk_size, **OPTIONS)
        chex.assert_trees_all_equal(chunked, whole)


def test_a_run_agrees_with_evolve(key) -> None:
    ours = de.run(key, STRATEGY, PROBLEM, **OPTIONS).recorded["population"]
    whole = de.evolve(key, STRATEGY, PROBLEM, **OPTIONS).recorded["population"]
    # float32 rounding of one generation; later ones amplify it
    np.testing.assert_allclose(ours[:2], whole[:2], atol=1e-5)


def test_many_keys_are_many_runs(key) -> None:
    keys = jax.random.split(key, 3)
    together = de.run(keys, STRATEGY, PROBLEM, chunk_size=2, **OPTIONS)
    alone = de.run(keys[1], STRATEGY, PROBLEM, chunk_size=2, **OPTIONS)
    recorded = together.recorded["population"][1, :2]
    np.testing.assert_allclose(recorded, alone.recorded["population"][:2], atol=1e-5)
    assert together.best_solution.shape == (3, 2)


def test_every_chunk_yields_the_result_so_far(key) -> None:
    results = list(de.iterate(key, STRATEGY, PROBLEM, chunk_size=3, **OPTIONS))
    assert [len(result.history.done) for result in results] == [3, 6, 7]
    assert [bool(result.state.done) for result in results] == [False, False, True]
    last = results[-1].recorded["population"]
    np.testing.assert_array_equal(results[0].recorded["population"], last[:3])


def test_stopping_early_keeps_what_there_is(key) -> None:
    seen = []

    def stop(result: de.Result) -> bool:
        seen.append(len(result.history.done))
        return len(seen) == 2

    result = de.run(key, STRATEGY, PROBLEM, chunk_size=2, stop=stop, **OPTIONS)
    assert seen == [2, 4]
    assert len(result.history.done) == 4
    assert not bool(result.state.done)


def test_one_program_serves_all_chunks(key) -> None:
    traces = []

    def counted(x: jax.Array) -> jax.Array:
        traces.append(1)
        return -(x**2).sum()

    problem = de.problems.Function(counted, dim=2)
    counts = []
    for result in de.iterate(key, STRATEGY, problem, chunk_size=2, population_size=4):
        counts.append(len(traces))
        assert result.fitness.shape == (4,)
    assert counts == counts[:1] * 4  # nothing is traced after the first of four chunks


def test_progress_passes_results_through_and_shows_fitness(key, capsys) -> None:
    results = de.iterate(key, STRATEGY, PROBLEM, chunk_size=3, **OPTIONS)
    shown = list(show_generations(results, STRATEGY.num_generations))
    assert [len(result.history.done) for result in shown] == [3, 6, 7]
    out = capsys.readouterr().out
    assert "7/7" in out
    assert f"best {float(shown[-1].best_fitness):.4g}" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 0}, "chunk_size: got 0, want an int >= 1"),
        ({"population_size": None}, "population_size, population: got neither"),
    ],
)
def test_bad_arguments_are_named(options, message, key) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        de.run(key, STRATEGY, PROBLEM, **{**OPTIONS, **options})


SLOW = pytest.mark.slow


@pytest.fixture
def compilers() -> Iterator[collections.Counter[int]]:
    """How many programs each thread compiles from here on."""
    counter: collections.Counter[int] = collections.Counter()

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            counter[threading.get_ident()] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counter
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("runs", "kept"),
    [(0, False), (2, False), pytest.param(0, True, marks=SLOW)],
    ids=["one run", "many runs", "a key that is kept on a device"],
)
def test_programs_are_compiled_by_another_thread(
    key, monkeypatch, compilers, runs, kept
) -> None:
    here, calls, call = threading.get_ident(), [], Program.__call__
    compile_now = jax.stages.Lowered.compile

    def late(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
        time.sleep(0.2)  # so that who does not wait is too soon
        return compile_now(lowered)

    def counted(function: Callable[..., object], *arguments: object) -> object:
        known = compilers[here]
        answer = function(*arguments)
        calls.append(compilers[here] - known)
        return answer

    counted_call = lambda program, *parts: counted(call, program, *parts)
    monkeypatch.setattr(Program, "__call__", counted_call)
    monkeypatch.setattr(plan, "decode", functools.partial(counted, plan.decode))
    monkeypatch.setattr(jax.stages.Lowered, "compile", late)
    strategy = de.DiffusionEvolution(3)  # of no other test here
    key = jax.random.split(key, runs) if runs else key
    de.run(
        jax.device_put(key, jax.devices()[0]) if kept else key,
        strategy,
        PROBLEM,
        population_size=18,
        chunk_size=2,
        final=16,
    )
    # begin; advance and decode, twice; judge
    assert calls == [0, 0, 0, 0, 0, 0]
    # and what decodes, if no other test has had it compiled
    assert compilers.total() - compilers[here] >= 3


def test_what_is_not_compiled_yet_is_not_when_a_run_fails(key, monkeypatch) -> None:
    ends = []
    monkeypatch.setattr(Ahead, "__exit__", lambda ahead, *why: ends.append(why[0]))
    with pytest.raises(ZeroDivisionError):
        de.run(key, STRATEGY, PROBLEM, stop=lambda result: 1 // 0, **OPTIONS)
    assert ends == [ZeroDivisionError]


def test_where_no_thread_begins_any_more_programs_are_compiled_at_once(
    monkeypatch,
) -> None:
    """As in a thread that works on when the main one has ended."""
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
    with Ahead() as ahead:
        assert ahead.compile(jax.jit(lambda x: x).lower(1.0)).done()


def test_a_run_that_is_looked_at_keeps_no_thread(key) -> None:
    before = threading.active_count()
    results = [de.iterate(key, STRATEGY, PROBLEM, **OPTIONS) for _ in range(3)]
    for so_far in results:
        next(so_far)
    end = time.monotonic() + 60.0  # those that have compiled end by themselves
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_what_cannot_be_compiled_says_so_where_it_is_called() -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such device")

    ahead, program = Ahead(), jax.jit(lambda x: x).lower(1.0)
    refused = type("Refused", (), {"compile": refuse})()
    failed, fine = ahead.compile(refused), ahead.compile(program)
    ahead.wait()
    assert fine.done()
    with pytest.raises(RuntimeError, match="no such device"):
        failed.result()


def test_what_is_waiting_is_not_compiled_after_an_interrupt() -> None:
    ahead, begun, go = Ahead(), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(60)

    slow = type("Slow", (), {"compile": staticmethod(wait)})()
    waiting = []

    def interrupted() -> None:
        with ahead:
            ahead.compile(slow)
            begun.wait(60)
            waiting.append(ahead.compile(slow))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    go.set()
    assert waiting[0].cancelled()
