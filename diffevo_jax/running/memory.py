"""Memory: what a program takes, what there is, and what to change when it is full."""

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from diffevo_jax.base import PyTree
from diffevo_jax.compilation import first_line

#: What JAX says where a device has no memory left; the second alone where a CPU has none.
_FULL = ("RESOURCE_EXHAUSTED", "Out of memory")
_CONTAINER = "/sys/fs/cgroup"
_LIMITS = (f"{_CONTAINER}/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_MACHINE = Path("/proc/meminfo")
#: A result of this share of the memory is waited for, so that what goes wrong is explained.
_LARGE = 1 / 64


def needed_memory(compiled: jax.stages.Compiled) -> int:
    """Bytes of one call, on one device; 0 where the backend does not say.

    Args:
        compiled: of which XLA knows arguments, results and what is in between.
    """
    analysis = compiled.memory_analysis()
    names = ("temp_size_in_bytes", "output_size_in_bytes", "argument_size_in_bytes")
    return sum(int(getattr(analysis, name, 0) or 0) for name in names)


def free_memory(device: jax.Device | None = None) -> int | None:
    """Bytes that a device has left; None where nobody says.

    Args:
        device: None takes the default one. That of a CPU is the machine's memory, with what
            the system would give back, or what is left of it to a container.
    """
    device = jax.local_devices()[0] if device is None else device
    if device.platform == "cpu":
        return _least(_available(), machine_memory(), _left_in_container())
    stats: PyTree = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))


@functools.cache
def _whole_memory() -> int | None:
    """Bytes of the default device, used ones too."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return machine_memory()
    stats: PyTree = device.memory_stats() or {}
    return stats.get("bytes_limit")


def machine_memory() -> int | None:
    """Bytes that this process may have: of the machine, or of its container."""
    return _least(_pages("SC_PHYS_PAGES"), *(_number(Path(path)) for path in _LIMITS))


def _available() -> int | None:
    """Bytes that the machine can give: it says so on Linux, with caches that it drops."""
    try:
        for line in _MACHINE.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return _pages("SC_AVPHYS_PAGES")


def _left_in_container() -> int | None:
    """Bytes of its limit that a container has left, with caches that it would drop."""
    folder = Path(_CONTAINER)
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    if limit is None or used is None:
        return None
    caches = 0
    try:
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                caches = int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return max(0, limit - used + caches)


def _pages(name: str) -> int | None:
    names = os.sysconf_names if hasattr(os, "sysconf") else {}
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") if name in names else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # there is none, or it says "max"
        return None


def _least(*known: int | None) -> int | None:
    return min((one for one in known if one is not None), default=None)


def in_words(count: float) -> str:
    """Bytes in GB of 10^9, or in MB or kB if they are few.

    Example:
        >>> from diffevo_jax.running import memory
        >>> memory.in_words(4.2e7), memory.in_words(3.25e9), memory.in_words(2e13)
        ('42 MB', '3.2 GB', '20,000 GB')
        >>> memory.in_words(64)
        '0.064 kB'
    """
    if count < 9.95e4:  # what rounds to two digits
        return f"{count / 1e3:.2g} kB"
    if count < 9.95e7:
        return f"{count / 1e6:.2g} MB"
    value = count / 1e9
    return f"{value:,.0f} GB" if value >= 10 else f"{value:.1f} GB"


@contextlib.contextmanager
def explained(name: str, changes: Sequence[str]) -> Iterator[None]:
    """Say what to change if the memory is full; nothing where it is not, or when traced.

    Args:
        name: of the function that was called.
        changes: what takes the memory, the first that to make smaller first.

    Raises:
        MemoryError: the memory is full, of the device or of the host; its cause is what
            was raised.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_full(error):
            raise
        free = free_memory()
        left = "" if free is None else f"; {in_words(free)} are free"
        raise MemoryError(
            f"{name}: the memory is full ({first_line(error)}{left}), want less of: "
            f"{'; '.join(changes)}. de.footprint says before a run what it takes"
        ) from error


def warn_if_short(compiled: jax.stages.Compiled, num_devices: int = 1) -> None:
    """Warn where a program takes more than is free beside its arguments, before it runs.

    A device refuses then, which is explained; a CPU's process is ended by the system, which
    nobody can explain any more.

    Args:
        compiled: for each of the devices, with arguments that are there.
        num_devices: that run it at once, and on a CPU share one memory.
    """
    analysis, free = compiled.memory_analysis(), free_memory()
    arguments = int(getattr(analysis, "argument_size_in_bytes", 0) or 0)
    shared = num_devices if jax.default_backend() == "cpu" else 1
    more = (needed_memory(compiled) - arguments) * shared
    if free is not None and more > free:
        warnings.warn(
            f"this run takes {in_words(more)} more, and {in_words(free)} are free: it may "
            "be ended by the system. de.footprint and --dry-run say what less would take",
            RuntimeWarning,
            stacklevel=2,
        )


def is_full(error: Exception) -> bool:
    """Whether it says that there is no memory left."""
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError)
        and any(words in str(error) for words in _FULL)
    )


def wait_if_large(arrays: PyTree) -> None:
    """Wait for arrays that may not fit: what went wrong is only known when they are there.

    Small ones are computed while the caller goes on, and tracers are no numbers at all.
    """
    leaves = jax.tree.leaves(arrays)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return
    if 4 * sum(jnp.size(leaf) for leaf in leaves) > _LARGE * (_whole_memory() or 0):
        jax.block_until_ready(arrays)


def changes_of(
    size: int, dim: int, num_generations: int, record: Sequence[str] = (), runs: int = 1
) -> list[str]:
    """What takes memory in runs, in words; those that take most first.

    Args:
        size: N.
        dim: D.
        num_generations: T.
        record: what is kept of every generation.
        runs: how many at a time.
    """
    one = 4 * size * dim
    said = [f"population_size (got {size:,} of {dim:,} numbers, {in_words(one)} a copy)"]
    if record:
        kept = f"record (got {tuple(record)} of {num_generations:,} generations)"
        said.insert(0 if num_generations > 1 else 1, kept)
    if runs > 1:
        said.insert(0, f"runs at a time (got {runs:,} keys)")
    return [*said, "what an evaluation takes, such as episodes at a time"]
