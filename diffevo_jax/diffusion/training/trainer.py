"""Training: one compiled loop in chunks, averaged weights, resumable bit for bit."""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import compiler_options, make_room
from diffevo_jax.diffusion.images.pixels import PixelScale
from diffevo_jax.diffusion.networks.mlp import MLP
from diffevo_jax.diffusion.networks.network import Network, NetworkLike
from diffevo_jax.diffusion.training.arguments import (
    check_data,
    check_labels,
    check_output,
    check_state,
)
from diffevo_jax.diffusion.training.denoiser import NetworkDenoiser
from diffevo_jax.diffusion.training.loop import TrainState, init_training, train_steps
from diffevo_jax.diffusion.training.losses import DIVERGED
from diffevo_jax.diffusion.training.recipe import Recipe
from diffevo_jax.diffusion.training.saved import save
from diffevo_jax.pytree import Number, kept, signals, validation
from diffevo_jax.pytree.annotations import Index, checked

#: Steps between looks of the host.
CHUNK = 250


@pytree.dataclass
class Trained:
    """A trained denoiser, and how it came about.

    Attributes:
        denoiser: with the averaged weights.
        state: where the training stands, to go on from.
        losses: (S,) the loss of each step: of this call; of the whole training so far, if
            it is kept in a folder.
        baselines: (S,) the loss of the answer 0 on the same batches and noise. What they
            have in common is not the network's.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> data = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> recipe = diffusion.Recipe(num_steps=50, batch_size=64)
        >>> trained = diffusion.train(
        ...     jax.random.key(1), data, diffusion.MLP((16,)), recipe)
        >>> trained.losses.shape, int(trained.state.step)
        ((50,), 50)
    """

    denoiser: NetworkDenoiser
    state: TrainState
    losses: jax.Array
    baselines: jax.Array

    def denoise(
        self,
        y: jax.Array,
        sigma: Number,
        label: PyTree = None,
        guidance: Number | None = None,
    ) -> jax.Array:
        """Mean of the clean points given noisy ones; see :class:`NetworkDenoiser`."""
        return self.denoiser.denoise(y, sigma, label, guidance)

    def save(self, path: str | Path, scale: PixelScale | None = None) -> None:
        """Write the denoiser into a file; see :func:`diffevo_jax.diffusion.save`."""
        save(path, self.denoiser, scale)


