"""A GAN, as a flow of the density ratio in the time of its training."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import make_room
from diffevo_jax.flows.discriminator import Discriminator, DiscriminatorState
from diffevo_jax.flows.divergences import Divergence, ReverseKL
from diffevo_jax.flows.generator import (
    Generator,
    GeneratorState,
    adversarial_loss,
    regression_loss,
)
from diffevo_jax.flows.saved import save_generator
from diffevo_jax.pytree import Number, arrays, kept, signals, validation
from diffevo_jax.pytree.annotations import checked

LOSSES = ("regression", "adversarial")
#: Steps between looks of the host, where a training is kept in a folder.
CHUNK = 100


def _small_generator() -> Generator:
    return Generator((64, 64, 64), num_steps=10, learning_rate=2e-3)


def _small_discriminator() -> Discriminator:
    return Discriminator((64, 64, 64), num_steps=10, learning_rate=2e-3)


@pytree.dataclass
class GANRecipe:
    """How a GAN is trained.

    Many modes want a rate that falls, as an optimizer with a schedule has it
    (``benchmarks/flows.py``).

    Args:
        generator: by default ``Generator((64, 64, 64), num_steps=10, learning_rate=2e-3)``.
        discriminator: by default a ``Discriminator`` of the same numbers.
        divergence: h, by default ``ReverseKL()``.
        step_size: eps, > 0, in squared units of the data. Above twice the squared noise,
            points may jump over a mode.
        noise: deviation of the discriminator's instance noise, >= 0, in units of the data:
            what is finer is not learned.
        batch_size: points of each kind a step, >= 1; static.
        loss: ``"regression"`` on the moved points; or ``"adversarial"``, -h(D(g(z))) itself
            in all of the generator's steps, which is the same for one of them; with more
            the generator chases a discriminator that does not answer meanwhile; static.

    Example:
        >>> from diffevo_jax import flows
        >>> recipe = flows.GANRecipe(divergence=flows.NonSaturating(), step_size=0.01)
        >>> recipe.divergence, recipe.generator.hidden
        (NonSaturating(), (64, 64, 64))
    """

    generator: Generator = dataclasses.field(default_factory=_small_generator)
    discriminator: Discriminator = dataclasses.field(default_factory=_small_discriminator)
    divergence: Divergence = dataclasses.field(default_factory=ReverseKL)
    step_size: Number = pytree.number(default=0.04, above=0.0)
    noise: Number = pytree.number(default=0.2, low=0.0)
    batch_size: int = pytree.static(default=256)
    loss: str = pytree.static(default="regression")

    def check(self) -> None:
        """Raise if a setting is not legal."""
        validation.check_count("GANRecipe.batch_size", self.batch_size)
        if self.loss not in LOSSES:
            raise ValueError(f"GANRecipe.loss: got {self.loss!r}, want one of {LOSSES}")


@pytree.dataclass
class GANState:
    """Where a GAN's training stands.

    Attributes:
        step: () int32.
        generator: the generator's state.
        discriminator: the discriminator's.
        diverged_at: () int32, the first step whose networks were not sound; -1 if there was
            none. Such a step changes nothing.
    """

    step: jax.Array
    generator: GeneratorState
    discriminator: DiscriminatorState
    diverged_at: jax.Array


@pytree.dataclass
class GAN:
    """A trained generator.

    Attributes:
        generator: the architecture.
        state: where the training stands.
    """

    generator: Generator
    state: GANState

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw n points, (n, D)."""
        return self.generator.sample(key, self.state.generator, n)

    def save(self, path: str | Path) -> None:
        """Write the generator into a file, for :func:`diffevo_jax.flows.load`.

        One sealed npz file, without pickle, written in whole or not at all. It has what
        draws; to go on training, keep the training in a folder.

        Args:
            path: of the file, for example ``"generator.npz"``; one that is there is
                replaced.

        Raises:
            ValueError: the path cannot be written.
        """
        save_generator(path, self.generator, self.state.generator)


@checked
def train_gan(
    key: jax.Array,
    data: jax.typing.ArrayLike,
    recipe: GANRecipe | None = None,
    *,
    num_steps: int,
    state: GANState | None = None,
    folder: str | Path | None = None,
    every: int | None = None,
) -> GAN:
    """Train a generator by the flow that a discriminator gives: one compiled loop.

    A step: the discriminator takes ``discriminator.num_steps`` on a batch; the generated
    points move by ``step_size h'(D) grad D``; the generator takes ``generator.num_steps``
    towards where they are now. One of these is a GAN's step, with the loss ``-h(D(g(z)))``.

    Args:
        key: a typed key.
        data: (N, D).
        recipe: both networks and all settings; None is ``GANRecipe()``.
        num_steps: to do in this call, >= 1; with a folder, in all: then the same call goes
            on to the same end, and one with more steps goes on beyond.
        state: where to go on: ``gan.state`` of an earlier call. With the same key it is as
            if there had been one call. Not with a folder.
        folder: where the training is kept, so that it outlives its process: the same call
            goes on from the last checkpoint, and ends with the bits of a training that was
            never interrupted. None keeps nothing.
        every: steps between checkpoints, >= 1; None is as often as takes a twentieth of the
            time, every 100 steps at most. However the training ends, if it can do anything
            more, it saves where it stands.

    Returns:
        The generator.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        diffevo_jax.pytree.folders.FolderError: the folder is that of another training, and
            the differences are named; or another process is at work in it; or its
            checkpoints are damaged, of which one alone is a warning.
        FloatingPointError: the discriminator was not finite, or twice as bad as undecided;
            or the generator was not finite.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import flows
        >>> data = 3.0 + 0.5 * jax.random.normal(jax.random.key(0), (512, 1))
        >>> gan = flows.train_gan(jax.random.key(1), data, num_steps=20)
        >>> samples = gan.sample(jax.random.key(2), 1000)
        >>> bool(abs(samples.mean() - 3.0) < 0.2)
        True

    References:
        Yi, Zhu, Liu, 2023, arXiv:2302.01075; Goodfellow et al., 2014, arXiv:1406.2661.
    """
    points = arrays.check_population("data", data)
    recipe = GANRecipe() if recipe is None else recipe
    if not isinstance(recipe, GANRecipe):
        raise TypeError(f"recipe: got {recipe!r}, want a GANRecipe")
    validation.validate(recipe)
    make_room()
    recipe = pytree.strong(recipe)
    kept.check_arguments(folder, every, state)
    if folder is not None:
        return GAN(recipe.generator, _kept(key, recipe, points, num_steps, folder, every))
    if state is None:
        state = init_gan(key, recipe, points)
    state = _train(key, recipe, state, points, jnp.int32(num_steps))
    return GAN(recipe.generator, _sound(state))


