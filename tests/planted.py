"""Broken parts: each breaks one promise, to see that it is noticed."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.strategies import DiffusionEvolution, DiffusionEvolutionState
from diffevo_jax.testing import (
    Promise,
    denoisers,
    grids,
    kernels,
    problems,
    samplers,
    shapings,
    spaces,
    strategies,
)


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


@jax.custom_batching.custom_vmap
def _mixed(value: Any) -> Any:
    """The value, or more where there are several."""
    return value


@_mixed.def_vmap
def _(size: int, batched: list[bool], value: Any) -> tuple[Any, bool]:
    return value + 0.01, True


def _mixes_runs(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    return _mixed(after.population)


def _mixes_settings(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    return after.population + _mixed(self.sampler.eta) - self.sampler.eta


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


def _divides_by_other_dimensions(
    self: Any, key: Any, state: Any, after: Any, *rest: Any
) -> Any:
    return after.population * jnp.float32(0.0) / (after.population.shape[1] - 1.0)


def _divides_by_other_generations(
    self: Any, key: Any, state: Any, after: Any, *rest: Any
) -> Any:
    return after.population * jnp.float32(0.0) / (self.num_generations - 1.0)


def _walks_on(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    return after.population + 1e-3


def _minimises(
    self: Any, key: Any, state: Any, x: Any, fitness: Any, m: Any = (), v: Any = None
) -> Any:
    return DiffusionEvolution.tell(self, key, state, x, -fitness, m, v)


def _hears_of_no_violation(
    self: Any, key: Any, state: Any, x: Any, fitness: Any, m: Any = (), v: Any = None
) -> Any:
    state, info = DiffusionEvolution.tell(self, key, state, x, fitness, m)
    return de.replace(state, best_violation=jnp.maximum(jnp.min(v), 0.0)), info


def _calls_the_host(self: Any, key: Any, state: Any, after: Any, *rest: Any) -> Any:
    shape = jax.ShapeDtypeStruct(after.population.shape, after.population.dtype)
    return jax.pure_callback(np.asarray, shape, after.population)


STRATEGIES: dict[Promise, type[DiffusionEvolution]] = {
    strategies.state_keeps_its_types: broken(init=_weak_state),
    strategies.info_is_scalar: tell_with(_vector_info),
    strategies.first_ask_returns_the_population: broken(ask=_perturbed_ask),
    strategies.jit_equals_eager: _population(_eager_only),
    strategies.nothing_is_traced_twice: broken(ask=_number_as_structure),
    strategies.vmap_over_keys_equals_a_loop: _population(_mixes_runs),
    strategies.vmap_over_any_number_equals_a_loop: _population(_mixes_settings),
    strategies.same_key_same_bits: _population(_clock),
    strategies.a_constant_does_not_matter: _population(_absolute_fitness),
    strategies.every_failure_acts_the_same: _population(_feels_the_failure),
    strategies.failure_of_all_changes_no_individual: _population(_moves_if_all_fail),
    strategies.best_is_never_forgotten: tell_with(_forgets),
    strategies.the_infeasible_are_never_the_best: broken(tell=_hears_of_no_violation),
    strategies.one_individual_is_enough: _population(_divides_by_spread),
    strategies.one_dimension_is_enough: _population(_divides_by_other_dimensions),
    strategies.one_generation_is_enough: _population(_divides_by_other_generations),
    strategies.nothing_happens_after_the_end: _population(_walks_on),
    strategies.fitness_rises: broken(tell=_minimises),
    strategies.one_loop_and_no_callback: _population(_calls_the_host),
}


def part(base: type, **methods: Any) -> Any:
    """A part like another, with some methods replaced."""
    return pytree.dataclass(type("Broken", (base,), methods))()


def _denoise(change: Callable[..., Any]) -> Any:
    """A population whose answers are changed."""
    original = de.denoisers.Population

    def denoise(self: Any, state: Any, y: Any, sigma: Any) -> de.Estimate:
        estimate = original.denoise(self, state, y, sigma)
        return de.replace(estimate, clean=change(self, state, estimate, y, sigma))

    return part(original, denoise=denoise)


def _always_sound(self: Any, state: Any, y: Any, sigma: Any) -> de.Estimate:
    estimate = de.denoisers.Population.denoise(self, state, y, sigma)
    return de.replace(estimate, sound=True)


def _grows(self: Any, key: Any, state: Any, evaluated: Any) -> Any:
    learnt = de.denoisers.Population.learn(self, key, state, evaluated)
    grown = jnp.append(learnt.evidence.condition_log_weight, 0.0)
    evidence = de.replace(learnt.evidence, condition_log_weight=grown)
    return de.pytree.replace(learnt, evidence=evidence)


def _feels(self: Any, key: Any, state: Any, evaluated: Any) -> Any:
    learnt = de.denoisers.Population.learn(self, key, state, evaluated)
    bias = 0.1 * jnp.any(jnp.isnan(evaluated.fitness))
    return de.replace(learnt, log_weight=learnt.log_weight.at[0].add(bias))


def _step(change: Callable[..., Any]) -> Any:
    """A DDIM whose steps end elsewhere."""
    original = de.samplers.DDIM

    def update(self: Any, key: Any, y: Any, memory: Any, clean: Any, *grid: Any) -> Any:
        moved, sigma, memory = original.update(self, key, y, memory, clean, *grid)
        return change(self, key, moved, sigma, memory, y)

    return part(original, update=update)


def _noise_in_query(self: Any, key: Any, y: Any, memory: Any, sigmas: Any, k: Any) -> Any:
    noisy = y + 0.1 * jax.random.normal(key, y.shape)
    return jnp.where(k > 0, noisy, y), sigmas[k], memory


def _mixes(self: Any, key: Any, y: Any, sigma: Any, memory: Any, before: Any) -> Any:
    return y + _mixed(self.eta) - self.eta, sigma, memory


def _eager(value: Any) -> Any:
    return value + (0.0 if isinstance(value, jax.core.Tracer) else 0.01)


def _as_sampled(self: Any, state: Any, points: Any) -> Any:
    return points - jnp.mean(points, axis=0)


def _axes_of_all(self: Any, state: Any, points: Any, log_weight: Any) -> Any:
    return de.kernels.principal_axes(points, jnp.zeros(len(points)), self.dim)


def _without_weight(self: Any, state: Any, points: Any, log_weight: Any) -> Any:
    weight = jnp.exp(log_weight) / jnp.sum(jnp.exp(log_weight))
    return state * (jnp.sum(weight) > 0.5) + jnp.sum(weight) - 1.0


def _log_weight(change: Callable[..., Any]) -> Any:
    """Boltzmann's weights, changed."""

    def log_weight(self: Any, fitness: Any, valid: Any = None) -> Any:
        plain = de.shaping.Boltzmann.log_weight(self, fitness, valid)
        return change(self, plain, fitness, valid)

    return part(de.shaping.Boltzmann, log_weight=log_weight)


