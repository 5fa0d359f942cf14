"""What is run in a folder by processes that are ended; see ``forks.py``."""

import hashlib
import os
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import diffevo_jax as de
import diffevo_jax.cli.__main__ as entrance
import diffevo_jax.running.published  # what else the command imports

warnings.filterwarnings("ignore", "os.fork")

MEMORY = de.denoisers.Archive(generations=2)
STRATEGY = de.DiffusionEvolution(120, de.denoisers.Population(memory=MEMORY))
PROBLEM = de.problems.Landscape("himmelblau")


def digest(tree) -> str:
    """Of the bits of all leaves."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        found.update(repr((array.dtype, array.shape)).encode() + array.tobytes())
    return found.hexdigest()


def run(
    folder: str | None, cache: str, events: str, every: int | None = None, devices: int = 1
) -> None:
    """Two runs; a byte for every chunk, and at the end a digest of what came out."""
    if devices > 1:
        flag = f" --xla_force_host_platform_device_count={devices}"
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + flag
    de.use_cache(cache)
    told = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    result = de.run(
        jax.random.split(jax.random.key(3)),
        STRATEGY,
        PROBLEM,
        population_size=16,
        chunk_size=2,
        record=("population",),
        devices=jax.devices()[:2] if devices > 1 else None,
        folder=folder,
        every=every,
        stop=lambda result: not os.write(told, b"."),
    )
    np.save(f"{events}.npy", result.recorded["population"])
    Path(f"{events}.digest").write_text(f"{digest(result)} {len(jax.devices())}")


def crawl(folder: str, events: str) -> None:
    """A run whose generations take seconds; a byte for each."""
    told = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    de.run(
        jax.random.key(0),
        de.DiffusionEvolution(100),
        PROBLEM,
        population_size=40_000,
        folder=folder,
        stop=lambda result: not os.write(told, b"."),
    )


def evaluate(folder: str, workers: int) -> None:
    """A run whose evaluations take for ever, in processes."""
    # Here, not above: of the tests of problems, which only these processes look into.
    import light_evaluators as light

    with de.problems.external.each(light.says_who_and_hangs, workers=workers) as each:
        problem = de.problems.External(each, de.problems.Space(np.zeros(2)))
        strategy = de.DiffusionEvolution(3)
        de.run(jax.random.key(0), strategy, problem, population_size=4, folder=folder)


def command(*, words: list[str], directory: str) -> None:
    """The command, as a process of its own."""
    os.chdir(directory)
    sys.argv = ["diffevo", *words]
    entrance.process()


def hold(folder: str, events: str) -> None:
    """Be at work in a folder for ever."""
    from diffevo_jax.pytree.folders import held

    with held(Path(folder)):
        Path(events).touch()
        time.sleep(600)
