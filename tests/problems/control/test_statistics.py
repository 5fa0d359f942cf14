"""Moments of observations, against NumPy in float64, and against loops over gymnax."""

from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffevo_jax as de
from diffevo_jax.problems import MLP, Control, FunctionPolicy
from diffevo_jax.problems.control import episode, statistics
from diffevo_jax.problems.control.statistics import Moments

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=60)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
MERGE = jax.jit(statistics.merge, compiler_options=QUICK)
STANDARDISE = jax.jit(statistics.standardise, compiler_options=QUICK)


def added(observations: Any) -> Moments:
    """Moments of observations with a leading axis, added one at a time."""
    start = statistics.nothing(jax.tree.map(lambda leaf: leaf[0], observations))
    add = lambda moments, observation: (statistics.add(moments, observation), None)
    return jax.lax.scan(add, start, observations)[0]


ADDED = jax.jit(added, compiler_options=QUICK)
ADDED_LANES = jax.jit(jax.vmap(added), compiler_options=QUICK)


def moments_of(observations: np.ndarray) -> Moments:
    """The definition: float64, of (T, ...)."""
    if not len(observations):
        zeros = np.zeros(observations.shape[1:])
        return Moments(np.zeros(()), zeros, zeros)
    observations = np.float64(observations)
    mean = observations.mean(axis=0)
    squares = ((observations - mean) ** 2).sum(axis=0)
    return Moments(np.asarray(float(len(observations))), mean, squares)


def assert_close(got: Moments, want: Moments, rtol: float = 1e-5) -> None:
    """Same count; mean and squares to rounding, relative to the deviation."""
    assert float(got.count) == float(want.count)
    count = max(float(want.count), 1.0)
    for mean, squares, mean_64, squares_64 in zip(
        *map(jax.tree.leaves, (got.mean, got.squares, want.mean, want.squares)), strict=True
    ):
        deviation = np.sqrt(np.max(squares_64) / count)
        np.testing.assert_allclose(mean, mean_64, rtol=rtol, atol=rtol * deviation)
        np.testing.assert_allclose(squares, squares_64, rtol=10 * rtol, atol=1e-6)


SEEN = np.random.default_rng(0).normal(1.0, 2.0, (60, 3)).astype(np.float32)


# One at a time


def test_nothing_has_been_seen_at_first() -> None:
    like = {"place": jnp.ones(3), "speed": jnp.ones(())}
    moments = statistics.nothing(like)
    assert float(moments.count) == 0
    zeros = jax.tree.map(jnp.zeros_like, like)
    assert de.equal(moments.mean, zeros)
    assert de.equal(moments.squares, zeros)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_adding_one_at_a_time_gives_the_moments_of_all(count) -> None:
    assert_close(ADDED(SEEN[:count]), moments_of(SEEN[:count]))


def test_observations_may_be_trees() -> None:
    moments = ADDED({"place": SEEN[:, :2], "speed": SEEN[:, 2]})
    assert float(moments.count) == 60
    for name, part in (("place", SEEN[:, :2]), ("speed", SEEN[:, 2])):
        mine = Moments(moments.count, moments.mean[name], moments.squares[name])
        assert_close(mine, moments_of(part))


def test_a_constant_has_no_spread() -> None:
    moments = ADDED(np.full((60, 3), 0.1, np.float32))
    assert moments.mean.tolist() == np.full(3, 0.1, np.float32).tolist()
    assert moments.squares.tolist() == [0.0] * 3


# Merged

STACK = lambda parts: jax.tree.map(lambda *leaves: np.float32(np.stack(leaves)), *parts)


@FIXED
@given(st.lists(st.integers(0, 60), min_size=4, max_size=4).map(sorted))
def test_the_parts_of_any_split_merge_to_the_whole(cuts) -> None:
    # given five parts, of which some may be empty
    parts = [moments_of(part) for part in np.split(SEEN, cuts)]
    assert_close(MERGE(STACK(parts)), moments_of(SEEN))


def test_merging_is_a_sum_of_lanes_that_were_added() -> None:
    assert_close(MERGE(ADDED_LANES(SEEN.reshape(5, 12, 3))), moments_of(SEEN))