def _levels(change: Callable[..., Any]) -> Any:
    """A cosine grid, changed."""

    def sigmas(self: Any, num_levels: int) -> Any:
        return change(self, de.noise.Cosine.sigmas(self, num_levels))

    return part(de.noise.Cosine, sigmas=sigmas)


def _evaluating(change: Callable[..., Any]) -> Any:
    """A problem whose evaluations are changed."""

    def evaluate(self: Any, key: Any, state: Any, solutions: Any) -> Any:
        evaluation, _ = de.problems.Function.evaluate(self, key, state, solutions)
        return change(evaluation, key), state

    methods = {"evaluate": evaluate, "__init__": de.problems.Function.__init__}
    made = pytree.dataclass(type("Broken", (de.problems.Function,), methods))
    return made(lambda x: -jnp.sum(x**2), dim=3)


def _forgets_the_scale(self: Any, solutions: Any) -> Any:
    return self.layout.ravel(solutions)


def _scaled_problem() -> Any:
    methods = {"encode": _forgets_the_scale, "__init__": de.problems.Space.__init__}
    space = pytree.dataclass(type("Broken", (de.problems.Space,), methods))
    return de.problems.Function(jnp.sum, space=space(jnp.zeros(3), scale=3.0))


def _space(**methods: Any) -> Any:
    """A space of a float and a category, with other methods."""
    methods["__init__"] = de.problems.Space.__init__
    made = pytree.dataclass(type("Broken", (de.problems.Space,), methods))
    variables = {"x": de.problems.Range(0.0, 1.0), "k": de.problems.Categorical((1, 2))}
    return made(variables)


