"""Keys of any implementation keep the promises of runs, or are refused by name."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.pytree.keys import drawing_in_a_batch, key_of_seed

N = 8
PROBLEM = de.problems.Landscape("beale")
STRATEGY = de.DiffusionEvolution(2)
SHARED = (
    r"key: got .* keys of rbg under vmap, where one of them draws for all; want keys of"
)
UNORDERED = r"key: got a key of unsafe_rbg, in which the order .*; want one of threefry2x32"


def evolve(key: jax.Array) -> de.Result:
    return de.evolve(key, STRATEGY, PROBLEM, population_size=N)


def keys_of(kind: str, count: int = 3) -> jax.Array:
    return jax.random.split(jax.random.key(0, impl=kind), count)


def test_runs_with_keys_of_rbg_are_the_same_one_by_one() -> None:
    # given two keys, the second drawn with alone
    keys = keys_of("rbg", 2)
    in_turn = jax.lax.map(evolve, keys)
    alone = evolve(keys[1])
    np.testing.assert_array_equal(in_turn.population[1], alone.population)
    assert not np.array_equal(in_turn.population[0], alone.population)


@pytest.mark.parametrize(
    "mapped",
    [
        lambda keys: jax.vmap(evolve)(keys),
        lambda keys: jax.jit(jax.vmap(evolve))(keys),
        lambda keys: de.spread(evolve, devices=jax.devices()[:1])(keys),
        lambda keys: de.run(keys, STRATEGY, PROBLEM, population_size=N),
        lambda keys: jax.vmap(de.init, (None, 0, None))(STRATEGY, keys, jnp.ones((N, 2))),
        lambda keys: jax.vmap(lambda key: de.generation_keys(key, 0)[0])(keys),
        lambda keys: jax.vmap(
            lambda key: de.sample(
                key,
                lambda y, s: y,
                de.noise.EDM(),
                de.samplers.DDIM(),
                (N, 2),
                num_levels=3,
            )
        )(keys),
        lambda keys: jax.vmap(
            lambda key: de.diffusion.denoising_errors(
                key, lambda y, s: y, lambda y, s: y, jnp.ones((N, 2)), jnp.ones(1)
            )
        )(keys),
    ],
    ids=["vmap", "jit", "spread", "run", "init", "generation_keys", "sample", "errors"],
)
def test_keys_of_rbg_are_refused_under_vmap(mapped) -> None:
    # for all lanes would draw from the first key
    with pytest.raises(ValueError, match=SHARED):
        mapped(keys_of("rbg"))


def test_a_sweep_of_many_seeds_takes_keys_of_rbg_only_in_turn() -> None:
    sweep = lambda **options: de.sweep(
        jax.random.key(0, impl="rbg"),
        de.replace(STRATEGY, temperature=jnp.array([0.25, 0.25])),
        PROBLEM,
        population_size=N,
        num_seeds=2,
        **options,
    )
    with pytest.raises(ValueError, match=SHARED):
        sweep()
    # then equal settings see equal seeds, and seeds differ
    first, second = sweep(mode="map").final_best.values
    np.testing.assert_array_equal(first, second)
    assert first[0] != first[1]


@pytest.mark.parametrize(
    "called",
    [
        evolve,
        lambda key: de.run(key, STRATEGY, PROBLEM, population_size=N),
        lambda key: de.init(STRATEGY, key, jnp.ones((N, 2))),
        lambda key: de.generation_keys(key, 0),
        lambda key: de.sweep(key, STRATEGY, PROBLEM, num_seeds=1, population_size=N),
        lambda key: de.sample(
            key, lambda y, s: y, de.noise.EDM(), de.samplers.DDIM(), (N, 2), num_levels=3
        ),
    ],
    ids=["evolve", "run", "init", "generation_keys", "sweep", "sample"],
)
def test_keys_whose_order_does_not_matter_are_refused(called) -> None:
    # given that folding in a seed and a generation commutes, independent runs share noise
    with pytest.raises(ValueError, match=UNORDERED):
        called(jax.random.key(0, impl="unsafe_rbg"))


def test_an_implementation_of_one_s_own_is_judged_by_what_it_does() -> None:
    # given threefry under another name, which draws and folds as threefry does
    threefry = jax.extend.random.threefry_prng_impl
    own = jax.extend.random.define_prng_impl(
        key_shape=threefry.key_shape,
        seed=threefry.seed,
        split=threefry.split,
        random_bits=threefry.random_bits,
        fold_in=threefry.fold_in,
        name="own",
        tag="own",
    )

    def drawn(kind, seed: jax.Array) -> jax.Array:
        keys = de.generation_keys(jax.random.key(seed, impl=kind), 0)
        return jax.random.normal(keys[0], (N,))

    seeds = jnp.arange(2)
    got, want = (jax.vmap(lambda s, k=kind: drawn(k, s))(seeds) for kind in (own, None))
    np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_episodes_are_the_same_in_any_batch() -> None:
    # given cart poles that start at random, by a key of rbg
    problem = de.problems.Control("CartPole-v1", de.problems.MLP((4,)), max_steps=20)
    key, points = jax.random.key(0, impl="rbg"), jnp.zeros((2, problem.space.dim))
    weights = problem.space.decode(points)
    one = lambda key: problem.evaluate(key, (), weights)[0].measures.length
    keys = jax.random.split(key, 2)
    together = jax.vmap(one)(keys)
    np.testing.assert_array_equal(together, jnp.stack([one(key) for key in keys]))


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg", "threefry2x32"])
def test_what_is_played_in_batches_has_keys_that_draw_the_same_in_any(kind) -> None:
    keys = keys_of(kind)
    draw = lambda key: jax.random.normal(drawing_in_a_batch(key), (N,))
    together = jax.vmap(draw)(keys)
    np.testing.assert_array_equal(together, jnp.stack([draw(key) for key in keys]))
    assert len(np.unique(together)) == 3 * N


def test_gradients_pass_the_check_of_a_key() -> None:
    def last(temperature: jax.Array) -> jax.Array:
        strategy = de.replace(STRATEGY, temperature=temperature)
        key = jax.random.key(0, impl="rbg")
        result = de.evolve(key, strategy, PROBLEM, population_size=N)
        return jnp.sum(result.population)

    assert jax.eval_shape(jax.grad(last), 0.3).shape == ()


def test_keys_made_of_seeds_are_of_one_kind_whatever_the_default_is() -> None:
    with jax.default_prng_impl("rbg"):
        key = key_of_seed(3)
    assert jax.random.key_impl(key) == "threefry2x32"