BROKEN = {
    "NaN in the mean": ("mean", np.nan),
    "infinite mean": ("mean", -np.inf),
    "NaN in the squares": ("squares", np.nan),
    "infinite squares": ("squares", np.inf),
}


@pytest.mark.parametrize(("field", "number"), BROKEN.values(), ids=BROKEN)
def test_a_lane_that_is_not_finite_does_not_count(field, number) -> None:
    parts = STACK([moments_of(part) for part in np.split(SEEN, 5)])
    getattr(parts, field)[1, 2] = number  # one number of one lane
    assert_close(MERGE(parts), moments_of(np.delete(SEEN, range(12, 24), axis=0)))


def test_if_no_lane_is_finite_nothing_has_been_seen() -> None:
    parts = STACK([moments_of(part) for part in np.split(SEEN, 5)])
    parts.squares[:] = np.nan
    assert_close(MERGE(parts), moments_of(SEEN[:0]))


def test_merging_nothing_is_nothing() -> None:
    assert_close(MERGE(STACK([moments_of(SEEN[:0])] * 5)), moments_of(SEEN[:0]))


@FIXED
@given(st.integers(0, 60))
def test_moments_can_be_merged_again_and_again(cut) -> None:
    # given what has been seen, to which parts are merged one after the other
    moments = moments_of(SEEN[:0])
    for part in np.split(SEEN, [cut]):
        moments = MERGE(STACK([moments, moments_of(part), *[moments_of(SEEN[:0])] * 3]))
    assert_close(moments, moments_of(SEEN))


# Far from the origin


@pytest.fixture(scope="module")
def far() -> np.ndarray:
    """64 lanes of 500 observations with mean 1e4 and deviation 1."""
    rng = np.random.default_rng(1)
    return (1e4 + rng.normal(size=(64, 500, 3))).astype(np.float32)


def test_far_from_the_origin_the_spread_survives(far) -> None:
    # A float32 near 1e4 has a grain of 1e-3: so much may the mean be wrong, twice, while
    # a sum of squares would have lost the deviation of 1 altogether.
    got, want = MERGE(ADDED_LANES(far)), moments_of(far.reshape(-1, 3))
    np.testing.assert_allclose(got.mean, want.mean, atol=2e-3)
    np.testing.assert_allclose(got.squares, want.squares, rtol=1e-3)


def test_far_from_the_origin_observations_are_standardised(far) -> None:
    got = STANDARDISE(MERGE(ADDED_LANES(far)), far)
    all_of_them = np.float64(far.reshape(-1, 3))
    want = (far - all_of_them.mean(axis=0)) / all_of_them.std(axis=0)
    np.testing.assert_allclose(got, want, atol=4e-3)  # the grain of the mean


# Standardised


