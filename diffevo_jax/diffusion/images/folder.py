"""A folder of NumPy files as images; a file that is none is told by its name."""

from pathlib import Path

import numpy as np

from diffevo_jax import pytree
from diffevo_jax.pytree.annotations import checked

#: An array of three axes is one image only if it has so many colours at most; else its
#: first axis might as well count images.
MOST_COLOURS = 4
_WANTED = (
    f"(H, W), (H, W, C) with C of 1 to {MOST_COLOURS}, or (N, H, W, C): colours last, and "
    "C is 1 in a stack of grey images"
)


@pytree.dataclass
class Images:
    """Images of one size, as their files have them.

    Attributes:
        pixels: (N, H, W, C) uint8, or float32.
        labels: (N,) int32 the class of each, from 0; None if the folder has no classes.
        classes: their names; static.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax import diffusion
        >>> images = diffusion.Images(
        ...     np.zeros((3, 8, 8, 1), np.uint8), np.int32([0, 1, 1]), ("cat", "dog"))
        >>> [images.classes[label] for label in images.labels]
        ['cat', 'dog', 'dog']
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = pytree.static(default=())


@checked
def load_images(folder: str | Path) -> Images:
    """Read all images of a folder of NumPy files.

    A file ``*.npy`` is an image (H, W) or (H, W, C), or a stack of them (N, H, W, C), of
    uint8 or of floats, which become float32. If the folder has folders, each of those is a
    class, named and numbered from 0 in the order of names. Files are read in the order of
    their names, all into memory; those with other endings, and what begins with a dot, are
    not looked at. No pickle is read.

    Args:
        folder: of the files, or of a folder for each class.

    Returns:
        Pixels (N, H, W, C), and labels (N,) if there are classes.

    Raises:
        ValueError: there are no images, or files beside folders; or a file is no array, has
            another shape or dtype than an image or than the others, or no finite numbers.
            It is named.

    Example:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> from diffevo_jax import diffusion
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cats", "dogs"):
        ...     (folder / name).mkdir()
        ...     np.save(folder / name / "all.npy", np.zeros((3, 8, 8, 1), np.uint8))
        >>> images = diffusion.load_images(folder)
        >>> images.pixels.shape, images.labels.tolist(), images.classes
        ((6, 8, 8, 1), [0, 0, 0, 1, 1, 1], ('cats', 'dogs'))
    """
    root = Path(folder)
    if not root.is_dir():
        is_there = "is no folder" if root.exists() else "is not there"
        raise ValueError(f"folder: got {folder}, which {is_there}; want one of .npy files")
    inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    classes = [path for path in inside if path.is_dir()]
    files = _arrays_in(root)
    if classes and files:
        raise ValueError(
            f"folder: got {files[0]} beside {classes[0]}, want files, or a folder of them "
            "for each class"
        )
    of_class = [_arrays_in(path) for path in classes] if classes else [files]
    for path, found in zip(classes or [root], of_class, strict=True):
        if not found:
            raise ValueError(f"folder: got {path} without a .npy file, want images")
    paths = [path for found in of_class for path in found]
    stacks = [_stack(path) for path in paths]
    for path, stack in zip(paths, stacks, strict=True):
        if (stack.shape[1:], stack.dtype) != (stacks[0].shape[1:], stacks[0].dtype):
            raise ValueError(
                f"folder: {path} has images of {stack.shape[1:]} of {stack.dtype}, want "
                f"{stacks[0].shape[1:]} of {stacks[0].dtype}, as in {paths[0]}"
            )
    pixels = np.concatenate(stacks)
    if not classes:
        return Images(pixels)
    numbers = [number for number, found in enumerate(of_class) for _ in found]
    labels = np.repeat(numbers, [len(stack) for stack in stacks]).astype(np.int32)
    return Images(pixels, labels, tuple(path.name for path in classes))


def _arrays_in(folder: Path) -> list[Path]:
    """The files of arrays in a folder, in the order of their names."""
    found = folder.glob("*.npy")
    return sorted(path for path in found if not path.name.startswith("."))


def _stack(path: Path) -> np.ndarray:
    """The images of a file, (N, H, W, C)."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"folder: {path} is no array, want one that numpy.save has written, without "
            f"pickle: {error}"
        ) from error
    if not isinstance(array, np.ndarray):  # an npz file by another name
        raise ValueError(f"folder: {path} is an archive, want one array")
    if array.ndim == 2:
        array = array[None, :, :, None]
    elif array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] > MOST_COLOURS:
        shape = np.load(path, allow_pickle=False).shape
        raise ValueError(f"folder: {path} has shape {shape}, want {_WANTED}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"folder: {path} has {array.dtype}, want uint8 or floats")
    if not np.isfinite(array).all():
        raise ValueError(f"folder: {path} has NaN or infinity, want finite numbers")
    return array.astype(np.float32)
