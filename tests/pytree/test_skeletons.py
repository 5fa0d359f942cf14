"""Pytrees that a file says itself: what was put in comes out, and nothing else goes in."""

import dataclasses
import io
import json
import zipfile
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.pytree import skeletons


class Point(NamedTuple):
    x: float
    y: jax.Array


@dataclasses.dataclass
class Layer:
    weight: np.ndarray
    bias: None = None


def there_and_back(tree: object) -> object:
    skeleton, arrays = skeletons.taken_apart(tree, "tree")
    file = io.BytesIO()
    np.savez(file, **arrays)
    return skeletons.put_together(json.loads(json.dumps(skeleton)), zipfile.ZipFile(file))


def test_containers_and_numbers_come_back() -> None:
    tree = {"a": (1, [2.5, None]), "b": {"c": np.arange(3)}, "d": ()}
    found = there_and_back(tree)
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
        np.testing.assert_array_equal(one, other)


def test_classes_come_back_as_dicts() -> None:
    found = there_and_back([Point(1.0, jnp.ones(2)), Layer(np.zeros((2, 3)))])
    assert isinstance(found, list)
    assert found[0].keys() == {"x", "y"}
    assert found[1]["bias"] is None
    assert found[1]["weight"].shape == (2, 3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64", "int8", "bool", "complex64"])
def test_dtypes_come_back(dtype: str) -> None:
    found = there_and_back(np.ones(3, jnp.dtype(dtype)))
    assert found.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(found, np.ones(3, jnp.dtype(dtype)))


def test_names_that_look_alike_stay_apart() -> None:
    assert there_and_back({"a b": 1, "a/b": 2, "a_b": 3}) == {"a b": 1, "a/b": 2, "a_b": 3}


@pytest.mark.parametrize("leaf", ["a word", jax.random.key(0), object()])
def test_what_is_no_number_is_refused_by_its_name(leaf: object) -> None:
    with pytest.raises(TypeError, match=r"^tree\.w\.0: got "):
        skeletons.taken_apart({"w": [leaf]}, "tree")
