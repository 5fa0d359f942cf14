"""The promises of a denoiser; :class:`diffevo_jax.Denoiser` is their contract."""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import noise, pytree
from diffevo_jax.base import Denoiser, Estimate, Evaluated, PyTree
from diffevo_jax.denoisers import bind
from diffevo_jax.problems import Function
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running import evolve
from diffevo_jax.samplers import DDIM, sample
from diffevo_jax.strategies import DiffusionEvolution
from diffevo_jax.testing.agreement import (
    FAILURES,
    D,
    N,
    Promise,
    close,
    each_number_changed,
    expect,
    hold,
    key,
    population,
    same_bits,
    same_types,
    sphere,
    together_and_alone,
    without_nan,
)

#: Points that are no individuals.
OTHERS = N + 3


def _learn(
    denoiser: Denoiser,
    key: jax.Array,
    state: PyTree,
    x: jax.Array,
    shift: jax.typing.ArrayLike,
    sigma: jax.Array,
) -> tuple[Any, Estimate]:
    """State and answer after a generation, evaluated at x with ``sphere + shift``."""
    y, fitness = x * noise.canonical_scale(sigma), sphere(x) + shift
    evaluated = Evaluated(points=x, fitness=fitness, clean=0.5 * x, sigma=sigma)
    state = denoiser.learn(key, state, evaluated)
    return state, denoiser.denoise(state, y, sigma)


