"""A mixture of two denoisers: one that answers near the clean end, and one far from it.

    x0_hat = (1 - w(sigma)) near(y, sigma) + w(sigma) far(y, sigma)
    w(sigma) = weight sigma^2 / (sigma^2 + crossover^2)

A denoiser's answer is the mean of what it believes of the clean point after seeing ``y``.
The mean of a mixture of two beliefs is that mixture of their means, whatever the beliefs;
and of two normal beliefs of one width it is the mean of their weighted geometric mean, too:
for their means alone a mixture is also the product.
"""

import dataclasses

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention.division import parts_divided
from diffevo_jax.base import Denoiser, Estimate, Evaluated, PyTree
from diffevo_jax.denoisers.gaussian_fit import GaussianFit
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@pytree.dataclass
class MixtureState:
    """What both parts know after a generation.

    Attributes:
        near: what the near one has learnt.
        far: what the far one has learnt.
    """

    near: PyTree
    far: PyTree


@pytree.dataclass
class Mixture:
    """A weighted mean of what two denoisers answer; both learn from every generation.

    Take it where one sees what the other does not: a population its neighbourhood, and a
    Gaussian fit or a network the large picture. Every number of both can be swept. Costs
    what both cost.

    Args:
        near: who answers at the least noise, where there is a crossover.
        far: who answers at the most.
        weight: of the far one at the most noise, in [0, 1]. 0 is the near one and 1, where
            there is no crossover, the far one, bit for bit.
        crossover: noise level at which the far one has half of that weight, in prior
            deviations, >= 0; below it has less, like ``sigma^2``. 0: the same weight at
            all levels.

    Example:
        >>> import jax, diffevo_jax as de
        >>> both = de.denoisers.Mixture(de.denoisers.Population(), crossover=0.3)
        >>> strategy, key = de.DiffusionEvolution(25, both), jax.random.key(0)
        >>> problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=8)
        >>> result = de.evolve(key, strategy, problem, population_size=128)
        >>> bool(result.best_fitness > -0.1)
        True

    Notes:
        With guidance answers lie beyond posterior means, and so does the mixture. A part of
        weight 0 is not heard: it may be unsound, or diverge. Otherwise the answer may be
        used if both may be. Each part has a key of its own.
    """

    near: Denoiser
    far: Denoiser = dataclasses.field(default_factory=GaussianFit)
    weight: Number = pytree.number(default=0.5, low=0.0, high=1.0)
    crossover: Number = pytree.number(default=0.0, low=0.0)

    divided = parts_divided

    def init(self, key: jax.Array, population: jax.Array) -> MixtureState:
        """What both know before any evaluation of a population (N, D)."""
        key_near, key_far = jax.random.split(key)
        return MixtureState(
            near=self.near.init(key_near, population),
            far=self.far.init(key_far, population),
        )

    def learn(
        self, key: jax.Array, state: MixtureState, evaluated: Evaluated
    ) -> MixtureState:
        """Both take in a generation; see :class:`diffevo_jax.Denoiser`."""
        key_near, key_far = jax.random.split(key)
        return MixtureState(
            near=self.near.learn(key_near, state.near, evaluated),
            far=self.far.learn(key_far, state.far, evaluated),
        )

    def denoise(self, state: MixtureState, y: jax.Array, sigma: jax.Array) -> Estimate:
        """Between both answers; see :class:`diffevo_jax.Denoiser`."""
        near = self.near.denoise(state.near, y, sigma)
        far = self.far.denoise(state.far, y, sigma)
        return mixed(near, far, far_weight(self.weight, self.crossover, sigma))


@checked
def far_weight(weight: Number, crossover: Number, sigma: Number) -> jax.Array:
    """Weight of the far one at a noise level, ``weight sigma^2 / (sigma^2 + crossover^2)``.

    Args:
        weight: at the most noise, in [0, 1].
        crossover: noise level of half of it, >= 0.
        sigma: noise level, > 0.

    Example:
        >>> from diffevo_jax.denoisers.mixture import far_weight
        >>> [round(float(far_weight(0.8, 0.5, sigma)), 3) for sigma in (50.0, 0.5, 0.05)]
        [0.8, 0.4, 0.008]
    """
    ratio = crossover / jnp.asarray(sigma, float)  # of 0 the weight itself, to the last bit
    return weight / (1.0 + ratio**2)


@checked
def mixed(near: Estimate, far: Estimate, weight: jax.Array) -> Estimate:
    """A weighted mean of two answers; at 0 and 1 it is one of them, bit for bit.

    Args:
        near: of weight ``1 - weight``.
        far: of weight ``weight``; both for the same N points.
        weight: () in [0, 1].

    Returns:
        The answer, sound if all that have weight are. Effective sample size and self weight
        are means, too; who is weightless counts once, what diverged as often as it did.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.denoisers.mixture import mixed
        >>> answer = lambda x: de.Estimate(jnp.array([[x]]), jnp.ones(1), jnp.zeros(1))
        >>> mixed(answer(1.0), answer(3.0), jnp.array(0.25)).clean.tolist()
        [[1.5]]
    """
    if near.clean.shape != far.clean.shape:
        raise ValueError(
            f"far: got an answer of shape {far.clean.shape}, want {near.clean.shape}"
        )
    no_near, no_far = weight >= 1, weight <= 0

    def heard(
        first: jax.typing.ArrayLike, second: jax.typing.ArrayLike, both: jax.Array
    ) -> jax.Array:
        return jnp.where(no_far, first, jnp.where(no_near, second, both))

    def between(first: jax.Array, second: jax.Array) -> jax.Array:
        return heard(first, second, (1 - weight) * first + weight * second)

    least = jnp.maximum(near.num_weightless, far.num_weightless)
    diverged = jnp.asarray(near.num_diverged) + far.num_diverged
    return Estimate(
        clean=between(near.clean, far.clean),
        effective_sample_size=between(
            near.effective_sample_size, far.effective_sample_size
        ),
        self_weight=between(near.self_weight, far.self_weight),
        num_weightless=heard(near.num_weightless, far.num_weightless, least),
        num_diverged=heard(near.num_diverged, far.num_diverged, diverged),
        sound=heard(near.sound, far.sound, jnp.asarray(near.sound) & far.sound),
    )
