"""What the command says: help, list, show; colours; films; solutions."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import (
    evolve_command,
    listing,
    pages,
    show_command,
    streams,
    sweep_command,
)
from diffevo_jax.cli.entry import asked
from diffevo_jax.cli.evolve_command import EvolveOptions
from diffevo_jax.cli.sweep_command import SweepOptions
from diffevo_jax.problems import landscapes

QUICK = ("--population-size=8", "--num-generations=2")
#: As of tests/cli/test_cli_evolve.py, whose program it is.
LANDSCAPE = ("himmelblau", "--population-size=8", "--num-generations=24", "--chunk-size=8")
OPTIONS = {"evolve": EvolveOptions, "show": EvolveOptions, "sweep": SweepOptions}
FOOTPRINT = de.Footprint(needed=10**6, results=10**5, free=10**9)


def said(capsys, *words: str) -> str:
    assert cli.main(list(words)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.fixture
def narrow(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


# Help


@pytest.mark.parametrize("words", ["--help", "evolve --help", "list --help", "-h"])
def test_the_first_help_fits_a_screen(capsys, words) -> None:
    lines = said(capsys, *words.split()).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", ["evolve", "show", "sweep"])
@pytest.mark.parametrize("name", ["himmelblau", "cartpole", "pendulum", "acrobot"])
def test_the_help_of_a_name_fits_a_screen(capsys, narrow, command, name) -> None:
    lines = said(capsys, command, name, "--help").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f"  diffevo {command} {name} --") for line in lines)


def examples(capsys, command: str) -> list[list[str]]:
    """Those of the first help, and of a name."""
    lines = cli.USAGE.splitlines() + said(capsys, command, "beale", "--help").splitlines()
    found = [shlex.split(line)[1:] for line in lines if line.startswith("  diffevo ")]
    return [words for words in found if words[0] in OPTIONS]


@pytest.mark.parametrize("command", OPTIONS)
def test_the_examples_of_the_help_are_understood(capsys, command) -> None:
    found = examples(capsys, command)
    assert len(found) >= 5
    for word, *more in found:
        assert asked(word, OPTIONS[word], more).name in (
            "CartPole-v1",
            "himmelblau",
            "beale",
        )


@pytest.mark.slow
def test_the_examples_of_the_help_run(capsys, monkeypatch, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    found = {tuple(words) for command in OPTIONS for words in examples(capsys, command)}
    for words in sorted(found):
        assert said(capsys, *words, *QUICK)


# List


def test_every_part_is_listed_with_a_line(capsys, narrow) -> None:
    out = said(capsys, "list", "parts")
    assert max(map(len, out.splitlines())) <= 80
    for name in ("tempered", "gaussian-fit", "online-network", "dpm-solver2m", "rank"):
        assert re.search(rf"^  {name} +\w", out, re.MULTILINE), name


def test_the_environments_that_are_described_are_there() -> None:
    import gymnax

    assert set(listing.TASKS) <= set(gymnax.registered_envs)
    assert all(len(about) < 70 for about in listing.TASKS.values())


def test_what_is_listed_is_told_in_full(capsys, narrow) -> None:
    out = said(capsys, "list")
    assert "..." not in out
    assert max(map(len, out.splitlines())) <= 80
    assert (
        "\n                       and a grid." in out
    )  # under the words that it goes on from


def test_names_alone_can_be_listed(capsys) -> None:
    out = said(capsys, "list", "names")
    assert all(name in out for name in landscapes.NAMES)
    assert "mono-flow" not in out


# Show


def test_show_says_shapes_programs_and_evaluations_and_runs_nothing(
    capsys, monkeypatch, narrow
) -> None:
    monkeypatch.setattr(evolve_command, "follow", lambda *_: pytest.fail("it ran"))
    monkeypatch.setattr(show_command, "footprint", lambda *_, **__: FOOTPRINT)
    words = ("cartpole", *QUICK, "--seeds=3", "--kernel=tempered", "--final=16")
    out = said(capsys, "show", *words)
    assert max(map(len, out.splitlines())) <= 80
    told = " ".join(out.split())
    for part in (
        "problem CartPole-v1: Maximise the mean total reward",
        "gravity 9.8",
        "strategy diffusion-evolution: ",
        "kernel tempered: ",
        "(dimension 2)",
        "solution 58 numbers: ",
        "population (8, 58) float32",
        "of 3 runs (3, 8, 58)",
        "advances by up to 1 of 2 generations, called 2 times",
        "evaluations 16 a run, and 16 at its end; 96 in all",
        "memory ",
        "it fits",
    ):
        assert part in told, part


def test_show_refuses_what_evolve_refuses(capsys) -> None:
    assert cli.main(["show", "beale", "--sampler.eta=2"]) == 2
    assert "--sampler.eta: got 2.0" in capsys.readouterr().err


def test_a_dry_run_of_a_sweep_names_its_structures(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sweep_command, "footprint", lambda *_: (4, FOOTPRINT))
    words = ("sweep", "beale", *QUICK, "--dry-run", "--seeds=2", "--axis=sampler.eta=0,1")
    lines = said(capsys, *words, "--axis=population-size=8,9").splitlines()
    assert len(lines) == 2
    for size, line in zip((8, 9), lines, strict=True):
        assert line.startswith(f"4 runs of population_size={size}, ")
        assert f"population ({size}, 2), 2 generations" in line


# Colours


@pytest.mark.parametrize("wanted", [True, False])
def test_no_color_is_respected_on_a_terminal(monkeypatch, wanted) -> None:
    from rich.text import Text

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    assert ("\x1b[31m" in streams.rendered(Text("red", style="red"))) == wanted


# Films and solutions


@pytest.mark.slow
def test_films_of_a_population_and_of_an_episode(monkeypatch, capsys, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    said(capsys, "evolve", "beale", *QUICK, "--seeds=2", "--film=peaks.gif")
    said(
        capsys, "evolve", "cartpole", *QUICK, "--max-steps=4", "--film=best.gif", "--hidden"
    )
    for name in ("peaks.gif", "best.gif"):
        assert (tmp_path / name).read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("beale --film=a.png", "--film: got a.png, want a name that ends in .gif"),
        ("rastrigin --dim=4 --film=a.gif", "want an environment, or a landscape of two"),
        ("beale --film=no/a.gif", "--film: got no/a.gif, which cannot be written"),
        ("beale --film=a.gif --plot=a.gif", "where film goes too"),
    ],
)
def test_a_film_that_cannot_be_is_refused_before_anything_runs(
    capsys, monkeypatch, tmp_path, words, hint
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evolve_command, "follow", lambda *_: pytest.fail("it ran"))
    assert cli.main(["evolve", *words.split()]) == 2
    assert hint in capsys.readouterr().err


def test_the_json_file_has_the_solution_of_each_run_and_which_to_take(
    capsys, monkeypatch, tmp_path
) -> None:
    path = tmp_path / "out.json"
    said(capsys, "evolve", *LANDSCAPE, "--seeds=3", f"--json={path}")
    record = json.loads(path.read_text())
    best = record["summary"]["best_fitness"]["runs"]
    taken = record["recommended"]
    assert taken["run"] == int(np.argmax(best))
    assert taken["fitness"] == max(best)
    assert taken["solution"] == record["solutions"][taken["run"]]
    problem = de.published.landscape("himmelblau").problem
    evaluation, _ = problem.evaluate(None, (), np.array(record["solutions"], "f4"))
    np.testing.assert_allclose(evaluation.fitness, best, rtol=1e-5)  # to rounding


def test_lines_are_short_on_a_wide_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert pages.width() == 100


# The page


@pytest.mark.slow
def test_the_page_on_the_command_runs(capsys, monkeypatch, tmp_path) -> None:
    """Every line of its shell blocks, in their order; and its file, as a sweep."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "command.md").read_text()
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "sweep.toml").write_text(toml)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            words, _, file = line.removeprefix("diffevo ").partition(" > ")
            out = said(capsys, *shlex.split(words))
            if file:
                (tmp_path / file).write_text(out)
    assert "48 (settings: 12, seeds: 4)" in said(capsys, "sweep", "sweep.toml")
    (line,) = re.findall(r"^\$ diffevo (.*)$", text, re.MULTILINE)
    assert cli.main(shlex.split(line)) == 2
    assert capsys.readouterr().err in text
