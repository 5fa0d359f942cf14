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
    said = capsys.readouterr().err
    assert "nobodys_problem:problem: ModuleNotFoundError" in said
    assert "want nobodys_problem.py in the current folder" in said


def test_of_a_module_that_lacks_another_the_other_is_named(
    tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "needs_another.py").write_text("import nobodys_package\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evolve", "needs_another:problem"]) == 2
    said = capsys.readouterr().err
    assert "No module named 'nobodys_package'" in said
    assert "current folder" not in said