def _kept(
    key: jax.Array,
    recipe: GANRecipe,
    points: jax.Array,
    last: int,
    folder: str | Path,
    every: int | None,
) -> GANState:
    """The state after so many steps in all, of which some may be done."""
    state = jax.eval_shape(init_gan, key, recipe, points)
    traced = _train.trace(key, recipe, state, points, jnp.int32(0))
    said = kept.manifest(key, traced, (recipe, points), recipe=recipe, data=points)
    at_work = kept.Folder(folder, said, every, "training").at_work()
    with signals.answered(), at_work as keeper:
        if (found := keeper.load(lambda *_: {"state": state})) is not None:
            done, state = found.number, kept.placed(found.tree["state"], state)
        else:
            done, state = 0, init_gan(key, recipe, points)
        if last < done:
            raise ValueError(
                f"num_steps: got {last}, want at least the {done} steps done in the folder"
            )
        signals.only_ask()
        while done < last:
            end = kept.end_of_chunk(done, min(done + CHUNK, last), every)
            state = _train(key, recipe, state, points, jnp.int32(end - done))
            signals.wait(state, keeper.save)
            done, state = end, _sound(state)
            keeper.keep(done, functools.partial(_content, state))
            signals.raise_if_asked()
    return state


def _content(state: GANState) -> tuple[dict[str, GANState], dict]:
    """What is kept of a training, with no notes."""
    return {"state": state}, {}


def _sound(state: GANState) -> GANState:
    """The state; raise if it has diverged."""
    if int(state.diverged_at) >= 0:
        raise FloatingPointError(
            f"training: it diverged at step {int(state.diverged_at)}; try a smaller "
            "learning_rate or step_size"
        )
    return state


def init_gan(key: jax.Array, recipe: GANRecipe, data: jax.Array) -> GANState:
    """The state before the first step: a generator of the data's Gaussian."""
    key_generator, key_discriminator = jax.random.split(key)
    return GANState(
        step=jnp.zeros((), jnp.int32),
        generator=recipe.generator.init(key_generator, data),
        discriminator=recipe.discriminator.init(key_discriminator, data),
        diverged_at=-jnp.ones((), jnp.int32),
    )


@jax.jit
def _train(
    key: jax.Array,
    recipe: GANRecipe,
    state: GANState,
    data: jax.Array,
    count: jax.Array,
) -> GANState:
    step = lambda _, state: gan_step(key, recipe, state, data)
    return jax.lax.fori_loop(0, count, step, state)


def gan_step(
    key: jax.Array, recipe: GANRecipe, state: GANState, data: jax.Array
) -> GANState:
    """One step of a training, the pure core of :func:`train_gan`."""
    keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
    index = jax.random.randint(keys[0], (recipe.batch_size,), 0, len(data))
    shape = (recipe.batch_size, data.shape[1])
    latent = jax.random.normal(keys[1], shape, data.dtype)
    fake = recipe.generator.generate(state.generator, latent)
    ones = jnp.ones(recipe.batch_size, data.dtype)
    discriminator, sound = recipe.discriminator.fit(
        keys[2], state.discriminator, (data[index], ones), (fake, ones), recipe.noise
    )
    log_ratio, gradient = recipe.discriminator.gradient(discriminator, fake)
    slope = recipe.divergence.slope(log_ratio)[:, None]
    target = fake + recipe.step_size * slope * gradient

    before = state.generator

    def loss(weights: PyTree) -> jax.Array:
        if recipe.loss == "regression":
            return regression_loss(recipe.generator, before, weights, latent, target)
        logit = functools.partial(recipe.discriminator.logit, discriminator)
        return adversarial_loss(
            recipe.generator, before, weights, latent, logit, recipe.divergence
        )

    made = recipe.generator.minimise(before, loss)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(made)]
    sound &= jnp.all(jnp.stack(finite))
    moved = pytree.replace(state, generator=made, discriminator=discriminator)
    at = jnp.where(state.diverged_at < 0, state.step, state.diverged_at)
    state = pytree.select(sound, moved, pytree.replace(state, diverged_at=at))
    return pytree.replace(state, step=state.step + 1)
