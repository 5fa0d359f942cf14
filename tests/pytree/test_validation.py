"""Numbers out of their range: refused where they are known, clipped where traced."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from often import often

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.pytree import validation

X = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
FITNESS = -((X - 0.7) ** 2).sum(axis=1)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
TINY, LARGEST = (float(getattr(np.finfo(np.float32), n)) for n in ("tiny", "max"))


def with_eta(eta: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(5, sampler=de.samplers.DDIM(eta))


def with_temperature(temperature: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(
        5, denoiser=de.denoisers.Population(shaping=de.shaping.Standardized(temperature))
    )


def with_kappa(kappa: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(
        5, denoiser=de.denoisers.Population(kernel=de.kernels.Gaussian(kappa))
    )


def with_strength(strength: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(
        5, denoiser=de.denoisers.Population(conditions=(de.conditions.Density(strength),))
    )


def with_correction(correction: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(
        5,
        denoiser=de.denoisers.Population(
            memory=de.denoisers.Archive(1, correction=correction)
        ),
    )


def with_sigma_min(sigma_min: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(5, grid=de.noise.EDM(sigma_min, sigma_max=30.0))


def with_level(level: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(5, grid=de.noise.Levels([8.0, 4.0, 2.0, 1.0, level]))


def with_target(value: Any) -> de.DiffusionEvolution:
    target = de.conditions.Target(lambda x, measures: x, [0.0, value])
    return de.DiffusionEvolution(5, denoiser=de.denoisers.Population(conditions=(target,)))


#: What makes a strategy of a number, an illegal number, and its name and range.
ILLEGAL = {
    "eta above": (with_eta, 2.0, r"DDIM\.eta: got 2\.0, want .*<= 1"),
    "eta below": (with_eta, -1.0, r"DDIM\.eta: got -1\.0, want .*>= 0"),
    "eta nan": (with_eta, np.nan, r"DDIM\.eta: got nan"),
    "temperature 0": (with_temperature, 0.0, r"Standardized\.temperature: got 0\.0, .*> 0"),
    "temperature < 0": (with_temperature, -3.0, r"Standardized\.temperature: got -3\.0"),
    "temperature inf": (with_temperature, np.inf, r"Standardized\.temperature: got inf"),
    "kappa": (with_kappa, 1e7, r"Gaussian\.kappa: got 10000000\.0, want .*<= 1e\+06"),
    "condition": (with_strength, -1.0, r"Density\.strength: got -1\.0, want .*>= 0"),
    "archive": (with_correction, 1.5, r"Archive.correction: got 1\.5, want .*<= 1"),
    "level nan": (with_level, np.nan, r"Levels\.values: got nan, want a number > 0"),
    "level 0": (with_level, 0.0, r"Levels\.values: got 0\.0, want a number > 0"),
    "target nan": (with_target, np.nan, r"Target\.value: got nan, want a finite number"),
    "target inf": (with_target, -np.inf, r"Target\.value: got -inf, want a finite number"),
    "sigma equal": (with_sigma_min, 30.0, r"EDM\.sigma_min: got 30\.0"),
    "sigma order": (with_sigma_min, 40.0, r"EDM\.sigma_min: got 40\.0"),
}
#: The same with the legal number that stands for it if it is traced.
CLIPPED = {
    "eta above": (with_eta, 2.0, 1.0),
    "eta below": (with_eta, -1.0, 0.0),
    "eta nan": (with_eta, np.nan, 0.0),
    "temperature 0": (with_temperature, 0.0, TINY),
    "temperature < 0": (with_temperature, -3.0, TINY),
    "temperature inf": (with_temperature, np.inf, LARGEST),
    "kappa": (with_kappa, 1e7, 1e6),
    "condition": (with_strength, -1.0, 0.0),
    "archive": (with_correction, 1.5, 1.0),
    "level nan": (with_level, np.nan, TINY),
    "level 0": (with_level, 0.0, TINY),
    "target nan": (with_target, np.nan, -LARGEST),
    "target inf": (with_target, np.inf, LARGEST),
}


def generation(strategy: de.DiffusionEvolution) -> tuple[Any, de.Info]:
    key = jax.random.key(0)
    state = strategy.init(key, X)
    candidates, state = strategy.ask(key, state)
    return strategy.tell(key, state, candidates, FITNESS)


@functools.cache
def compiled(make: Any) -> Any:
    run = jax.vmap(lambda number: generation(make(number)))
    return jax.jit(run, compiler_options=QUICK)


def traced(make: Any, *numbers: Any) -> tuple[Any, de.Info]:
    """One generation with each of some numbers, all of them traced."""
    return compiled(make)(jnp.array(numbers))


@pytest.mark.parametrize(("make", "number", "message"), ILLEGAL.values(), ids=ILLEGAL)
def test_a_number_out_of_its_range_is_named(make, number, message) -> None:
    with pytest.raises(ValueError, match=message):
        de.init(make(number), jax.random.key(0), X)


@pytest.mark.parametrize(
    ("make", "number", "legal"), often(6, CLIPPED.values()), ids=CLIPPED
)
def test_traced_it_is_clipped_and_counted(make, number, legal) -> None:
    states, infos = traced(make, number, legal)
    wrong, right = (jax.tree.map(lambda leaf, n=n: leaf[n], states) for n in range(2))
    assert de.equal(wrong, right)
    assert jnp.isfinite(wrong.population).all()
    assert infos.num_clipped.tolist() == [1, 0]


def test_traced_levels_in_the_wrong_order_are_put_right_and_counted() -> None:
    grid = lambda ends: de.DiffusionEvolution(5, grid=de.noise.EDM(*ends))
    states, infos = traced(grid, (30.0, 0.03), (0.03, 30.0))
    assert jnp.array_equal(*states.population)
    assert infos.num_clipped.tolist() == [1, 0]


def test_a_level_above_the_one_before_is_put_right_and_counted() -> None:
    states, infos = traced(with_level, 3.0, 1.0)
    assert jnp.array_equal(*states.population)
    assert infos.num_clipped.tolist() == [1, 0]


def test_the_numbers_of_a_problem_are_counted_too() -> None:
    @jax.jit
    def run(temperature: jax.Array) -> de.Info:
        problem = de.problems.Landscape("beale", temperature=temperature)
        strategy, key = de.DiffusionEvolution(2), jax.random.key(0)
        return de.evolve(key, strategy, problem, population_size=4).history

    assert run(-1.0).num_clipped.tolist() == [1, 1]
    assert run(np.nan).num_failed.tolist() == [0, 0]
    assert run(1.0).num_clipped.tolist() == [0, 0]


def test_an_array_of_numbers_that_may_be_infinite_keeps_its_infinities() -> None:
    weights = jax.jit(lambda x: validation.clipped(oracle(x)))(jnp.array([0.0, -jnp.inf]))
    assert weights[0].log_weights.tolist() == [0.0, -np.inf]
    assert int(weights[1]) == 0
    pytree.validate(oracle(np.array([0.0, -np.inf])))
    with pytest.raises(ValueError, match=r"GaussianMixture\.log_weights: got .*nan"):
        pytree.validate(oracle(np.array([0.0, np.nan])))


def oracle(log_weights: Any) -> de.oracles.GaussianMixture:
    mixture = de.oracles.gaussian_mixture([[0.0], [1.0]], 1.0)
    return de.replace(mixture, log_weights=log_weights)


def test_every_wrong_number_is_counted() -> None:
    def many(number: jax.Array) -> de.DiffusionEvolution:
        return de.DiffusionEvolution(
            5,
            denoiser=de.denoisers.Population(
                kernel=de.kernels.Gaussian(-number),
                shaping=de.shaping.Local(-number, -number),
                conditions=(de.conditions.Density(-number, -number),),
            ),
            sampler=de.samplers.DDIM(1 + number),
        )

    _, info = traced(many, 1.0)
    assert info.num_clipped.tolist() == [6]


def test_legal_numbers_are_left_alone() -> None:
    legal = with_eta(0.3)
    same, count = validation.clipped(legal)
    assert de.equal(same, legal)
    assert int(count) == 0
    info = jax.jit(lambda: generation(legal)[1], compiler_options=QUICK)()
    assert int(info.num_clipped) == 0


@pytest.mark.parametrize("number", [0.0, 1.0, 1e-30, LARGEST])
def test_the_ends_of_a_range_are_legal(number) -> None:
    @pytree.dataclass
    class Part:
        value: pytree.Number = pytree.number(low=0.0)

    part, count = jax.jit(lambda number: validation.clipped(Part(number)))(number)
    assert float(part.value) == np.float32(number)
    assert int(count) == 0


@pytest.mark.parametrize("bound", [0.0, 1.0, -1.0, 1e6])
def test_what_must_be_above_a_bound_becomes_the_next_number_above(bound) -> None:
    @pytree.dataclass
    class Part:
        value: pytree.Number = pytree.number(above=bound)

    part, count = jax.jit(lambda number: validation.clipped(Part(number)))(bound)
    assert bound < float(part.value) <= bound + max(TINY, 2e-7 * abs(bound))
    assert int(count) == 1
