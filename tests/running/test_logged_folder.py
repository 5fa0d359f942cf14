"""The logs of a run in a folder: each generation once, whatever ended it, and where."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import pytest
from often import often

import diffevo_jax as de

KEY = jax.random.key(5)
T, N = 12, 8
STRATEGY = de.DiffusionEvolution(T)
PROBLEM = de.problems.Landscape("himmelblau")


def run(folder: Path, *loggers: de.loggers.Logger, **options: Any) -> de.Result:
    options = {"key": KEY, "population_size": N, "folder": folder} | options
    return de.run(strategy=STRATEGY, problem=PROBLEM, loggers=loggers, **options)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def generations(folder: Path) -> list[int]:
    return [row["generation"] for row in rows_of(folder)]


@pytest.mark.parametrize("every", often(1, [5, 1]))
def test_a_run_that_is_left_within_its_logs_has_each_generation_once(tmp_path, every):
    def interrupt(generation: int, info: de.Info, result: de.Result) -> None:
        if generation == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # after or before the log of the folder
        run(tmp_path, interrupt, every=every)
    run(tmp_path, every=every)
    assert generations(tmp_path) == list(range(1, T + 1))
    seconds = [row["seconds"] for row in rows_of(tmp_path)]
    assert seconds == sorted(seconds)


def test_a_finished_run_that_is_asked_for_again_leaves_its_log(tmp_path):
    run(tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes()
    run(tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_the_log_of_a_renoised_run_counts_on(tmp_path):
    run(tmp_path / "parent")
    options = {"parent": tmp_path / "parent", "renoise": 9}
    result = run(tmp_path / "child", key=jax.random.key(6), **options)
    rows = rows_of(tmp_path / "child")
    assert [row["generation"] for row in rows] == [10, 11, 12]
    assert [row["evaluations"] for row in rows] == [N, 2 * N, 3 * N]
    assert [row["sigma"] for row in rows] == result.history.sigma.tolist()


@pytest.mark.slow
def test_a_run_that_was_stopped_is_not_logged_further(tmp_path):
    keys = jax.random.split(KEY, 2)
    stop = lambda result: [False, len(result.history.done[0]) >= 3]
    result = run(tmp_path, key=keys, stop=stop)
    ended = [row["mean_fitness"][1] is None for row in rows_of(tmp_path)]
    assert ended == [False] * 3 + [True] * (T - 3)
    assert result.num_generations.tolist() == [T, 3]


LONG = """
import sys, time, jax, numpy as np, diffevo_jax as de
def slowly(x):
    time.sleep(0.01)
    return -(x**2).sum(axis=1)
de.run(jax.random.key(0), de.DiffusionEvolution(150),
    de.problems.External(slowly, de.problems.Space(np.zeros(2))), population_size=8,
    folder=sys.argv[1], every=7, loggers=(de.loggers.tensorboard(sys.argv[1] + "/curves"),))
"""


@pytest.mark.slow
def test_logs_of_a_run_that_is_killed_five_times_have_each_generation_once(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "run"
    words = [sys.executable, "-c", LONG, str(folder)]
    for kill in range(5):
        process = subprocess.Popen(words, env=os.environ)
        while process.poll() is None:  # somewhere within the next generations
            log = folder / "log.jsonl"
            if log.exists() and log.read_text().count("\n") > 20 * kill + 9:
                time.sleep(0.013 * kill)
                process.send_signal(signal.SIGKILL)
                process.wait()
        assert process.returncode == -signal.SIGKILL
    subprocess.run(words, check=True)
    assert generations(folder) == list(range(1, 151))
    shown = events.EventAccumulator(str(folder / "curves")).Reload()
    steps = [event.step for event in shown.Scalars("mean_fitness")]
    assert steps == list(range(8, 8 * 151, 8))
    seconds = [event.value for event in shown.Scalars("seconds")]
    assert seconds == sorted(seconds)
