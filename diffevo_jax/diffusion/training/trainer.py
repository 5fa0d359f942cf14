"""Training: one compiled loop in chunks, averaged weights, resumable bit for bit."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.compilation import compiler_options
from diffevo_jax.diffusion.networks.dense import NetworkLike
from diffevo_jax.diffusion.training import data_checks
from diffevo_jax.diffusion.training.denoiser import Denoiser
from diffevo_jax.diffusion.training.fitting import fit, start
from diffevo_jax.diffusion.training.objectives import Objective
from diffevo_jax.diffusion.training.parameterisation import Parameterisation
from diffevo_jax.diffusion.training.precondition import EDM
from diffevo_jax.diffusion.training.recipe import Recipe, TrainState
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.arrays import check_key

if TYPE_CHECKING:
    import optax

#: Steps between looks of the host.
CHUNK = 250
#: A training has failed if its loss ends so many times above that of the answer 0.
DIVERGED = 2.0


@pytree.dataclass
class Trained:
    """A trained denoiser, and how it came about.

    Attributes:
        denoiser: with the averaged weights.
        state: where the training stands, to go on from.
        losses: (S,) the loss of each step of this call.
        baselines: (S,) the loss of the answer 0 on the same batches and noise. What they
            have in common is not the network's.
    """

    denoiser: Denoiser
    state: TrainState
    losses: jax.Array
    baselines: jax.Array

    def denoise(
        self,
        y: jax.Array,
        sigma: Number,
        condition: Any = None,
        guidance: Number | None = None,
    ) -> jax.Array:
        """Mean of the clean points given noisy ones: see :meth:`Denoiser.denoise`."""
        return self.denoiser.denoise(y, sigma, condition, guidance)


def train(
    key: jax.Array,
    data: jax.typing.ArrayLike,
    network: NetworkLike,
    precondition: Parameterisation | None = None,
    *,
    num_steps: int,
    batch_size: int = 256,
    objective: Objective | None = None,
    sample_weight: jax.typing.ArrayLike | None = None,
    condition: Any = None,
    condition_dropout: Number = 0.1,
    trust: Number | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    learning_rate: Number | None = None,
    ema: Number = 0.999,
    stop_at: int | None = None,
    state: TrainState | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a network to denoise; the result goes into :func:`diffevo_jax.sample`.

    A training that is stopped at a step and resumed, by the same call with its ``state``,
    ends with the same bits as one that was not. Not traceable; :func:`fit` is.

    Args:
        key: a typed key; the same one to resume.
        data: (N, ...) clean samples with the standard deviation that ``precondition``
            expects, within a factor of 1.25, and a mean within 2 of them.
        network: ``MLP``, ``UNet``, or one's own ``Network``.
        precondition: what the network predicts; None is ``EDM(sigma_data=1)``.
        num_steps: steps of the whole training, and so the length of the schedule of the
            learning rate, >= 1.
        batch_size: samples a step, drawn with replacement, >= 1.
        objective: noise levels and their weights; None is that of ``precondition``.
        sample_weight: (N,) >= 0, not all 0, of any sum: how much each sample counts, for
            example by its fitness. It is drawn so often; None: all alike.
        condition: of each sample, with leading axis N: labels (N,) for this library's
            networks.
        condition_dropout: share of conditions that are hidden, in [0, 1], if the network
            knows what none is; what guidance compares with.
        trust: share of the target that is the answer of the averaged weights, in [0, 1);
            None for none. It takes noise out of the gradient, and has the same minimum.
        optimizer: of optax; None is Adam with clipped gradients (global norm 1), a warm-up
            of a twentieth of the steps, and a cosine to 0.
        learning_rate: largest one of the default optimizer, > 0; None is 0.002.
        ema: decay of the averaged weights a step, in [0, 1); at step t it is at most
            (1 + t) / (10 + t), so that early ones are forgotten.
        stop_at: stop after this step, to go on later; None is ``num_steps``.
        state: where to go on, of an earlier ``Trained``.
        callback: called with the step and the mean loss since the last call.

    Returns:
        The denoiser, and where the training stands.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        FloatingPointError: the training diverged: a loss or a gradient was not finite; or
            it has ended, and the last tenth of the losses is twice that of always answering
            0, and was not so at the start. No result of such a training is returned.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> data = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> trained = diffusion.train(
        ...     jax.random.key(1), data, diffusion.MLP((16,)), num_steps=50, batch_size=64)
        >>> draw = lambda key: de.sample(key, trained.denoise, de.noise.EDM(),
        ...     de.samplers.Heun(), (100, 2), num_levels=20)
        >>> jax.jit(draw)(jax.random.key(2)).shape
        (100, 2)

    References:
        Karras et al., 2022, arXiv:2206.00364, section 5; Ho and Salimans, 2022,
        arXiv:2207.12598, algorithm 1.
    """
    precondition = EDM() if precondition is None else precondition
    check_key("key", key)
    network, objective = data_checks.check_parts(network, precondition, objective)
    validation.check_count("num_steps", num_steps)
    if optimizer is not None and not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer: got {optimizer!r}, want one of optax")
    if optimizer is not None and learning_rate is not None:
        raise ValueError("learning_rate: got one and an optimizer, want one of the two")
    recipe = Recipe(
        network=network,
        precondition=precondition,
        objective=objective,
        num_steps=num_steps,
        learning_rate=2e-3 if learning_rate is None else learning_rate,
        ema=ema,
        condition_dropout=condition_dropout,
        trust=trust,
        optimizer=optimizer,
        batch_size=batch_size,
    )
    validation.validate(recipe)
    samples, weight = data_checks.check_data(data, sample_weight, precondition)
    condition = data_checks.check_condition(condition, len(samples), network)
    data_checks.check_answer(network, samples, condition)
    recipe = pytree.strong(recipe)
    if state is None:
        state = _programs()[0](key, recipe, samples.shape[1:])
    else:
        _check_state(state, jax.eval_shape(lambda: start(key, recipe, samples.shape[1:])))
    last = num_steps if stop_at is None else stop_at
    validation.check_count("stop_at", last, low=0)
    return _run(key, recipe, state, (samples, weight, condition), last, callback)


