"""Signals that ask for an end, in one process: what is raised, what is waited for."""

import resource
import signal
import time
import warnings

import chex
import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.pytree import signals
from diffevo_jax.pytree.folders import FolderError
from diffevo_jax.running import plan

pytestmark = pytest.mark.usefixtures("signals_as_before")

OPTIONS = {"population_size": 8, "chunk_size": 2}
STRATEGY, PROBLEM = de.DiffusionEvolution(6), de.problems.Landscape("beale")
SPACE = de.problems.Space(np.zeros(2))


@pytest.fixture
def handler():
    """One that answers all signals, and what it was asked and would have ended."""
    asked, ended = [], []
    handler = signals.Handler(asked.append, lambda *told: ended.append(told))
    signals.install(handler)
    return handler, asked, ended


def saved(folder) -> int:
    """The generation of the last checkpoint."""
    names = [path.name for path in folder.glob("checkpoint-*.npz")]
    return max((int(name[11:20]) for name in names), default=0)


# The handler


def test_before_there_is_something_to_keep_the_first_signal_ends(handler) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert handler[1:] == ([], [(signal.SIGTERM, False)])


def test_the_first_signal_only_asks_and_the_second_ends(handler) -> None:
    signals.only_ask()
    assert not signals.is_asked()
    signal.raise_signal(signal.SIGINT)
    assert signals.is_asked()
    signal.raise_signal(signal.SIGINT)
    assert handler[1:] == ([signal.SIGINT], [(signal.SIGINT, False)])


def test_a_terminal_and_its_shell_that_both_hang_up_do_so_once(handler) -> None:
    signals.only_ask()
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)
    assert handler[1:] == ([signal.SIGHUP], [])
    handler[0].since -= 10.0
    signal.raise_signal(signal.SIGTERM)
    assert handler[2] == [(signal.SIGTERM, False)]


