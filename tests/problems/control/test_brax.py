"""brax environments: what an episode comes to, and that brax itself runs."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import diffevo_jax as de
from diffevo_jax.problems.control import environments

KEY = jax.random.key(0)


@struct.dataclass
class State:
    """As a state of brax: floats throughout."""

    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Climb:
    """Pays the action; done while the sum of actions is beyond 2, not afterwards."""

    observation_size, action_size = 2, 1

    def reset(self, key):
        start = jax.random.uniform(key, (), minval=0.0, maxval=1e-3)
        return State(jnp.array([0.0, start]), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        height = state.obs[0] + action[0]
        obs = jnp.stack([height, state.obs[1]])
        done = (height > 2) & (state.obs[0] <= 2)
        return State(obs, action[0], done.astype(float))


@pytest.fixture
def toy(monkeypatch):
    """A brax that has one environment."""
    environments._named.cache_clear()
    environments._episode_spec.cache_clear()
    made = {"climb": Climb}
    envs = types.SimpleNamespace(get_environment=lambda name, **_: made[name]())
    monkeypatch.setitem(sys.modules, "brax", types.SimpleNamespace(envs=envs))
    yield
    environments._named.cache_clear()
    environments._episode_spec.cache_clear()


def up(rate):
    """A policy that always climbs by ``tanh(rate)``."""
    return de.problems.FunctionPolicy(
        init=lambda key, observation: jnp.zeros(1),
        apply=lambda weights, observation, carry: (weights + rate, carry),
    )


def test_an_episode_ends_for_good_when_brax_says_so(toy):
    problem = de.problems.Control("brax:climb", policy=up(1.0), max_steps=20)
    weights = jnp.array([[0.0], [-9.0]])  # tanh(1) = 0.76, and -1
    episodes = jax.jit(lambda w: problem.evaluate(KEY, (), w)[0])(weights).measures
    assert episodes.length[:, 0].tolist() == [3, 20]
    assert episodes.terminated[:, 0].tolist() == [True, False]
    np.testing.assert_allclose(
        episodes.total_reward[:, 0], [3 * np.tanh(1.0), -20.0], rtol=1e-4
    )


def test_the_limit_is_that_of_brax_and_observations_have_no_bounds(toy):
    problem = de.problems.Control("brax:climb", observation="running")
    assert problem.episode_limit == 1000
    assert problem.space.dim == (2 + 1) * 8 + 9
    seen = problem.init(KEY)
    assert seen.mean.shape == (2,)


def test_a_name_that_brax_does_not_have_is_refused(toy):
    with pytest.raises(ValueError, match="got 'brax:clmib', want a name that brax has"):
        de.problems.Control("brax:clmib").check()


def test_without_brax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "brax", None)
    with pytest.raises(ImportError, match=r"install the extra brax"):
        de.problems.Control("brax:nothing").check()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # brax and JAXopt say that nobody maintains them
def test_a_pendulum_of_brax_learns_to_stand():
    pytest.importorskip(
        "brax", reason="brax is not in the extra dev: it brings MuJoCo and a web server"
    )
    problem = de.problems.Control(
        "brax:inverted_pendulum:spring", max_steps=200, observation="running"
    )
    strategy = de.DiffusionEvolution(8)
    evolve = lambda key: de.evolve(key, strategy, problem, population_size=64).history
    history = jax.jit(jax.vmap(evolve))(jax.random.split(KEY, 16))
    rise = np.asarray(history.mean_fitness[:, -1] - history.mean_fitness[:, 0])
    assert rise.mean() > 5 * rise.std(ddof=1) / np.sqrt(len(rise))
