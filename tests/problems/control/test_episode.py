"""Episodes, against loops in NumPy that stop at the end."""

from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.problems import MLP
from diffevo_jax.problems.control.episode import Context, Episode, EpisodeSpec, play

CARTPOLE, CARTPOLE_PARAMS = gymnax.make("CartPole-v1")
#: Pushing left or right is chaotic: in the long run float32 and float64 part ways.
STEPS = 100


def lane(environment, env_params, act, key, max_steps) -> Episode:
    """One episode of a policy without weights."""
    steps = lambda context, weights, seen, carry: act(seen, carry)
    spec = EpisodeSpec(environment, None, steps, max_steps)
    context = Context(MLP(), env_params, moments=None)
    return play(spec, context, (), jax.random.split(key)).episode


# CartPole from a given start, whose reward may be a number of the observation


class Setting(NamedTuple):
    start: Any
    probe: Any  # (4,); all zero for the environment's own reward


class Started:
    """CartPole that starts where it is told."""

    def reset_env(self, key, setting):
        fields = ("x", "x_dot", "theta", "theta_dot")
        _, state = CARTPOLE.reset_env(key, CARTPOLE_PARAMS)
        state = state.replace(**dict(zip(fields, setting.start, strict=True)))
        return CARTPOLE.get_obs(state), state

    def step_env(self, key, state, action, setting):
        observation, state, reward, over, info = CARTPOLE.step_env(
            key, state, action, CARTPOLE_PARAMS
        )
        probed = jnp.sum(setting.probe * observation)
        reward = jnp.where(jnp.any(setting.probe != 0), probed, reward)
        return observation, state, reward, over, info

    def is_truncated(self, state, setting):
        return CARTPOLE.is_truncated(state, CARTPOLE_PARAMS)


@jax.jit
def play_cartpole(starts, probes, weights, max_steps=STEPS):
    """One lane for each row: linear policies that push right if weights @ o > 0."""

    def one(start, probe, weights):
        act = lambda o, carry: ((jnp.sum(weights * o) > 0).astype(jnp.int32), carry)
        return lane(Started(), Setting(start, probe), act, jax.random.key(0), max_steps)

    return jax.vmap(one)(starts, probes, weights)


def cartpole_states(start: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """All states of Euler's integrator in float64, past the fall: (STEPS + 1, 4)."""
    gravity, mass, pole_mass, length, force, tau = 9.8, 1.1, 0.1, 0.5, 10.0, 0.02
    states = [start.astype(np.float64)]
    for _ in range(STEPS):
        _, v, angle, spin = states[-1]
        push = force if states[-1] @ weights > 0 else -force
        sin, cos = np.sin(angle), np.cos(angle)
        inner = (push + pole_mass * length * spin**2 * sin) / mass
        turn = (gravity * sin - cos * inner) / (
            length * (4 / 3 - pole_mass * cos**2 / mass)
        )
        pull = inner - pole_mass * length * turn * cos / mass
        step = np.array([v, pull, spin, turn])
        states.append(states[-1] + tau * step)
    return np.stack(states)


def fallen(states: np.ndarray) -> np.ndarray:
    return (np.abs(states[:, 0]) > 2.4) | (np.abs(states[:, 2]) > 12 * 2 * np.pi / 360)


def steps_until_fallen(states: np.ndarray) -> int:
    down = fallen(states[1:])
    return int(down.argmax()) + 1 if down.any() else len(down)


@pytest.fixture(scope="module")
def lanes():
    """128 starts, a random linear policy for each, and its states in NumPy."""
    rng = np.random.default_rng(0)
    starts = rng.uniform(-0.05, 0.05, (128, 4)).astype(np.float32)
    weights = rng.normal(size=(128, 4)).astype(np.float32)
    states = [cartpole_states(*lane) for lane in zip(starts, weights, strict=True)]
    return starts, weights, states


def test_an_episode_pays_one_for_each_step_until_the_fall(lanes):
    starts, weights, states = lanes

    episodes = play_cartpole(starts, np.zeros((128, 4)), weights)

    want = [steps_until_fallen(lane) for lane in states]
    assert episodes.total_reward.tolist() == want
    assert episodes.length.tolist() == want


def test_a_pole_that_swings_back_earns_nothing(lanes):
    # Without a sticky end every step from a state that stands would pay.
    starts, weights, states = lanes
    unmasked = np.array([(~fallen(lane[:-1])).sum() for lane in states])

    earned = np.asarray(play_cartpole(starts, np.zeros((128, 4)), weights).total_reward)

    assert (earned <= unmasked).all()
    assert (earned < unmasked).sum() >= 3


def test_an_episode_follows_the_equations_of_motion(lanes):
    starts, weights, states = lanes
    lengths = np.array([steps_until_fallen(lane) for lane in states])
    some = np.flatnonzero(lengths < 50)[:32]
    probes = np.tile(np.eye(4), (32, 1))  # each of 32 policies, four times

    totals = play_cartpole(
        np.repeat(starts[some], 4, axis=0), probes, np.repeat(weights[some], 4, axis=0)
    ).total_reward

    sums = [states[lane][1 : lengths[lane] + 1].sum(axis=0) for lane in some]
    np.testing.assert_allclose(  # float32 rounding over some ten steps
        np.reshape(totals, (32, 4)), sums, rtol=1e-4, atol=1e-4
    )


def test_the_time_limit_is_no_termination():
    starts, none = np.full((128, 4), 0.01, np.float32), np.zeros((128, 4))
    balanced = np.tile(np.float32([0.1, 0.5, 1.0, 1.0]), (128, 1))

    episodes = play_cartpole(starts, none, balanced, max_steps=1000)

    assert episodes.total_reward.tolist() == [500.0] * 128
    assert episodes.length.tolist() == [500] * 128
    assert not episodes.terminated.any()


def test_a_fall_is_a_termination(lanes):
    starts, weights, states = lanes

    episodes = play_cartpole(starts, np.zeros((128, 4)), weights)

    ends = [lane[n] for lane, n in zip(states, episodes.length.tolist(), strict=True)]
    assert np.array_equal(episodes.terminated, fallen(np.stack(ends)))


@pytest.mark.parametrize("max_steps", [1, 7])
def test_an_episode_is_cut_at_max_steps(lanes, max_steps):
    starts, weights, _ = lanes

    episodes = play_cartpole(starts, np.zeros((128, 4)), weights, max_steps=max_steps)

    assert episodes.length.tolist() == [max_steps] * 128
    assert not episodes.terminated.any()


# An environment that shows what the loop does


class Clock:
    """Ends at step ``end`` alone, and pays ``after`` from then on."""

    def reset_env(self, key, params):
        return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)

    def step_env(self, key, time, action, params):
        time = time + 1
        over = params["end"] == time
        reward = jnp.where(time <= params["end"], 1.0, params.get("after", 0.0))
        return time.astype(jnp.float32), time, reward + action, over.astype(jnp.int32), {}

    def is_truncated(self, time, params):
        return time >= params.get("limit", 10**6)