def test_what_is_ignored_stays_ignored() -> None:
    """As SIGHUP under ``nohup``."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.answered():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert isinstance(signal.getsignal(signal.SIGTERM), signals.Handler)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_not_jax_is_ended_promptly(handler) -> None:
    signals.only_ask()
    with pytest.raises(KeyboardInterrupt), signals.promptly():
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), signals.promptly():  # nor begun
        pytest.fail("it has been asked to end")
    assert handler[1:] == ([], [])


def test_a_call_of_jax_in_it_is_waited_for(handler) -> None:
    def call(x: jax.Array) -> jax.Array:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.2)
        return x

    ended = []

    def calls() -> None:
        with signals.promptly():
            ended.append(jax.eval_shape(call, 0.0))
            time.sleep(60.0)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        calls()
    assert len(ended) == 1
    assert time.monotonic() - begin < 30.0
    assert handler[2] == []


def test_what_does_not_end_a_sleep_is_sent_again(handler, monkeypatch) -> None:
    # A signal just before a sleep is as good as lost.
    send, lost = signal.pthread_kill, []

    def first_is_lost(thread: int, number: int) -> None:
        if lost:
            send(thread, number)
        lost.append(number)

    monkeypatch.setattr(signal, "pthread_kill", first_is_lost)

    def call(x: jax.Array) -> jax.Array:
        signal.raise_signal(signal.SIGTERM)
        return x

    def calls() -> None:
        with signals.promptly():
            jax.eval_shape(call, 0.0)
            time.sleep(60.0)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        calls()
    assert time.monotonic() - begin < 30.0
    assert len(lost) == 2


def test_a_look_that_comes_late_is_no_second_request(handler) -> None:
    def call(x: jax.Array) -> jax.Array:
        signal.raise_signal(signal.SIGINT)
        return x

    with signals.promptly():
        jax.eval_shape(call, 0.0)  # and all is done before anybody looks again
    time.sleep(0.5)
    assert signals.is_asked()
    assert handler[2] == []


class Late:
    """An array that is there after a second."""

    def __init__(self) -> None:
        self.end = time.monotonic() + 1.0

    def is_ready(self) -> bool:
        return time.monotonic() > self.end


def test_what_takes_longer_than_a_scheduler_waits_is_left(handler, monkeypatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.2)
    signals.only_ask()
    signal.raise_signal(signal.SIGTERM)
    saves = []
    with pytest.raises(KeyboardInterrupt):
        signals.wait([Late()], lambda: saves.append(1))
    assert saves == [1]


def test_ctrl_c_waits_for_what_is_under_way(handler, monkeypatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.2)
    signals.only_ask()
    signal.raise_signal(signal.SIGINT)
    signals.wait([late := Late()], lambda: None)
    assert late.is_ready()


# Runs


def test_a_cell_that_is_interrupted_has_saved(tmp_path, key) -> None:
    def stop(result: de.Result) -> bool:
        if len(result.history.done) == 2:
            signal.raise_signal(signal.SIGINT)
        return False

    with pytest.raises(KeyboardInterrupt) as told:
        de.run(key, STRATEGY, PROBLEM, folder=tmp_path, every=100, stop=stop, **OPTIONS)
    assert told.value.__notes__ == [
        f"The run is kept in {tmp_path}; the same call goes on."
    ]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert saved(tmp_path) == 2
    again = de.run(key, STRATEGY, PROBLEM, folder=tmp_path, **OPTIONS)
    chex.assert_trees_all_equal(again, de.run(key, STRATEGY, PROBLEM, **OPTIONS))


def test_an_evaluation_on_the_host_is_left_and_those_before_are_saved(
    tmp_path, key
) -> None:
    calls = []

    def fitness(solutions: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
            time.sleep(600.0)
        return -np.sum(solutions**2, axis=1)

    problem = de.problems.External(fitness, SPACE)
    options = {"population_size": 4, "chunk_size": 100}
    with pytest.raises(KeyboardInterrupt):
        de.run(key, STRATEGY, problem, folder=tmp_path, every=100, **options)
    assert saved(tmp_path) == 3
    again = de.run(key, STRATEGY, problem, folder=tmp_path, **options)
    assert len(calls) == 4 + 3  # of six generations three were left
    plain = de.run(key, STRATEGY, problem, **options)
    chex.assert_trees_all_equal(again.history, plain.history)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_handlers_of_others_stay(tmp_path, key, number) -> None:
    seen = []

    def stop(result: de.Result) -> bool:
        signal.raise_signal(number)
        return False

    signal.signal(number, lambda *_: seen.append(number))
    de.run(key, STRATEGY, PROBLEM, folder=tmp_path, stop=stop, **OPTIONS)
    assert seen == [number] * 2  # not after the last generation


def test_without_a_folder_signals_are_as_ever(key) -> None:
    found = []

    def stop(result: de.Result) -> bool:
        found.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)))
        return False

    de.run(key, STRATEGY, PROBLEM, stop=stop, **OPTIONS)
    assert set(found) == {(signal.SIG_DFL, signal.default_int_handler)}


def test_a_long_chunk_is_kept_in_pieces(tmp_path, key, monkeypatch) -> None:
    """And what it yields, and stops at, is what it would be in one piece."""
    monkeypatch.setattr(plan, "_PIECE", 1e-9)
    kept, looked = [], []
    options = {"population_size": 8, "chunk_size": 4}
    whole = de.run(key, STRATEGY, PROBLEM, **options)

    def stop(result: de.Result) -> bool:
        looked.append(len(result.history.done))
        return False

    monkeypatch.setattr(
        "diffevo_jax.running.checkpoints.Keeper.keep",
        lambda keeper, stand: kept.append(stand.done),
    )
    result = de.run(key, STRATEGY, PROBLEM, folder=tmp_path, stop=stop, **options)
    assert kept == [1, 2, 3, 4, 5, 6]
    assert looked == [4]  # not after the last generation
    chex.assert_trees_all_equal(result, whole)


def test_a_checkpoint_within_a_chunk_is_made_in_time(tmp_path, key, monkeypatch) -> None:
    kept = []
    monkeypatch.setattr(
        "diffevo_jax.running.checkpoints.Keeper.keep",
        lambda keeper, stand: kept.append(stand.done),
    )
    options = {"population_size": 8, "chunk_size": 5, "folder": tmp_path, "every": 2}
    monkeypatch.setattr(plan, "paced", lambda count, seconds: 100)
    de.run(key, STRATEGY, PROBLEM, **options)
    assert kept == [1, 2, 4, 5, 6]


@pytest.mark.parametrize(
    ("count", "seconds", "more"), [(1, 5.0, 1), (4, 1.0, 8), (4, 1e-6, 16), (100, 4.0, 50)]
)
def test_a_piece_takes_two_seconds_or_so(count, seconds, more) -> None:
    assert plan.paced(count, seconds) == more


# Disks


@pytest.fixture
def full_disk():
    """No file may grow beyond some bytes, until it is called."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    yield fill, make_room
    make_room()
    signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_ends_no_run_and_loses_no_checkpoint(
    tmp_path, key, full_disk
) -> None:
    fill, make_room = full_disk
    seen = []

    def stop(result: de.Result) -> bool:
        seen.append(len(result.history.done))
        if seen[-1] == 4:
            fill()
        return False

    options = OPTIONS | {"folder": tmp_path, "every": 2}
    with warnings.catch_warnings(record=True, action="always") as told:
        full = de.run(key, STRATEGY, PROBLEM, stop=stop, **options)
    checkpoint, log = sorted(str(one.message) for one in told)  # each of them once
    assert "after generation 4 was not written" in checkpoint
    assert "the last one is of generation 2" in checkpoint
    assert "log.jsonl') failed at generation 4, and the run goes on" in log
    make_room()
    assert saved(tmp_path) == 2
    assert [path.name for path in tmp_path.glob(".unfinished-*")] == []
    again = de.run(key, STRATEGY, PROBLEM, **options)
    assert seen == [2, 4]
    chex.assert_trees_all_equal(again, full)
    assert saved(tmp_path) == 6


def test_a_folder_that_is_a_file_is_refused(tmp_path, key) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(ValueError, match="runs, which cannot be made: File exists"):
        de.run(key, STRATEGY, PROBLEM, folder=tmp_path / "runs", **OPTIONS)


def test_one_run_at_a_time_also_in_one_process(tmp_path, key) -> None:
    first = de.iterate(key, STRATEGY, PROBLEM, folder=tmp_path, **OPTIONS)
    next(first)
    with pytest.raises(FolderError, match="in use by another run"):
        de.run(key, STRATEGY, PROBLEM, folder=tmp_path, **OPTIONS)
    first.close()
    assert len(de.run(key, STRATEGY, PROBLEM, folder=tmp_path, **OPTIONS).fitness) == 8
