"""The population as a denoiser: Bayes' rule, with what was evaluated as the prior.

    x0_hat_i = sum_j softmax_j( log g_j - kappa |phi(y_i) - phi(x_j)|^2 / (2 sigma^2) ) x_j

This is the whole of Diffusion Evolution's idea. The formula is
:func:`diffevo_jax.denoisers.posterior_mean`; what its letters are is a choice of parts: phi
and kappa are the kernel's, g is the shaping's of the fitness times what conditions want,
and which points j there are is up to the memory and the support. Guidance goes beyond it,
away from the same mean without fitness (``docs/guidance.md``).

Reference: Zhang, Hartl, Hazan, Levin, "Diffusion Models are Evolutionary Algorithms",
ICLR 2025, arXiv:2410.02543, eqs. 8 and 9.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import (
    Attention,
    Division,
    Guidance,
    attend,
    attend_by_rows,
)
from diffevo_jax.base import (
    Estimate,
    Evaluated,
    Floored,
    Kernel,
    Placing,
    PyTree,
    RowKernel,
    RowShaping,
    Shaping,
)
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
from diffevo_jax.denoisers.posterior import posterior_mean
from diffevo_jax.denoisers.support import Chosen, Everyone, Support, reweighted
from diffevo_jax.kernels import Tempered
from diffevo_jax.pytree import Number
from diffevo_jax.shaping.conditions import Condition, check_conditions


@pytree.dataclass
class PopulationState:
    """What a population knows after a generation.

    Attributes:
        kernel_state: what the kernel drew, or learnt from this generation.
        evidence: M evaluated points, those of this generation first.
        plain_log_weight: (M,) without fitness and conditions: 0, or the memory's
            correction; ``-inf`` where an evaluation failed.
        log_weight: (M,) log g, the plain ones included; ``-inf`` for weight zero.
        chosen: which of the points answer; None for all.
        size: N, individuals of a generation, static.
    """

    kernel_state: PyTree
    evidence: Evidence
    plain_log_weight: jax.Array
    log_weight: jax.Array
    chosen: Chosen | None
    size: int = pytree.static()


@pytree.dataclass
class Population:
    """The evaluated population answers, by Bayes' rule.

    As it is it looks for the best solution; for several see
    :meth:`diffevo_jax.DiffusionEvolution.for_several`. Cost O(N M (D + d)) for M points
    that answer.

    Args:
        kernel: who is a neighbour: ``kernels.Gaussian()`` is exact and the published plain
            form, ``kernels.RandomProjection(2)`` the latent one. A kernel also says where
            neighbourhoods are measured (:class:`diffevo_jax.kernels.SelfConditioned`).
        shaping: from fitness to log-weight; applied to all that is remembered.
        conditions: what else is wanted, a tuple of components of
            :mod:`diffevo_jax.conditions`: targets, novelty; their log-weights are added.
            Constraints are the problem's, :class:`diffevo_jax.problems.Constrained`.
        memory: which evaluated points there are: ``Latest``, ``Archive``,
            ``Elites``.
        support: which of them answer: ``Everyone``, ``Best``, ``Drawn``.
        guidance: how far to go beyond Bayes' answer m_w, and away from the answer m_1 that
            knows no fitness: ``m_w + guidance (m_w - m_1)``, in [-1, 100]. 0 is Bayes'
            answer; so is None, for which m_1 is not computed. Conditions count like
            fitness. It is classifier-free guidance, at no more evaluations; effective
            sample size and self weight stay those of m_w (``docs/guidance.md``).
        fade: how much guidance fades where there is noise, >= 0:
            ``guidance / (1 + (fade sigma)^2)``. 0: not at all; 10: half of it is left at a
            noise level of 0.1, and a hundredth at 1. With it more guidance is safe in few
            generations.
        attention: what computes the mean, for example
            ``functools.partial(de.attention.attend, block_size=2048)``, or on a GPU
            :func:`diffevo_jax.attention.attend_fused`; static.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> points, fitness = jnp.array([[-1.0], [1.0]]), jnp.array([0.0, 1.0])
        >>> population, key = de.denoisers.Population(guidance=1.0), jax.random.key(0)
        >>> evaluated = de.Evaluated(points, fitness, clean=points, sigma=100.0)
        >>> state = population.init(key, points)
        >>> state = population.learn(key, state, evaluated)
        >>> population.denoise(state, 100.0 * points, 100.0).clean.round(1).tolist()
        [[2.0], [2.0]]

    References:
        Zhang et al., 2024, arXiv:2410.02543, eqs. 8, 9 and 12; Ho and Salimans, 2022,
        arXiv:2207.12598, eq. 6, for the guidance, with fitness in place of a label.
    """

    kernel: Kernel = dataclasses.field(default_factory=Tempered)
    shaping: Shaping = dataclasses.field(default_factory=shapings.Standardized)
    conditions: tuple[Condition, ...] = ()
    memory: Memory = dataclasses.field(default_factory=Latest)
    support: Support = dataclasses.field(default_factory=Everyone)
    guidance: Number | None = pytree.number(
        default=0.75, low=-1.0, high=100.0, optional=True
    )
    fade: Number = pytree.number(default=0.0, low=0.0)
    attention: Attention = pytree.static(default=attend)

    def check(self) -> None:
        """Raise ValueError or TypeError if parts do not go together."""
        check_conditions("Population.conditions", self.conditions)
        if not callable(self.attention) or not _takes_guidance(self.attention):
            raise TypeError(
                f"Population.attention: got {self.attention!r}, want a function of the "
                "arguments of attention.attend, floor and guidance among them"
            )
        attention = self.attention
        whole = attention.whole if pytree.offers(attention, Division) else attention
        if whole is not attend and self._by_rows():
            parts = [type(part).__name__ for part in (self._inner(), self.shaping)]
            raise ValueError(
                f"Population.attention: got {self.attention!r}, which does not make the "
                f"rows that {parts[0]} or {parts[1]} needs; want the default"
            )

    def init(self, key: jax.Array, population: jax.Array) -> PopulationState:
        """Draw what the kernel draws; nothing is known yet of (N, D)."""
        size, dim = population.shape
        capacity = self.memory.capacity(size)
        places = pytree.offers(self.kernel, Placing)
        nothing = jnp.full(capacity, -jnp.inf, population.dtype)
        return PopulationState(
            kernel_state=self.kernel.init(key, dim),
            evidence=empty_evidence(capacity, population, places, self.shaping),
            plain_log_weight=nothing,
            log_weight=nothing,
            chosen=self.support.choose(jax.random.fold_in(key, 1), nothing),
            size=size,
        )

    def learn(
        self, key: jax.Array, state: PopulationState, evaluated: Evaluated
    ) -> PopulationState:
        """Take in a generation; see :class:`diffevo_jax.Denoiser`."""
        places: PyTree = ()
        if pytree.offers(self.kernel, Placing):
            places = self.kernel.places(evaluated)
        evidence, plain = with_generation(
            self.memory, self.conditions, state.evidence, evaluated, places, self.shaping
        )
        log_weight = log_weights(self.shaping, evidence, plain)
        return PopulationState(
            kernel_state=self.kernel.adapt(state.kernel_state, evidence.points, log_weight),
            evidence=evidence,
            plain_log_weight=plain,
            log_weight=log_weight,
            chosen=self.support.choose(key, log_weight),
            size=state.size,
        )

    def denoise(self, state: PopulationState, y: jax.Array, sigma: jax.Array) -> Estimate:
        """Where the clean points are; see :class:`diffevo_jax.Denoiser`."""
        check_dimension(y, state.evidence)
        kernel, evidence, dim = self._inner(), state.evidence, y.shape[1]
        queries, keys = self._measured(state, y)
        factor = kernel.factor(state.kernel_state, dim) / sigma**2
        log_weight, chosen, attention = state.log_weight, state.chosen, self.attention
        if self._by_rows():
            attention = self._row_attention(state, factor)
            factor = jnp.ones((), y.dtype)
        plain = state.plain_log_weight
        if chosen is not None:
            plain = reweighted(chosen, log_weight, plain).log_weight
        if pytree.offers(self.shaping, RowShaping):
            before, log_weight = log_weight, state.plain_log_weight
            log_weight += evidence.condition_log_weight
            chosen = chosen and reweighted(chosen, before, log_weight)
        estimate = posterior_mean(
            queries=kernel.features(state.kernel_state, queries),
            keys=kernel.features(state.kernel_state, keys),
            values=evidence.points,
            log_weight=log_weight,
            precision=factor,
            floor=kernel.floor if pytree.offers(kernel, Floored) else None,
            own=len(y) == state.size,
            chosen=chosen,
            guidance=self._guidance(sigma, plain),
            attention=attention,
        )
        return with_counts(estimate, state.log_weight, state.plain_log_weight, state.size)

    def divided(self, divide: Callable[[Attention], Attention]) -> "Population":
        """The same, its attention divided; see :class:`diffevo_jax.base.Divisible`."""
        return pytree.replace(self, attention=divide(self.attention))

    def _measured(
        self, state: PopulationState, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Between which points (N, D) and (M, D) neighbourhoods are measured."""
        if not pytree.offers(self.kernel, Placing):
            return y, state.evidence.points
        if len(y) != state.size:
            raise ValueError(
                f"{type(self.kernel).__name__}: got {len(y)} points, want the {state.size} "
                "individuals, since it measures between their last clean estimates"
            )
        return state.evidence.places[: state.size], state.evidence.places

    def _guidance(self, sigma: jax.Array, plain: jax.Array) -> Guidance | None:
        """How far beyond the answer at a noise level, and away from which weights (M,)."""
        if self.guidance is None:
            return None
        return Guidance(self.guidance / (1.0 + (self.fade * sigma) ** 2), plain)

    def _by_rows(self) -> bool:
        """Whether a part needs whole rows of the kernel."""
        rows = pytree.offers(self._inner(), RowKernel)
        return rows or pytree.offers(self.shaping, RowShaping)

    def _inner(self) -> Kernel:
        """The kernel by which distances count, wherever they are measured."""
        return self.kernel.kernel if pytree.offers(self.kernel, Placing) else self.kernel

    def _row_attention(self, state: PopulationState, precision: jax.Array) -> Attention:
        """The attention of a row-wise kernel or shaping, divided as this one is."""

        def same_for_all(half_squares: jax.Array, mask: jax.Array) -> jax.Array:
            return jnp.full(len(half_squares), precision, half_squares.dtype)

        row_log_weight = None
        if pytree.offers(self.shaping, RowShaping):
            fitness = shapings.without_failures(state.evidence.fitness)[0]
            fitness = fitness if state.chosen is None else fitness[state.chosen.index]
            row_log_weight = functools.partial(self.shaping.row_log_weight, fitness)
        kernel = self._inner()
        rows: Any = functools.partial(
            attend_by_rows,
            row_precision=kernel.row_precision
            if pytree.offers(kernel, RowKernel)
            else same_for_all,
            row_log_weight=row_log_weight,
        )
        attention = self.attention
        return attention.of(rows) if pytree.offers(attention, Division) else rows


def _takes_guidance(attention: Attention) -> bool:
    """Whether an attention has the arguments that a population passes by name."""
    try:
        known = inspect.signature(attention).parameters.values()
    except ValueError:  # of a compiled function that does not say
        return True
    names = {each.name for each in known}
    any_name = any(each.kind is each.VAR_KEYWORD for each in known)
    return any_name or {"floor", "guidance"} <= names
