"""Arrays in an npz file: read as what they are expected to be, or not at all.

No pickle is read or written. A file may be sealed: then the digest of all its other bytes
is its zip comment, so that a bit that has changed is found wherever it is.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from diffevo_jax.pytree.records import read_record

#: What arrays are like, by name.
Shapes = Mapping[str, jax.ShapeDtypeStruct]
#: The array of a sealed file that holds its text.
_TEXT = "meta"
#: Length of the digest, in hexadecimal.
_SEAL = 64


class DamagedError(ValueError):
    """A file is not as it was written."""


class Sealed(NamedTuple):
    """What is in a sealed file.

    Attributes:
        text: as JSON had it.
        archive: the arrays, not read yet.
    """

    text: dict[str, Any]
    archive: zipfile.ZipFile


def write_sealed(
    path: Path, arrays: Mapping[str, np.ndarray], text: Mapping[str, object]
) -> None:
    """Write arrays and a text, sealed; ``np.load(path)["meta"].tobytes()`` is the text.

    Args:
        path: of the file, which need not be there.
        arrays: by name; ``meta`` is the text's.
        text: what JSON can hold.
    """
    content: dict[str, Any]  # savez has an argument that is no array
    content = {_TEXT: np.frombuffer(json.dumps(text).encode(), np.uint8)}
    content |= {name: np.asarray(array, order="C") for name, array in arrays.items()}
    made = io.BytesIO()
    np.savez(made, **content)
    with zipfile.ZipFile(made, "a") as archive:
        archive.comment = bytes(_SEAL)
    view = made.getbuffer()
    view[-_SEAL:] = hashlib.sha256(view[:-_SEAL]).hexdigest().encode()
    path.write_bytes(view)


def read_sealed(path: Path) -> Sealed:
    """Open a sealed file.

    Raises:
        DamagedError: some bit is another one than was written.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    body = memoryview(content)[:-_SEAL]
    if hashlib.sha256(body).hexdigest().encode() != content[-_SEAL:]:
        raise DamagedError("its digest is another one")
    archive = zipfile.ZipFile(io.BytesIO(content))
    try:
        with archive.open(f"{_TEXT}.npy") as file:
            text = np.lib.format.read_array(file, allow_pickle=False).tobytes()
        return Sealed(read_record(text), archive)
    except (KeyError, ValueError) as error:
        raise DamagedError(f"its text cannot be read: {error}") from error


def read_array(
    archive: zipfile.ZipFile, filename: str, like: jax.ShapeDtypeStruct
) -> np.ndarray:
    """An array of an archive; it is not made before its header is known to be right.

    Args:
        archive: an npz file.
        filename: in it.
        like: what it must be like.

    Raises:
        ValueError: it is of another shape or dtype, or compressed.
    """
    if archive.getinfo(filename).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{filename} is compressed")
    with archive.open(filename) as file:  # which compares a checksum at the end
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{filename} has a header of version {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        wanted = np.dtype(like.dtype)
        stored = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(wanted))
        if is_fortran or (shape, dtype) != (like.shape, stored):
            raise ValueError(
                f"{filename} has {shape} of {dtype}, want {like.shape} of {wanted}"
            )
        content = file.read()
    return np.frombuffer(content, wanted).reshape(shape)
