"""Policies in files: acted by with JAX alone, and loaded again."""

import io
import json
import re
import subprocess
import sys
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("flatbuffers")  # by which jax.export writes programs

from own_environments import Nav, Rooms

import diffevo_jax as de
from diffevo_jax.problems import Control, FunctionPolicy, control
from diffevo_jax.problems.control import saved_controllers

KEY = jax.random.key(5)
#: Adds up what it sees, and acts by the sum.
SUMMING = FunctionPolicy(
    init=lambda key, seen: jnp.zeros((2, 2)),
    apply=lambda weights, seen, carry: (
        weights @ (carry["sum"] + seen["to_goal"]),
        {"sum": carry["sum"] + seen["to_goal"], "steps": carry["steps"] + 1},
    ),
    initial_carry=lambda: {"sum": jnp.ones(2), "steps": jnp.zeros((), jnp.int32)},
)
#: A program that knows nothing of this library, and can not.
ELSEWHERE = """
import sys
sys.modules["diffevo_jax"] = None
import numpy as np
from jax import export; from zipfile import ZipFile
act = export.deserialize(bytearray(ZipFile(sys.argv[1]).read("controller.jax"))).call
start = export.deserialize(bytearray(ZipFile(sys.argv[1]).read("initial_carry.jax"))).call
carry, actions = start(), []
for step in range(3):
    seen = {"place": np.float32([step, 1]), "to_goal": np.float32([0.5, -step])}
    action, carry = act(seen, carry)
    actions.append(np.asarray(action).tolist())
print(actions)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A recurrent policy with running moments: its problem, weights, state and file."""
    problem = Control(env=Nav(), policy=SUMMING, observation="running")
    solutions = problem.space.decode(problem.space.sample(KEY, 3))
    _, state = problem.evaluate(KEY, problem.init(KEY), solutions)
    weights = jax.tree.map(lambda leaf: leaf[1], solutions)
    path = tmp_path_factory.mktemp("saved") / "policy.zip"
    control.save_controller(path, problem, weights, state)
    return problem, weights, state, path


def actions_of(act, carry) -> list:
    actions = []
    for step in range(3):
        seen = {"place": jnp.array([step, 1.0]), "to_goal": jnp.array([0.5, -step])}
        action, carry = act(seen, carry)
        actions.append(np.asarray(action).tolist())
    return actions


@pytest.mark.slow
def test_a_program_without_the_library_acts_alike(saved):
    problem, weights, state, path = saved
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    want = actions_of(problem.controller(weights, state), problem.policy.initial_carry())
    np.testing.assert_allclose(json.loads(done.stdout), want, rtol=1e-6)


def test_a_loaded_controller_acts_alike(saved):
    problem, weights, state, path = saved
    loaded = control.load_controller(path)
    want = actions_of(problem.controller(weights, state), problem.policy.initial_carry())
    np.testing.assert_allclose(actions_of(loaded, loaded.initial_carry()), want, rtol=1e-6)
    chex.assert_trees_all_equal(loaded.initial_carry(), problem.policy.initial_carry())


def test_weights_and_scalings_are_plain(saved):
    _, weights, state, path = saved
    with zipfile.ZipFile(path) as archive:
        arrays = np.load(io.BytesIO(archive.read("weights.npz")), allow_pickle=False)
        layout = json.loads(archive.read("controller.json"))
    np.testing.assert_array_equal(arrays["value"], weights)
    scaling = layout["scaling"]
    assert scaling["kind"] == "running"
    assert layout["environment"] == "Nav"
    for name, mean in state.mean.items():
        deviation = np.sqrt(state.squares[name] / state.count)
        np.testing.assert_allclose(scaling["mean"][name], mean, rtol=1e-6)
        np.testing.assert_allclose(scaling["deviation"][name], deviation, rtol=1e-6)
    assert layout["observation"]["place"] == {"shape": [2], "dtype": "float32"}
    assert layout["carry"]["steps"] == {"shape": [], "dtype": "int32"}
    assert layout["action_space"]["low"] == [-1, -1]


def test_a_discrete_environment_with_bounds_leaves_too(tmp_path):
    problem = Control(env=Rooms(), max_steps=5)
    weights = jax.tree.map(
        lambda leaf: leaf[0], problem.space.decode(problem.space.sample(KEY, 1))
    )
    control.save_controller(tmp_path / "rooms.zip", problem, weights)
    loaded = control.load_controller(tmp_path / "rooms.zip")
    act = problem.controller(weights)
    for room in range(4):
        want = act(jnp.asarray(room), ())[0]
        assert loaded(np.int32(room), ())[0] == want
    assert loaded.layout["scaling"]["bounds"] == [{"kind": "Discrete", "n": 4}]
    assert set(loaded.weights) == {"0/bias", "0/weight", "1/bias", "1/weight"}


def test_a_file_does_not_say_where_its_program_was_written(saved):
    *_, path = saved
    with zipfile.ZipFile(path) as archive:
        whole = b"".join(map(archive.read, archive.namelist()))
    assert not re.findall(rb"[\w./<>-]*\.py\b(?!\w)", whole)
    assert b"site-packages" not in whole
    assert jax.config.jax_traceback_in_locations_limit > 0  # as it was


