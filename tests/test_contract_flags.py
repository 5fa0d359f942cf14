"""The contract under each of JAX's flags that change what a program means or may do.

A process has one flag from its start. Ranks and dtypes are looked at in all cases; with the
other flags a share of the cases is, since all would take a quarter of an hour.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from cases import SAMPLERS, STRATEGIES, Case

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.testing.agreement import D, sphere

ROOT = Path(__file__).parents[1]
#: Parts of each kind: the default, one that fits and one that flows, one that asks twice.
SHARE = "(-default- or -monoflow- or gaussian_fit- or -heun- or -function-)"


class Flag(NamedTuple):
    """A flag, as an environment variable, and what the contract means under it.

    Attributes:
        variable: of the environment.
        value: of it.
        cases: by pytest's ``-k``.
        but: promises that mean what the flag forbids.
    """

    variable: str
    value: str
    cases: str = f"{SHARE} and not learned"
    but: tuple[str, ...] = ()


FLAGS = {
    "ranks": Flag("JAX_NUMPY_RANK_PROMOTION", "raise", cases=""),
    "dtypes": Flag("JAX_NUMPY_DTYPE_PROMOTION", "strict", cases=""),
    # A failed fitness that is NaN.
    "nans": Flag(
        "JAX_DEBUG_NANS", "1", but=("every_failure_acts_the_same", "no_failure_poisons")
    ),
    "leaks": Flag("JAX_CHECK_TRACER_LEAKS", "1", cases="-default- or -function-"),
    # The same key twice, to compare what it draws.
    "keys": Flag(
        "JAX_DEBUG_KEY_REUSE",
        "1",
        but=(
            "same_key_same_bits",
            "jit_equals_eager",
            "vmap_over_keys_equals_a_loop",
            "asking_draws_nothing",
        ),
    ),
    "float64": Flag("JAX_ENABLE_X64", "1"),
    "eager": Flag(
        "JAX_DISABLE_JIT", "1", cases="(-default- or -function-) and not strategy"
    ),
    # Keys under vmap, which are refused by name: tests/running/test_prng.py.
    "rbg": Flag(
        "JAX_DEFAULT_PRNG_IMPL",
        "rbg",
        but=("vmap_over_keys_equals_a_loop", "fitness_rises"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FLAGS)
def test_the_contract_is_kept_under(name: str) -> None:
    flag = FLAGS[name]
    chosen = ["test_it_keeps", *([f"({flag.cases})"] if flag.cases else [])]
    chosen += [f"not {promise}" for promise in flag.but]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-m",
        "not gpu",
    ]
    done = subprocess.run(
        [*command, "tests/test_contract.py", "-k", " and ".join(chosen)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, flag.variable: flag.value},
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def traced(name: str) -> None:
    """Trace what is costly to run."""
    key, problem = jax.random.key(0), de.problems.Function(sphere, dim=D)
    if name in STRATEGY:
        jax.eval_shape(
            lambda key: de.evolve(key, STRATEGY[name], problem, population_size=20), key
        )
    elif name in SAMPLER:
        denoise = de.oracles.gaussian_mixture([[0.0, 0.0], [1.0, 1.0]], [0.1, 0.2]).denoise
        draw = lambda key: de.sample(
            key, denoise, de.noise.VE(0.5, 1.0), SAMPLER[name], (4, 2), num_levels=3
        )
        jax.eval_shape(draw, key)
    else:
        OTHERS.get(name, control)(key)


def train(network: diffusion.MLP, recipe: diffusion.Recipe, shape: tuple) -> None:
    """Two steps of a training."""

    def trained(key: jax.Array) -> jax.Array:
        state = diffusion.init_training(key, network, recipe, shape)
        data = jnp.zeros((8, *shape))
        return diffusion.train_steps(key, network, recipe, state, data, 2, length=2)[1]

    jax.eval_shape(trained, jax.random.key(0))


def crowded(key: jax.Array) -> None:
    """Densities and distances of neighbours."""
    points = jax.random.normal(key, (12, 2))
    jax.eval_shape(lambda x: de.attention.neighbour_distance(x, 3), points)
    jax.eval_shape(de.attention.log_density, points)


def by_name(cases: list[Case]) -> dict:
    return {case.name: case.part for case in cases}


STRATEGY = {f"evolve-{name}": part for name, part in by_name(STRATEGIES).items()}
SAMPLER = {f"sample-{name}": part for name, part in by_name(SAMPLERS).items()}
BOX = de.problems.Space(jnp.zeros(3), lower=-1.0, upper=1.0)
RECIPE = diffusion.Recipe(num_steps=2, batch_size=4)
OTHERS = {
    "train-mlp": lambda key: train(diffusion.MLP((4,)), RECIPE, (2,)),
    "train-unet": lambda key: train(
        diffusion.UNet((8,)), de.replace(RECIPE, trust=0.5), (8, 8, 1)
    ),
    "crowding": crowded,
    "space": lambda key: BOX.decode(BOX.sample(key, 4)),
}


def control(key: jax.Array) -> None:
    """An environment of another package, whose own promotions are let be."""
    problem = de.problems.Control("CartPole-v1", de.problems.MLP((8,)))
    weights = problem.space.decode(jnp.zeros((2, problem.space.dim)))
    jax.eval_shape(lambda key: problem.evaluate(key, (), weights), key)


SLOW = [pytest.param("control", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", [*STRATEGY, *SAMPLER, *OTHERS, *SLOW])
def test_nothing_is_promoted_silently(name: str) -> None:
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        traced(name)


def test_a_training_of_any_length_has_no_nan_in_it() -> None:
    # given fewer steps than a chunk has
    data = jax.random.normal(jax.random.key(0), (64, 2))
    recipe = diffusion.Recipe(num_steps=3, batch_size=8)
    with jax.debug_nans(True):
        trained = diffusion.train(jax.random.key(1), data, diffusion.MLP((4,)), recipe)
    assert trained.losses.shape == (3,)
    assert jnp.isfinite(trained.losses).all()


@pytest.mark.parametrize(
    "strategy", [de.DiffusionEvolution(2), de.MonoFlow(2)], ids=["default", "monoflow"]
)
def test_a_broken_candidate_makes_no_nan(strategy: de.Strategy) -> None:
    # given a fitness that failed as -inf, and a candidate that the caller broke
    key, points = jax.random.key(0), jnp.ones((6, 2)).at[0].set(jnp.inf)
    state = de.init(strategy, key, jax.random.normal(key, (6, 2)))
    given = points, jnp.arange(6.0).at[1].set(-jnp.inf)
    with jax.debug_nans(True):
        told, info = jax.jit(de.tell)(strategy, key, state, *given)
    assert int(info.num_failed) == 2
    assert jnp.isfinite(told.population).all()
