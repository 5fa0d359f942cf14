"""Policies in gymnax environments."""

import functools

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment as base
from gymnax.environments import spaces
from gymnax.environments.classic_control import cartpole

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.problems import MLP, Control, FunctionPolicy
from diffevo_jax.problems.control.policies import flatten
from diffevo_jax.problems.control.spaces import normalise, to_action
from diffevo_jax.pytree import validation

BUILT_IN = tuple(gymnax.registered_envs)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
EVALUATE = jax.jit(
    lambda problem, key, w: problem.evaluate(key, (), w)[0], compiler_options=QUICK
)


# Environments of our own


class Echo(base.Environment):
    """Three steps; pays the action, its k-th number times 10^k."""

    def __init__(self, actions, observations=None, observation=None):
        super().__init__()
        self.actions = actions
        self.observations = observations or spaces.Box(-1.0, 1.0, (2,))
        self.observation = jnp.zeros(2) if observation is None else observation

    @property
    def default_params(self):
        return base.EnvParams(max_steps_in_episode=3)

    def reset_env(self, key, params):
        return self.observation, base.EnvState(time=0)

    def step_env(self, key, state, action, params):
        numbers = jnp.ravel(jnp.asarray(action, float))
        reward = jnp.sum(numbers * 10.0 ** jnp.arange(numbers.size))
        state = base.EnvState(time=state.time + 1)
        return self.observation, state, reward, jnp.asarray(False), {}

    def action_space(self, params):
        return self.actions

    def observation_space(self, params):
        return self.observations


@struct.dataclass
class StartedParams(cartpole.EnvParams):
    start: tuple[float, float, float, float] = (0.01, -0.02, 0.03, 0.04)


class StartedCartPole(cartpole.CartPole):
    """CartPole that starts where its parameters say."""

    @property
    def default_params(self):
        return StartedParams()

    def reset_env(self, key, params):
        fields = ("x", "x_dot", "theta", "theta_dot")
        start = dict(zip(fields, params.start, strict=True))
        state = cartpole.EnvState(time=0, **start)
        return self.get_obs(state), state


DICT = spaces.Dict({"room": spaces.Discrete(3), "place": spaces.Box(0.0, 4.0, (2,))})
IN_ROOM_2 = {"room": jnp.asarray(2), "place": jnp.array([1.0, 4.0])}
OWN = {
    "Discrete-test": lambda: Echo(spaces.Discrete(4)),
    "Bounded-test": lambda: Echo(spaces.Box(-2.0, 3.0, (1,))),
    "Mixed-test": lambda: Echo(
        spaces.Box(jnp.array([-1.0, -jnp.inf]), jnp.array([2.0, jnp.inf]), (2,))
    ),
    "Scalar-test": lambda: Echo(spaces.Box(-2.0, 2.0, ())),
    "Matrix-test": lambda: Echo(spaces.Box(-1e6, 1e6, (2, 2))),
    "Rooms-test": lambda: Echo(spaces.Box(-1e6, 1e6, (5,)), DICT, IN_ROOM_2),
    "Tuple-actions-test": lambda: Echo(spaces.Tuple((spaces.Discrete(2),))),
    "Started-test": StartedCartPole,
}


@pytest.fixture(scope="module", autouse=True)
def _registered():
    for name, factory in OWN.items():
        if name not in gymnax.registered_envs:
            gymnax.register(name, factory)


@functools.lru_cache
def constant(*shape: int) -> FunctionPolicy:
    """The weights are the output."""
    return FunctionPolicy(
        init=lambda key, observation: jnp.zeros(shape),
        apply=lambda weights, observation, carry: (weights, carry),
    )


LINEAR = FunctionPolicy(
    init=lambda key, observation: jnp.zeros(4),
    apply=lambda w, o, carry: (jnp.stack([0.0, jnp.sum(w * o)]), carry),
)
BALANCED = np.array([[0.1, 0.5, 1.0, 1.0]], np.float32)
FALLING = np.array([[0.0, 0.0, -1.0, 0.0]], np.float32)


def linear(**changes) -> Control:
    return Control("CartPole-v1", policy=LINEAR, observation="none", **changes)


def payoff(name: str, policy: FunctionPolicy, weights) -> np.ndarray:
    """Fitness of one step of an echo, (N,)."""
    problem = Control(name, policy=policy, max_steps=1)
    return np.asarray(EVALUATE(problem, jax.random.key(0), np.float32(weights)).fitness)


