"""A line a solution, over its numbers."""

import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import plots

FOUND = de.Solutions(
    points=np.zeros((2, 2)),
    solutions={"rate": np.array([1.0, 3.0]), "same": np.array([2.0, 2.0])},
    named={"rate": np.array([1.0, 3.0]), "kind": np.array(["sgd", "adam"])},
    fitness=np.array([5.0, 4.0]),
    violation=None,
    measures=(),
    count=np.array([1, 1]),
    num_evaluations=0,
)


def test_parallel_coordinates_draw_a_line_a_solution_and_the_best_last():
    ax = plots.parallel_coordinates(FOUND).axes[0]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1.0, 0.0], [0.0, 1.0]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["rate", "kind"]
    assert [text.get_text() for text in ax.texts] == ["1", "3", "adam", "sgd"]


def test_no_solutions_are_refused():
    nothing = jax.tree.map(
        lambda leaf: np.asarray(leaf)[:0], de.replace(FOUND, num_evaluations=np.zeros(1))
    )
    with pytest.raises(ValueError, match="found: got no solutions"):
        plots.parallel_coordinates(nothing)
