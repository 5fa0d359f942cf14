"""No key is used twice: JAX's own check passes over whole generations."""

import jax
import jax.numpy as jnp
import pytest
from cases import LEARNED
from often import often

import diffevo_jax as de
from diffevo_jax import pytree

N, D = 8, 3
STRATEGIES = {
    "default": de.DiffusionEvolution(3),
    "heun": de.DiffusionEvolution(3, sampler=de.samplers.Heun(eta=0.5, frozen=True)),
    "corrector": de.DiffusionEvolution(
        3, sampler=de.samplers.PredictorCorrector(num_corrections=2, frozen=True)
    ),
    "edm": de.DiffusionEvolution(
        3, sampler=de.samplers.EDM(churn=1.0), grid=de.noise.VE(0.5, 1.0)
    ),
    "drawn": de.DiffusionEvolution(
        3, de.denoisers.Population(support=de.denoisers.Drawn(5))
    ),
    "latent": de.DiffusionEvolution(
        3, de.denoisers.Population(de.kernels.RandomProjection(2))
    ),
    "monoflow": de.MonoFlow(3),
    "learned": de.replace(LEARNED, num_generations=3),
}


def sphere(x: jax.Array) -> jax.Array:
    return -jnp.sum((x - 0.5) ** 2, axis=-1)


@pytest.mark.parametrize("name", often(4, STRATEGIES))
def test_ask_and_tell_use_a_key_once(name: str) -> None:
    strategy, key = STRATEGIES[name], jax.random.key(0)
    population = jax.random.normal(jax.random.key(1), (N, D))
    with jax.debug_key_reuse(True):
        state = jax.jit(strategy.init)(jax.random.fold_in(key, 100), population)
        generation = jax.jit(lambda keys, state: told(strategy, keys, state))
        for number in range(3):
            keys = de.generation_keys(key, number)
            state = generation(keys, state)
    assert bool(state.done)


def told(strategy, keys, state):
    candidates, state = strategy.ask(keys[0], state)
    return strategy.tell(keys[2], state, candidates, sphere(candidates))[0]


@pytest.mark.parametrize("name", ["default", "learned"])
def test_evolve_uses_a_key_once(name: str) -> None:
    problem = de.problems.Function(sphere, D)
    with jax.debug_key_reuse(True):
        de.evolve(jax.random.key(0), STRATEGIES[name], problem, population_size=N)


class Reusing(de.samplers.DDIM):
    """Draws with the same key twice."""

    def update(self, key, *answered):
        moved, sigma, memory = super().update(key, *answered)
        return moved + jax.random.uniform(key, moved.shape), sigma, memory


def test_a_key_that_is_used_twice_is_noticed() -> None:
    # given a sampler that does so, traced before without the check
    strategy = de.DiffusionEvolution(3, sampler=pytree.dataclass(Reusing)())
    problem = de.problems.Function(sphere, D)
    run = lambda: de.evolve(jax.random.key(0), strategy, problem, population_size=N)
    run()
    # then the check says so
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        run()