# Weights


@pytest.mark.parametrize(
    ("name", "hidden", "count"),
    [
        ("CartPole-v1", (8,), 58),
        ("CartPole-v1", (128, 128), 17_410),
        ("Acrobot-v1", (8,), 83),
        ("MountainCar-v0", (8,), 51),
        ("MountainCarContinuous-v0", (8,), 33),
        ("Pendulum-v1", (8,), 41),
    ],
)
def test_a_policy_has_the_published_number_of_weights(name, hidden, count):
    assert Control(name, policy=MLP(hidden)).space.dim == count


def test_the_weights_start_at_the_scale_of_the_problem():
    space = Control("CartPole-v1", scale=10.0).space

    weights = jax.jit(space.decode)(np.ones((1, 58), np.float32))

    assert {float(leaf.max()) for leaf in jax.tree.leaves(weights)} == {10.0}


def test_problems_that_differ_in_numbers_do_not_trace_the_policy_again():
    traced = []

    def init(key, observation):
        traced.append(observation)
        return jnp.zeros((2, observation.size))

    policy = FunctionPolicy(
        init=init, apply=lambda w, observation, carry: (w @ observation, carry)
    )
    for scale in (1.0, 2.0):
        problem = Control("CartPole-v1", policy=policy, scale=scale)
        validation.validate(problem)
        assert problem.space.dim == 8
    # as for the first alone: for the shapes of its weights, and of its output
    assert len(traced) == 2


def test_a_problem_of_the_same_name_is_the_same_structure():
    first, second = (Control("CartPole-v1", policy=MLP((8,))) for _ in range(2))

    assert jax.tree.structure(first) == jax.tree.structure(second)


# Episodes


def numpy_return(weights, start: tuple[float, ...], limit: int) -> int:
    """Steps of an 8-unit network on CartPole, observations normalised, in float64."""
    bound = np.array([4.8, 1.0, 24 * 2 * np.pi / 360, 1.0])  # infinite ones count as 1
    state = np.array(start)
    for step in range(1, limit + 1):
        seen = np.sqrt(3) * (2 * (state + bound) / (2 * bound) - 1)
        first, last = weights
        hidden = np.maximum(seen @ first["weight"] + first["bias"], 0.0)
        push = 10.0 * (2 * np.argmax(hidden @ last["weight"] + last["bias"]) - 1)
        _, v, angle, spin = state
        inner = (push + 0.05 * spin**2 * np.sin(angle)) / 1.1
        turn = 9.8 * np.sin(angle) - np.cos(angle) * inner
        turn /= 0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1)
        pull = inner - 0.05 * turn * np.cos(angle) / 1.1
        state = state + 0.02 * np.array([v, pull, spin, turn])
        if abs(state[0]) > 2.4 or abs(state[2]) > 12 * 2 * np.pi / 360:
            return step
    return limit


def test_the_fitness_on_cartpole_is_that_of_a_loop_in_numpy():
    problem = Control("Started-test", max_steps=100)
    x = np.random.default_rng(0).normal(size=(64, 58)).astype(np.float32)
    weights = jax.jit(problem.space.decode)(x)

    fitness = EVALUATE(problem, jax.random.key(0), weights).fitness

    one = lambda i: jax.tree.map(lambda leaf: np.asarray(leaf[i], np.float64), weights)
    want = [numpy_return(one(i), StartedParams().start, 100) for i in range(64)]
    assert fitness.tolist() == want
    assert len(set(want)) > 5


def test_the_fitness_is_the_mean_over_episodes_with_starts_of_their_own():
    problem = linear(num_episodes=5)

    evaluation = EVALUATE(problem, jax.random.key(0), np.repeat(FALLING, 3, axis=0))

    totals = np.asarray(evaluation.measures.total_reward)
    assert totals.shape == evaluation.measures.length.shape == (3, 5)
    np.testing.assert_allclose(evaluation.fitness, totals.mean(axis=1), rtol=1e-6)
    assert len(np.unique(totals)) > 1


def test_evaluation_is_a_function_of_the_key():
    problem, weights = linear(num_episodes=5), np.repeat(FALLING, 3, axis=0)

    first, again, other = (
        EVALUATE(problem, jax.random.key(seed), weights).fitness.tolist()
        for seed in (1, 1, 2)
    )

    assert first == again != other