def test_observations_are_standardised_by_mean_and_deviation() -> None:
    got = STANDARDISE(MERGE(STACK([moments_of(SEEN)])), SEEN)
    want = (SEEN - np.float64(SEEN).mean(axis=0)) / np.float64(SEEN).std(axis=0)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(np.mean(got, axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.var(got, axis=0), 1.0, rtol=1e-5)


def test_standardised_observations_are_clipped_to_ten_deviations() -> None:
    moments = Moments(jnp.asarray(4.0), jnp.ones(4), jnp.full(4, 16.0))  # a deviation of 2
    seen = jnp.array([1e30, -np.inf, 20.0, 22.0])
    got = STANDARDISE(moments, seen)
    assert got.tolist() == [10.0, -10.0, 9.5, 10.0]


@pytest.mark.parametrize("count", [0, 1])
def test_before_two_observations_they_stay_as_they_are(count) -> None:
    seen = jnp.array([-3.0, 0.1, 1e9])
    moments = ADDED(SEEN[:1]) if count else statistics.nothing(seen)
    assert STANDARDISE(moments, seen).tolist() == seen.tolist()


@pytest.mark.parametrize("number", [0.0, 0.1, -7.0])
def test_what_never_changes_becomes_zero(number) -> None:
    seen = np.full((5, 12, 3), number, np.float32)
    got = STANDARDISE(MERGE(ADDED_LANES(seen)), seen[0, 0])
    # the mean of the lanes is rounded, by some 1e-7 of it, and the deviation counts as 1e-4
    np.testing.assert_allclose(got, 0.0, atol=1e-2)


def test_what_never_changes_becomes_zero_far_from_the_origin() -> None:
    seen = np.full((77, 12, 3), 1e4 + 0.1, np.float32)
    got = STANDARDISE(MERGE(ADDED_LANES(seen)), seen[0, 0])
    np.testing.assert_allclose(got, 0.0, atol=1e-2)


# Control(observation="running")


LINEAR = FunctionPolicy(
    init=lambda key, observation: jnp.zeros(4),
    apply=lambda w, o, carry: (jnp.stack([0.0, jnp.sum(w * o)]), carry),
)
CARTPOLE = Control("CartPole-v1", policy=LINEAR, observation="running", max_steps=60)
#: Falls soon, falls late, and is cut.
WEIGHTS = np.float32([[0.0, 0.0, -1.0, 0.3], [0.5, 0.0, 0.2, 0.0], [0.1, 0.5, 1.0, 1.0]])
EVALUATE = jax.jit(CARTPOLE.evaluate, compiler_options=QUICK)


@pytest.fixture(scope="module")
def cartpole():
    """Reset and step of CartPole, compiled."""
    env, env_params = gymnax.make("CartPole-v1")
    reset = jax.jit(lambda key: env.reset_env(key, env_params), compiler_options=QUICK)
    step = jax.jit(
        lambda key, state, action: env.step_env(key, state, action, env_params),
        compiler_options=QUICK,
    )
    return reset, step


def played(cartpole, key, before: Moments) -> list[np.ndarray]:
    """What each lane sees until its end; observations are standardised in float64."""
    reset, step = cartpole
    lanes = []
    for weights, (key_reset, key_step) in zip(
        np.float64(WEIGHTS), jax.random.split(key, (3, 2)), strict=True
    ):
        observation, state = reset(key_reset)
        seen, over = [], False
        while not over and len(seen) < 60:
            o = np.float64(observation)
            if before.count > 1:
                deviation = np.sqrt(np.float64(before.squares) / float(before.count))
                o = np.clip((o - before.mean) / np.maximum(deviation, 1e-4), -10, 10)
            action, key_now = int(weights @ o > 0), jax.random.fold_in(key_step, len(seen))
            seen.append(np.asarray(observation))
            observation, state, _, over, _ = step(key_now, state, action)
        lanes.append(np.stack(seen))
    return lanes


@pytest.fixture(scope="module")
def generations(cartpole):
    """Two generations: what the library says, and what each lane saw in the loop."""
    state, seen, told = CARTPOLE.init(jax.random.key(0)), [], []
    before = moments_of(np.zeros((0, 4)))
    for number in (1, 2):
        key = jax.random.key(number)
        evaluation, state = EVALUATE(key, state, WEIGHTS)
        seen.append(played(cartpole, key, before))
        told.append((evaluation.measures, state))
        before = moments_of(np.concatenate([lane for lanes in seen for lane in lanes]))
    return told, seen


def test_the_state_has_the_moments_of_what_was_seen_until_the_end(generations) -> None:
    # given lanes that end early, of which nothing counts after the end
    (measures, state), lanes = generations[0][0], generations[1][0]
    lengths = measures.length.ravel().tolist()
    assert len(set(lengths)) == 3
    assert lengths == [len(lane) for lane in lanes]
    assert_close(state, moments_of(np.concatenate(lanes)), rtol=1e-4)


def test_the_next_generation_sees_through_the_moments_of_the_last(generations) -> None:
    measures = generations[0][1][0]
    assert measures.length.ravel().tolist() == [len(lane) for lane in generations[1][1]]
    # then it is not what it would be without them
    raw, _ = EVALUATE(jax.random.key(2), CARTPOLE.init(jax.random.key(0)), WEIGHTS)
    assert raw.measures.length.tolist() != measures.length.tolist()


def test_the_moments_of_all_generations_are_kept(generations) -> None:
    told, seen = generations
    everything = np.concatenate([lane for lanes in seen for lane in lanes])
    assert_close(told[1][1], moments_of(everything), rtol=1e-4)


def test_runs_under_vmap_have_moments_of_their_own(generations) -> None:
    keys = jax.random.split(jax.random.key(5), 2)
    # given two runs, of which one has seen something before
    states = [CARTPOLE.init(keys[0]), generations[0][0][1]]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    many = jax.jit(jax.vmap(CARTPOLE.evaluate, (0, 0, None)), compiler_options=QUICK)
    evaluation, after = many(keys, stacked, WEIGHTS)
    for run in range(2):
        alone, state = EVALUATE(keys[run], states[run], WEIGHTS)
        assert evaluation.measures.length[run].tolist() == alone.measures.length.tolist()
        mine = jax.tree.map(lambda leaf, run=run: leaf[run], after)
        assert_close(mine, jax.tree.map(np.float64, state), rtol=1e-4)


def test_an_evolution_ends_with_the_moments_of_all_it_has_seen(key) -> None:
    evolve = jax.jit(
        lambda key: de.evolve(
            key,
            de.DiffusionEvolution(3),
            CARTPOLE,
            population_size=4,
            record=("measures",),
        ),
        compiler_options=QUICK,
    )
    result = evolve(key)
    steps = int(result.recorded["measures"].length.sum())
    assert float(result.problem_state.count) == steps
    assert (np.asarray(result.problem_state.squares) > 0).all()
    again = CARTPOLE.play(key, result.best_solution, result.problem_state)
    assert 0 < int(again.length) <= 60


PENDULUM = Control("Pendulum-v1", policy=MLP((4,)), observation="running", max_steps=12)
LEARNT = Moments(
    jnp.asarray(100.0), jnp.array([0.5, -0.2, 1.0]), jnp.array([30.0, 50.0, 400.0])
)


def test_the_controller_acts_as_the_lane_does(key) -> None:
    problem = PENDULUM
    weights = problem.space.decode(problem.space.sample(key, 1))
    weights = jax.tree.map(lambda leaf: leaf[0], weights)
    env, env_params = gymnax.make("Pendulum-v1")
    spec, context, keys = problem._spec(), problem._context(LEARNT), jax.random.split(key)
    control = jax.jit(problem.controller(weights, LEARNT), compiler_options=QUICK)
    plain = jax.jit(problem.controller(weights, problem.init(key)), compiler_options=QUICK)
    lane, actions = episode.begin(spec, context, weights, keys), []
    for _ in range(5):
        seen = env.get_obs(lane.env_state, env_params)
        wanted, carry = control(seen, lane.carry)
        other, _ = plain(seen, lane.carry)
        lane = episode.step(spec, context, weights, keys[1], lane)
        np.testing.assert_allclose(lane.action, wanted, rtol=1e-5, atol=1e-6)  # rounding
        actions.append(float(abs(wanted - other)[0]))
        assert carry == lane.carry
    assert max(actions) > 0.01  # so that the moments matter


def without_state() -> dict[str, Any]:
    weights = jnp.zeros((1, 4))
    return {
        "play": lambda: CARTPOLE.play(jax.random.key(0), weights[0]),
        "controller": lambda: CARTPOLE.controller(weights[0]),
        "evaluate": lambda: CARTPOLE.evaluate(jax.random.key(0), (), weights),
    }


@pytest.mark.parametrize("method", without_state())
def test_without_its_state_the_problem_refuses_to_play(method) -> None:
    message = (
        r"problem_state: got \(\), want the Moments of Control\(observation=\"running\"\)"
    )
    with pytest.raises(TypeError, match=message):
        without_state()[method]()


@pytest.mark.parametrize("observation", ["space", "none"])
def test_other_problems_learn_nothing(observation, key) -> None:
    problem = de.replace(CARTPOLE, observation=observation)
    assert problem.init(key) == ()
    assert int(problem.play(key, WEIGHTS[2]).length) == 60
