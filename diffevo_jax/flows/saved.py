"""A generator that leaves the process: a file with its weights and what they are of."""

from pathlib import Path

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.flows.generator import Generator, GeneratorState
from diffevo_jax.pytree import saved
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_like

KIND = "generator"


@pytree.dataclass
class SavedGenerator:
    """A generator from a file: it draws.

    Attributes:
        generator: the architecture.
        state: weights, centre and scale; its optimizer has none.
    """

    generator: Generator
    state: GeneratorState

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n points, (n, D)."""
        return self.generator.sample(key, self.state, n)


def save_generator(path: str | Path, generator: Generator, state: GeneratorState) -> None:
    """Write a generator into a file; see :meth:`diffevo_jax.flows.GAN.save`."""
    generator = pytree.replace(generator, optimizer=None)
    check_like("state", _learned(state), _like(generator, state.centre.size))
    text = {"generator": saved.outline(generator, (Generator,)), "dim": state.centre.size}
    saved.write(path, KIND, {"generator": generator} | _learned(state), text)


@checked
def load(path: str | Path) -> SavedGenerator:
    """Read a generator that ``gan.save`` has written, bit for bit.

    Args:
        path: of the file.

    Returns:
        What draws as the GAN did. To go on training, keep the training in a folder.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or a damaged one.

    Example:
        >>> import jax, tempfile
        >>> from diffevo_jax import flows
        >>> data = jax.random.normal(jax.random.key(0), (64, 2))
        >>> networks = flows.Generator((8,), 1), flows.Discriminator((8,), 1)
        >>> gan = flows.train_gan(
        ...     jax.random.key(1), data, flows.GANRecipe(*networks), num_steps=2)
        >>> path = tempfile.mkdtemp() + "/generator.npz"
        >>> gan.save(path)
        >>> key = jax.random.key(2)
        >>> bool((flows.load(path).sample(key, 5) == gan.sample(key, 5)).all())
        True
    """
    sealed = saved.read(path, KIND)
    try:
        generator = saved.rebuilt(sealed.text["generator"], (Generator,))
    except ValueError as error:
        raise ValueError(f"path: {path}: {error}") from error
    like = {"generator": generator} | _like(generator, sealed.text["dim"])
    found = saved.tree_of(path, sealed, like)
    generator = found.pop("generator")
    return SavedGenerator(generator, GeneratorState(optimizer_state=(), **found))


def _learned(state: GeneratorState) -> dict[str, object]:
    """What of a state decides what is drawn."""
    return {"weights": state.weights, "centre": state.centre, "scale": state.scale}


def _like(generator: Generator, dim: int) -> dict[str, object]:
    """Shapes of what a generator of so many numbers learns."""
    init = lambda: generator.init(jax.random.key(0), jnp.zeros((2, dim)))
    return _learned(jax.eval_shape(init))