def test_a_problem_has_no_state():
    problem = Control("Discrete-test", policy=constant(4))

    _, state = jax.eval_shape(problem.evaluate, jax.random.key(0), (), jnp.zeros((1, 4)))

    assert problem.init(jax.random.key(0)) == state == ()


def test_a_balanced_pole_is_cut_by_the_limit_and_not_terminated():
    evaluation = EVALUATE(linear(), jax.random.key(0), BALANCED)

    assert evaluation.fitness.tolist() == [500.0]
    assert evaluation.measures.terminated.tolist() == [[False]]


def test_max_steps_cuts_episodes():
    problem = linear(max_steps=17)

    evaluation = EVALUATE(problem, jax.random.key(0), BALANCED)

    assert problem.episode_limit == 17
    assert evaluation.measures.length.tolist() == [[17]]
    assert evaluation.measures.terminated.tolist() == [[False]]


@pytest.mark.parametrize(
    ("name", "limit"),
    [("CartPole-v1", 500), ("Pendulum-v1", 200), ("MountainCarContinuous-v0", 999)],
)
def test_the_limit_is_that_of_the_environment(name, limit):
    assert Control(name).episode_limit == limit


# Environment parameters


def cartpole_params(**changes):
    return gymnax.make("CartPole-v1")[1].replace(**changes)


def test_parameters_of_the_environment_change_the_episode_and_compile_nothing():
    traces = []

    def apply(weights, observation, carry):
        traces.append(1)
        return LINEAR.apply(weights, observation, carry)

    policy = FunctionPolicy(init=LINEAR.init, apply=apply)
    evaluate = lambda **changes: EVALUATE(
        pytree.strong(
            Control("CartPole-v1", policy=policy, env_params=cartpole_params(**changes))
        ),
        jax.random.key(0),
        FALLING,
    ).fitness.tolist()

    normal = evaluate()
    before = len(traces)
    weak, short = evaluate(force_mag=1.0), evaluate(max_steps_in_episode=4)

    assert len(traces) == before
    assert weak != normal
    assert short == [4.0]


def test_the_default_parameters_are_those_of_the_environment():
    evaluation = EVALUATE(linear(), jax.random.key(0), FALLING)

    given = EVALUATE(linear(env_params=cartpole_params()), jax.random.key(0), FALLING)

    assert given.fitness.tolist() == evaluation.fitness.tolist()


def test_a_longer_limit_holds_if_max_steps_allows_it():
    problem = linear(env_params=cartpole_params(max_steps_in_episode=520), max_steps=510)

    evaluation = EVALUATE(problem, jax.random.key(0), BALANCED)

    assert validation.validate(problem) is None
    assert evaluation.fitness.tolist() == [510.0]


# Actions


def test_a_discrete_action_is_the_argmax():
    outputs = [[0, 1, 2, 3], [9, 1, 2, 3], [0, 0, 5, 5], [-3, -1, -2, -4]]

    actions = payoff("Discrete-test", constant(4), outputs)

    assert actions.tolist() == [3.0, 0.0, 2.0, 1.0]


def test_a_bounded_action_is_the_tanh_stretched_to_its_bounds():
    outputs = np.array([[-0.7], [0.0], [1.2]])

    actions = payoff("Bounded-test", constant(1), outputs)

    np.testing.assert_allclose(actions, 0.5 + 2.5 * np.tanh(outputs[:, 0]), rtol=1e-6)


def test_a_bounded_action_never_leaves_its_bounds():
    actions = payoff("Bounded-test", constant(1), [[-1e30], [-9.0], [9.0], [1e30]])

    assert (actions >= -2).all()
    assert (actions <= 3).all()


def test_an_unbounded_action_is_the_output_itself():
    actions = payoff("Matrix-test", constant(2, 2), [[[1, 2], [3, 4]]])

    np.testing.assert_allclose(actions, [4321.0])


def test_bounded_and_unbounded_numbers_of_an_action_go_their_own_way():
    actions = payoff("Mixed-test", constant(2), [[100.0, 7.0]])

    np.testing.assert_allclose(actions, [2.0 + 70.0])