def _draw(denoiser: Denoiser, key: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
    """Population of an evolution of two generations, and samples of what it has learnt."""
    strategy, problem = DiffusionEvolution(2, denoiser), Function(sphere, dim)
    result = evolve(key, strategy, problem, population_size=N)
    denoise, shape = bind(denoiser, result.state.denoiser), (N, dim)
    samples = sample(key, denoise, strategy.grid, DDIM(), shape, num_levels=3)
    return result.population, samples


# The promises share these programs: one is compiled for all denoisers of one structure.
_init = jax.jit(lambda denoiser, key, population: denoiser.init(key, population))
_learnt = jax.jit(_learn)
_answer = jax.jit(lambda denoiser, state, y, sigma: denoiser.denoise(state, y, sigma))
_drawn = jax.jit(_draw, static_argnames="dim")


def _start(denoiser: Denoiser, dim: int) -> Any:
    return _init(pytree.strong(denoiser), key(), population(dim=dim))


def _told(
    denoiser: Denoiser,
    dim: int,
    state: PyTree = None,
    shift: jax.typing.ArrayLike = 0.0,
    sigma: float = 1.0,
) -> tuple[Any, ...]:
    """Arguments of a generation, the first where there is no state."""
    state = _start(denoiser, dim) if state is None else state
    shifts, points = jnp.broadcast_to(jnp.asarray(shift, float), N), population(dim=dim)
    return pytree.strong(denoiser), key(), state, points, shifts, jnp.asarray(sigma, float)


def state_keeps_its_types(denoiser: Denoiser, dim: int = D) -> None:
    """Shapes, dtypes, structure and weak types of what is known never change.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.state_keeps_its_types(de.denoisers.GaussianFit())
    """
    start = _start(denoiser, dim)
    state, _ = _learnt(*_told(denoiser, dim, start))
    same_types(start, state, "a state with the structure, shapes and dtypes of before")


def every_point_is_answered(denoiser: Denoiser, dim: int = D) -> None:
    """An answer for every individual, finite, with weights in their ranges.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.every_point_is_answered(de.denoisers.GaussianFit())
    """
    _, answer = _learnt(*_told(denoiser, dim))
    clean, own, size = answer.clean, answer.self_weight, answer.effective_sample_size
    expect(clean.shape == (N, dim), f"clean points of shape {(N, dim)}", clean.shape)
    expect(jnp.isfinite(clean).all(), "finite clean points", clean)
    expect(own.shape == size.shape == (N,), f"weights {(N,)}", (own.shape, size.shape))
    expect(jnp.all((own >= 0) & (own <= 1.001)), "own weights in [0, 1]", own)
    expect(jnp.all(size >= 0), "effective sample sizes", size)
    expect(answer.sound, "a sound answer where evaluations succeeded", answer.sound)


def every_level_is_answered(denoiser: Denoiser, dim: int = D) -> None:
    """Answers are finite at noise levels from 1e-3 to 1e6.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.every_level_is_answered(de.denoisers.GaussianFit())
    """
    for sigma in (1e-3, 1e-1, 1e2, noise.SIGMA_MAX):
        _, answer = _learnt(*_told(denoiser, dim, sigma=sigma))
        finite = jnp.isfinite(answer.clean).all()
        expect(finite, f"finite clean points at noise {sigma:g}", answer.clean)


def other_points_are_answered(denoiser: Denoiser, dim: int = D) -> None:
    """Points that are no individuals get answers, or a ValueError says that they do not.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.other_points_are_answered(de.denoisers.GaussianFit())
    """
    state, _ = _learnt(*_told(denoiser, dim))
    points = population(OTHERS, dim)
    try:
        answer = _answer(pytree.strong(denoiser), state, points, jnp.asarray(1.0))
    except ValueError:
        return
    clean, own = answer.clean, answer.self_weight
    expect(clean.shape == points.shape, f"points {points.shape}", clean.shape)
    expect(jnp.isfinite(clean).all(), "finite clean points", clean)
    expect(jnp.all(own == 0), "no own weight where points are no individuals", own)


def jit_equals_eager(denoiser: Denoiser, dim: int = D) -> None:
    """Compiled and eager agree to rounding."""
    strong = pytree.strong(denoiser)
    state = strong.init(key(), population(dim=dim))
    eager = _learn(*_told(strong, dim, state))[1]
    close(_learnt(*_told(denoiser, dim))[1], eager, "compiled as eager")


def vmap_over_keys_equals_a_loop(denoiser: Denoiser, dim: int = D) -> None:
    """Many generations under ``vmap`` are the generations alone."""
    denoiser, _, *rest = _told(denoiser, dim)
    together_and_alone(
        lambda key: _learnt(denoiser, key, *rest)[1].clean,
        jax.random.split(key(), 3),
        "under vmap the answers of each generation",
    )


def vmap_over_any_number_equals_a_loop(denoiser: Denoiser, dim: int = D) -> None:
    """Every numeric field can be swept."""
    together_and_alone(
        lambda numbers: _learnt(*_told(numbers, dim))[1].clean,
        each_number_changed(denoiser),
        "with a number swept the answers of each setting alone",
    )


def same_key_same_bits(denoiser: Denoiser, dim: int = D) -> None:
    """What is learnt and answered is a function of the key."""
    given = _told(denoiser, dim)
    same_bits(_learn(*given), _learn(*given), "the same bits for the same key")


def order_does_not_matter(denoiser: Denoiser, dim: int = D) -> None:
    """Individuals in another order get the same answers, in that order.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.order_does_not_matter(de.denoisers.GaussianFit())
    """
    denoiser, key, start, points, *rest = _told(denoiser, dim)
    order = jnp.array([3, 1, 7, 0, 2, 6, 5, 4])
    _, answer = _learnt(denoiser, key, start, points, *rest)
    _, other = _learnt(denoiser, key, start, points[order], *rest)
    close(other.clean, answer.clean[order], "the same answers in another order")


def every_failure_acts_the_same(denoiser: Denoiser, dim: int = D) -> None:
    """NaN, +inf and -inf give the same bits, and nothing becomes NaN.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.every_failure_acts_the_same(de.denoisers.GaussianFit())
    """
    start, alone = _start(denoiser, dim), jnp.zeros(N).at[2]
    each = [_learnt(*_told(denoiser, dim, start, alone.set(bad))) for bad in FAILURES]
    for bad, told in zip(FAILURES, each, strict=True):
        same_bits(told[1], each[0][1], f"the same answer for {bad} as for {FAILURES[0]}")
        without_nan(told, "no NaN by a failure")


def failure_of_all_is_not_sound(denoiser: Denoiser, dim: int = D) -> None:
    """If all fail, the answer says that it may not be used, and nothing is NaN.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.failure_of_all_is_not_sound(de.denoisers.GaussianFit())
    """
    start = _start(denoiser, dim)
    for bad in FAILURES:
        told = _, answer = _learnt(*_told(denoiser, dim, start, bad))
        expect(~jnp.asarray(answer.sound), "an answer that is not sound", answer.sound)
        without_nan(told, "no NaN by failures")


def evolves_and_draws(denoiser: Denoiser, dim: int = D) -> None:
    """It answers in an evolution, and what it has learnt answers in ``sample``.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.denoisers.evolves_and_draws(de.denoisers.GaussianFit())
    """
    for points in _drawn(pytree.strong(denoiser), key(), dim):
        expect(points.shape == (N, dim), f"shape {(N, dim)}", points.shape)
        expect(np.isfinite(points).all(), "finite points", points)


#: What every denoiser promises. One that learns nothing is sound whatever failed.
PROMISES: tuple[Promise, ...] = (
    state_keeps_its_types,
    every_point_is_answered,
    every_level_is_answered,
    other_points_are_answered,
    jit_equals_eager,
    vmap_over_keys_equals_a_loop,
    vmap_over_any_number_equals_a_loop,
    same_key_same_bits,
    order_does_not_matter,
    every_failure_acts_the_same,
    failure_of_all_is_not_sound,
    evolves_and_draws,
)


@checked
def check_denoiser(
    denoiser: Denoiser, dim: int = D, *, but: Collection[Promise] = ()
) -> None:
    """Hold a denoiser to all promises of one.

    Args:
        denoiser: to be tried on 8 individuals.
        dim: D of the points that it is tried on.
        but: promises that it does not make, for example
            ``[testing.denoisers.order_does_not_matter]`` where answers are drawn.

    Raises:
        AssertionError: a promise is broken; with what was promised, and what came.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax import testing
        >>> testing.check_denoiser(de.denoisers.GaussianFit())
    """
    hold(denoiser, PROMISES, dim, but)
