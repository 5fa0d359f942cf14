"""A pytree of arrays as a file holds it that is read without knowing what was written.

Arrays get names, and a skeleton that JSON can hold says where each of them belongs. No
class is named in it: a dataclass or a named tuple is read back as the dict of its fields.
"""

import dataclasses
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree import archives

#: None for None; else ``{"array": name, "shape": ..., "dtype": ...}``, or one of "dict",
#: "list" and "tuple" with the skeletons of the parts.
Skeleton = dict[str, Any] | None
#: What names of arrays in a file do not have.
_ODD = re.compile(r"[^\w.-]")


def taken_apart(tree: object, name: str) -> tuple[Skeleton, dict[str, np.ndarray]]:
    """The skeleton of a pytree, and its arrays by name.

    Args:
        tree: arrays and numbers in dicts, lists, tuples and dataclasses.
        name: what the names of its arrays begin with.

    Raises:
        TypeError: there is something else in it.

    Example:
        >>> from diffevo_jax.pytree import skeletons
        >>> skeleton, arrays = skeletons.taken_apart({"w": 1.5, "b": None}, "best")
        >>> skeleton["dict"]["w"]
        {'array': 'best.w', 'shape': [], 'dtype': 'float64'}
        >>> arrays
        {'best.w': array(1.5)}
    """
    arrays: dict[str, np.ndarray] = {}
    return _skeleton(tree, name, arrays), arrays


def put_together(skeleton: Skeleton, archive: zipfile.ZipFile) -> Any:
    """The pytree of a skeleton, with NumPy arrays out of a file.

    Args:
        skeleton: of :func:`taken_apart`, as JSON had it.
        archive: an npz file with its arrays.

    Raises:
        KeyError: an array is not there.
        ValueError: one has another shape or dtype.
    """
    if skeleton is None:
        return None
    if "array" in skeleton:
        like = jax.ShapeDtypeStruct(tuple(skeleton["shape"]), jnp.dtype(skeleton["dtype"]))
        return archives.read_array(archive, f"{skeleton['array']}.npy", like)
    ((kind, parts),) = skeleton.items()
    if kind == "dict":
        return {name: put_together(part, archive) for name, part in parts.items()}
    inner = [put_together(part, archive) for part in parts]
    return tuple(inner) if kind == "tuple" else inner


def _skeleton(tree: object, name: str, arrays: dict[str, np.ndarray]) -> Skeleton:
    if tree is None:
        return None
    fields = _fields(tree)
    if fields is not None:
        inner = {key: _skeleton(part, f"{name}.{key}", arrays) for key, part in fields}
        return {"dict": inner}
    if isinstance(tree, list | tuple):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        parts = enumerate(tree)
        return {kind: [_skeleton(part, f"{name}.{place}", arrays) for place, part in parts]}
    array = _array(tree, name)
    name = _ODD.sub("_", name)
    while name in arrays:
        name += "_"
    arrays[name] = array
    return {"array": name, "shape": list(array.shape), "dtype": array.dtype.name}


def _fields(tree: object) -> list[tuple[str, Any]] | None:
    """The named parts of a dict, a dataclass or a named tuple; None of anything else."""
    if isinstance(tree, Mapping):
        return [(str(key), part) for key, part in tree.items()]
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return list(vars(tree).items())
    if isinstance(tree, tuple) and (names := getattr(tree, "_fields", None)):
        return list(zip(names, tree, strict=True))
    return None


def _array(leaf: object, name: str) -> np.ndarray:
    if not isinstance(leaf, bool | int | float | np.generic | np.ndarray | jax.Array):
        raise TypeError(f"{name}: got a {type(leaf).__name__}, want an array of numbers")
    dtype = leaf.dtype if isinstance(leaf, np.ndarray) else jnp.result_type(leaf)
    if not any(jnp.issubdtype(dtype, kind) for kind in (np.number, np.bool_)):
        raise TypeError(f"{name}: got {dtype}, want numbers")
    return np.asarray(leaf)
