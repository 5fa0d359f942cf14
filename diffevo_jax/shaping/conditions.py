"""Conditions: what is wanted beside fitness, by Bayes' rule.

The posterior of a clean point given that a condition holds has one factor more, so the
log-weight of an individual has one term more:

    log g(x | condition) = log g(f(x)) + log p(condition | x).

Nothing else changes: a diffusion model is guided by the gradient of the same term, and a
population by its value, which needs neither a gradient nor a trained classifier (Dhariwal
and Nichol, 2021, arXiv:2105.05233; Hartl et al., 2024, arXiv:2411.13420, for evolution).
"""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import density
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.shaping import failures
from diffevo_jax.shaping.relative import standard_scores

#: From candidates (N, D) and measures to numbers for every candidate.
Measure = Callable[[jax.Array, PyTree], jax.Array]


@runtime_checkable
class Condition(Protocol):
    """What adds to log-weights. Write your own pytree dataclass with this one method."""

    def log_weight(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """Log of p(condition | x), up to a constant: ``(N,)``, finite or ``-inf``.

        Candidates ``(N, D)`` are finite; fitness ``(N,)`` is not where the evaluation
        failed, and measures, a pytree with leading axis N, are anything there.
        """
        ...


@runtime_checkable
class Labelled(Protocol):
    """A condition whose truth is a label, that a model can learn and be asked for.

    So it steers either kind: a population weighs by its ``log_weight``; a network learns
    the label of everyone, and is asked for the label that is wanted.
    """

    @property
    def num_labels(self) -> int:
        """m, numbers of a label; a shape, so that it is known before any evaluation."""
        ...

    def label(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """What is true of each, ``(N, m)``; NaN or infinite where that is not known."""
        ...

    def wanted(self, labels: jax.Array, known: jax.Array) -> jax.Array:
        """What to ask for, ``(m,)``, given the labels ``(M, m)`` of all that is remembered.

        They are finite; where ``known`` ``(M,)`` is false they stand for nothing.
        """
        ...


@pytree.dataclass
class Target:
    """Go where a measure has a value: ``-|measure - value|^2 / (2 scale^2)``.

    As a label, the measure has as many numbers as the value.

    Args:
        measure: static function of (candidates, measures), -> (N,) or (N, m).
        value: () or (m,), the value wanted; one number counts for all m.
        scale: deviation from it that is tolerated, in units of the measure, > 0. Towards 0
            only exact hits count, towards infinity nothing is asked.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import conditions
        >>> right = conditions.Target(lambda x, measures: x[:, 0], value=2.0, scale=0.5)
        >>> right.log_weight(jnp.array([[1.5], [1.0]]), jnp.zeros(2), ()).tolist()
        [-0.5, -2.0]
    """

    measure: Measure = pytree.static()
    value: Any = pytree.numbers()
    scale: Number = pytree.number(default=1.0, above=0.0)

    def log_weight(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """Highest, zero, where the measure has the value, ``(N,)``."""
        measured = _measured("Target.measure", self.measure, candidates, measures)
        wanted = jnp.asarray(self.value, measured.dtype)
        if wanted.shape not in ((), measured.shape[1:]):
            raise ValueError(
                f"Target.value: got shape {wanted.shape}, want () or {measured.shape[1:]}"
            )
        scale = jnp.maximum(self.scale, jnp.finfo(measured.dtype).tiny)
        apart = (measured - wanted.reshape(1, -1)) / scale
        misfit = -0.5 * jnp.sum(apart**2, axis=1)
        return jnp.where(jnp.isnan(misfit), -jnp.inf, misfit)

    @property
    def num_labels(self) -> int:
        """As many as the value has."""
        return int(jnp.size(self.value))

    def label(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """The measure, ``(N, m)``."""
        measured = _measured("Target.measure", self.measure, candidates, measures)
        if measured.shape[1] != self.num_labels:
            raise ValueError(
                f"Target.value: got {self.num_labels} numbers for a label, want "
                f"{measured.shape[1]}, one for each of the measure"
            )
        return measured

    def wanted(self, labels: jax.Array, known: jax.Array) -> jax.Array:
        """The value, ``(m,)``, whatever is known."""
        return jnp.ravel(jnp.asarray(self.value, labels.dtype))


@pytree.dataclass
class Fitness:
    """Go where fitness is some standard deviations above the mean of what is known.

    ``-(z - value)^2 / (2 scale^2)`` with z the standard score of the fitness. A shaping
    prefers the fitter without an end; this asks for a place among them, as CHARLES-D does.

    Args:
        value: in standard deviations above the mean; 0 asks for the average.
        scale: deviation from it that is tolerated, in the same unit, > 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import conditions
        >>> better = conditions.Fitness(value=2.0, scale=0.5)
        >>> better.log_weight(jnp.zeros((2, 1)), jnp.array([3.0, 5.0]), ()).tolist()
        [-18.0, -2.0]

    References:
        Hartl et al., 2024, arXiv:2411.13420 (conditions on fitness).

    Notes:
        The paper draws the value anew for every offspring, from the variance of the elite.
    """

    value: Number = pytree.number(default=1.0)
    scale: Number = pytree.number(default=0.5, above=0.0)

    def log_weight(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """Highest, zero, where the fitness is the wanted one, ``(N,)``."""
        finite, valid = failures.without_failures(fitness)
        scale = jnp.maximum(self.scale, jnp.finfo(finite.dtype).tiny)
        apart = (standard_scores(finite, valid) - self.value) / scale
        return jnp.where(valid, -0.5 * apart**2, -jnp.inf)

    @property
    def num_labels(self) -> int:
        """One."""
        return 1

    def label(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """The fitness, ``(N, 1)``."""
        return fitness[:, None]

    def wanted(self, labels: jax.Array, known: jax.Array) -> jax.Array:
        """The mean of what is known, and ``value`` deviations more, ``(1,)``."""
        return _above(labels, known, self.value)


@pytree.dataclass
class Novelty:
    """Prefer the different: ``strength`` times the standardised distance to neighbours.

    Novelty is the mean distance to the k nearest others, standardised over the population,
    so that ``strength`` is in nats for one standard deviation and no scale matters. Cost
    O(N^2 d), memory O(N); failed individuals are neighbours too, as places already tried.

    Args:
        strength: >= 0; 0 asks for nothing.
        num_neighbours: k, static, in [1, N - 1].
        measure: static function of (candidates, measures), -> (N,) or (N, d), the space of
            the distances; None takes the candidates. Where the measure is not finite an
            individual has weight zero and is no neighbour.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import conditions
        >>> points = jnp.array([[0.0], [1.0], [2.0], [9.0]])
        >>> novelty = conditions.Novelty(1.0, num_neighbours=1)
        >>> novelty.log_weight(points, jnp.zeros(4), ()).round(2).tolist()[-1]
        1.73...

    References:
        Lehman and Stanley, "Abandoning objectives", 2011, eq. 1 (sparseness).
    """

    strength: Number = pytree.number(default=1.0, low=0.0)
    num_neighbours: int = pytree.static(default=10)
    measure: Measure | None = pytree.static(default=None)

    def log_weight(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """Highest where neighbours are far, mean zero, ``(N,)``."""
        count, size = self.num_neighbours, len(candidates)
        if count >= size:
            raise ValueError(f"Novelty.num_neighbours: got {count}, want < N = {size}")
        measure = self.measure or (lambda candidates, measures: candidates)
        points = _measured("Novelty.measure", measure, candidates, measures)
        valid = jnp.all(jnp.isfinite(points), axis=1)
        distance = density.neighbour_distance(points, count, valid)
        novelty = self.strength * density.standardized_distances(distance, valid)
        return jnp.where(valid, novelty, -jnp.inf)

    @property
    def num_labels(self) -> int:
        """One."""
        return 1

    def label(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """How many deviations more novel than the mean of its generation, ``(N, 1)``."""
        unit = pytree.replace(self, strength=1.0)
        return unit.log_weight(candidates, fitness, measures)[:, None]

    def wanted(self, labels: jax.Array, known: jax.Array) -> jax.Array:
        """``strength`` deviations above the mean of what is known, ``(1,)``."""
        return _above(labels, known, self.strength)

    def check(self) -> None:
        """Raise if ``num_neighbours`` is not legal."""
        validation.check_count("Novelty.num_neighbours", self.num_neighbours)


@pytree.dataclass
class Density:
    """Divide by the density of the population: ``-strength log p_hat(x_j)``.

    Points of density p stand for the density g if they are weighted by g / p, an importance
    weight; without it a region counts as often as points were drawn there. ``p_hat`` is a
    Gaussian kernel density estimate at the points themselves.

    Args:
        strength: >= 0; 1 is the importance weight, 0 no correction.
        bandwidth: > 0, in units of ``N^(-1 / (D + 4))`` times the root-mean-square
            deviation of the population (Silverman's rule within 8 %). Towards 0 and
            infinity there is no correction.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import conditions
        >>> points = jnp.array([[0.0], [0.0], [9.0]])
        >>> density = conditions.Density(bandwidth=0.1)
        >>> jnp.exp(density.log_weight(points, jnp.zeros(3), ())).tolist()
        [1.5, 1.5, 3...]

    References:
        Delyon and Portier, "Integral approximation by kernel smoothing", 2016.

    Notes:
        An individual counts in its own density, unlike in Delyon and Portier. Left out,
        the density at an outlier tends to 0 and its weight decides everything, which at
        bandwidth 1 is worse than no correction, even in one dimension. Counted, weights
        are within a factor of N, and fade to none in high dimension.
    """

    strength: Number = pytree.number(default=1.0, low=0.0)
    bandwidth: Number = pytree.number(default=1.0, above=0.0)

    def log_weight(
        self, candidates: jax.Array, fitness: jax.Array, measures: PyTree
    ) -> jax.Array:
        """Highest where the density is low; in [0, strength log N], ``(N,)``."""
        return -self.strength * density.log_density(candidates, self.bandwidth)


def check_conditions(name: str, conditions: Any) -> None:
    """Raise TypeError unless what these have is the method of conditions.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.shaping import conditions
        >>> conditions.check_conditions("conditions", (de.shaping.Identity(),))
        Traceback (most recent call last):
        TypeError: conditions[0]: got Identity(...), want one like conditions.Density()
    """
    for number, condition in enumerate(conditions):
        where, like = f"{name}[{number}]", "conditions.Density()"
        try:  # a shaping has a method of that name, of fitness alone
            inspect.signature(condition.log_weight).bind((), (), ())
        except TypeError:
            raise TypeError(f"{where}: got {condition!r}, want one like {like}") from None


def total(
    conditions: tuple[Condition, ...],
    candidates: jax.Array,
    fitness: jax.Array,
    measures: PyTree = (),
) -> jax.Array:
    """Sum of the log-weights of conditions, ``(N,)``, to be added to that of the fitness.

    Zeros without conditions. NaN and ``+inf`` of a condition count as ``-inf``, failed.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import conditions
        >>> right = conditions.Target(lambda x, measures: x[:, 0], value=2.0, scale=0.5)
        >>> low = conditions.Target(lambda x, measures: x[:, 1], value=0.0, scale=0.5)
        >>> points = jnp.array([[2.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
        >>> conditions.total((right, low), points, jnp.zeros(3)).tolist()
        [0.0, -2.0, -4.0]
    """
    log_weight = jnp.zeros(len(candidates), candidates.dtype)
    for condition in conditions:
        added = condition.log_weight(candidates, fitness, measures)
        _check_shape(f"{type(condition).__name__}.log_weight", added, log_weight.shape)
        failed = jnp.isnan(added) | (added == jnp.inf)
        log_weight += jnp.where(failed, -jnp.inf, added).astype(log_weight.dtype)
    return jnp.minimum(log_weight, jnp.finfo(log_weight.dtype).max / 4)


def _measured(
    name: str, measure: Measure, candidates: jax.Array, measures: PyTree
) -> jax.Array:
    """What a measure says, ``(N,)`` or ``(N, m)``, as floats ``(N, m)``."""
    value, size = jnp.asarray(measure(candidates, measures)), len(candidates)
    if value.ndim not in (1, 2) or len(value) != size:
        raise ValueError(f"{name}: got shape {value.shape}, want ({size},) or ({size}, m)")
    return value.reshape(size, -1).astype(candidates.dtype)


@checked
def label_moments(labels: jax.Array, known: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation (m,) of the known labels (M, m), of any size.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.shaping import conditions
        >>> labels = jnp.array([[1e30], [3e30], [0.0]])
        >>> known = jnp.array([True, True, False])
        >>> [f"{float(each[0]):.0e}" for each in conditions.label_moments(labels, known)]
        ['2e+30', '1e+30']
    """
    finite = jnp.where(known[:, None], labels, 0.0)
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(finite), axis=0, initial=0.0))
    size = jnp.where(size > 0, size, 1.0)  # or squares leave the floats
    counts = known.astype(labels.dtype)[:, None]
    share = counts / jnp.maximum(jnp.sum(counts), 1.0)
    finite = finite / size[None]
    mean = jnp.sum(share * finite, axis=0)
    variance = jnp.sum(share * (finite - mean[None]) ** 2, axis=0)
    return size * mean, size * square_root(variance)


def _above(labels: jax.Array, known: jax.Array, deviations: Number) -> jax.Array:
    """So many standard deviations above the mean of the known labels ``(M, m)``."""
    mean, deviation = label_moments(labels, known)
    return mean + deviations * deviation


def _check_shape(name: str, value: jax.Array, shape: tuple[int, ...]) -> None:
    if jnp.shape(value) != shape:
        raise ValueError(f"{name}: got shape {jnp.shape(value)}, want {shape}")
