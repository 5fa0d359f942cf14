"""Errors begin with what was typed: a flag as it was spelled, or a key of a file."""

import pytest

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import flags, naming
from diffevo_jax.cli.naming import Names

BEALE = de.published.landscape("beale")
WHOLE = flags.start(BEALE)


@pytest.mark.parametrize(
    ("message", "typed", "said"),
    [
        ("DDIM.eta: got 2", {"strategy.sampler.eta": "--eta"}, "--eta: got 2"),
        ("DDIM.eta: got 2", {}, "--sampler.eta: got 2"),
        ("seeds: got 0", {"seeds": "a.toml: seeds"}, "a.toml: seeds: got 0"),
        ("num_generations: got 0", {}, "--num-generations: got 0"),
        ("axes: 'scale' is swept twice", {}, "--axis: 'scale' is swept twice"),
        ("setting 0 (a=1): seeds: got 0", {}, "--axis: setting 0 (a=1): seeds: got 0"),
        ("DDIM.other: got 2", {}, "DDIM.other: got 2"),
        ("floor: got 2", {}, "floor: got 2"),  # of two parts
        ("the disk is full", {}, "the disk is full"),
    ],
)
def test_the_name_of_an_error_is_what_was_typed(message, typed, said) -> None:
    assert naming.in_words(message, Names(["seeds"], WHOLE, typed)) == said


def test_parameters_of_an_environment_are_named_each() -> None:
    whole = flags.start(de.published.control("Pendulum-v1"))
    typed = {f"problem.env_params.{name}": f"--{name}" for name in ("g", "l")}
    said = naming.in_words("Control.env_params: got nan", Names([], whole, typed))
    assert sorted(said.partition(": ")[0].split(", ")) == ["--g", "--l"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("evolve beale --strategy.sampler.eta=2", "--strategy.sampler.eta"),
        ("evolve beale --eta 2", "--eta"),
        ("show beale --grid=linear --min-noise=2", "--min-noise"),
        ("sweep beale --kernel.floor=-1", "--kernel.floor"),
        ("evolve beale --support=best --support.count=99999", "--support.count"),
        ("sweep beale --top=-1 --axis=scale=1", "--top"),
        ("evolve run.toml", "run.toml: strategy.sampler.eta"),
        ("evolve run.toml --eta=-1", "--eta"),
        ("sweep run.toml --eta=1", "run.toml: [axes]"),
        ("report a.npz b.npz --label=a", "--label"),
        ("report a.npz", "RESULT"),
    ],
)
def test_every_command_says_what_was_typed(
    monkeypatch, tmp_path, capsys, line, name
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(
        "name = 'beale'\nstrategy.sampler.eta = 2\n"
        + "axes.scale = [-1]" * ("sweep" in line)
    )
    assert cli.main(line.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"diffevo: error: {name}: ")
    assert err.count("\n") == 1
