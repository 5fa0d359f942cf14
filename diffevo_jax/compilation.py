"""The wait for the first result: how to compile faster, and how to compile once."""

import functools
from pathlib import Path

import jax

from diffevo_jax.pytree.annotations import checked

_EMITTERS = "xla_cpu_use_fusion_emitters"


@checked
def compiler_options(
    backend: str | None = None, quick: bool = False
) -> dict[str, bool | int | float | str]:
    """Options for ``jax.jit`` under which evolution compiles faster and runs as fast.

    On a CPU the last level of optimisation takes a third to a half of the time to compile,
    and gains nothing that can be measured. :func:`diffevo_jax.run` uses these options; only
    an outermost ``jit`` can have them.

    Args:
        backend: name of the platform; None takes the default one.
        quick: compile in half of that time again, for a look at a first result: the
            program then runs up to 1.8 times slower, and rounds otherwise. Releases of
            JAX from 0.11 on have no such switch, and then it changes nothing.

    Returns:
        A dict, empty where the defaults are best.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(5)
        >>> evolve = lambda key: de.evolve(key, strategy, problem, population_size=16)
        >>> evolve = jax.jit(evolve, compiler_options=de.compiler_options())
        >>> evolve(jax.random.key(0)).population.shape
        (16, 2)
    """
    if (backend or jax.default_backend()) != "cpu":
        return {}
    options: dict[str, bool | int | float | str] = {"xla_backend_optimization_level": 2}
    if quick and _knows(_EMITTERS):  # loops straight to LLVM, and not through MLIR first
        options[_EMITTERS] = False
    return options


@functools.cache
def _knows(option: str) -> bool:
    """Has the CPU's compiler such a switch? They come and go with releases of JAX."""
    empty = jax.jit(lambda: None, compiler_options={option: False})
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        try:
            empty.lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
    return True


@checked
def use_cache(directory: str | Path) -> None:
    """Keep every compiled program in a directory, for later processes.

    Sets JAX's persistent compilation cache, also for programs that compile fast. It works
    for as long as JAX, the program, its shapes and the kind of device are the same.

    Args:
        directory: is made if it is missing.
    """
    jax.config.update("jax_compilation_cache_dir", str(Path(directory).resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
