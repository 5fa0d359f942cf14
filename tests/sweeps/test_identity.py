"""Two different sweeps never share stored results."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffevo_jax as de
from diffevo_jax.pytree import digests, records
from diffevo_jax.pytree.digests import program_digest
from diffevo_jax.pytree.folders import FolderError
from diffevo_jax.sweeps import identity
from diffevo_jax.sweeps.batches import Batching
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.plan import make_plan

# Named since 0.8; before it was experimental.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
KEY = jax.random.key(0)
STRATEGY = de.DiffusionEvolution(1)
SPHERE = de.problems.Function(lambda x: -jnp.sum(x**2), dim=2)


def plan_of(problem=SPHERE, strategy=STRATEGY, *, key=KEY, batching=None, **options):
    options = {"axes": None, "num_seeds": 2, "population_size": 4} | options
    batching = batching or Batching(batch_size=4)
    return make_plan(key, strategy, problem, batching=batching, stored=True, **options)


def shifted(k):
    return de.problems.Function(lambda x: jnp.sum(jnp.abs(x - k)), dim=2)


def where_conditions(*conditions):
    return de.replace(STRATEGY, denoiser=de.denoisers.Population(conditions=conditions))


# Functions, by what they compute.

LEVEL = 0.0


def of_a_global(x):
    return x + LEVEL


class Shift:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x + self.by

    def method(self, x):
        return x * self.by


def with_default(k):
    def function(x, by=k):
        return x + by

    return function


def nested(k):
    inner = jax.jit(lambda x: x * k)
    return lambda x: jax.lax.fori_loop(0, 3, lambda _, y: inner(y), x)


def exchanged(k):
    first, second = jnp.arange(3.0), jnp.arange(3.0)[::-1]
    first, second = (first, second) if k else (second, first)
    return lambda x: x * first + jnp.sin(x) * second


def custom(k):
    @jax.custom_jvp
    def function(x):
        return x * k

    function.defjvp(lambda primals, tangents: (function(*primals), tangents[0]))
    return function


def drawn(k):
    key = jax.random.key(k)
    return lambda x: x + jax.random.normal(key, (3,))


FUNCTIONS = {
    "closure": lambda k: lambda x: x + k,
    "default": with_default,
    "partial": lambda k: functools.partial(lambda by, x: x + by, k),
    "object": lambda k: Shift(k),
    "method": lambda k: Shift(k).method,
    "inner_program": nested,
    "array": lambda k: lambda x: x + np.full(3, k, np.float32),
    "array_on_device": lambda k: (lambda a: lambda x: x + a)(jnp.full(3, float(k))),
    "array_of_an_inner_program": lambda k: (lambda a: jax.jit(lambda x: x + a))(
        jnp.full(3, float(k))
    ),
    "exchanged_arrays": exchanged,
    "custom_rule": custom,
    "key": drawn,
    "dtype": lambda k: lambda x: (x + k).astype(jnp.float16 if k else jnp.bfloat16),
}


#: Newer releases of JAX can make large constants arguments of a program.
ARGUMENTS = "jax_use_simplified_jaxpr_constants"


def digest(function):
    return program_digest(jax.jit(lambda x: function(x)).trace(jnp.ones(3)))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("constants", [False, True], ids=["inlined", "arguments"])
def test_functions_with_one_name_are_told_by_what_they_compute(name, constants, request):
    if constants and not hasattr(jax.config, ARGUMENTS):
        pytest.skip("this version of JAX has constants of one kind")
    if hasattr(jax.config, ARGUMENTS):
        request.addfinalizer(
            functools.partial(jax.config.update, ARGUMENTS, getattr(jax.config, ARGUMENTS))
        )
        jax.config.update(ARGUMENTS, constants)
    make = FUNCTIONS[name]
    assert digest(make(0)) == digest(make(0))
    assert digest(make(0)) != digest(make(5))


def test_a_function_is_told_by_its_globals_and_by_what_they_call(monkeypatch):
    before = digest(of_a_global)
    monkeypatch.setitem(globals(), "LEVEL", 5.0)
    assert digest(of_a_global) != before


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("pure_callback", lambda x: jax.pure_callback(np.asarray, x, x)),
        ("io_callback", lambda x: jax.experimental.io_callback(np.asarray, x, x)),
        ("ffi_call", lambda x: jax.ffi.ffi_call("mine", x)(x)),
    ],
)
def test_what_cannot_be_identified_is_refused(name, call):
    outside = jax.jit(lambda x: jax.lax.map(call, x))
    with pytest.raises(ValueError, match=rf"folder: got a program with {name}, .* want"):
        digest(outside)


def test_what_is_printed_decides_no_result():
    def told(x):
        jax.debug.print("{x}", x=x)
        return x

    assert digest(told) == digest(told)


# Whole sweeps.


def attending(k):
    def attend(*arguments, **options):
        answer = de.attention.attend(*arguments, **options)
        return de.replace(answer, clean=answer.clean * k)

    return de.replace(STRATEGY, denoiser=de.denoisers.Population(attention=attend))


#: Pairs that differ by what has no name, of 1 and of 5.
PAIRS = {
    "problem": lambda k: plan_of(shifted(k)),
    "novelty": lambda k: plan_of(
        strategy=where_conditions(
            de.conditions.Novelty(num_neighbours=2, measure=lambda x, _: x[:, 0] * k)
        )
    ),
    "constraint": lambda k: plan_of(
        de.problems.Constrained(SPHERE, (de.problems.Constraint(lambda x: x[0] - k),))
    ),
    "attention": lambda k: plan_of(strategy=attending(float(k))),
    "optimiser": lambda k: plan_of(
        strategy=de.replace(STRATEGY, sampler=de.samplers.Optax(optax.sgd(0.1 * k)))
    ),
    "one_of_two_structures": lambda k: plan_of(
        axes={"problem": {"sphere": SPHERE, "shifted": shifted(k)}}
    ),
}


SLOW = ("constraint", "attention", "one_of_two_structures")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in PAIRS]
)
def test_a_folder_tells_sweeps_with_equal_names_apart(name, tmp_path):
    make = PAIRS[name]
    Folder(tmp_path, make(1))
    Folder(tmp_path, make(1))  # the same, of other function objects
    with pytest.raises(FolderError, match=r"holds another sweep: other programs$"):
        Folder(tmp_path, make(5))


@pytest.mark.slow
def test_the_key_its_implementation_and_the_settings_of_jax_count():
    def names(**options):
        found = identity.manifest(plan_of(**options))
        return {name for name in base if found[name] != base[name]}

    base = identity.manifest(plan_of())
    assert names() == set()
    assert names(key=jax.random.key(1)) == {"key"}
    one_by_one = Batching("map", batch_size=4)  # where each key draws alone
    mapped, rbg = (
        identity.manifest(plan_of(key=key, batching=one_by_one))
        for key in (KEY, jax.random.key(0, impl="rbg"))
    )
    assert {name for name in rbg if rbg[name] != mapped[name]} >= {"key", "prng"}
    with pytest.raises(ValueError, match=r"key: got a key of unsafe_rbg"):
        plan_of(key=jax.random.key(0, impl="unsafe_rbg"), batching=one_by_one)
    with ENABLE_X64(True):
        assert "x64" in names()
    with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
        assert "threefry_partitionable" in names()
    with jax.default_matmul_precision("bfloat16"):
        assert "matmul_precision" in names()
    with jax.disable_jit():
        assert names() == {"disable_jit"}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"num_seeds": 3}, "num_seeds"),
        ({"population_size": 5}, "settings"),
        ({"axes": {"sampler.eta": [0.5]}}, "settings"),
        ({"batching": Batching(batch_size=2)}, "batch_size"),
        ({"batching": Batching("map", batch_size=4)}, "mode"),
        ({"batching": Batching(batch_size=4, keep=("fitness",))}, "keep"),
        ({"strategy": de.DiffusionEvolution(2)}, "programs"),
    ],
)
def test_what_is_asked_for_counts(options, name):
    found, base = identity.manifest(plan_of(**options)), identity.manifest(plan_of())
    assert found[name] != base[name]


def test_versions_count(monkeypatch):
    base = identity.manifest(plan_of())
    monkeypatch.setattr(digests, "version_of", lambda name: records.UNKNOWN)
    assert identity.manifest(plan_of())["versions"] != base["versions"]


ELSEWHERE = """
import sys
sys.path.insert(0, {tests!r})
import test_identity as t
print(t.identity.manifest(t.PAIRS["novelty"](1))["programs"])
"""


@pytest.mark.slow
def test_the_identity_is_the_same_in_other_processes():
    code = ELSEWHERE.format(tests=os.path.dirname(__file__))
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {identity.manifest(PAIRS["novelty"](1))["programs"]}