def test_without_a_memory_the_carry_may_be_left_out(tmp_path):
    problem = Control(env=Rooms(), max_steps=5, policy=CONSTANT)
    control.save_controller(tmp_path / "rooms.zip", problem, jnp.ones(2))
    loaded = control.load_controller(tmp_path / "rooms.zip")
    act = problem.controller(jnp.ones(2))
    assert loaded(np.int32(1)) == act(jnp.int32(1)) == (0, ())
    with pytest.raises(ValueError, match=r"observation: got .*\[2\].*want .*\[\]"):
        loaded(np.zeros(2, np.int32))
    with pytest.raises(ValueError, match=r"observation: got \(2,\), want \(\)"):
        act(jnp.zeros(2, jnp.int32))


def test_with_a_memory_a_carry_is_wanted(saved):
    problem, weights, state, path = saved
    seen = {"place": jnp.ones(2), "to_goal": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"carry: got \{\}, want .*as initial_carry\(\)"):
        control.load_controller(path)(seen)
    with pytest.raises(ValueError, match=r"carry: got \(\), want .*policy\.initial_carry"):
        problem.controller(weights, state)(seen)


def test_a_memory_may_be_a_key(tmp_path):
    def apply(weights, seen, key):
        key, now = jax.random.split(key)
        return weights + jax.random.normal(now, (2,)), key

    policy = FunctionPolicy(lambda key, seen: jnp.zeros(2), apply, lambda: KEY)
    problem = Control(env=Rooms(), max_steps=5, policy=policy)
    control.save_controller(tmp_path / "rooms.zip", problem, jnp.zeros(2))
    loaded = control.load_controller(tmp_path / "rooms.zip")
    action, after = loaded(np.int32(1), loaded.initial_carry())
    want = problem.controller(jnp.zeros(2))(jnp.int32(1), KEY)
    assert (action, jax.random.key_data(after).tolist()) == (
        want[0],
        jax.random.key_data(want[1]).tolist(),
    )


#: It hears nothing, and has two numbers.
CONSTANT = FunctionPolicy(lambda key, seen: jnp.zeros(2), lambda w, seen, carry: (w, carry))


def misused() -> dict:
    """What acts by the weights of a policy of two numbers."""
    problem = Control(env=Rooms(), max_steps=5, policy=CONSTANT)
    return {
        "play": lambda weights: problem.play(KEY, weights),
        "record": lambda weights: problem.play(KEY, weights, record=True),
        "controller": problem.controller,
        "save": lambda weights: control.save_controller("rooms.zip", problem, weights),
    }


@pytest.mark.parametrize("use", misused())
def test_weights_of_no_policy_are_refused(use):
    act = misused()[use]
    hint = ", one solution of problem.space"
    for weights in (jnp.ones((1, 2)), jnp.ones((2, 1)), None, [jnp.ones(2)]):
        with pytest.raises(ValueError, match=r"policy_params: got .*, want \(2,\)" + hint):
            act(weights)
    with pytest.raises(TypeError, match="policy_params: got 'x', want real numbers"):
        act("x")


def test_moments_of_another_problem_are_refused():
    problem = Control("cartpole", max_steps=5, observation="running")
    other = Control("acrobot", observation="running").init(KEY)
    weights = jax.tree.map(lambda leaf: leaf[0], problem.space.decode(jnp.ones((1, 58))))
    with pytest.raises(ValueError, match=r"problem_state: got .*\(6,\).*want .*\(4,\)"):
        problem.play(KEY, weights, other)


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (jax.random.PRNGKey(0), TypeError, "got an array of uint32, want a typed key"),
        (0, TypeError, "got int, want a typed key"),
        (jax.random.split(KEY, 3), ValueError, r"got shape \(3,\), want \(\)"),
    ],
    ids=["raw", "int", "several"],
)
def test_a_key_that_is_none_is_refused(key, error, message):
    problem = Control(env=Rooms(), max_steps=5, policy=CONSTANT)
    with pytest.raises(error, match=f"key: {message}"):
        problem.play(key, jnp.ones(2))
    with pytest.raises(error, match=f"key: {message}"):
        problem.evaluate(key, (), jnp.ones((3, 2)))


def test_a_failed_write_leaves_the_old_file(saved, tmp_path, monkeypatch):
    problem, weights, state, _ = saved
    path = tmp_path / "policy.zip"
    path.write_text("old")

    def full(*_):
        raise OSError("no space")

    monkeypatch.setattr(saved_controllers.zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="no space"):
        control.save_controller(path, problem, weights, state)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["policy.zip"]


def test_what_is_no_saved_controller_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("note", "nothing here")
    for name in ("text.zip", "other.zip"):
        with pytest.raises(
            ValueError, match=r"path: got .*want what save_controller wrote"
        ):
            control.load_controller(tmp_path / name)


def test_a_carry_that_no_file_can_name_is_refused(tmp_path):
    @de.pytree.dataclass
    class Memory:
        last: jax.Array

    policy = FunctionPolicy(
        init=lambda key, seen: jnp.zeros((2, 2)),
        apply=lambda w, seen, carry: (w @ carry.last, Memory(seen["place"])),
        initial_carry=lambda: Memory(jnp.zeros(2)),
    )
    problem = Control(env=Nav(), policy=policy)
    with pytest.raises(ValueError, match="want arrays in dicts, lists and tuples"):
        control.save_controller(tmp_path / "policy.zip", problem, jnp.zeros((2, 2)))
