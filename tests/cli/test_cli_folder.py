"""``diffevo evolve --folder``: kept, gone on with, ended by signals, refused."""

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from forks import is_gone, until

from diffevo_jax import cli
from diffevo_jax.pytree.folders import held

RUN = ("evolve", "beale", "--population-size=8", "--num-generations=6", "--chunk-size=2")
LONG = ("evolve", "himmelblau", "--population-size=200", "--seeds=2")
KEPT = ("--folder=runs", "--every=50")
ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
OWN = """
import light_evaluators, numpy
import diffevo_jax as de
evaluate = de.problems.external.each(light_evaluators.{function}, workers=2)
problem = de.problems.External(evaluate, de.problems.Space(numpy.zeros(2)))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evolve(*flags: str, code: int = 0):
    """Run a command line, and return what its JSON file has."""
    assert cli.main([*RUN, "--json=out.json", *flags]) == code
    with open("out.json") as file:
        return json.load(file)


def refused(capsys, *flags: str) -> str:
    """The one line of a command line that is refused."""
    capsys.readouterr()
    assert cli.main([*RUN, *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("diffevo: error: ")
    return err


def test_the_same_words_show_the_same_again(place, capsys) -> None:
    plain, kept = evolve(), evolve("--folder=runs")
    capsys.readouterr()
    again = evolve("--folder=runs")
    assert plain["history"] == kept["history"] == again["history"]
    counts = [one["summary"]["resumed_after"] for one in (plain, kept, again)]
    assert counts == [0, 0, 6]
    assert not again["summary"]["interrupted"]
    assert "all of it was there before" in capsys.readouterr().out


def test_another_run_is_refused_by_its_differences(place, capsys) -> None:
    evolve("--folder=runs")
    told = refused(capsys, "--folder=runs", "--seed=1")
    assert "runs holds another run: key is" in told
    told = refused(capsys, "--folder=runs", "--num-generations=7")
    assert "strategy.num_generations is 6 there and 7 here" in told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--every=2"], "--every: got no --folder"),
        (["--every=0", "--folder=runs"], "--every: got 0, want an int >= 1"),
        (["--folder=file"], "--folder: got file, which cannot be made: File exists"),
        (["--folder=file/runs"], "which cannot be made: Not a directory"),
        (["--folder=/proc/runs"], "--folder: got /proc/runs, which cannot be made"),
        (["--tensorboard=/proc/runs"], "--tensorboard: got /proc/runs, which cannot"),
        (["--folder=runs", "--json=runs"], "where folder goes too"),
        (["--folder=runs", "--cache=runs"], "where folder goes too"),
        (["--folder=runs", "--json=runs/run.json"], "where the folder's run.json goes too"),
        (
            ["--folder=runs", "--log=./runs/log.jsonl"],
            "where the folder's log.jsonl goes too",
        ),
        (["--folder", ""], "--folder: got '', want a path"),
        (["--tensorboard="], "--tensorboard: got '', want a path"),
        (["--folder=damaged"], "run.json is damaged"),
    ],
)
def test_a_folder_that_cannot_be_had_is_said_in_a_line(place, capsys, flags, told) -> None:
    (place / "file").touch()
    (place / "damaged").mkdir()
    (place / "damaged" / "run.json").write_text("{")
    assert told in refused(capsys, *flags)


def test_a_folder_that_nobody_may_write_to_is_said(place, capsys) -> None:
    (place / "runs").mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # who is root may write anywhere
    try:
        told = refused(capsys, f"--folder={place / 'runs'}")
    finally:
        os.seteuid(os.getuid())
    assert "cannot be" in told
    assert "Permission denied" in told


def test_a_folder_in_use_is_said(place, capsys) -> None:
    evolve("--folder=runs")
    with held(place / "runs"):
        assert "runs is in use by another run" in refused(capsys, "--folder=runs")
    evolve("--folder=runs")


# Signals


class Command:
    """A command line that is started, and ended, again and again."""

    def __init__(self, forks, cache, place, generations: int) -> None:
        self.forks, self.place, self.log = forks, place, place / "log"
        self.words = [*LONG, f"--num-generations={generations}", f"--cache={cache}"]
        self.generations = generations

    def start(self, *flags: str) -> int:
        words = [*self.words, "--json=out.json", *flags]
        place = str(self.place)
        return self.forks.start(
            "kept_programs:command", self.log, words=words, directory=place
        )

    def saved(self) -> int:
        """The generation of the last checkpoint."""
        found = self.place.glob("runs/checkpoint-*.npz")
        return max((int(path.name[11:20]) for path in found), default=0)

    def out(self):
        return json.loads((self.place / "out.json").read_text())

    def whole(self):
        """The history that nothing interrupts, and how long it takes."""
        begin = time.monotonic()
        pid = self.start()
        assert self.forks.code(pid) == 0, self.log.read_text()
        seconds = time.monotonic() - begin
        history = self.out()["history"]
        (self.place / "out.json").unlink()
        return history, seconds

    def check(self, history, before: int) -> None:
        """What was shown is what is kept, and is right."""
        assert self.saved() >= before
        path = self.place / "out.json"
        if path.exists():
            found = self.out()
            assert found["summary"]["generations"] == self.saved()
            for name, rows in found["history"].items():
                for ours, theirs in zip(rows, history[name], strict=True):
                    assert ours == theirs[: len(ours)]
            path.unlink()


def check_ends(command: Command, rng, numbers) -> collections.Counter[str]:
    """End it at random moments, and go on; the exit codes."""
    history, seconds = command.whole()
    codes: collections.Counter[str] = collections.Counter()
    left = list(numbers)
    while left:
        if (before := command.saved()) == command.generations:  # and so begins anew
            shutil.rmtree(command.place / "runs")
            before = 0
        pid = command.start(*KEPT)
        if rng.random() < 0.7:
            until(lambda before=before, pid=pid: command.saved() > before or is_gone(pid))
            time.sleep(rng.uniform(0.0, 0.2))
        else:
            time.sleep(rng.uniform(0.0, 1.2 * seconds))
        if is_gone(pid):
            assert command.forks.code(pid) == 0, command.log.read_text()
            continue
        os.kill(pid, number := left.pop(0))
        code = command.forks.code(pid)
        codes[f"{number.name} {code}"] += 1
        assert code in (ENDS[number], -number, 0), command.log.read_text()
        assert code or command.saved() == command.generations
        command.check(history, before)
    assert "Traceback" not in command.log.read_text()
    assert command.forks.code(command.start(*KEPT)) == 0
    assert command.out()["history"] == history
    return codes


def test_signals_end_it_and_nothing_is_lost(forks, cache, tmp_path) -> None:
    command = Command(forks, cache, tmp_path, 400)
    check_ends(command, np.random.default_rng(0), ENDS)


@pytest.mark.slow
def test_many_signals_end_it_and_nothing_is_lost(forks, cache, tmp_path) -> None:
    numbers = list(ENDS) * 8
    command = Command(forks, cache, tmp_path, 6000)
    codes = check_ends(command, np.random.default_rng(1), numbers)
    print(dict(codes))
    assert codes["SIGINT 130"] + codes["SIGTERM 143"] + codes["SIGHUP 143"] >= 20


@pytest.mark.slow
def test_signals_end_a_process_from_its_very_start(cache, tmp_path) -> None:
    """Where Python starts, and imports, a signal ends it as any of its processes."""
    rng, codes = np.random.default_rng(2), collections.Counter()
    words = [*LONG, "--num-generations=6000", *KEPT, f"--cache={cache}"]
    for number in list(ENDS) * 2:
        line = [sys.executable, "-m", "diffevo_jax.cli", *words]
        process = subprocess.Popen(
            line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(rng.uniform(0.0, 12.0))
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
        codes[f"{number.name} {process.returncode}"] += 1
        # Python itself ends with 1, and says so, where SIGINT comes before it has started.
        started = not said.startswith(
            (b"Fatal Python error: init", b"Could not import runpy")
        )
        assert process.returncode in (ENDS[number], -number, 0) or not started
    print(dict(codes))


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_an_evaluation_that_takes_for_ever_is_not_waited_for(
    forks, tmp_path, number
) -> None:
    (tmp_path / "own.py").write_text(OWN.format(function="says_who_and_hangs"))
    words = ["evolve", "own:problem", "--population-size=2", "--folder=runs"]
    log = tmp_path / "log"
    directory = str(tmp_path)
    pid = forks.start("kept_programs:command", log, words=words, directory=directory)
    workers = lambda: re.findall(r"^(\d+)$", log.read_text(), re.MULTILINE)
    until(lambda: log.exists() and len(workers()) == 2)
    begin = time.monotonic()
    os.kill(pid, number)
    assert forks.code(pid) == ENDS[number], log.read_text()
    assert time.monotonic() - begin < 30.0  # on a busy machine
    assert "interrupted before there was a result" in log.read_text()
    until(lambda: all(is_gone(int(one)) for one in workers()))
