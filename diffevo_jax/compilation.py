"""Compiled programs: have them sooner, keep them, not drown in them; trace others' code."""

import collections
import concurrent.futures
import contextlib
import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import jax

from diffevo_jax.pytree.annotations import checked

_EMITTERS = "xla_cpu_use_fusion_emitters"
#: What JAX reports when it has compiled a program.
_COMPILED = "/jax/core/compile/backend_compile_duration"
#: The memory maps are counted after so many new programs: that takes up to 30 ms.
_BETWEEN_LOOKS = 8
#: Programs are forgotten where they take this share of the maps that a process may have,
_FULL = 0.5
#: or, where the system says nothing of maps, after so many.
_MOST = 128
_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
#: What JAX says of functions that want the numbers and not the operations on them.
_UNTRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


@checked
def compiler_options(
    backend: str | None = None, quick: bool = False
) -> dict[str, bool | int | float | str]:
    """Options for ``jax.jit`` under which a program runs as fast, and may compile sooner.

    On a CPU the last level of optimisation gains nothing that can be measured. Some
    programs compile in half of the time without it, and evolutions of this library's
    strategies and problems in the same (``docs/performance.md``). :func:`diffevo_jax.run`
    uses these options; only an outermost ``jit`` can have them.

    Args:
        backend: name of the platform; None takes the default one.
        quick: compile in half to two thirds of the time, for a look at a first result: the
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


@contextlib.contextmanager
def arithmetic_of_others() -> Iterator[None]:
    """Trace another package's code as JAX does by default: it promotes ranks and dtypes.

    Whoever has JAX refuse that (``jax_numpy_rank_promotion="raise"``,
    ``jax_numpy_dtype_promotion="strict"``) means code that can be changed.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import compilation
        >>> with jax.numpy_rank_promotion("raise"), compilation.arithmetic_of_others():
        ...     (jnp.ones((2, 3)) + jnp.ones(3)).shape
        (2, 3)
    """
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def explain_untraced(name: str, error: Exception, instead: str) -> None:
    """Raise TypeError if a function cannot be traced; nothing, if that is not why.

    Args:
        name: what it is called.
        error: what was raised.
        instead: what takes any function.

    Example:
        >>> import jax
        >>> from diffevo_jax import compilation
        >>> try:
        ...     jax.jit(lambda x: float(x))(1.0)
        ... except TypeError as error:
        ...     compilation.explain_untraced("function", error, "External takes any")
        Traceback (most recent call last):
        TypeError: function: got a function that cannot be traced (...), want one of
        jax.numpy, without if on numbers; External takes any
    """
    if any(isinstance(one, _UNTRACED) for one in _causes(error)):
        raise TypeError(
            f"{name}: got a function that cannot be traced ({first_line(error)}), want "
            f"one of jax.numpy, without if on numbers; {instead}"
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: Exception) -> str:
    """The kind of an error, and the first line of what it says.

    Example:
        >>> from diffevo_jax import compilation
        >>> compilation.first_line(ValueError("got 3, want 2" + chr(10) + "and much more"))
        'ValueError: got 3, want 2'
    """
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


@contextlib.contextmanager
def without_locations() -> Iterator[None]:
    """Lower programs that do not say in which files, and under which folders, they were.

    What is lowered elsewhere meanwhile has no locations either, which debuggers alone miss.

    Example:
        >>> import jax
        >>> from diffevo_jax import compilation
        >>> with compilation.without_locations():
        ...     text = jax.jit(lambda x: 2 * x).lower(1.0).as_text(debug_info=True)
        >>> "doctest" in text
        False
    """
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


@checked
def use_cache(directory: str | Path) -> None:
    """Keep every compiled program in a directory, for later processes.

    Sets JAX's persistent compilation cache, also for programs that compile fast. It works
    for as long as JAX, the program, its shapes and the kind of device are the same.

    Args:
        directory: is made if it is missing.

    Example:
        >>> import jax, pathlib, tempfile, diffevo_jax as de
        >>> before = jax.config.jax_compilation_cache_dir
        >>> de.use_cache(pathlib.Path(tempfile.mkdtemp()) / "programs")
        >>> pathlib.Path(jax.config.jax_compilation_cache_dir).name
        'programs'
        >>> jax.config.update("jax_compilation_cache_dir", before)  # as it was
    """
    jax.config.update("jax_compilation_cache_dir", str(Path(directory).resolve()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


class Ahead:
    """A thread that compiles programs in the order in which they will be needed.

    JAX keeps what is compiled: a later call of the same function, with arguments of the
    same shapes, finds it. The caller traces the next one meanwhile. At the end of the
    context, however it comes, what still waits is not compiled.

    Example:
        >>> import jax
        >>> from diffevo_jax.compilation import Ahead
        >>> double = jax.jit(lambda x: 2 * x)
        >>> with Ahead() as ahead:
        ...     program = ahead.compile(double.lower(1.5))
        ...     ahead.wait()
        >>> program.done(), float(double(1.5))
        (True, 3.0)
    """

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._waiting: list[concurrent.futures.Future[jax.stages.Compiled]] = []

    def __enter__(self) -> Self:
        """For so long it compiles."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what still waits. A program that is being compiled cannot be ended."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def compile(
        self, lowered: jax.stages.Lowered
    ) -> concurrent.futures.Future[jax.stages.Compiled]:
        """Compile it after those before; at once where no thread works any more."""
        try:
            compiled = self._thread.submit(lowered.compile)
        except RuntimeError:  # closed; or Python ends, while threads go on
            compiled = concurrent.futures.Future()
            compiled.set_result(lowered.compile())
        self._waiting.append(compiled)
        return compiled

    def close(self) -> None:
        """The thread ends after those that wait, also if the context goes on for long."""
        self._thread.shutdown(wait=False)

    def wait(self) -> None:
        """Wait until all are compiled; what failed raises its error when it is called."""
        concurrent.futures.wait(self._waiting)
        self._waiting.clear()


@checked
def make_room() -> None:
    """Forget all compiled programs if there is hardly room for more.

    A new shape or structure is a new program, and JAX keeps every one. On Linux XLA maps
    memory some hundred times for each, and a process that has 65,530 maps, some 165
    structures, crashes. At half of them, about a gigabyte, this calls
    ``jax.clear_caches()``: what is used again is compiled again. A process with fewer
    structures never notices. Whatever compiles for a new structure, such as
    :func:`diffevo_jax.evolve`, calls it first; an own loop over many structures may.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> total = jax.jit(jnp.sum)
        >>> for size in (1, 2, 3):  # or some hundreds
        ...     de.make_room()
        ...     print(total(jnp.ones(size)))
        1.0
        2.0
        3.0
    """
    new = _new_programs()
    if new[_COMPILED] < _BETWEEN_LOOKS:
        return
    share = _share_of_maps()
    if share is None and new[_COMPILED] < _MOST:
        return
    new.clear()
    if share is None or share > _FULL:
        jax.clear_caches()
        gc.collect()


@functools.cache
def _new_programs() -> collections.Counter[str]:
    """Counts programs from the first call on, whoever compiles them."""
    counter: collections.Counter[str] = collections.Counter()

    def listen(event: str, duration_secs: float, **_: object) -> None:
        counter[event] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    return counter


def _share_of_maps() -> float | None:
    """Memory maps of this process as a share of what it may have; None if unknown."""
    try:
        most = int(_MOST_MAPS.read_text())
        return _MAPS.read_bytes().count(b"\n") / most
    except (OSError, ValueError):
        return None
