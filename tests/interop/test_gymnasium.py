"""Gymnasium's spaces as spaces to search."""

import sys

import jax
import numpy as np
import pytest
from often import often

from diffevo_jax.interop.gymnasium import from_gymnasium_space

spaces = pytest.importorskip("gymnasium.spaces")
KEY = jax.random.key(0)


def as_element(space, solution):
    """A solution as an element: arrays of what we have as nested tuples."""
    if isinstance(space, spaces.Dict):
        return {name: as_element(one, solution[name]) for name, one in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(map(as_element, space.spaces, solution))
    if isinstance(space, spaces.Discrete):
        return np.int64(solution)
    return np.asarray(solution, space.dtype)


SPACES = {
    "box": spaces.Box(np.float32([-1.0, 0.0]), np.float32([1.0, 5.0])),
    "scalar box": spaces.Box(-1.0, 1.0, ()),
    "bytes": spaces.Box(0, 255, (2, 3), np.uint8),
    "free": spaces.Box(-np.inf, np.inf, (2,)),
    "discrete": spaces.Discrete(4, start=-1),
    "one": spaces.Dict({"a": spaces.Discrete(1, start=5), "b": spaces.Discrete(2)}),
    "several": spaces.MultiDiscrete([2, 3, 4]),
    "nested": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
    "bits": spaces.MultiBinary((2, 2)),
    "tree": spaces.Dict(
        {
            "b": spaces.Tuple((spaces.Discrete(3), spaces.Box(0.0, 2.0, (3,)))),
            "a": spaces.Dict({"free": spaces.Box(-np.inf, np.inf, ())}),
        }
    ),
}


@pytest.mark.parametrize("name", often(4, SPACES))
def test_solutions_are_elements(name):
    theirs = SPACES[name]
    ours = from_gymnasium_space(theirs, scale=3.0)

    rows = ours.as_python(ours.decode(ours.sample(KEY, 100)))

    assert all(theirs.contains(as_element(theirs, row)) for row in rows)


def test_every_element_is_reached():
    ours = from_gymnasium_space(SPACES["discrete"], start="uniform")
    assert set(ours.as_python(ours.decode(ours.sample(KEY, 100)))) == {-1, 0, 1, 2}


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (spaces.Text(3), TypeError, r"space: got Text.*, want a Box"),
        (spaces.Dict({"t": spaces.Text(3)}), TypeError, r"space\['t'\]: got Text"),
        (3, TypeError, "space: got 3, want a Box"),
        (spaces.Box(0.0, np.inf, (2,)), ValueError, "want bounds at both sides"),
        (
            spaces.Box(np.float32([0.0, -np.inf]), np.float32([1.0, np.inf])),
            ValueError,
            "of all its numbers, or none",
        ),
    ],
)
def test_what_cannot_be_had_of_a_space_is_said(space, error, message):
    with pytest.raises(error, match=message):
        from_gymnasium_space(space)


def test_without_gymnasium_the_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match="install gymnasium"):
        from_gymnasium_space(None)
