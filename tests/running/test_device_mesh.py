"""Runs on two devices are the runs on one."""

import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from diffevo_jax.running import device_mesh

#: One process with two devices computes everything, since it takes a new process to have
#: two: what the tests look at is a line of JSON.
PROGRAM = '''
import json, os
import jax
import numpy as np

jax.config.update("jax_platforms", "cpu")
settings = lambda: (jax.config.jax_num_cpu_devices, os.environ.get("XLA_FLAGS"))
before = settings()
import diffevo_jax as de

told = {"import": settings() == before}
jax.config.update("jax_num_cpu_devices", 2)  # refused if a device is in use already

devices, keys = jax.local_devices(), jax.random.split(jax.random.key(0), 4)
problem, strategy = de.problems.Landscape("himmelblau"), de.DiffusionEvolution(3)
population = problem.space.sample(jax.random.key(1), 8)
evolve = lambda key: de.evolve(key, strategy, problem, population=population)
options = {"population": population, "record": ("population",), "chunk_size": 2}


def error(first, second):
    """Largest difference of any number, in units of 1 + its size."""
    one = lambda a, b: float(np.max(np.abs(a - b) / (1 + np.abs(b))))
    leaves = [jax.tree.leaves(tree) for tree in (first, second)]
    return max(one(*map(np.float64, pair)) for pair in zip(*leaves, strict=True))


def places(tree):
    """Devices that hold a part of every leaf, and how many runs each has."""
    return sorted(
        {
            tuple(sorted((s.device.id, len(s.data)) for s in leaf.addressable_shards))
            for leaf in jax.tree.leaves(tree)
        }
    )


def message(function):
    try:
        function()
    except Exception as refused:
        return f"{type(refused).__name__}: {refused}"
    return "nothing"


together = de.spread(evolve)(keys)
alone = jax.jit(jax.vmap(evolve))(keys)
told["devices"] = len(devices)
told["spread"] = error(together, alone)
told["spread places"] = places(together)
second = de.spread(jax.random.normal, devices=devices[1:])(keys)
told["second place"] = places(second)
told["second"] = error(second, jax.vmap(jax.random.normal)(keys))

trees = de.spread(lambda key, pair: {"sum": pair[0] + pair[1].sum(), "key": key})
pair = (np.arange(4.0, dtype=np.float32), np.ones((4, 3), np.float32))
told["trees"] = trees(keys, pair)["sum"].tolist()

results = list(de.iterate(keys, strategy, problem, devices=devices, **options))
plain = list(de.iterate(keys, strategy, problem, **options))
told["lengths"] = [len(results), len(plain), *results[-1].history.done.shape]
told["iterate"] = [error(*pair) for pair in zip(results, plain, strict=True)]
told["iterate places"] = places((results[-1].population, results[-1].state))
told["run"] = de.equal(
    de.run(keys, strategy, problem, devices=devices, **options), results[-1]
)
early = lambda result: result.history.done.shape[-1] >= np.array([2, 9, 9, 2])
ended = de.run(keys, strategy, problem, devices=devices, stop=early, **options)
told["ended"] = ended.num_generations.tolist()
told["ended as they were"] = [
    bool((ended.population[i] == results[k].population[i]).all())
    for i, k in enumerate([0, 1, 1, 0])
]

run = lambda key, devices: de.run(key, strategy, problem, devices=devices, **options)
told["three"] = message(lambda: de.spread(evolve)(keys[:3]))
told["scalar"] = message(lambda: de.spread(lambda key, x: x)(keys, 1.0))
told["nobody"] = message(lambda: de.spread(evolve, devices=[]))
told["run three"] = message(lambda: run(keys[:3], devices))
told["run one"] = message(lambda: run(keys[0], devices))
told["run nobody"] = message(lambda: run(keys, []))

mesh_of = lambda kind: jax.make_mesh((2,), ("x",), axis_types=(kind,))
set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
spread_out, explicit = de.spread(evolve), jax.sharding.AxisType.Explicit
told["with a mesh"] = {}
for kind in (explicit, jax.sharding.AxisType.Auto):
    with set_mesh(mesh_of(kind)):
        told["with a mesh"][kind.name] = [
            de.equal(spread_out(keys), together),
            de.equal(run(keys, devices), results[-1]),
        ]
        told[f"in jit, {kind.name}"] = message(lambda: jax.jit(de.spread(evolve))(keys))
one = {"population_size": 8, "num_blocks": 2}
given = jax.make_mesh((1, 2), ("runs", "population"), axis_types=(explicit,) * 2)
on = lambda mesh: de.evolve_on(mesh, keys[0], strategy, problem, **one)
told["explicit mesh"] = de.equal(on(given), on(de.make_mesh(population=2)))
rows = jax.sharding.NamedSharding(mesh_of(explicit), jax.sharding.PartitionSpec("x"))
parted = jax.device_put(population, rows)
told["parted population"] = message(
    lambda: de.evolve(keys[0], strategy, problem, population=parted)
)
told["parted fitness"] = message(
    lambda: de.tell(
        strategy,
        keys[0],
        de.init(strategy, keys[0], population),
        population,
        jax.device_put(np.ones(8, np.float32), rows),
    )
)
told["parted keys"] = message(lambda: de.spread(evolve)(jax.device_put(keys, rows)))
print(json.dumps(told))
'''


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the process with two devices says."""
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # it is mostly compiling
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, **quick},
    )
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


def test_runs_on_two_devices_end_one_by_one(told) -> None:
    assert told["ended"] == [2, 3, 3, 2]
    assert all(told["ended as they were"])


def test_importing_the_library_makes_no_devices(told) -> None:
    # then it is the setting that comes after the import that counts
    assert told["import"]
    assert told["devices"] == 2


def test_spread_is_vmap(told) -> None:
    # float32 rounding over three generations; programs of other widths may differ by it
    assert told["spread"] < 1e-5


def test_every_device_gets_an_equal_part_of_the_runs(told) -> None:
    assert told["spread places"] == [[[0, 2], [1, 2]]]


def test_the_devices_may_be_some_of_all(told) -> None:
    assert told["second place"] == [[[1, 4]]]
    assert told["second"] < 1e-6


def test_arguments_and_results_may_be_trees(told) -> None:
    assert told["trees"] == [3.0, 4.0, 5.0, 6.0]


def test_the_host_loop_gives_the_same_on_two_devices(told) -> None:
    assert told["lengths"] == [2, 2, 4, 3]  # two chunks; four runs of three generations
    # float32 rounding, as above
    assert max(told["iterate"]) < 1e-5


def test_the_host_loop_keeps_the_runs_on_their_devices(told) -> None:
    assert told["iterate places"] == [[[0, 2], [1, 2]]]


@pytest.mark.parametrize("kind", ["Explicit", "Auto"])
def test_a_mesh_that_the_caller_has_set_is_left_alone(told, kind) -> None:
    # given jax.set_mesh, then spread and the host loop give the same bits on their devices
    assert told["with a mesh"][kind] == [True, True]


def test_a_mesh_with_explicit_axes_divides_a_population_as_ours(told) -> None:
    assert told["explicit mesh"]


def test_run_is_the_last_of_iterate(told) -> None:
    assert told["run"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "three",
            "ValueError: devices: got 2 for an argument of shape (3,), want a leading axis "
            "of runs that is a multiple of the number of devices",
        ),
        (
            "scalar",
            "ValueError: devices: got 2 for an argument of shape (), want a leading axis "
            "of runs that is a multiple of the number of devices",
        ),
        ("nobody", "ValueError: devices: got none, want at least one"),
        (
            "run three",
            "ValueError: devices: got 2 for keys of shape (3,), want a divisor of the "
            "number of runs",
        ),
        (
            "run one",
            "ValueError: devices: got 2 for keys of shape (), want a divisor of the "
            "number of runs",
        ),
        ("run nobody", "ValueError: devices: got none, want at least one"),
    ],
)
def test_runs_that_the_devices_cannot_share_are_refused(told, case, message) -> None:
    assert told[case] == message


@pytest.mark.parametrize("name", ["population", "fitness", "keys"])
def test_arrays_divided_over_explicit_axes_are_refused(told, name) -> None:
    argument = "devices" if name == "keys" else name
    message = f"ValueError: {argument}: got an array that is divided over explicit axes"
    assert told[f"parted {name}"].startswith(message)
    assert "want one on one device" in told[f"parted {name}"]


@pytest.mark.parametrize("kind", ["Explicit", "Auto"])
def test_a_mesh_that_is_set_inside_of_jit_is_refused(told, kind) -> None:
    assert told[f"in jit, {kind}"] == (
        "ValueError: devices: got a mesh of axes ('x',) set inside of jit, "
        "want the call outside of jit, or no mesh"
    )


def test_shapes_on_devices_are_of_the_same_weak_types() -> None:
    """What is compiled for strong ones would be compiled once more for the arrays."""
    mesh = device_mesh.line(jax.local_devices()[:1])
    shapes = jax.eval_shape(lambda: (jax.vmap(lambda _: 0.0)(jnp.zeros(2)), jnp.zeros(2)))
    placed = device_mesh.as_placed(shapes, device_mesh.place_of(mesh, ()))
    assert [leaf.weak_type for leaf in placed] == [True, False]
    assert all(leaf.sharding.mesh == mesh for leaf in placed)


def test_results_are_where_arguments_are_kept() -> None:
    device = jax.local_devices()[0]
    free = jnp.zeros(2)
    assert device_mesh.place_of(None, {"free": free, "number": 1.0}) is None
    place = device_mesh.place_of(None, {"free": free, "kept": jax.device_put(free, device)})
    assert place == jax.sharding.SingleDeviceSharding(device)