def _decodes(change: Callable[[Any, jax.Array], jax.Array]) -> Any:
    def decode(self: Any, x: jax.Array) -> Any:
        return de.problems.Space.decode(self, change(self, x))

    return _space(decode=decode)


#: Each promise with a part that breaks it.
PLANTED: dict[Promise, Any] = {
    **{promise: mutant(4) for promise, mutant in STRATEGIES.items()},
    denoisers.state_keeps_its_types: part(de.denoisers.Population, learn=_grows),
    denoisers.every_point_is_answered: _denoise(lambda self, state, e, y, s: e.clean[:1]),
    denoisers.every_level_is_answered: _denoise(lambda self, state, e, y, s: y / s**20),
    denoisers.other_points_are_answered: _denoise(
        lambda self, state, e, y, s: e.clean[: state.size]
    ),
    denoisers.order_does_not_matter: _denoise(
        lambda self, state, e, y, s: e.clean.at[0].add(0.1)
    ),
    denoisers.every_failure_acts_the_same: part(de.denoisers.Population, learn=_feels),
    denoisers.failure_of_all_is_not_sound: part(
        de.denoisers.Population, denoise=_always_sound
    ),
    spaces.a_sample_needs_no_repair: _space(
        sample=lambda self, key, count: jnp.full((count, 3), 5.0)
    ),
    spaces.every_point_is_a_solution: _space(
        repair=lambda self, x: jnp.clip(x, -self.bound_scale, 1.0)
    ),
    spaces.variables_come_back: _decodes(lambda self, x: 0.9 * x),
    spaces.python_values_come_back: _space(
        from_python=lambda self, rows: self.decode(jnp.zeros((len(rows), 3)))
    ),
    samplers.rounds_are_counted: part(
        de.samplers.DDIM, num_rounds=lambda self, levels: max(levels - 1, 1)
    ),
    samplers.memory_keeps_its_types: _step(lambda self, key, y, s, m, o: (y, s, (s,))),
    samplers.asking_draws_nothing: part(de.samplers.DDIM, query=_noise_in_query),
    samplers.walks_to_the_end: _step(lambda self, key, y, s, m, o: (o, s, m)),
    samplers.vmap_over_any_number_equals_a_loop: _step(_mixes),
    samplers.jit_equals_eager: _step(lambda self, key, y, s, m, o: (_eager(y), s, m)),
    kernels.a_point_has_its_own_features: part(de.kernels.Gaussian, features=_as_sampled),
    kernels.the_weightless_teach_nothing: part(
        de.kernels.PrincipalComponents, adapt=_axes_of_all
    ),
    kernels.failure_of_all_is_survived: part(
        de.kernels.RandomProjection, adapt=_without_weight
    ),
    kernels.rows_have_precisions: part(
        de.kernels.Perplexity,
        row_precision=lambda self, squares, mask: 1.0 / jnp.mean(squares, axis=1),
    ),
    shapings.fitness_of_any_size_is_weighed: _log_weight(
        lambda self, plain, fitness, valid: fitness - jnp.mean(fitness) * fitness
    ),
    shapings.the_better_weigh_more: _log_weight(lambda self, plain, *rest: -plain),
    shapings.every_failure_acts_the_same: _log_weight(
        lambda self, plain, fitness, valid: plain / jnp.all(valid)
    ),
    grids.levels_fall: _levels(lambda self, sigmas: sigmas[::-1]),
    grids.one_level_is_the_noisiest: _levels(lambda self, sigmas: sigmas * len(sigmas)),
    problems.solutions_are_decoded_and_encoded: _scaled_problem(),
    problems.everyone_is_evaluated: _evaluating(
        lambda evaluation, key: de.replace(evaluation, fitness=evaluation.fitness[:, None])
    ),
    problems.same_key_same_bits: _evaluating(
        lambda evaluation, key: de.replace(
            evaluation, fitness=evaluation.fitness + time.perf_counter() % 1.0
        )
    ),
}
