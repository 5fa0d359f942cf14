"""Evaluations outlive whatever happens to the process, the pool, the disk and the files."""

import collections
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import killed_run
import light_evaluators as light
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.problems import Constrained, Constraint, External, Space, external
from diffevo_jax.problems.external import journal as journals
from diffevo_jax.problems.external import records

HERE = Path(__file__).parent


class Stop(BaseException):
    """What a signal raises, say."""


# Killed


def killed(
    folder: Path, kills: int, generations: int
) -> tuple[str, collections.Counter[str]]:
    """A run that is killed so often; its bits, and how often what was begun or finished."""
    rng, counted = np.random.default_rng(kills), folder / "counted"
    counted.touch()
    paths = os.pathsep.join([str(HERE), str(Path(de.__file__).parents[1])])
    env = os.environ | {
        "PYTHONPATH": paths,
        "COUNTED": str(counted),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    script, kept = str(HERE / "killed_run.py"), str(folder / "run")
    command = [sys.executable, script, kept, str(generations)]
    lines = lambda: counted.read_text().splitlines()
    for kill in range(kills):
        process = subprocess.Popen(
            command, env=env, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            at = len(lines()) + int(rng.integers(1, 12 * generations // kills))
            while len(lines()) < at and process.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.1))
            for pid in children(process.pid) * (kill % 2):  # as of a machine that stops
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
    ended = subprocess.run(command, env=env, capture_output=True, check=True)
    assert not ended.stderr
    return ended.stdout.decode().strip(), collections.Counter(lines())


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            words = path.read_text().rpartition(")")[2].split()
            found += [int(path.parent.name)] if int(words[1]) == parent else []
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="it looks for processes there")
@pytest.mark.parametrize(
    ("kills", "generations"), [(2, 4), pytest.param(20, 12, marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_at_any_moment_loses_no_finished_evaluation(
    kills, generations, tmp_path, monkeypatch
) -> None:
    bits, counts = killed(tmp_path, kills, generations)
    repeated = {
        word: sum(n - 1 for line, n in counts.items() if line.startswith(word))
        for word in ("begun", "finished")
    }
    print(f"{len(counts)} lines, again after {kills} kills: {repeated}")
    # then two processes had at most two evaluations in work at each kill
    assert 0 < repeated["begun"] <= 2 * kills
    assert repeated["finished"] <= 2 * kills
    # and all bits are those of a run that nobody kills
    monkeypatch.setenv("COUNTED", str(tmp_path / "undisturbed"))
    calm = external.each(light.counted, ThreadPoolExecutor(8))
    assert bits == killed_run.run(calm, generations)


def test_a_pool_that_is_killed_alone_is_made_again_and_repeats_what_it_had(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    lines = lambda: (tmp_path / "counted").read_text().splitlines()
    pools, solutions, seeds = [], np.ones((12, 1)), np.arange(12, dtype=np.uint32) * 7

    def make() -> ProcessPoolExecutor:
        context = external.workers.multiprocessing.get_context("spawn")
        pools.append(ProcessPoolExecutor(2, context))
        return pools[-1]

    def kill() -> None:
        while not pools or not (tmp_path / "counted").exists() or len(lines()) < 6:
            time.sleep(0.005)
        for pid in list(pools[0]._processes):
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with external.each(light.counted, make, retries=1) as evaluate:
        kept = journaled(evaluate, tmp_path, noisy=True, measures={"half": np.zeros(1)})
        found = kept.fn(solutions, seeds)
        assert set(evaluate.failures) == {"BrokenProcessPool"}
    thread.join()
    calm = external.each(light.noisy, ThreadPoolExecutor(1))(solutions, seeds)
    np.testing.assert_array_equal(found.fitness, calm.fitness)
    begun = [line for line in lines() if line.startswith("begun")]
    assert 12 < len(begun) <= 12 + 4  # two in work, and two that waited in the pipe
    assert len(known(tmp_path)) == 12


def journaled(fn, folder: Path, **options) -> External:
    problem = External(fn, Space(np.zeros(2)), **options)
    return external.journaled(problem, external.Journal(folder))


def known(folder: Path, name: str = "evaluations") -> dict[bytes, bytes]:
    """What a file has, without its head."""
    found = records.unpacked((folder / f"{name}.journal").read_bytes())
    assert not found.damaged
    return {key: content for key, content in found.records.items() if any(key)}


# Stopped, and started again


class Shuffled:
    """A function of one solution for a batch, in a random order, that stops after some."""

    def __init__(self, fn) -> None:
        self.fn, self.rng = fn, np.random.default_rng(0)
        self.evaluated, self.until = 0, np.inf

    def reporting(self, finished, *given) -> None:
        for place in self.rng.permutation(len(jax.tree.leaves(given)[0])):
            if self.evaluated == self.until:
                raise Stop
            self.evaluated += 1
            one = jax.tree.map(lambda leaf, place=place: leaf[place], given)
            finished(int(place), self.fn(*one))


def fails_sometimes(solution, seed):
    row = light.noisy(solution, seed), {"size": np.abs(solution)}
    return None if seed % 5 == 0 else de.Evaluation(*row)


def negated_square(solution):
    return de.Evaluation(-np.sum(np.square(solution["n"])))


WHOLE = Space({"n": np.zeros(2, np.int32)}, lower=-2, upper=2)
BELOW = Constraint(lambda x, measures: measures["size"][0] - 1.0)
SIZE = {"size": np.zeros(2)}
CASES = {
    "remembering": (External(negated_square, WHOLE, remember=True), 32),
    "constrained": (
        Constrained(
            External(fails_sometimes, Space(np.zeros(2)), noisy=True, measures=SIZE),
            (BELOW,),
        ),
        32,
    ),
    "many": (
        External(fails_sometimes, Space(np.zeros(2)), noisy=True, measures=SIZE),
        96,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_stopped_again_and_again_has_the_bits_of_one_that_is_not(
    case, key, tmp_path
) -> None:
    problem, total = CASES[case]
    keys = jax.random.split(key, 3) if case == "many" else key
    (inner,) = journals.externals(problem)

    def run(fn, folder: Path) -> de.Result:
        replaced = de.replace(problem, fn=fn)
        with_journal = external.journaled(replaced, external.Journal(folder))
        options = {"population_size": 8, "record": ("fitness", "population"), "final": 0}
        return de.run(keys, de.DiffusionEvolution(4), with_journal, **options)

    whole = run(Shuffled(inner.fn), tmp_path / "whole")
    stops, fn = 0, Shuffled(inner.fn)
    while True:
        fn.until = fn.evaluated + 7
        try:
            again = run(fn, tmp_path / "stopped")
            break
        except Stop:
            stops += 1
    assert stops >= (1 if case == "remembering" else 4)
    without = lambda result: de.replace(result, problem_state=None)
    chex.assert_trees_all_equal(without(again), without(whole))
    counts, calm = again.problem_state, whole.problem_state
    chex.assert_trees_all_equal(
        (counts.num_evaluated, counts.num_cached), (calm.num_evaluated, calm.num_cached)
    )
    # and nothing was evaluated twice
    assert fn.evaluated == int(calm.num_evaluated.sum()) <= total
    assert case != "remembering" or fn.evaluated < total


def test_a_function_of_a_batch_is_kept_whole(tmp_path) -> None:
    calls = []

    def ranks(solutions):  # of each among the others
        calls.append(len(solutions))
        return np.argsort(np.argsort(solutions[:, 0])), {"n": np.full(len(solutions), 2)}

    problem = journaled(ranks, tmp_path, measures={"n": 0})
    first = problem.fn(np.array([[3.0, 0], [1, 0], [2, 0]]))
    problem.fn(np.array([[3.0, 0], [1, 0]]))
    again = journaled(ranks, tmp_path, measures={"n": 0})
    chex.assert_trees_all_equal(again.fn(np.array([[3.0, 0], [1, 0], [2, 0]])), first)
    assert calls == [3, 2]


def test_memory_sees_the_function_behind_a_journal(tmp_path) -> None:
    memory = external.Memory()
    evaluate = external.each(light.negated_sphere, ThreadPoolExecutor(1))
    problem = External(evaluate, Space(np.zeros(2)), remember=memory)
    solutions = np.ones((1, 2), np.float32)
    for one in (problem, external.journaled(problem, external.Journal(tmp_path))):
        one.evaluate(jax.random.key(0), one.init(jax.random.key(0)), solutions)
    assert "light_evaluators.negated_sphere" in memory.used_with
    assert len(memory) == 1


def test_equal_solutions_are_evaluated_as_often_as_without(tmp_path) -> None:
    draws = np.random.default_rng(0)
    fn = Shuffled(lambda solution: de.Evaluation(draws.normal()))
    solutions = np.zeros((3, 2))
    first = journaled(fn, tmp_path).fn(solutions).fitness
    assert len(set(first.tolist())) == 3
    np.testing.assert_array_equal(journaled(fn, tmp_path).fn(solutions).fitness, first)
    assert fn.evaluated == 3


def test_what_failed_is_kept_when_all_tries_are_through_and_not_before(tmp_path) -> None:
    tries = collections.Counter()

    def fails(solution):
        tries[int(solution[0])] += 1
        if tries[0] == tries[1] == 1:
            raise Stop
        raise ValueError

    solutions, folder = np.arange(2.0)[:, None], tmp_path
    evaluate = external.each(fails, ThreadPoolExecutor(1), retries=1)
    with pytest.raises(Stop):
        journaled(evaluate, folder).fn(solutions)
    assert not known(folder)
    with pytest.warns(UserWarning, match="all 2 evaluations failed"):
        first = journaled(evaluate, folder).fn(solutions)
    with pytest.warns(UserWarning, match="all 2 evaluations failed"):
        again = journaled(evaluate, folder).fn(solutions)
    assert np.isnan(first.fitness).all()
    chex.assert_trees_all_equal(again, first)
    assert tries == {0: 3, 1: 3}


def test_one_whose_process_dies_just_before_this_one_has_not_failed(
    tmp_path, monkeypatch
) -> None:
    solutions = np.array([[2.0, 0.0], [0.0, 1.0]])  # the first ends its process
    with external.each(light.unreliable, workers=1) as evaluate:

        def stop(seconds: float) -> None:
            raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(external.workers.time, "sleep", stop)
            with pytest.raises(Stop):
                journaled(evaluate, tmp_path).fn(solutions)
        assert len(known(tmp_path)) == 1
        fitness = journaled(evaluate, tmp_path).fn(solutions).fitness
    np.testing.assert_array_equal(fitness, [np.nan, -1.0])
    assert evaluate.failures == {"BrokenProcessPool": 2}
    assert sorted(map(len, known(tmp_path).values()))[0] == 0


@pytest.mark.parametrize("own", [False, True], ids=["threads", "processes"])
def test_what_was_done_when_the_wait_is_stopped_is_reported(own) -> None:
    places = []

    def finished(place: int, row: de.Evaluation | None) -> None:
        places.append(place)
        if len(places) == 1:
            time.sleep(0.3)  # till the other is done
            raise Stop

    executor = None if own else ThreadPoolExecutor(2)
    with external.each(light.negated_sphere, executor) as evaluate:
        if own:  # two that have started
            evaluate._runs = external.workers._Processes(2)
            while len(evaluate._runs._idle) < 2:
                evaluate(np.ones((2, 1)))
        with pytest.raises(Stop):
            evaluate.reporting(finished, np.ones((2, 1)))
    assert sorted(places) == [0, 1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_what_is_sent_to_all_does_not_end_an_evaluation(
    name, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    with external.each(light.counted, workers=1) as evaluate:
        evaluate(np.ones((1, 1)), np.zeros(1, np.uint32))
        (idle,) = evaluate._runs._idle
        pid = idle.pid.result()
        send = threading.Timer(0.05, os.kill, (pid, getattr(signal, name)))
        send.start()
        evaluate(np.ones((1, 1)), np.full(1, 96, np.uint32))
        send.join()
    assert not evaluate.failures


def test_a_process_that_has_just_started_takes_no_signal() -> None:
    process = external.workers._started(light.negated_sphere)
    (pid,) = process.pool._processes
    os.kill(pid, signal.SIGTERM)
    assert process.pid.result() == pid
    process.end()


# Files


KEYS = [bytes([n]) * records.KEY for n in range(6)]
CONTENTS = [b"", b"one", records.MARK * 3, bytes(50) + b"z", b"four" * 20, b"five"]
FILE = b"".join(map(records.packed, KEYS, CONTENTS))
ALL = dict(zip(KEYS, CONTENTS, strict=True))


def test_a_file_that_ends_anywhere_has_all_records_before(tmp_path) -> None:
    ends = np.cumsum([len(records.packed(*one)) for one in ALL.items()])
    for length in range(len(FILE)):
        for tail in (b"", bytes(20)):  # zeros, where the disk had not written it
            found = records.unpacked(FILE[:length] + tail)
            whole = int((ends <= length).sum())
            assert found.records == dict(list(ALL.items())[:whole])
            if not tail:
                assert (found.end, found.damaged) == ([0, *ends][whole], False)


def test_no_bit_that_flips_makes_a_wrong_record_and_others_survive() -> None:
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(FILE), 400, replace=False).tolist():
        data = bytearray(FILE)
        data[bit // 8] ^= 1 << bit % 8
        found = records.unpacked(bytes(data))
        assert found.records.items() <= ALL.items()
        assert len(found.records) == 5
        last = bit // 8 >= len(FILE) - len(records.packed(KEYS[-1], CONTENTS[-1]))
        assert found.damaged or last


def test_a_damaged_file_warns_by_name_and_the_rest_is_evaluated_again(tmp_path) -> None:
    fn, solutions = Shuffled(negated_square), {"n": np.arange(8)[:, None]}
    first = journaled(fn, tmp_path).fn(solutions)
    path = tmp_path / "evaluations.journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"evaluations\.journal is damaged"):
        again = journaled(fn, tmp_path).fn(solutions)
    chex.assert_trees_all_equal(again, first)
    assert fn.evaluated == 9


def test_what_was_written_in_part_is_cut_off_and_written_again(tmp_path) -> None:
    fn, solutions = Shuffled(negated_square), {"n": np.arange(8)[:, None]}
    journaled(fn, tmp_path).fn(solutions)
    path = tmp_path / "evaluations.journal"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    journaled(fn, tmp_path).fn(solutions)
    assert fn.evaluated == 9
    assert len(known(tmp_path)) == 8
    assert path.stat().st_size == len(whole)


def test_other_solutions_and_other_functions_are_not_taken_for_these(tmp_path) -> None:
    other = Shuffled(lambda x: de.Evaluation(0.0))
    first = journaled(external.each(light.negated_sphere, ThreadPoolExecutor(1)), tmp_path)
    first.fn(np.ones((2, 2)))
    message = r"evaluations\.journal has evaluations, and none of these"
    with pytest.warns(UserWarning, match=message):  # another function
        assert journaled(other, tmp_path).fn(np.ones((2, 2))).fitness.tolist() == [0, 0]
    evaluate = external.each(light.negated_sphere, ThreadPoolExecutor(1))
    for solutions in (np.ones((2, 4)), np.full((2, 2), 3.0), np.ones((2, 2), np.float32)):
        with pytest.warns(UserWarning, match=message):
            found = journaled(evaluate, tmp_path).fn(solutions).fitness
        np.testing.assert_array_equal(found, -(solutions**2).sum(axis=1))
    measuring = external.each(light.with_length, ThreadPoolExecutor(1))
    measuring = journaled(measuring, tmp_path, measures={"length": 0.0})
    with pytest.warns(UserWarning, match=message):
        measuring.fn(np.ones((2, 2)))


def test_a_file_of_another_version_is_an_error_and_stays(tmp_path, monkeypatch) -> None:
    solutions = np.ones((2, 2))
    with monkeypatch.context() as patch:
        patch.setattr(records, "VERSION", b"diffevo_jax journal 7")
        journaled(Shuffled(light.negated_sphere), tmp_path).fn(solutions)
    before = (tmp_path / "evaluations.journal").read_bytes()
    with pytest.raises(ValueError, match=r"evaluations\.journal of b'.* 7', want"):
        journaled(Shuffled(light.negated_sphere), tmp_path).fn(solutions)
    assert (tmp_path / "evaluations.journal").read_bytes() == before


HOLDS = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_write_one_file(tmp_path) -> None:
    fn = Shuffled(negated_square)
    journaled(fn, tmp_path).fn({"n": np.zeros((1, 1))})
    path = tmp_path / "evaluations.journal"
    before = path.read_bytes()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], **pipes) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match="another process is writing, want a folder"):
            journaled(fn, tmp_path).fn({"n": np.ones((1, 1))})
        other.stdin.close()
    assert path.read_bytes() == before
    assert fn.evaluated == 1


def test_a_full_disk_warns_once_and_is_tried_again(tmp_path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    fn, sizes, path = Shuffled(negated_square), [], tmp_path / "evaluations.journal"

    def evaluate(solution):
        sizes.append(path.stat().st_size)
        if len(sizes) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-1] + 60, limits[1]))
        if len(sizes) == 9:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return negated_square(solution)

    fn = Shuffled(evaluate)
    solutions = {"n": np.arange(12)[:, None]}
    try:
        with pytest.warns(UserWarning, match=r"cannot write .*\(File too large") as caught:
            first = journaled(fn, tmp_path).fn(solutions)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(caught) == 1
    assert len(set(sizes[3:9])) == 1  # no part of a record stays
    assert len(known(tmp_path)) == 12  # all was written when there was room
    chex.assert_trees_all_equal(journaled(fn, tmp_path).fn(solutions), first)
    assert fn.evaluated == 12


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"folder: got .*file/.*, which cannot be written"):
        external.Journal(tmp_path / "file")


def test_a_file_that_is_there_and_cannot_be_read_is_an_error(tmp_path) -> None:
    (tmp_path / "evaluations.journal").mkdir()
    with pytest.raises(IsADirectoryError):
        journaled(Shuffled(negated_square), tmp_path).fn({"n": np.ones((1, 1))})


# Calls


def test_each_call_has_a_file_and_those_before_one_are_forgotten(tmp_path) -> None:
    journal, fn = external.Journal(tmp_path), Shuffled(negated_square)
    problem = external.journaled(External(fn, WHOLE), journal)
    for name in ("generation-8", "generation-9", "generation-10", "final-0"):
        journal.begin(name)
        problem.fn({"n": np.zeros((1, 2), np.int32)})
    assert fn.evaluated == 4
    journal.begin("generation-9")
    problem.fn({"n": np.zeros((1, 2), np.int32)})
    assert fn.evaluated == 4
    names = lambda: sorted(path.stem for path in tmp_path.glob("*"))
    journal.forget(before="generation-10")
    assert names() == ["final-0", "generation-10"]
    journal.forget()
    assert names() == []


@pytest.mark.parametrize("name", ["", "../up", "a b", None, "x."])
def test_a_call_has_the_name_of_a_file(name, tmp_path) -> None:
    with pytest.raises((TypeError, ValueError), match=r"name: got .*, want "):
        external.Journal(tmp_path).begin(name)


def test_a_number_is_needed_to_forget_what_was_before(tmp_path) -> None:
    with pytest.raises(ValueError, match="before: got 'final', want a name that ends with"):
        external.Journal(tmp_path).forget("final")


def test_two_evaluators_of_one_problem_do_not_take_each_others(tmp_path) -> None:
    @de.pytree.dataclass
    class Both:
        """Two."""

        one: External
        two: External

    values = iter([1.0, 2.0])
    fn = Shuffled(lambda solution: de.Evaluation(next(values)))
    both = Both(External(fn, WHOLE), External(fn, WHOLE))
    for expected in (1.0, 2.0), (1.0, 2.0):
        kept = external.journaled.__wrapped__(both, external.Journal(tmp_path))
        solutions = {"n": np.zeros((1, 2), np.int32)}
        found = [one.fn(solutions).fitness.item() for one in (kept.one, kept.two)]
        assert found == list(expected)


def test_a_problem_without_an_evaluator_of_the_host_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"problem: got Landscape.*, want one with an Ext"):
        external.journaled(de.problems.Landscape("beale"), external.Journal(tmp_path))


def test_one_that_does_not_report_all_is_a_mistake(tmp_path) -> None:
    class Forgets(Shuffled):
        def reporting(self, finished, *given) -> None:
            finished(0, None)

    with pytest.raises(ValueError, match="which reported 1 of 2 solutions, want all"):
        journaled(Forgets(None), tmp_path).fn(np.zeros((2, 1)))


# Bits


@pytest.mark.parametrize("violation", [None, np.float32(-0.0)])
def test_an_evaluation_comes_back_bit_for_bit(violation) -> None:
    odd = np.array([0x7FC00123, 0xFFC00001], np.uint32).view(np.float32)  # NaN of all kinds
    measures = {
        "odd": odd,
        "whole": np.array([[2**31 - 1]], np.int32),
        "truth": np.bool_(True),
        "short": jnp.array([1.5, jnp.nan], jnp.bfloat16),
        "none": np.zeros((0, 3), np.float16),
    }
    measures = jax.tree.map(np.asarray, measures)
    row = de.Evaluation(odd[0], measures, violation)
    structure = jax.tree.structure(measures)
    back = journals.unpacked(journals.packed(row, structure), structure)
    assert jax.tree.structure(back) == jax.tree.structure(row)
    for got, want in zip(jax.tree.leaves(back), jax.tree.leaves(row), strict=True):
        assert (got.dtype, got.shape, got.tobytes()) == (
            *(want.dtype, want.shape, want.tobytes()),
        )


@pytest.mark.parametrize("measures", [(), None])
def test_what_failed_may_have_no_measures(measures) -> None:
    row, structure = de.Evaluation(np.float32(np.nan), measures), jax.tree.structure(SIZE)
    assert (
        journals.unpacked(journals.packed(row, structure), structure).measures == measures
    )


def test_measures_that_were_not_declared_are_not_kept(tmp_path) -> None:
    problem = journaled(Shuffled(fails_sometimes), tmp_path, noisy=True)
    solutions, keys = np.ones((3, 2), np.float32), jax.random.key(0)
    with pytest.raises(ValueError, match="fn: got measures"):
        problem.evaluate(keys, problem.init(keys), solutions)
    assert all(content == b"" for content in known(tmp_path).values())
