"""What a GPU's compiler makes of our programs, on a machine without a GPU.

    python -m venv build/cuda && build/cuda/bin/pip install -e ".[cuda12]"
    build/cuda/bin/python benchmarks/gpu_compiler.py

XLA compiles for a card that is described and not there (``jax.experimental.topologies``),
here an H200. Of rollouts it says how many kernels a turn of the innermost loop starts, and
of the largest one what ``ptxas`` says: registers a thread, and bytes that do not fit them.
Of ``attend_fused`` the same, for its usual tilings. Nothing is run, so nothing is timed.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from common import arguments, save, table

import diffevo_jax as de
from diffevo_jax import attention
from diffevo_jax.problems.control import rollout

#: Of an H200, as its data sheet and CUDA describe it.
CARD = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 151397597184
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
runtime_version { major: 12 minor: 9 }
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H200 141GB HBM3e"
"""
#: Where the compiler leaves its programs.
DUMP = Path(tempfile.gettempdir()) / f"diffevo_jax-{os.getpid()}"
ENVIRONMENTS = ("Pendulum-v1", "MountainCar-v0", "Acrobot-v1")


class Compiled(NamedTuple):
    """A program for the card.

    Attributes:
        kernels: that a turn of its innermost loop starts.
        registers: of a thread of its largest kernel.
        spilled: bytes that such a thread loads because they do not fit.
    """

    kernels: int
    registers: int
    spilled: int


def compiled(function: Callable[..., Any], *given: Any) -> Compiled:
    """The program of a function for the card, as if that were the default device."""
    from jax.experimental import topologies

    card = topologies.get_topology_desc(
        "card", "cuda", target_config=CARD, topology="1x1x1"
    )
    place = jax.sharding.SingleDeviceSharding(card.devices[0])
    jitted = jax.jit(function, in_shardings=place, out_shardings=place)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), given)
    shutil.rmtree(DUMP, ignore_errors=True)
    default, jax.default_backend = jax.default_backend, lambda: "gpu"
    try:
        text = jitted.trace(*shapes).lower().compile().as_text()
    finally:
        jax.default_backend = default
    spilled, registers = max(_used(), default=(0, 0))
    return Compiled(_in_a_turn(text), registers, spilled)


def _in_a_turn(text: str) -> int:
    """Kernels of the body of the loop that has the fewest; 0 if there is no loop."""
    bodies = set(re.findall(r"body=%([\w.\-]+)", text))
    found, name = dict.fromkeys(bodies, 0), ""
    for line in text.splitlines():
        if start := re.match(r"%([\w.\-]+) \(", line):
            name = start[1]
        elif name in found and re.search(r"= .* (fusion|copy|custom-call|sort)\(", line):
            found[name] += 1
        elif name in found and " while(" in line:  # it is not an innermost one
            del found[name]
    return min(found.values(), default=0)


def _used() -> Iterator[tuple[int, int]]:
    """Bytes loaded again, and registers, of a thread of every kernel."""
    import nvidia.cuda_nvcc

    (folder,) = nvidia.cuda_nvcc.__path__
    for path in DUMP.glob("*.ptx"):
        command = [f"{folder}/bin/ptxas", "-arch=sm_90a", "-v", path, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        loads = map(int, re.findall(r"(\d+) bytes spill loads", said))
        yield from zip(
            loads, map(int, re.findall(r"Used (\d+) registers", said)), strict=True
        )


def rollouts(name: str, lanes: int, **changes: int) -> dict[str, Any]:
    """Of an evaluation of so many policies that all play at once."""
    usual = rollout.ACCELERATOR
    rollout.ACCELERATOR = usual._replace(width=2**30, smallest=2**30, **changes)
    jax.clear_caches()
    problem, key = de.problems.Control(name), jax.random.key(0)
    draw = lambda: problem.space.decode(problem.space.sample(key, lanes))
    play = lambda key, weights: problem.evaluate(key, (), weights)[0]
    try:
        found = compiled(play, key, jax.eval_shape(draw))
    finally:
        rollout.ACCELERATOR = usual
    unroll = changes.get("unroll")
    steps = "" if unroll is None else f", {unroll} step{'s' * (unroll > 1)}"
    what = f"{name}, {lanes:,} lanes{steps}"
    return {"what": what, **found._asdict()}


def estimator(dim: int) -> dict[str, Any]:
    """Of ``attend_fused`` with its usual tiling, 100,000 points."""
    points = jax.ShapeDtypeStruct((100_000, dim), jnp.float32)
    weights = jax.ShapeDtypeStruct((100_000,), jnp.float32)
    own = jax.ShapeDtypeStruct((100_000,), jnp.int32)
    with warnings.catch_warnings():  # of JAX, that its back end for the kernel will go
        warnings.simplefilter("ignore", DeprecationWarning)
        found = compiled(attention.attend_fused, points, points, points, weights, own)
    return {"what": f"attend_fused, D = {dim}", **found._asdict()}


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as the table of a document."""
    head = ["program", "kernels a turn", "registers", "spilled loads, bytes"]
    said = lambda row: [row["what"], *(f"{row[name]:,}" for name in Compiled._fields)]
    return table(head, [said(row) for row in rows])


def main() -> None:
    options = arguments(__doc__ or "")
    flags = f"--xla_dump_to={DUMP} --xla_gpu_autotune_level=0"  # before JAX starts
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    play = functools.partial(rollouts, "CartPole-v1")
    steps = [functools.partial(play, 2**10, unroll=n) for n in (1, 2, 4, 8, 16)]
    wide = [functools.partial(play, 2**n) for n in (17, 18, 19, 20)]
    others = [functools.partial(rollouts, name, 2**10) for name in ENVIRONMENTS]
    fused = [functools.partial(estimator, dim) for dim in (3, 10, 58, 112)]
    rows = []
    for case in steps[:1] if options.quick else [*steps, *wide, *others, *fused]:
        rows.append(case())
        print(rows[-1], file=sys.stderr, flush=True)
    print(report(rows))
    save("gpu_compiler", options, rows)
    shutil.rmtree(DUMP, ignore_errors=True)


if __name__ == "__main__":
    main()
