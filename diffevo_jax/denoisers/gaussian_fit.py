"""A Gaussian that is fitted to the weighted population, as a denoiser: the Wiener filter.

    x0_hat = m + C (C + sigma^2)^-1 (y - m)

with mean m and covariance C of the population under its weights, shrunk towards a sphere by
as much of it as is chance: with few individuals in many dimensions nearly all. No
neighbourhood, hence one mode, and a cost that is linear in N; it selects in any dimension.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import matmul, or_uniform
from diffevo_jax.attention.covariance import filtered, shrinkage
from diffevo_jax.base import Estimate, Evaluated, RowShaping, Shaping
from diffevo_jax.denoisers.evidence import (
    Evidence,
    Latest,
    Memory,
    check_dimension,
    empty_evidence,
    log_weights,
    with_counts,
    with_generation,
)
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.shaping.conditions import Condition, check_conditions


@pytree.dataclass
class GaussianFitState:
    """What a fit knows after a generation.

    Attributes:
        evidence: M evaluated points, those of this generation first.
        plain_log_weight: (M,) without fitness and conditions; ``-inf`` where an evaluation
            failed.
        log_weight: (M,) log g, the plain ones included; ``-inf`` for weight zero.
        size: N, individuals of a generation, static.
    """

    evidence: Evidence
    plain_log_weight: jax.Array
    log_weight: jax.Array
    size: int = pytree.static()


@pytree.dataclass
class GaussianFit:
    """The Gaussian that is fitted to the weighted population answers.

    Prefer it where one mode is wanted in many dimensions, or where the population is so
    large that its neighbourhoods cost too much.

    Args:
        shaping: from fitness to log-weight.
        conditions: as of :class:`diffevo_jax.denoisers.Population`.
        memory: as of :class:`diffevo_jax.denoisers.Population`.
        guidance: as of :class:`diffevo_jax.denoisers.Population`, away from the fit of all
            that did not fail, in [-1, 100]. A second fit is made unless it is 0.
        diagonal: fit a variance for every coordinate, and no axes: O(M D) instead of a
            singular value decomposition; static.

    Example:
        >>> import diffevo_jax as de
        >>> strategy = de.DiffusionEvolution(10, de.denoisers.GaussianFit(diagonal=True))
        >>> strategy.denoiser.diagonal
        True

    References:
        Wiener, 1949; Karras et al., 2022, arXiv:2206.00364, appendix B.3.
    """

    shaping: Shaping = dataclasses.field(default_factory=shapings.Standardized)
    conditions: tuple[Condition, ...] = ()
    memory: Memory = dataclasses.field(default_factory=Latest)
    guidance: Number = pytree.number(default=0.75, low=-1.0, high=100.0)
    diagonal: bool = pytree.static(default=False)

    def check(self) -> None:
        """Raise ValueError or TypeError if parts do not go together."""
        check_conditions("GaussianFit.conditions", self.conditions)
        if pytree.offers(self.shaping, RowShaping):
            raise ValueError(
                f"GaussianFit.shaping: got {type(self.shaping).__name__}, which compares "
                "with neighbours, and here are none; want one that compares with all"
            )

    def init(self, key: jax.Array, population: jax.Array) -> GaussianFitState:
        """Nothing is known yet of a population (N, D)."""
        capacity = self.memory.capacity(len(population))
        nothing = jnp.full(capacity, -jnp.inf, population.dtype)
        return GaussianFitState(
            evidence=empty_evidence(capacity, population, False, self.shaping),
            plain_log_weight=nothing,
            log_weight=nothing,
            size=len(population),
        )

    def learn(
        self, key: jax.Array, state: GaussianFitState, evaluated: Evaluated
    ) -> GaussianFitState:
        """Take in a generation; see :class:`diffevo_jax.Denoiser`."""
        evidence, plain = with_generation(
            self.memory,
            self.conditions,
            state.evidence,
            evaluated,
            shaping=self.shaping,
        )
        return pytree.replace(
            state,
            evidence=evidence,
            plain_log_weight=plain,
            log_weight=log_weights(self.shaping, evidence, plain),
        )

    def denoise(self, state: GaussianFitState, y: jax.Array, sigma: jax.Array) -> Estimate:
        """Where the clean points are; see :class:`diffevo_jax.Denoiser`."""
        check_dimension(y, state.evidence)
        answer = functools.partial(
            gaussian_mean,
            y,
            state.evidence.points,
            sigma=sigma,
            own=len(y) == state.size,
            diagonal=self.diagonal,
        )
        estimate = answer(state.log_weight)
        bayes = estimate.clean

        def beyond() -> jax.Array:
            plain = answer(state.plain_log_weight).clean
            return bayes + self.guidance * (bayes - plain)

        clean = jax.lax.cond(jnp.asarray(self.guidance) == 0, lambda: bayes, beyond)
        estimate = pytree.replace(estimate, clean=clean)
        return with_counts(estimate, state.log_weight, state.plain_log_weight, state.size)


@checked
def gaussian_mean(
    y: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    sigma: jax.Array,
    *,
    own: bool = True,
    diagonal: bool = False,
) -> Estimate:
    """The Wiener filter of a weighted population, of a covariance that is shrunk.

    Args:
        y: (N, D) noisy points, canonical.
        values: (M, D) evaluated points.
        log_weight: (M,) log g, ``-inf`` for weight zero; if all are, all count the same.
        sigma: () noise level of ``y``.
        own: whether the first N values belong to ``y``; static.
        diagonal: see :class:`GaussianFit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import denoisers
        >>> values = jnp.array([[-1.0], [1.0]])  # of variance 1: at sigma 1 half is noise
        >>> y = jnp.array([[4.0], [0.0]])
        >>> denoisers.gaussian_mean(y, values, jnp.zeros(2), 1.0).clean.round(3).tolist()
        [[2.0], [0.0]]

    References:
        Wiener, 1949; Karras et al., 2022, arXiv:2206.00364, appendix B.3, whose ``c_skip``
        is this for a spherical Gaussian around 0.
    """
    size, dim = jnp.shape(values)[0], jnp.shape(values)[-1]
    for name, array, shape in (
        ("values", values, (size, dim)),
        ("y", y, (len(y), dim)),
        ("log_weight", log_weight, (size,)),
        ("sigma", sigma, ()),
    ):
        if jnp.shape(array) != shape:
            raise ValueError(f"{name}: got shape {jnp.shape(array)}, want {shape}")
    if own and size < len(y):
        raise ValueError(f"own: got True with {size} values, want {len(y)} or more")
    weight = jax.nn.softmax(or_uniform(log_weight))
    mean = matmul(weight, values)
    centred, away = values - mean[None], y - mean[None]
    if diagonal:
        variance = matmul(weight, centred**2)
        kept = (variance / (variance + sigma**2))[None] * away
    else:
        kept = filtered(away, weight, centred, *shrinkage(weight, centred), sigma)
    clean = mean[None] + kept
    return Estimate(
        clean=clean,
        effective_sample_size=jnp.full(len(y), 1.0 / jnp.sum(weight**2)),
        self_weight=weight[: len(y)] if own else jnp.zeros(len(y), weight.dtype),
    )