@checked
def train(
    key: jax.Array,
    data: jax.typing.ArrayLike,
    network: NetworkLike | None = None,
    recipe: Recipe | None = None,
    *,
    labels: PyTree = None,
    sample_weight: jax.typing.ArrayLike | None = None,
    stop_at: Index | None = None,
    state: TrainState | None = None,
    folder: str | Path | None = None,
    every: int | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a network to denoise; the result goes into :func:`diffevo_jax.sample`.

    A training that is stopped at a step and resumed, by the same call with its ``state``,
    ends with the same bits as one that was not; so does one that was killed, by the same
    call with its ``folder``. Not traceable; :func:`train_steps` is.

    Args:
        key: a typed key; the same one to resume.
        data: (N, ...) clean samples, images (N, H, W, C), with the standard deviation that
            the recipe's ``parameterisation`` expects, 1 unless it says so, within a factor
            of 1.25, and a mean within 2 of them.
        network: ``MLP``, ``UNet``, or one's own ``Network``; None is ``MLP()``.
        recipe: all settings of the training; None is ``Recipe()``.
        labels: of each sample, with leading axis N: for this library's networks (N,)
            integers, the classes 0 to ``num_classes - 1``, or ``num_classes`` for none.
        sample_weight: (N,) >= 0, not all 0, of any sum: how much each sample counts, for
            example by its fitness. It is drawn so often; None: all alike.
        stop_at: stop after this step, to go on later; None is the recipe's ``num_steps``.
        state: where to go on, of an earlier ``Trained``; not with a folder.
        folder: where the training is kept, so that it outlives its process: the same call
            goes on from the last checkpoint, and gives the result of a training that has
            ended again. Ctrl-C, SIGTERM and SIGHUP end it as they end
            :func:`diffevo_jax.run`, after the steps under way. None keeps nothing.
        every: steps between checkpoints, >= 1; None is as often as takes a twentieth of the
            time, every 250 steps at most. However the training ends, if it can do anything
            more, it saves where it stands.
        callback: called with the step and the mean loss since the last call.

    Returns:
        The denoiser, and where the training stands.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        diffevo_jax.pytree.folders.FolderError: the folder is that of another training, and
            the differences are named; or another process is at work in it; or its
            checkpoints are damaged, of which one alone is a warning.
        FloatingPointError: the training diverged: a loss or a gradient was not finite; or
            it has ended, and the last tenth of the losses is twice that of always answering
            0, and was not so at the start. No result of such a training is returned.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> data = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> recipe = diffusion.Recipe(num_steps=50, batch_size=64)
        >>> trained = diffusion.train(
        ...     jax.random.key(1), data, diffusion.MLP((16,)), recipe)
        >>> draw = lambda key: de.sample(key, trained.denoise, de.noise.EDM(),
        ...     de.samplers.Heun(), (100, 2), num_levels=20)
        >>> jax.jit(draw)(jax.random.key(2)).shape
        (100, 2)
    """
    network = MLP() if network is None else network
    recipe = Recipe() if recipe is None else recipe
    validation.check_part("network", network, NetworkLike, "MLP() or UNet()")
    if not pytree.is_component(network):
        network = Network(network.init, network.apply, network.null_label)
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe: got {recipe!r}, want a Recipe")
    recipe.check()  # what is no part at all is told so in better words than those below
    validation.validate(recipe)
    samples, weight = check_data(data, sample_weight, recipe.parameterisation)
    labels = check_labels(labels, len(samples), network)
    check_output(network, samples, labels)
    make_room()
    network, recipe = pytree.strong((network, recipe.completed()))
    shape = samples.shape[1:]
    start = lambda: init_training(key, network, recipe, shape)
    kept.check_arguments(folder, every, state)
    if state is not None:
        check_state(state, jax.eval_shape(start))
    last = int(recipe.num_steps) if stop_at is None else stop_at
    validation.check_count("stop_at", last, low=0)
    training = _Training(key, network, recipe, samples, weight, labels, every)
    with contextlib.ExitStack() as stack:
        keeper, losses = None, None
        if folder is not None:
            shapes = jax.eval_shape(start)
            said = _manifest(training, shapes)
            at_work = kept.Folder(folder, said, every, "training").at_work()
            stack.enter_context(signals.answered())
            keeper = stack.enter_context(at_work)
            if (found := keeper.load(functools.partial(_like, shapes))) is not None:
                state = kept.placed(found.tree["state"], shapes)
                losses = found.tree["losses"]
            signals.only_ask()
        if state is None:
            state = _programs()[0](key, network, recipe, shape)
        return _run(training, state, losses, last, keeper, callback)


class _Training(NamedTuple):
    """A training: what it is of, and how often it is saved."""

    key: jax.Array
    network: NetworkLike
    recipe: Recipe
    samples: jax.Array
    sample_weight: jax.Array | None
    labels: PyTree
    every: int | None

    def arguments(self, state: TrainState, count: int) -> tuple[tuple, dict[str, PyTree]]:
        """Those of the compiled loop, for so many steps."""
        given = {"sample_weight": self.sample_weight, "labels": self.labels}
        parts = self.key, self.network, self.recipe, state, self.samples, jnp.int32(count)
        return parts, given | {"length": CHUNK}


def _content(state: TrainState, losses: np.ndarray) -> tuple[dict[str, PyTree], dict]:
    """What is kept of a training, with no notes."""
    return {"state": state, "losses": losses}, {}


def _like(state: TrainState, done: int, notes: dict[str, object]) -> dict[str, PyTree]:
    """Shapes of what is kept of a training after so many steps."""
    losses = jax.ShapeDtypeStruct((2, done), state.first.dtype)
    return {"state": state, "losses": losses}


def _manifest(training: _Training, state: TrainState) -> dict[str, Any]:
    """What decides the bits of a training; not how it is cut, and where it is stopped."""
    parts, given = training.arguments(state, 0)
    traced = _programs()[1].trace(*parts, **given)
    return kept.manifest(
        training.key,
        traced,
        training[1:-1],
        network=training.network,
        recipe=training.recipe,
        data=training.samples,
        sample_weight=training.sample_weight,
        labels=training.labels,
    )


def _run(
    training: _Training,
    state: TrainState,
    losses: np.ndarray | None,
    last: int,
    keeper: kept.Keeper | None,
    callback: Callable[[int, float], None] | None,
) -> Trained:
    """Chunk after chunk up to a step; losses (2, S) are those of the steps before."""
    recipe, done = training.recipe, int(state.step)
    known = losses is not None  # and then it can be asked for again
    if not (done < last or (known and done == last)) or last > recipe.num_steps:
        raise ValueError(
            f"stop_at: got {last}, want {'at least' if known else 'more than'} the {done} "
            f"steps done and at most num_steps = {int(recipe.num_steps)}"
        )
    rows = [] if losses is None else [losses]
    while done < last:
        end = kept.end_of_chunk(done, min(done + CHUNK, last), training.every)
        count = end - done
        parts, given = training.arguments(state, count)
        state, *both = _programs()[1](*parts, **given)
        if keeper is not None:
            signals.wait(both, keeper.save)
        rows.append(np.asarray(both)[:, :count])
        if int(state.diverged_at) >= 0:
            raise FloatingPointError(
                f"training: the loss or its gradient was not finite at step "
                f"{int(state.diverged_at)}; try a smaller learning_rate"
            )
        done, mean = end, float(rows[-1][0].mean())
        if keeper is not None:
            rows = [np.concatenate(rows, axis=1)]
            keeper.keep(done, functools.partial(_content, state, rows[0]))
        if callback is not None:
            callback(done, mean)
        if keeper is not None:
            signals.raise_if_asked()
    if last == recipe.num_steps:
        _check_end(*np.asarray([state.first, state.last], np.float64))
    shape = training.samples.shape[1:]
    denoiser = NetworkDenoiser(
        training.network, recipe.parameterisation, state.average, shape
    )
    found, baselines = map(jnp.asarray, np.concatenate(rows, axis=1))
    return Trained(denoiser, state, found, baselines)


def _check_end(first: np.ndarray, last: np.ndarray) -> None:
    """Raise if the network is much worse than nothing, and worse than it was before."""
    ratio = last[0] / last[1]
    if not ratio <= max(DIVERGED, first[0] / first[1]):
        raise FloatingPointError(
            f"training: diverged, the loss ends {ratio:.3g} times above that of the answer "
            "0; try a smaller learning_rate"
        )


@functools.cache
def _programs() -> tuple[jax.stages.Wrapped, jax.stages.Wrapped]:
    """The compiled start and loop; made late, as their options need the devices.

    Networks compile in three quarters of the time under the quick options, and a training
    on a CPU runs no slower.
    """
    options = compiler_options(quick=True)
    return (
        jax.jit(init_training, static_argnums=3, compiler_options=options),
        jax.jit(train_steps, static_argnames="length", compiler_options=options),
    )