def still(observation, carry):
    return jnp.zeros(()), carry


def clock(act=still, max_steps=100, **params):
    episode = jax.jit(
        jax.vmap(lambda p: lane(Clock(), p, act, jax.random.key(0), max_steps))
    )({name: np.asarray(values) for name, values in params.items()})
    return jax.tree.map(lambda leaf: leaf.tolist(), episode)


def test_rewards_after_the_end_do_not_exist():
    episode = clock(end=[3, 9], after=[1000.0, 1000.0])

    assert episode.total_reward == [3.0, 9.0]
    assert episode.length == [3, 9]
    assert episode.terminated == [True, True]


def test_a_failed_reward_after_the_end_does_not_exist_either():
    assert clock(end=[3, 9], after=[np.nan, np.inf]).total_reward == [3.0, 9.0]


def test_the_program_stops_with_its_last_lane():
    episode = clock(end=[3, 5], max_steps=2**31 - 1)  # it would take minutes otherwise

    assert episode.length == [3, 5]


def test_the_limit_of_the_environment_ends_an_episode():
    episode = clock(end=[9, 9], limit=[4, 6])

    assert episode.length == [4, 6]
    assert episode.terminated == [False, False]


def test_an_end_at_the_time_limit_is_an_end():
    episode = clock(end=[4, 7], limit=[4, 100], max_steps=7)

    assert episode.terminated == [True, True]


def test_the_policy_sees_the_observation_of_its_step():
    # Each action is the observation: 0 after the reset, then 1, 2, 3.
    episode = clock(act=lambda o, carry: (o, carry), end=[4])

    assert episode.total_reward == [4.0 + 0 + 1 + 2 + 3]


class Dice:
    """Pays what its key says."""

    def reset_env(self, key, params):
        return jax.random.uniform(key), jnp.zeros(())

    def step_env(self, key, state, action, params):
        return (
            jnp.zeros(()),
            state,
            action + jax.random.uniform(key),
            jnp.asarray(False),
            {},
        )

    def is_truncated(self, state, params):
        return jnp.asarray(False)


@jax.jit
def throw(key, max_steps):
    act = lambda observation, carry: (observation, carry)
    return lane(Dice(), (), act, key, max_steps).total_reward


def test_reset_and_steps_get_keys_of_their_own():
    key = jax.random.key(3)
    totals = np.array([float(throw(key, steps)) for steps in (1, 2, 3)])

    throws = np.diff(totals)  # the first total has the reset's number too

    assert len({*throws, totals[0] - throws[0], totals[0] / 2}) == 4


def test_the_same_key_is_the_same_episode():
    first, again, other = (float(throw(jax.random.key(seed), 3)) for seed in (1, 1, 2))

    assert first == again != other