def _run(
    key: jax.Array,
    recipe: Recipe,
    state: TrainState,
    given: tuple[jax.Array, jax.Array | None, Any],
    last: int,
    callback: Callable[[int, float], None] | None,
) -> Trained:
    """Chunk after chunk up to a step."""
    first, rows = int(state.step), []
    if not first < last <= recipe.num_steps:
        raise ValueError(
            f"stop_at: got {last}, want more than the {first} steps done and at most "
            f"num_steps = {int(recipe.num_steps)}"
        )
    for done in range(first, last, CHUNK):
        count = min(CHUNK, last - done)
        state, *both = _programs()[1](key, recipe, state, *given, jnp.int32(count), CHUNK)
        rows.append(np.asarray(both)[:, :count])
        if int(state.diverged_at) >= 0:
            raise FloatingPointError(
                f"training: the loss or its gradient was not finite at step "
                f"{int(state.diverged_at)}; try a smaller learning_rate"
            )
        if callback is not None:
            callback(done + count, float(rows[-1][0].mean()))
    losses, baselines = np.concatenate(rows, axis=1)
    if last == recipe.num_steps:
        _check_end(*np.asarray([state.first, state.last], np.float64))
    denoiser = Denoiser(
        recipe.network, recipe.precondition, state.average, given[0].shape[1:]
    )
    return Trained(denoiser, state, jnp.asarray(losses), jnp.asarray(baselines))


def _check_state(state: Any, want: TrainState) -> None:
    """Raise unless it is that of a training with these parts."""
    if not isinstance(state, TrainState):
        raise TypeError(f"state: got {type(state).__name__}, want the state of a Trained")
    for name in ("weights", "optimizer_state"):
        both = (getattr(each, name) for each in (state, want))
        got, known = (
            (jax.tree.structure(each), [(x.shape, x.dtype) for x in jax.tree.leaves(each)])
            for each in both
        )
        if got != known:
            raise ValueError(
                f"state: its {name} are not those of this network and optimizer; want the "
                "arguments that the training was begun with"
            )


def _check_end(first: np.ndarray, last: np.ndarray) -> None:
    """Raise if the network is much worse than nothing, and worse than it was before."""
    ratio = last[0] / last[1]
    if not ratio <= max(DIVERGED, first[0] / first[1]):
        raise FloatingPointError(
            f"training: diverged, the loss ends {ratio:.3g} times above that of the answer "
            "0; try a smaller learning_rate"
        )


@functools.cache
def _programs() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The compiled start and loop; made late, as their options need the devices.

    Networks compile in three quarters of the time under the quick options, and a training
    on a CPU runs no slower.
    """
    options = compiler_options(quick=True)
    return (
        jax.jit(start, static_argnums=2, compiler_options=options),
        jax.jit(fit, static_argnums=7, compiler_options=options),
    )
