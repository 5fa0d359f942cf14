"""What has been learned, in a file of its own: arrays, and what they are the arrays of.

The file is a sealed npz file (:mod:`diffevo_jax.pytree.archives`); nothing in it is a
pickle, and no name in it is imported. Components are written as the names of their classes,
which are looked up among those that the reader knows, and their static fields.
"""

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree import archives
from diffevo_jax.pytree.checkpoints import read_tree, write_tree
from diffevo_jax.pytree.files import check_writable
from diffevo_jax.pytree.records import version_of
from diffevo_jax.pytree.validation import validate

T = TypeVar("T")

#: Of what such a file holds.
SCHEMA = 1


def outline(component: object, known: Sequence[type]) -> dict[str, Any] | None:
    """The class and the static fields of a component; None if it is of no known class.

    Args:
        component: its static fields are numbers, strings, or tuples of such.
        known: classes.

    Example:
        >>> from diffevo_jax import diffusion
        >>> from diffevo_jax.pytree.saved import outline
        >>> outline(diffusion.MLP((8, 8)), (diffusion.MLP,))
        {'class': 'MLP', 'hidden': [8, 8], 'num_classes': 0, 'embedding': 32}
    """
    if type(component) not in known or not dataclasses.is_dataclass(component):
        return None
    found: dict[str, Any] = {"class": type(component).__name__}
    for field in dataclasses.fields(component):
        if field.metadata.get("static"):
            value = getattr(component, field.name)
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def rebuilt(found: object, known: Sequence[type]) -> Any:
    """The component of an outline, with its defaults as numbers.

    Args:
        found: what :func:`outline` gave, or None.
        known: classes.

    Raises:
        ValueError: it is of no known class, or there is no such component.
    """
    classes = {kind.__name__: kind for kind in known}
    fields = dict(found) if isinstance(found, dict) else {}
    kind = classes.get(str(fields.pop("class", "")))
    if kind is None:
        raise ValueError(f"got {found}, want one of {', '.join(classes)}")
    try:
        tuples = lambda part: tuple(part) if isinstance(part, list) else part
        component = kind(**{name: tuples(part) for name, part in fields.items()})
        validate(component)
    except (TypeError, ValueError) as error:
        raise ValueError(f"got {found}, of which there is none: {error}") from error
    return component


def write(path: str | Path, kind: str, tree: object, text: Mapping[str, object]) -> None:
    """Write arrays and what they are of, in whole or not at all.

    Args:
        path: of the file; one that is there is replaced.
        kind: of what it is.
        tree: a pytree of arrays.
        text: what JSON can hold.

    Raises:
        ValueError: the path cannot be written.
    """
    check_writable("path", Path(path))
    tree = jax.tree.map(jnp.asarray, tree)
    said = {
        "schema": SCHEMA,
        "kind": kind,
        "dtypes": [str(leaf.dtype) for leaf in jax.tree.leaves(tree)],
        "versions": {name: version_of(name) for name in ("diffevo-jax", "jax")},
    }
    write_tree(Path(path), tree, {**text, **said})


def read(path: str | Path, kind: str) -> archives.Sealed:
    """Open what :func:`write` has written, of a kind.

    Raises:
        ValueError: it is no such file, is damaged, or of another kind or version.
        OSError: it cannot be read.
    """
    if Path(path).is_dir():
        raise ValueError(f"path: got {path}, a folder, want a file of a {kind}")
    try:
        sealed = archives.read_sealed(Path(path))
    except (ValueError, zipfile.BadZipFile) as error:  # the first: also a zero in a name
        raise ValueError(
            f"path: got {path}, want a whole file of a {kind}: {error}"
        ) from error
    schema = sealed.text.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        versions = sealed.text.get("versions")
        known = versions if isinstance(versions, dict) else {}
        by = known.get("diffevo-jax", "of a newer version")
        raise ValueError(
            f"path: {path} has schema {schema}, want {SCHEMA}: diffevo-jax {by} "
            "wrote it; update diffevo-jax to read it"
        )
    for name, want in (("schema", SCHEMA), ("kind", kind)):
        if sealed.text.get(name) != want:
            raise ValueError(
                f"path: {path} has {name} {sealed.text.get(name)!r}, want {want!r}"
            )
    return sealed


def tree_of(path: str | Path, sealed: archives.Sealed, like: T) -> T:
    """The arrays of a file, with the dtypes that they were written with.

    Args:
        path: of the file.
        sealed: what it holds.
        like: shapes of what is expected.

    Raises:
        ValueError: they are others, or of a dtype that JAX has not here.
    """
    shapes, structure = jax.tree.flatten(like)
    dtypes = [_float(path, name) for name in sealed.text["dtypes"]]
    try:
        if len(dtypes) != len(shapes):
            raise ValueError(f"it has {len(dtypes)} arrays, want {len(shapes)}")
        pairs = zip(shapes, dtypes, strict=True)
        wanted = [jax.ShapeDtypeStruct(jnp.shape(leaf), dtype) for leaf, dtype in pairs]
        arrays = read_tree(sealed, jax.tree.unflatten(structure, wanted))
    except ValueError as error:
        raise ValueError(f"path: {path}: {error}") from error
    return jax.tree.map(jnp.asarray, arrays)


def _float(path: str | Path, name: str) -> np.dtype:
    """A dtype by its name; raise unless it is one of floats that JAX has here."""
    dtype = jnp.dtype(name)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"path: {path} has numbers of {name}, want floats")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"path: {path} has numbers of {name}, want jax_enable_x64 to read them"
        )
    return dtype