#: Spaces of actions: bounds, dtype, and whether every output has an action of its own.
ACTIONS = {
    "[0, inf)": (0.0, np.inf, jnp.float32),
    "[273.15, max)": (273.15, 3.4028235e38, jnp.float32),
    "(-inf, -5]": (-np.inf, -5.0, jnp.float32),
    "[0, 2000]": (0.0, 2000.0, jnp.float32),
    "[-2000, -1500]": (-2000.0, -1500.0, jnp.float32),
    "[-1e6, 1e6]": (-1e6, 1e6, jnp.float32),
    "[0.1, 0.7]": (0.1, 0.7, jnp.float32),
    "half": (-1e4, 6e4, jnp.float16),
    "int32 [-3, 9]": (-3, 9, jnp.int32),
    "uint8": (0, 255, jnp.uint8),
    "int8 [-128, 127]": (-128, 127, jnp.int8),
    "bool": (0, 1, jnp.bool_),
    "int32 [0, inf)": (0, np.inf, jnp.int32),
}
OUTPUTS = np.float32([-1e30, -30.0, -1.5, -0.5, 0.0, 0.25, 0.5, 1.0, 6.457, 1e30])


@pytest.mark.parametrize(("low", "high", "dtype"), ACTIONS.values(), ids=ACTIONS)
def test_an_action_is_within_its_bounds_and_of_its_dtype(low, high, dtype):
    space = spaces.Box(low, high, (len(OUTPUTS),), dtype)

    action = jax.jit(lambda output: to_action(output, space))(OUTPUTS)

    exact = np.asarray(action, np.float64)
    assert action.dtype == dtype
    assert ((exact >= np.float32(low)) & (exact <= np.float32(high))).all()
    assert (np.diff(exact) >= 0).all()
    whole = dtype in (jnp.int32, jnp.uint8, jnp.int8, jnp.bool_)
    assert np.unique(exact[1:-1]).size == (8 if not whole else np.unique(exact[1:-1]).size)
    assert np.unique(exact).size > 1


