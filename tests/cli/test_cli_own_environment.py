"""``diffevo evolve module:Class``: an environment of the user's own, by the command."""

import json
import sys

import pytest
from often import often

from diffevo_jax import cli

MODULE = """
from own_environments import Nav, Rooms

gale = Nav(wind=(0.1, 0.0))
number = 3

class Raises(Rooms):
    def __init__(self):
        raise RuntimeError("no\\nluck")
"""
QUICK = ("--population-size=8", "--num-generations=2", "--max-steps=5")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module in it that nobody else can import."""
    (tmp_path / "my_rooms.py").write_text(MODULE)
    (tmp_path / "wrong_rooms.py").write_text("def (:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_rooms", None)


@pytest.mark.parametrize("name", often(1, ["my_rooms:Rooms", "my_rooms:gale"]))
def test_a_class_or_an_object_of_the_current_folder_evolves(name, folder, capsys):
    assert cli.main(["evolve", name, *QUICK, "--json=out.json"]) == 0
    assert name in capsys.readouterr().out
    config = json.loads((folder / "out.json").read_text())["config"]
    kind = "Nav" if name.endswith("gale") else "Rooms"
    assert kind in json.dumps(config["problem"]["env"])
    assert " at 0x" not in json.dumps(config)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Nav", "ModuleNotFoundError"),
        ("my_rooms:Hall", "has no attribute 'Hall'"),
        ("my_rooms:number", "got 3, want a problem"),
        ("my_rooms:Raises", "RuntimeError: no"),
        ("my_rooms:", "want module:attribute"),
        (":Nav", "want module:attribute"),
        ("wrong_rooms:Nav", "SyntaxError"),
    ],
)
@pytest.mark.parametrize("command", ["evolve", "sweep"])
def test_what_is_no_environment_is_an_error_of_the_usage(
    command, name, message, folder, capsys
):
    assert cli.main([command, name]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert message in error
    assert error.count("\n") == 1


def test_an_environment_without_a_limit_gets_the_published_one(folder):
    from diffevo_jax.cli import experiments

    _, experiment = experiments.experiment_of("my_rooms:Rooms")
    assert experiment.problem.max_steps == 500
    _, experiment = experiments.experiment_of("my_rooms:Nav")
    assert experiment.problem.max_steps == 30
