"""Runs in a folder whose process is ended: at random moments, by whatever ends it."""

import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
from forks import is_gone, until

import diffevo_jax as de
from diffevo_jax.pytree.folders import FolderError, held


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(forks, cache, tmp_path_factory):
    """Of the runs that nothing interrupts, and that have no folder: digest, populations."""
    place = tmp_path_factory.mktemp("whole")
    events, log = place / "events", place / "log"
    pid = forks.start(
        "kept_programs:run", log, folder=None, cache=cache, events=str(events)
    )
    assert forks.code(pid) == 0, log.read_text()
    digest = (place / "events.digest").read_text().split()[0]
    return digest, np.load(place / "events.npy")


class Killed:
    """Runs in a folder that are started, and ended, again and again."""

    def __init__(self, forks, cache, place) -> None:
        self.forks, self.cache, self.place = forks, cache, place
        self.folder, self.events = place / "runs", place / "events"
        self.log = place / "log"

    def start(self, **options) -> int:
        return self.forks.start(
            "kept_programs:run",
            self.log,
            folder=str(self.folder),
            cache=self.cache,
            events=str(self.events),
            **options,
        )

    def chunks(self) -> int:
        """Chunks that have been told, by all processes so far."""
        return self.events.stat().st_size if self.events.exists() else 0

    def saved(self) -> int:
        """The generation of the last checkpoint."""
        names = [path.name for path in self.folder.glob("checkpoint-*.npz")]
        return max((int(name[11:20]) for name in names), default=0)

    def end(self, rng: np.random.Generator, number: int, **options) -> int:
        """Start it, and end it at a random moment; how it has ended."""
        if self.saved() == 120:  # and so begins anew
            shutil.rmtree(self.folder)
        before, more = self.chunks(), int(rng.integers(7))
        pid = self.start(every=[None, 1, 3][rng.integers(3)], **options)
        until(lambda: self.chunks() >= before + more or is_gone(pid))
        time.sleep(rng.uniform(0.0, 0.05 if more else 1.5))
        os.kill(pid, number)
        return self.forks.code(pid)

    def digest(self, **options) -> list[str]:
        """Run to the end: the digest of what comes out, and how many devices there were."""
        assert self.forks.code(self.start(**options)) == 0, self.log.read_text()
        return self.events.with_name("events.digest").read_text().split()


@pytest.fixture
def killed(forks, cache, tmp_path):
    return Killed(forks, cache, tmp_path)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_with_the_bits_of_one_that_is_not(
    killed, whole, times
) -> None:
    rng = np.random.default_rng(times)
    moments, code = [], 0
    for _ in range(2 * times + 10):
        # more, if the last was too late, before the first save, or after the last
        if len(moments) >= times and code and 0 < killed.saved() < 120:
            break
        code = killed.end(rng, signal.SIGKILL)
        assert code in (-signal.SIGKILL, 0), killed.log.read_text()  # 0: it was too late
        unfinished = len(list(killed.folder.glob(".unfinished-*")))
        moments += [(killed.saved(), unfinished)] if code else []
    assert len(moments) >= times
    print("generation saved, and files half written:", moments)
    assert 0 < killed.saved() < 120
    assert killed.digest()[0] == whole[0]
    assert killed.digest()[0] == whole[0]  # of the folder alone
    assert not list(killed.folder.glob(".unfinished-*/checkpoint-*"))


@pytest.mark.parametrize(
    ("number", "times"),
    [
        (signal.SIGTERM, 1),
        pytest.param(signal.SIGTERM, 8, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 8, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 8, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_all_that_a_script_has_run_and_then_ends_it(
    killed, whole, number, times
) -> None:
    rng = np.random.default_rng([times, number])
    for _ in range(times):
        before = killed.chunks(), killed.saved()
        code = killed.end(rng, number)
        assert code in (-number, 0), killed.log.read_text()  # 0: it was too late
        if before[1] == 120 or not code:
            continue
        told = killed.chunks() - before[0]
        # the first chunk that is told is what was there before
        assert killed.saved() >= before[1] + 2 * (told - bool(before[1]))
    assert killed.digest()[0] == whole[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_script_without_a_crash(forks, tmp_path, number) -> None:
    """While a generation is computed, which takes seconds."""
    log, events, folder = tmp_path / "log", tmp_path / "events", tmp_path / "runs"
    pid = forks.start("kept_programs:crawl", log, folder=str(folder), events=str(events))
    until(lambda: events.exists() and events.stat().st_size)
    time.sleep(0.5)
    for _ in range(2):
        os.kill(pid, number)
        time.sleep(1.2)
    assert forks.code(pid) == -number, log.read_text()
    assert len(list(folder.glob("checkpoint-*.npz"))) == 1


@pytest.mark.slow
def test_several_devices_go_on_where_one_was(killed, whole) -> None:
    assert killed.end(np.random.default_rng(5), signal.SIGTERM) == -signal.SIGTERM
    begun = killed.saved()
    assert 0 < begun < 118
    assert killed.digest(devices=8)[1] == "8"
    found = np.load(killed.events.with_name("events.npy"))
    np.testing.assert_array_equal(found[:, :begun], whole[1][:, :begun])
    # rounding, which later generations amplify
    np.testing.assert_allclose(found[:, begun + 1], whole[1][:, begun + 1], rtol=1e-4)


# Evaluations in processes


def workers(log) -> list[int]:
    return [int(one) for one in re.findall(r"^(\d+)$", log.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_end_of_an_evaluation_leaves_no_processes_and_no_lock(
    forks, tmp_path, number
) -> None:
    """Of one that takes for ever."""
    folder, log = tmp_path / "runs", tmp_path / "log"
    pid = forks.start("kept_programs:evaluate", log, folder=str(folder), workers=2)
    until(lambda: log.exists() and len(workers(log)) == 2)
    with pytest.raises(FolderError, match="in use by another run"), held(folder):
        pass
    begin = time.monotonic()
    os.kill(pid, number)
    assert forks.code(pid) == -number, log.read_text()
    with held(folder):  # at once, whoever is still there
        pass
    assert time.monotonic() - begin < 30.0  # on a busy machine
    until(lambda: all(map(is_gone, workers(log))))


def test_a_lock_is_not_lost_by_asking_for_it_again(forks, tmp_path) -> None:
    """A lock of the system goes when its process closes the file, wherever that is."""
    with held(tmp_path):
        with pytest.raises(FolderError, match="in use by another run"), held(tmp_path):
            pass
        log, events = tmp_path / "log", tmp_path / "events"
        pid = forks.start(
            "kept_programs:hold", log, folder=str(tmp_path), events=str(events)
        )
        assert forks.code(pid) == 1
        assert "in use by another run" in log.read_text()
        assert not events.exists()


# Folders that cannot be had


OPTIONS = {"population_size": 8, "chunk_size": 2}
STRATEGY, PROBLEM = de.DiffusionEvolution(6), de.problems.Landscape("beale")


def test_two_processes_in_one_folder_are_one_too_many(forks, tmp_path, key) -> None:
    log, events = tmp_path / "log", tmp_path / "events"
    folder = tmp_path / "runs"
    folder.mkdir()
    pid = forks.start("kept_programs:hold", log, folder=str(folder), events=str(events))
    until(events.exists)
    with pytest.raises(FolderError, match=f"{folder} is in use by another run"):
        de.run(key, STRATEGY, PROBLEM, folder=folder, **OPTIONS)
    os.kill(pid, signal.SIGKILL)
    forks.code(pid)
    assert len(de.run(key, STRATEGY, PROBLEM, folder=folder, **OPTIONS).history.done) == 6
