"""One population on several devices: the bits do not depend on how many there are."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.base import Divisible

PROGRAM = Path(__file__).with_name("divided_program.py")


def computed(sizes: str) -> dict[str, Any]:
    """What a process with eight devices says."""
    command = [sys.executable, str(PROGRAM), sizes]
    out = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return computed("few")


@pytest.fixture(scope="module")
def all_told() -> dict[str, Any]:
    """With other problems, kernels and sizes; minutes."""
    return computed("all")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["estimator", "kernel", "evaluation"])
def test_parts_have_the_same_bits_on_one_and_on_eight_devices(told, part) -> None:
    assert [len(set(row)) for row in told[part]] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["run", "flow"])
def test_a_run_has_the_same_bits_on_one_and_eight_devices(told, strategy) -> None:
    assert told["devices"] == 8
    assert len(set(told[strategy])) == 1


@pytest.mark.parametrize(
    ("strategy", "num_attentions"),
    [
        (de.DiffusionEvolution(2), 1),
        (
            de.DiffusionEvolution(
                2, de.denoisers.Mixture(*[de.denoisers.Population()] * 2)
            ),
            2,
        ),
        (de.DiffusionEvolution(2, de.denoisers.GaussianFit()), 0),
        (de.Consensus(2), 1),
        (de.MonoFlow(2), 1),
    ],
)
def test_a_strategy_is_divided_where_its_attention_is(strategy, num_attentions) -> None:
    seen = []
    strategy.divided(seen.append)
    assert len(seen) == num_attentions
    assert pytree.offers(strategy, Divisible)


@pytest.mark.slow
def test_a_kernel_that_needs_whole_rows_is_divided_too(all_told) -> None:
    assert len(set(all_told["calibrated"])) == 1


@pytest.mark.slow
def test_an_environment_is_not_bound_to_the_devices_of_its_first_use(all_told) -> None:
    # given one device and then two, in one process, whose traces are kept
    assert len(set(all_told["episodes"])) == 1


@pytest.mark.slow
def test_a_divided_run_is_the_run(told) -> None:
    # four generations of float32 rounding; the fitness draws nothing
    assert told["difference"] < 1e-5


@pytest.mark.slow
def test_runs_and_populations_are_divided_together(all_told) -> None:
    assert all_told["both"] == pytest.approx(all_told["alone"], abs=1e-5)


@pytest.mark.slow
def test_parts_have_the_same_bits_over_a_grid_of_sizes(all_told) -> None:
    assert [len(set(row)) for row in all_told["estimator"]] == [1] * 24
    assert [len(set(row)) for row in all_told["evaluation"]] == [1] * 12


#: One of several processes, which evolves on the devices of all.
PROCESS = """
import sys
import jax
number, processes, port, local, runs = map(int, sys.argv[1:])
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", local)
if processes > 1:
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=processes,
        process_id=number,
        heartbeat_timeout_seconds=10,
    )
import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.base import Divisible
from divided_program import bits, wavy

mesh = de.make_mesh(population=processes * local)
problem = de.problems.Function(wavy, dim=8)
for seed in range(runs):
    result = de.evolve_on(
        mesh, jax.random.key(seed), de.DiffusionEvolution(3), problem, population_size=100
    )
    print("bits", bits(result), flush=True)
"""


def start(number: int, processes: int, port: int, local: int, runs: int) -> Any:
    """Start one of several processes with local devices."""
    numbers = map(str, (number, processes, port, local, runs))
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, *numbers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parent)},
    )


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def bits_of(process: Any) -> str:
    """What a process says, when it has ended well."""
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return out.partition("bits ")[2].split()[0]


@pytest.mark.slow
@pytest.mark.parametrize("local", [1, 4])
def test_two_processes_have_the_bits_of_one(local) -> None:
    alone = bits_of(start(0, 1, 0, 2 * local, 1))
    port = free_port()
    together = [start(number, 2, port, local, 1) for number in range(2)]
    assert [bits_of(process) for process in together] == [alone, alone]


@pytest.mark.slow
def test_a_process_whose_peer_was_killed_ends_and_says_why() -> None:
    port = free_port()
    with start(0, 2, port, 1, 10**6) as first, start(1, 2, port, 1, 10**6) as second:
        while not (line := second.stdout.readline()).startswith("bits"):
            assert line, second.stderr.read()
        # when one of two at work is killed
        second.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        _, errors = first.communicate(timeout=120)
    # then the other ends soon: it misses at most a few heartbeats of ten seconds
    assert first.returncode != 0
    assert time.monotonic() - begin < 60
    assert "another task died" in errors


def evolve(mesh: Any = None, key: Any = None, **options: Any) -> Any:
    """A call that is right but for what is given."""
    return de.evolve_on(
        mesh or de.make_mesh(),
        jax.random.key(0) if key is None else key,
        de.DiffusionEvolution(2),
        options.pop("problem", de.problems.Landscape("beale")),
        population_size=8,
        **options,
    )


def test_a_mesh_that_the_devices_do_not_fit_is_refused() -> None:
    count = len(jax.devices())
    with pytest.raises(
        ValueError, match=rf"mesh: got 1 x 64 with {count} devices, want 64"
    ):
        de.make_mesh(population=64)
    with pytest.raises(ValueError, match="mesh: got 1 x 1 with 0 devices, want 1"):
        de.make_mesh(devices=[])
    with pytest.raises(ValueError, match="population: got 0"):
        de.make_mesh(population=0)


def test_a_mesh_of_another_kind_is_refused() -> None:
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("pop",))
    with pytest.raises(
        ValueError, match=r"mesh: got axes \('pop',\), want one of make_mesh"
    ):
        evolve(mesh)


def test_keys_that_the_mesh_cannot_share_are_refused() -> None:
    keys = jax.random.split(jax.random.key(0), (2, 2))
    with pytest.raises(ValueError, match=r"mesh: got 1 devices .* keys of shape \(2, 2\)"):
        evolve(key=keys)


def test_no_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="num_blocks: got 0"):
        evolve(num_blocks=0)


def test_a_problem_with_a_state_is_refused() -> None:
    problem = de.problems.Control("CartPole-v1", observation="running")
    with pytest.raises(ValueError, match="problem: got Control with a state"):
        evolve(problem=problem)


def test_a_setting_that_cannot_be_is_refused_as_by_evolve() -> None:
    with pytest.raises(ValueError, match="population_size: got 0"):
        de.evolve_on(
            de.make_mesh(),
            jax.random.key(0),
            de.DiffusionEvolution(2),
            de.problems.Landscape("beale"),
            population_size=0,
        )


@de.pytree.dataclass
class Noisy:
    """A fitness that is noise."""

    space: Any = de.pytree.static(default=de.problems.Space(jnp.zeros(1)))

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(self, key: jax.Array, problem_state: Any, solutions: jax.Array) -> Any:
        noise = jax.random.normal(key, (len(solutions),))
        return de.Evaluation(fitness=noise), problem_state


def test_every_block_draws_noise_of_its_own() -> None:
    # when eight individuals are evaluated in eight blocks, then all noise differs
    assert len(jnp.unique(evolve(problem=Noisy()).fitness)) == 8