def test_an_action_from_one_bound_is_the_softplus_away_from_it():
    above, below = spaces.Box(5.0, np.inf, (2,)), spaces.Box(-np.inf, 5.0, (2,))
    output = np.float32([-1.0, 2.0])

    away = np.log1p(np.exp([-1.0, 2.0])), np.log1p(np.exp([1.0, -2.0]))

    np.testing.assert_allclose(to_action(output, above), 5.0 + away[0], rtol=1e-6)
    np.testing.assert_allclose(to_action(output, below), 5.0 - away[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape"), [("Matrix-test", (4,)), ("Scalar-test", (1,)), ("Scalar-test", ())]
)
def test_the_output_may_be_flat(name, shape):
    assert validation.validate(Control(name, policy=constant(*shape))) is None


def test_a_network_takes_the_width_of_its_output_from_the_actions():
    widths = {
        name: Control(name, policy=MLP(())).space.layout.shapes[0]
        for name in ("Discrete-test", "Matrix-test", "Scalar-test")
    }

    assert widths == {"Discrete-test": (4,), "Matrix-test": (4,), "Scalar-test": (1,)}


# Observations


def test_observations_of_cartpole_are_normalised_as_published():
    env, env_params = gymnax.make("CartPole-v1")
    seen = np.array([1.2, -0.5, 0.2, 2.0], np.float32)
    space = env.observation_space(env_params)

    normalised = jax.jit(lambda seen: normalise(seen, space))(seen)

    low = np.array([-4.8, -1.0, -24 * 2 * np.pi / 360, -1.0])  # infinite: -1
    want = (2 * (seen - low) / (-2 * low) - 1) * np.sqrt(3)
    np.testing.assert_allclose(normalised, want, rtol=1e-5)


def test_bounds_beyond_a_thousand_count_as_one_each():
    space = spaces.Box(jnp.array([-2e3, 0.0, -1e3]), jnp.array([4.0, 5e3, 1e3]), (3,))
    seen = np.array([2.0, 0.25, 500.0], np.float32)

    normalised = jax.jit(lambda seen: normalise(seen, space))(seen)

    low, high = np.array([-1.0, 0.0, -1e3]), np.array([4.0, 1.0, 1e3])
    want = (2 * (seen - low) / (high - low) - 1) * np.sqrt(3)
    np.testing.assert_allclose(normalised, want, rtol=1e-5)


#: Bounds of which one alone is within a thousand, or none; an observation, and its scale.
ONE_ENDED = {
    "[1, inf)": (1.0, np.inf, [1.0, 2.0, 3.0], (1.0, 2.0)),
    "[1, max)": (1.0, 3.4028235e38, [1.0, 2.0, 3.0], (1.0, 2.0)),
    "(-inf, -5]": (-np.inf, -5.0, [-5.0, -6.0, -9.0], (-6.0, -5.0)),
    "[100, 5000]": (100.0, 5000.0, [100.0, 2550.0, 5000.0], (100.0, 5000.0)),
    "[273.15, 1273.15]": (273.15, 1273.15, [273.15, 773.15, 1273.15], (273.15, 1273.15)),
    "[-9000, -2000]": (-9000.0, -2000.0, [-9000.0, -2000.0], (-9000.0, -2000.0)),
    "[0.99, 5000]": (0.99, 5000.0, [0.99, 3.0, 5000.0], (0.99, 5000.0)),
    "[2000, inf)": (2000.0, np.inf, [2000.0, 2001.0], (2000.0, 2001.0)),
}


@pytest.mark.parametrize(("low", "high", "seen", "ends"), ONE_ENDED.values(), ids=ONE_ENDED)
def test_no_interval_makes_a_policy_blind(low, high, seen, ends):
    space = spaces.Box(low, high, (len(seen),))

    normalised = jax.jit(lambda seen: normalise(seen, space))(np.float32(seen))

    want = np.sqrt(3) * (2 * (np.array(seen) - ends[0]) / (ends[1] - ends[0]) - 1)
    np.testing.assert_allclose(normalised, want, rtol=1e-4, atol=1e-6)
    assert np.unique(normalised).size == len(seen)


def test_a_uniform_observation_gets_mean_zero_and_variance_one():
    seen = np.random.default_rng(0).uniform(2.0, 5.0, 100_000).astype(np.float32)
    space = spaces.Box(2.0, 5.0, (100_000,))

    normalised = jax.jit(lambda seen: normalise(seen, space))(seen)

    np.testing.assert_allclose(np.mean(normalised), 0.0, atol=5 / np.sqrt(100_000))
    np.testing.assert_allclose(np.var(normalised), 1.0, atol=5 / np.sqrt(100_000))


def test_an_observation_that_cannot_vary_is_zero():
    space = spaces.Box(jnp.array([3.0, 0.0]), jnp.array([3.0, 2.0]), (2,))

    assert normalise(jnp.array([3.0, 1.0]), space).tolist() == [0.0, 0.0]


def test_a_discrete_observation_becomes_one_hot():
    assert normalise(jnp.asarray(2), spaces.Discrete(4)).tolist() == [0, 0, 1, 0]


def test_observations_may_be_pytrees():
    space = spaces.Tuple((spaces.Discrete(2), DICT))

    room, inner = normalise((jnp.asarray(1), IN_ROOM_2), space)

    assert (room.tolist(), inner["room"].tolist()) == ([0, 1], [0, 0, 1])
    np.testing.assert_allclose(
        inner["place"], np.sqrt(3) * np.array([-0.5, 1.0]), rtol=1e-6
    )


@pytest.mark.parametrize(("observation", "width"), [("space", 5), ("none", 3)])
def test_a_network_sees_all_numbers_of_a_pytree(observation, width):
    problem = Control("Rooms-test", policy=MLP(()), observation=observation)

    assert problem.space.layout.shapes == ((5,), (width, 5))


def test_a_policy_sees_the_normalised_observation():
    seeing = FunctionPolicy(
        init=lambda key, observation: jnp.zeros(5),
        apply=lambda w, observation, carry: (flatten(observation), carry),
    )

    paid = payoff("Rooms-test", seeing, np.zeros((1, 5)))

    place = np.sqrt(3) * np.array([-0.5, 1.0])  # then the room, one-hot
    np.testing.assert_allclose(paid, place[0] + 10 * place[1] + 10.0**4, rtol=1e-6)


def test_a_policy_may_see_raw_observations():
    seeing = FunctionPolicy(
        init=lambda key, observation: jnp.zeros(1),
        apply=lambda w, o, carry: (jnp.zeros(5).at[:3].set(flatten(o)), carry),
    )
    problem = Control("Rooms-test", policy=seeing, max_steps=1, observation="none")

    paid = EVALUATE(problem, jax.random.key(0), np.zeros((1, 1), np.float32)).fitness

    assert paid.tolist() == [1.0 + 40.0 + 200.0]


# Errors


@pytest.mark.parametrize(
    ("name", "close"),
    [("CartPol-v1", "CartPole-v1"), ("MountainCar-v1", "MountainCar-v0")],
)
def test_an_unknown_environment_is_refused_with_the_closest_names(name, close):
    with pytest.raises(ValueError, match=f"env_name: got '{name}', want .*{close}"):
        validation.validate(Control(name))


def test_an_unknown_environment_is_refused_wherever_it_is_used():
    with pytest.raises(ValueError, match="env_name: got 'Chess'"):
        _ = Control("Chess").space


@pytest.mark.parametrize(
    ("name", "policy", "got", "want"),
    [
        ("CartPole-v1", MLP(num_outputs=3), r"\(3,\)", r"\(2,\)"),
        ("CartPole-v1", constant(), r"\(\)", r"\(2,\)"),
        ("Pendulum-v1", constant(2), r"\(2,\)", r"\(1,\)"),
        ("Matrix-test", constant(4, 1), r"\(4, 1\)", r"\(2, 2\)"),
    ],
)
def test_a_policy_whose_output_does_not_fit_is_refused(name, policy, got, want):
    message = rf"Control\.policy: got an output of shape {got}, want {want} for {name}"
    with pytest.raises(ValueError, match=message):
        validation.validate(Control(name, policy=policy))


def test_actions_that_are_neither_discrete_nor_a_box_are_refused():
    with pytest.raises(ValueError, match=r"got actions of .*want a Discrete or a Box"):
        validation.validate(Control("Tuple-actions-test"))


def test_a_limit_above_the_default_wants_max_steps():
    problem = Control("CartPole-v1", env_params=cartpole_params(max_steps_in_episode=600))

    with pytest.raises(ValueError, match=r"Control\.max_steps: got None .* max_steps=600"):
        validation.validate(problem)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"observation": "pixels"},
            ValueError,
            r"Control\.observation: got 'pixels', want",
        ),
        ({"num_episodes": 0}, ValueError, r"Control\.num_episodes: got 0"),
        ({"num_episodes": 1.5}, TypeError, r"Control\.num_episodes: got 1\.5"),
        ({"max_steps": 0}, ValueError, r"Control\.max_steps: got 0"),
        ({"max_steps": 9.0}, TypeError, r"Control\.max_steps: got 9\.0"),
        ({"scale": 0.0}, ValueError, r"Control\.scale: got 0\.0"),
        ({"policy": MLP((0,))}, ValueError, r"MLP\.hidden: got 0"),
        ({"policy": MLP(activation="x")}, ValueError, r"MLP\.activation: got 'x'"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        validation.validate(Control("CartPole-v1", **changes))


# Every environment

#: Those that take longest to compile.
SLOW = {
    *("Asterix-MinAtar", "Breakout-MinAtar", "Freeway-MinAtar", "Seaquest-MinAtar"),
    *("SpaceInvaders-MinAtar", "Catch-bsuite", "DeepSea-bsuite", "SimpleBandit-bsuite"),
    *("MetaMaze-misc", "PointRobot-misc", "Reacher-misc", "Swimmer-misc", "Acrobot-v1"),
    *("FourRooms-misc", "FrozenLake-misc", "Pong-misc", "MountainCarContinuous-v0"),
    *("BernoulliBandit-misc", "GaussianBandit-misc", "UmbrellaChain-bsuite"),
    *("DiscountingChain-bsuite", "MemoryChain-bsuite"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in BUILT_IN],
)
def test_every_registered_environment_runs_or_is_refused_with_a_reason(name):
    problem = Control(name, policy=MLP((4,)), max_steps=3)

    def evaluate(problem: Control, key: jax.Array) -> de.Evaluation:
        weights = problem.space.decode(problem.space.sample(key, 2))
        return problem.evaluate(key, (), weights)[0]

    try:
        gymnax.make(name)
    except Exception:  # its data are not here
        with pytest.raises(ValueError, match=f"env_name: {name} cannot be built here: "):
            validation.validate(problem)
        return
    evaluation = jax.jit(evaluate, compiler_options=QUICK)(problem, jax.random.key(0))

    assert evaluation.fitness.shape == (2,)
    assert np.isfinite(evaluation.fitness).all()
    assert set(evaluation.measures.length.ravel().tolist()) <= {1, 2, 3}
