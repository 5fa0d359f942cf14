"""``diffevo evolve module:attribute``: a problem of the user's own."""

import json
import sys

import pytest

from diffevo_jax import cli

MODULE = """
import numpy as np
import diffevo_jax as de

def fitness(solutions):
    return -np.sum((solutions - 0.5) ** 2, axis=1)

problem = de.problems.External(fitness, de.problems.Space(np.zeros(2)))
three = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """Its name; it lies in the folder in which the command runs."""
    (tmp_path / "somebodys_problem.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return "somebodys_problem"


def test_an_evaluator_is_evolved_for_several_seeds(module, tmp_path, capsys) -> None:
    words = f"evolve {module}:problem --seeds 2 --population-size 8 --num-generations 3"
    assert cli.main([*words.split(), "--space.scale", "2.0", "--json", "out.json"]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["config"]["problem"]["space"]["scale"] == 2.0
    assert len(record["summary"]["best_fitness"]["runs"]) == 2
    assert f"{module}:problem" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("three", "somebodys_problem:three: got 3, want a problem"),
        ("four", "somebodys_problem:four: AttributeError"),
    ],
)
def test_what_is_no_problem_is_named(module, attribute, message, capsys) -> None:
    assert cli.main(["evolve", f"{module}:{attribute}"]) == 2
    assert message in capsys.readouterr().err


def test_a_module_that_is_not_there_is_named(capsys) -> None:
    assert cli.main(["evolve", "nobodys_problem:problem"]) == 2
    assert "nobodys_problem:problem: ModuleNotFoundError" in capsys.readouterr().err
