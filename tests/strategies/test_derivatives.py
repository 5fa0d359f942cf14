"""Derivatives of an outcome by the numbers of a strategy: finite, and right."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import attention, pytree
from diffevo_jax.attention import covariance
from diffevo_jax.denoisers import GaussianFit, Mixture, Population
from diffevo_jax.diffusion import MLP, OnlineNetwork
from diffevo_jax.testing.agreement import sphere

#: Generations, the last step of which is frozen: its level repeats.
GENERATIONS = 4
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}


def outcome(strategy: Any, start: jax.Array, height: jax.Array, failed: jax.Array) -> Any:
    """A number that depends on a whole run, of ``height`` times a sphere."""
    state = strategy.init(jax.random.key(0), start)

    def advance(state: Any, generation: jax.Array) -> tuple[Any, None]:
        ask, _, tell = de.generation_keys(jax.random.key(1), generation)
        candidates, state = strategy.ask(ask, state)
        fitness = jnp.where(failed, jnp.nan, height * sphere(candidates))
        return strategy.tell(tell, state, candidates, fitness)[0], None

    state, _ = jax.lax.scan(advance, state, jnp.arange(GENERATIONS))
    return jnp.sum(jax.random.normal(jax.random.key(2), start.shape) * state.population)


@functools.cache
def slopes() -> Any:
    return jax.jit(jax.grad(outcome), compiler_options=QUICK)


def evolution(*parts: Any, **others: Any) -> de.DiffusionEvolution:
    return de.DiffusionEvolution(GENERATIONS, *parts, **others)


STRATEGIES = {
    "several": de.DiffusionEvolution.for_several(GENERATIONS),
    "monoflow": de.MonoFlow(GENERATIONS),
    "consensus": de.Consensus(
        GENERATIONS, Population(de.kernels.Gaussian(0.3)), rate=0.6, noise=0.4, fresh=0.1
    ),
    "default": evolution(),
    "flat kernel": evolution(Population(de.kernels.Gaussian(kappa=0.0))),
    "floor": evolution(Population(de.kernels.Gaussian(floor=1e-9))),
    "fit": evolution(GaussianFit()),
    "diagonal fit": evolution(GaussianFit(diagonal=True)),
    "local": evolution(Population(shaping=de.shaping.Local())),
    "share": evolution(Population(shaping=de.shaping.TargetESS(0.3))),
    "archive": evolution(Population(memory=de.denoisers.Archive(1))),
    "frozen": evolution(sampler=de.samplers.Heun(eta=0.5, frozen=True)),
    "ancestral": evolution(sampler=de.samplers.Ancestral(), grid=de.noise.Cosine()),
    "mixture": evolution(Mixture(Population(fade=2.0), crossover=0.3)),
    "competition": evolution(
        Population(
            shaping=de.shaping.DominatedNovelty(1, measure=lambda x, measures: x[:, 0]),
            memory=de.denoisers.Elites(4),
        )
    ),
}
#: These draw by weight, so that their slope is not that of the weights.
DRAWN = {
    "network": evolution(
        OnlineNetwork(MLP((4,)), conditions=(de.conditions.Fitness(),), num_steps=3)
    ),
}
DEFAULT = ("default",)
#: Size, dimension, height of the fitness, whether the first individual fails.
SITUATIONS = {
    "a sphere": (8, 3, 1.0, False),
    "no slope": (8, 3, 0.0, False),
    "one has failed": (8, 3, 1.0, True),
    "one individual": (1, 3, 1.0, False),
    "more dimensions than individuals": (4, 16, 1.0, False),
    "one dimension": (2, 1, 1.0, False),
}
CASES = [
    pytest.param(
        strategy,
        situation,
        id=f"{name}, {what}",
        marks=() if name in DEFAULT and situation[:2] == (8, 3) else pytest.mark.slow,
    )
    for name, strategy in {**STRATEGIES, **DRAWN}.items()
    for what, situation in SITUATIONS.items()
]


@pytest.mark.parametrize(("strategy", "situation"), CASES)
def test_every_slope_is_finite(strategy: Any, situation: Any) -> None:
    size, dim, height, fails = situation
    start = np.random.default_rng(0).normal(size=(size, dim)).astype(np.float32)
    failed = (np.arange(size) == 0) & fails
    given = slopes()(pytree.strong(strategy), start, np.float32(height), failed)
    for path, slope in jax.tree_util.tree_flatten_with_path(given)[0]:
        assert jnp.isfinite(slope).all(), jax.tree_util.keystr(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_slope_is_that_of_the_outcome(name: str) -> None:
    # given numbers inside their ranges, in float64
    strategy = STRATEGIES[name]
    if name not in ("monoflow", "consensus", "ancestral"):
        strategy = de.replace(strategy, eta=0.6)
    if name not in ("monoflow", "fit", "diagonal fit", "mixture"):
        strategy = de.replace(strategy, fade=0.5)
    if name == "flat kernel":
        strategy = de.replace(strategy, kappa=0.3)
    with jax.enable_x64(True):
        strategy = pytree.strong(strategy)
        start = np.random.default_rng(0).normal(size=(8, 3))
        failed = np.arange(8) == 2
        given = (start, np.float64(1.0), failed)
        slope = jax.jit(jax.grad(outcome), compiler_options=QUICK)(strategy, *given)
        value = jax.jit(outcome, compiler_options=QUICK)
        leaves, structure = jax.tree.flatten(strategy)
        for place, (leaf, got) in enumerate(
            zip(leaves, jax.tree.leaves(slope), strict=True)
        ):

            def at(
                number: float,
                place: int = place,
                leaves: Any = leaves,
                tree: Any = structure,
            ) -> float:
                changed = [*leaves[:place], jnp.asarray(number), *leaves[place + 1 :]]
                return float(value(jax.tree.unflatten(tree, changed), *given))

            # Wide, since a bisection ends at 1e-5 of its number; of fourth order therefore.
            # With fading guidance frozen answers bend more, and have no bisection.
            step = (5e-4 if name == "frozen" else 4e-3) * abs(float(leaf))
            near, far = (
                (at(leaf + many * step) - at(leaf - many * step)) / (2 * many * step)
                for many in (1, 2)
            )
            want = (4 * near - far) / 3
            np.testing.assert_allclose(got, want, rtol=0.03, atol=2e-3 * max(1, abs(want)))


def test_a_bisection_has_the_slope_of_its_root() -> None:
    def root(square: jax.Array) -> jax.Array:
        low, high = jnp.zeros_like(square), jnp.full_like(square, 2.0)
        return attention.bisect(lambda x: square - x**2, low, high, 24)

    inside = jnp.array([0.25, 1.0, 2.25])
    slope = jax.vmap(jax.grad(root))(inside)
    np.testing.assert_allclose(slope, 0.5 / jnp.sqrt(inside), rtol=1e-5)
    # where there is no root the end stays
    assert jax.grad(root)(jnp.array(9.0)) == 0.0


def test_axes_turn_as_those_of_differences_do() -> None:
    with jax.enable_x64(True):
        points = jnp.asarray(np.random.default_rng(0).normal(size=(9, 4)))
        weight = jax.nn.softmax(jnp.asarray(np.random.default_rng(1).normal(size=9)))
        turn = jnp.asarray(np.random.default_rng(2).normal(size=points.shape))
        project = lambda points: covariance.principal_axes(weight, points, 2)
        _, got = jax.jvp(project, (points,), (turn,))
        step = 1e-6
        want = (project(points + step * turn) - project(points - step * turn)) / (2 * step)
        np.testing.assert_allclose(got, want, atol=1e-7)


@pytest.mark.parametrize("shape", [(9, 4), pytest.param((4, 9), marks=pytest.mark.slow)])
def test_a_filter_changes_as_differences_say(shape: tuple[int, int]) -> None:
    with jax.enable_x64(True):
        draw = np.random.default_rng(0).normal
        given = [draw(size=(3, shape[1])), draw(size=shape[0]), draw(size=shape), 0.3]
        change = [draw(size=np.shape(one)) for one in given]

        def clean(y: Any, log_weight: Any, values: Any, sigma: Any) -> jax.Array:
            answer = de.denoisers.gaussian_mean(y, values, log_weight, sigma, own=False)
            return answer.clean

        _, got = jax.jvp(clean, tuple(given), tuple(change))
        step = 1e-6
        ends = [
            clean(*(a + sign * step * b for a, b in zip(given, change, strict=True)))
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(got, (ends[0] - ends[1]) / (2 * step), atol=1e-6)
