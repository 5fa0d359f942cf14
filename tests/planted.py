"""Broken strategies: each breaks one promise, to see that it is noticed."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import promises

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.strategies import DiffusionEvolution, DiffusionEvolutionState


def broken(**methods: Callable[..., Any]) -> type[DiffusionEvolution]:
    """A Diffusion Evolution with some methods replaced."""
    return pytree.dataclass(type("Broken", (DiffusionEvolution,), methods))


def tell_with(change: Callable[..., Any]) -> type[DiffusionEvolution]:
    """A strategy whose ``tell`` returns ``change(self, before, after, info, ...)``."""

    def tell(
        self: Any, key: Any, state: Any, x: Any, fitness: Any, m: Any = (), v: Any = None
    ) -> Any:
        after, info = DiffusionEvolution.tell(self, key, state, x, fitness, m, v)
        return change(self, key, state, after, info, x, fitness)

    return broken(tell=tell)


def _population(change: Callable[..., Any]) -> type[DiffusionEvolution]:
    def changed(self: Any, key: Any, state: Any, after: Any, info: Any, *rest: Any) -> Any:
        moved = change(self, key, state, after, *rest)
        return de.replace(after, population=moved), info

    return tell_with(changed)


def _weak_state(self: Any, key: Any, population: Any) -> DiffusionEvolutionState:
    state = DiffusionEvolution.init(self, key, population)
    return de.replace(state, best_fitness=jnp.asarray(-1.0e9))


def _perturbed_ask(self: Any, key: Any, state: Any) -> Any:
    candidates, state = DiffusionEvolution.ask(self, key, state)
    return candidates * (1 + 1e-7), state


def _vector_info(self: Any, key: Any, state: Any, after: Any, info: Any, *rest: Any) -> Any:
    return after, de.replace(info, sigma=after.population)


def _eager_only(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    traced = isinstance(after.population, jax.core.Tracer)
    return after.population + (0.01 if traced else 0.0)


def _number_as_structure(self: Any, key: Any, state: Any) -> Any:
    candidates, state = DiffusionEvolution.ask(self, key, state)
    grown = (*state.memory, self.sampler.eta)
    return candidates, de.replace(state, memory=grown)


def _mixes_runs(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    return after.population + (0.01 if _is_batched(after.population) else 0.0)


def _is_batched(value: Any) -> bool:
    return "BatchTracer" in type(value).__name__


def _mixes_settings(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    shift = 0.01 if any(map(_is_batched, jax.tree.leaves(self))) else 0.0
    return after.population + shift


def _clock(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    return after.population + 1e-3 * (time.perf_counter() % 1.0)


def _absolute_fitness(self: Any, key: Any, state: Any, after: Any, x: Any, f: Any) -> Any:
    return after.population + 0.1 * f[:, None]


def _feels_the_failure(self: Any, key: Any, state: Any, after: Any, x: Any, f: Any) -> Any:
    return after.population + 0.01 * jnp.any(jnp.isnan(f))


def _moves_if_all_fail(self: Any, key: Any, state: Any, after: Any, x: Any, f: Any) -> Any:
    return jnp.where(jnp.any(jnp.isfinite(f)), after.population, after.population + 1e-3)


def _forgets(self: Any, key: Any, state: Any, after: Any, info: Any, x: Any, f: Any) -> Any:
    best = jnp.argmax(f)
    return de.replace(after, best_solution=x[best], best_fitness=f[best]), info


def _divides_by_spread(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    centred = after.population - jnp.mean(after.population, axis=0)
    return centred / jnp.std(after.population, axis=0)


def _walks_on(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    return after.population + 1e-3


def _minimises(
    self: Any, key: Any, state: Any, x: Any, fitness: Any, m: Any = (), v: Any = None
) -> Any:
    return DiffusionEvolution.tell(self, key, state, x, -fitness, m, v)


def _calls_the_host(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    shape = jax.ShapeDtypeStruct(after.population.shape, after.population.dtype)
    return jax.pure_callback(np.asarray, shape, after.population)


#: Each promise with a strategy that breaks it.
PLANTED: dict[Callable[..., None], type[DiffusionEvolution]] = {
    promises.state_keeps_its_types: broken(init=_weak_state),
    promises.info_is_scalar: tell_with(_vector_info),
    promises.first_ask_returns_the_population: broken(ask=_perturbed_ask),
    promises.jit_equals_eager: _population(_eager_only),
    promises.nothing_is_traced_twice: broken(ask=_number_as_structure),
    promises.vmap_over_keys_equals_a_loop: _population(_mixes_runs),
    promises.vmap_over_any_number_equals_a_loop: _population(_mixes_settings),
    promises.same_key_same_bits: _population(_clock),
    promises.a_constant_does_not_matter: _population(_absolute_fitness),
    promises.every_failure_acts_the_same: _population(_feels_the_failure),
    promises.failure_of_all_changes_no_individual: _population(_moves_if_all_fail),
    promises.best_is_never_forgotten: tell_with(_forgets),
    promises.small_sizes_work: _population(_divides_by_spread),
    promises.nothing_happens_after_the_end: _population(_walks_on),
    promises.fitness_rises: broken(tell=_minimises),
    promises.one_loop_and_no_callback: _population(_calls_the_host),
}
