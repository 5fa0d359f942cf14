"""A run in a folder: what people and other programs do to it, and to its arguments."""

import functools
import json
import os
import shutil
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.problems.external.memory import title_of
from diffevo_jax.pytree import kept
from diffevo_jax.pytree.folders import FolderError

KEY = jax.random.key(5)
STRATEGY = de.DiffusionEvolution(6)
PROBLEM = de.problems.Landscape("himmelblau")


def run(folder, key=KEY, problem=PROBLEM, **options):
    return de.run(key, STRATEGY, problem, population_size=8, folder=folder, **options)


def looks(folder, problem=PROBLEM):
    return de.iterate(KEY, STRATEGY, problem, population_size=8, folder=folder, every=1)


def after(count):
    return lambda result: result.num_generations >= count


def test_a_second_try_in_this_process_takes_the_lock_from_nobody(tmp_path):
    results = looks(tmp_path)
    next(results)
    with pytest.raises(FolderError, match="in use by another run of this process"):
        run(tmp_path)
    program = (
        "import fcntl, sys; "
        "fcntl.lockf(open(sys.argv[1], 'ab'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    other = [sys.executable, "-c", program, str(tmp_path / "lock")]
    assert subprocess.run(other, capture_output=True).returncode
    results.close()
    assert not subprocess.run(other, capture_output=True).returncode


def test_a_folder_that_is_taken_away_ends_no_run(tmp_path):
    results = looks(tmp_path / "run")
    next(results)
    shutil.rmtree(tmp_path / "run")
    with warnings.catch_warnings(record=True, action="always") as told:
        *_, last = results
    assert any("was not written" in str(one.message) for one in told)
    assert de.pytree.equal(last, run(None))


def test_another_directory_meanwhile_is_no_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("elsewhere")
    results = looks("run")
    next(results)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(list(results)) == 5
    assert (tmp_path / "run" / "checkpoint-000000006.npz").exists()
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 6


def test_the_keys_of_many_runs_are_not_written_out(tmp_path):
    keys = jax.random.split(KEY, 100)
    first = run(tmp_path, keys, stop=after(2))
    assert (tmp_path / "run.json").stat().st_size < 5000
    assert de.pytree.equal(run(tmp_path, keys, stop=after(2)), first)
    with pytest.raises(FolderError, match="key is uint32"):
        run(tmp_path, keys[::-1])


def test_a_long_setting_makes_no_damaged_folder(tmp_path):
    fn = functools.partial(lambda table, x: -(x**2).sum(axis=1), list(range(20_000)))
    problem = de.problems.External(fn, de.problems.Space(np.zeros(2, np.float32)))
    first = run(tmp_path, problem=problem)
    assert de.pytree.equal(run(tmp_path, problem=problem), first)


def test_what_a_memory_knows_is_nothing_of_what_a_run_is(tmp_path):
    memory = de.problems.external.Memory()
    space = de.problems.Space(np.zeros(2, np.float32))
    negated = lambda x: -(x**2).sum(axis=1)
    problem = de.problems.External(negated, space, remember=memory)
    run(tmp_path, problem=problem, stop=after(3))
    assert int(run(tmp_path, problem=problem).problem_state.num_evaluated) == 48


def test_a_final_evaluation_elsewhere_is_no_cause_for_a_warning(tmp_path):
    noisy = lambda x, seeds: -(x**2).sum(axis=1) + seeds / 2**32
    space = de.problems.Space(np.zeros(2, np.float32))
    problem = de.problems.External(noisy, space, noisy=True)
    run(tmp_path, problem=problem, final=16, stop=after(3))
    with warnings.catch_warnings(action="error"):
        found = run(tmp_path, problem=problem, final=16)
    assert de.pytree.equal(found, run(None, problem=problem, final=16))


def test_a_budget_counts_what_is_evaluated_after_a_parent(tmp_path):
    run(tmp_path)
    budget = de.stops.Evaluations(3 * 8)
    more = run(
        None, jax.random.key(9), parent=tmp_path, renoise=2, chunk_size=1, stop=budget
    )
    assert len(more.history.done) == 3


def test_a_parent_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"what": "else"}))
    with pytest.raises(FolderError, match=r"whose run\.json is not of a run"):
        run(None, jax.random.key(9), parent=tmp_path, renoise=2)


# Words that are the same in every process


NAMES = {f"name {number}" for number in range(20)}


class Room:
    def __init__(self):
        self.names = NAMES

    def __call__(self, solutions):
        return solutions


@pytest.mark.parametrize(
    "function", [functools.partial(print, NAMES), Room(), functools.partial(print, x=NAMES)]
)
def test_a_set_is_in_order(function):
    told = f"{kept.words(function)} {title_of(function)}"
    places = [told.find(name) for name in sorted(NAMES)]
    assert places == sorted(places)


def test_a_large_array_of_a_partial_is_compared_in_whole():
    one, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 1
    told = [functools.partial(print, array) for array in (one, other)]
    assert kept.words(told[0]) != kept.words(told[1])
    assert title_of(told[0]) != title_of(told[1])
