"""This library's Diffusion Evolution under the name and the arguments of evosax's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import metrics_fn as evosax_metrics
from evosax.core.fitness_shaping import identity_fitness_shaping_fn

from diffevo_jax import denoisers, kernels, noise, pytree, strategies
from diffevo_jax.base import PyTree, Strategy
from diffevo_jax.interop.evosax.algorithms import Algorithm, Params


@pytree.dataclass
class FitnessMapping:
    """evosax's ``fitness_mapping``, from costs to weights, as a shaping.

    Args:
        mapping: from costs ``(N,)`` to weights ``(N,)`` of 0 and more; static.
    """

    mapping: Callable[[jax.Array], jax.Array] = pytree.static()

    def log_weight(self, fitness: jax.Array, valid: jax.Array | None = None) -> jax.Array:
        """Map finite fitness ``(N,)`` to log-weights ``(N,)``."""
        weight = self.mapping(-fitness)
        known = jnp.isfinite(weight) & (weight > 0)
        return jnp.where(known, jnp.log(jnp.where(known, weight, 1.0)), -jnp.inf)


@pytree.dataclass
class DiffusionEvolutionParams(Params):
    """Parameters with evosax's names beside our own: ``std_m`` and ``scale_factor``."""

    def replace(self, **changes: PyTree) -> "DiffusionEvolutionParams":
        """As :meth:`Params.replace`; ``std_m`` is ``sampler.eta``."""
        names = {"std_m": "sampler.eta", "scale_factor": "scale"}
        renamed = {names.get(name, name): value for name, value in changes.items()}
        return super().replace(**renamed)  # type: ignore[return-value]

    @property
    def std_m(self) -> Any:
        """Share of noise that a step puts back."""
        return self.strategy.sampler.eta  # type: ignore[attr-defined]

    @property
    def scale_factor(self) -> Any:
        """Units of a solution per unit deviation; None: those of the first population."""
        return self.scale


class DiffusionEvolution(Algorithm):
    """In the place of ``evosax.algorithms.DiffusionEvolution``: change the import.

    The sums are in log space, so that it works in any dimension and with failed
    evaluations, and the defaults are this library's.

    Args:
        population_size: N.
        solution: an example of a solution, a pytree.
        num_generations: evaluations of a population, that of ``init`` included.
        fitness_mapping: as in evosax, from costs to weights; None takes our default.
        alpha_schedule: as in evosax, ``alpha_schedule(num_step=T)`` in forward time; None
            takes our default grid.
        num_latent_dims: measure neighbourhoods in a random projection; None takes our
            default kernel.
        fitness_shaping_fn: of evosax.
        metrics_fn: of evosax.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.interop.evosax import DiffusionEvolution as ES
        >>> es = ES(population_size=16, solution=jnp.zeros(2), num_generations=10)
        >>> float(es.default_params.replace(std_m=0.5).std_m)
        0.5
    """

    def __init__(
        self,
        population_size: int,
        solution: PyTree,
        num_generations: int = 128,
        fitness_mapping: Callable | None = None,
        alpha_schedule: Callable | None = None,
        num_latent_dims: int | None = None,
        fitness_shaping_fn: Callable = identity_fitness_shaping_fn,
        metrics_fn: Callable = evosax_metrics,
    ) -> None:
        answering: dict[str, Any] = {}
        others: dict[str, Any] = {}
        if fitness_mapping is not None:
            answering["shaping"] = FitnessMapping(fitness_mapping)
        if num_latent_dims is not None:
            answering["kernel"] = kernels.RandomProjection(num_latent_dims)
        if alpha_schedule is not None:
            answering["guidance"] = 0.0  # it loses where the noise begins at much more
            alphas = alpha_schedule(num_step=num_generations)
            others["grid"] = noise.from_alpha_bars(jnp.clip(alphas, 0.0, 1.0))
        strategy = strategies.DiffusionEvolution(
            num_generations, denoisers.Population(**answering), **others
        )
        super().__init__(
            population_size, solution, strategy, fitness_shaping_fn, metrics_fn
        )

    def _params(self, strategy: Strategy, scale: float | None) -> Params:
        return DiffusionEvolutionParams(strategy, scale)
