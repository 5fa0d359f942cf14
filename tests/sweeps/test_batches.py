"""The program of a sweep stays on its device, and is compiled once."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import test_util  # counts compilations
from jaxprs import equations

import diffevo_jax as de
from diffevo_jax.sweeps import batches, settings

KEY = jax.random.key(0)
AXES = {"sampler.eta": [0.0, 1.0]}
CONTROL = de.problems.Control("CartPole-v1", max_steps=20, observation="running")


def group_of(problem):
    (group,) = settings.grouped(
        settings.settings_of(de.DiffusionEvolution(2), problem, 8, AXES)
    )
    return group


def primitives(problem, mode):
    """Names of all operations of a sweep's program."""
    group = group_of(problem)
    how = batches.Batching(mode, keep=("population",))
    runs = functools.partial(batches._runs, group.structure, group.population_size, how)
    index, seed, count = jnp.zeros(4, int), jnp.zeros(4, jnp.uint32), jnp.full(1, 4)
    program = jax.make_jaxpr(runs)(KEY, group.varying, group.fixed, index, seed, count)
    return {equation.primitive.name for equation in equations(program.jaxpr)}


def told(x):
    """A fitness that talks to the host."""
    jax.debug.callback(lambda value: None, x[0])
    return x[0]


def of_the_host(names):
    return [name for name in names if "callback" in name or "feed" in name]


@pytest.mark.parametrize("mode", batches.MODES)
def test_the_host_is_not_called_back(mode):
    names = primitives(CONTROL, mode)
    assert "while" in names  # the loops of the rollouts have been walked
    assert not of_the_host(names)
    assert of_the_host(primitives(de.problems.Function(told, dim=1), mode))


def test_a_sweep_over_other_numbers_is_not_compiled_again():
    problem = de.problems.Landscape("beale")
    sweep = functools.partial(
        de.sweep, KEY, de.DiffusionEvolution(2), population_size=8, num_seeds=2
    )
    sweep(problem, axes={"sampler.eta": [0.0, 1.0]})
    with test_util.count_jit_compilation_cache_miss() as count:
        again = sweep(de.replace(problem, scale=2.0), axes={"sampler.eta": [0.2, 0.5]})
    assert count() == 0
    assert np.unique(again.final_mean).size == 4


#: It takes a new process to have two devices.
CODE = """
import jax, json
jax.config.update("jax_num_cpu_devices", 2)
import diffevo_jax as de
from diffevo_jax.sweeps import batches, settings
from diffevo_jax.running.device_mesh import in_parts, line

WORDS = "all-gather all-reduce collective-permute all-to-all reduce-scatter".split()
found = lambda compiled: [word for word in WORDS if word in compiled.as_text()]
devices, key = jax.devices(), jax.random.key(0)
problem = de.problems.Control("CartPole-v1", max_steps=20)
(group,) = settings.grouped(settings.settings_of(
    de.DiffusionEvolution(2), problem, 8, {"sampler.eta": [0.0, 1.0]}))
told = {
    mode: found(batches._compile(key, group, 4, batches.Batching(
        mode, devices=tuple(devices), keep=("population",))))
    for mode in batches.MODES
}
total = lambda x: jax.lax.psum(x, "runs")
talk = jax.jit(lambda x: in_parts(total, line(devices), x))
told["talk"] = found(talk.lower(jax.numpy.ones(4)).compile())
print(json.dumps(told))
"""


@pytest.mark.slow
def test_devices_that_share_a_sweep_do_not_talk():
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # it is mostly compiling
    out = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        env={**os.environ, **quick},
    )
    assert out.returncode == 0, out.stderr
    told = json.loads(out.stdout.splitlines()[-1])
    assert told["talk"] == ["all-reduce"]  # so that it would be seen
    assert told["vmap"] == told["map"] == []
