"""Meshes of devices, GPUs or the cores of a CPU, and independent runs spread over them.

JAX shows a CPU as one device. To have one for each core, say so before the first JAX
computation: ``jax.config.update("jax_num_cpu_devices", os.cpu_count())``. Importing this
library never does.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import (
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

from diffevo_jax.base import PyTree
from diffevo_jax.pytree import arrays, validation
from diffevo_jax.pytree.annotations import checked

#: Names of the axes of a mesh: independent runs, and parts of one population.
RUNS, POPULATION = "runs", "population"


@checked
def spread(
    function: Callable[..., Any], *, devices: Sequence[jax.Device] | None = None
) -> Callable[..., Any]:
    """Map a function over runs, and the runs over devices: ``vmap`` that uses them all.

    Every device gets an equal part of the runs and never waits for another one, as long as
    the function does not communicate. One program, compiled once.

    Args:
        function: of arguments without the run axis, for example
            ``lambda key: de.evolve(key, ...)``.
        devices: D of them; None takes all that this process can address.

    Returns:
        A function, compiled, of arguments whose leaves have a leading axis R, a multiple of
        D; so have its results.

    Raises:
        ValueError: when called, if D does not divide R, or if the call cannot leave the
            caller's own mesh, see :func:`alone`.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(5)
        >>> evolve = lambda key: de.evolve(key, strategy, problem, population_size=16)
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> de.spread(evolve)(keys).best_fitness.shape
        (4,)
    """
    mesh = line(jax.local_devices() if devices is None else devices)
    program = jax.jit(lambda *arguments: over_runs(function, mesh, *arguments))

    @functools.wraps(function)
    def spread_out(*arguments: PyTree) -> Any:
        with alone():
            return program(*arguments)

    return spread_out


def use_all_cores() -> None:
    """Make every core of the CPU a device, unless JAX runs or was told how many."""
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if told or getattr(jax.config, "jax_num_cpu_devices", -1) > 0:
        return
    limited = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if limited else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX runs already, with the devices it has
        jax.config.update("jax_num_cpu_devices", cores)


def devices_for(runs: int, count: int | None) -> list[jax.Device] | None:
    """Devices that share runs equally.

    Args:
        runs: how many runs.
        count: how many devices; None takes as many as divide the runs.

    Returns:
        The devices; None for one alone.
    """
    devices = jax.local_devices()
    if count is None:
        count = math.gcd(runs, len(devices))
    validation.check_count("devices", count)
    if count > len(devices) or runs % count:
        raise ValueError(
            f"devices: got {count} for {runs} seeds, want a divisor of them, at most "
            f"{len(devices)}"
        )
    return devices[:count] if count > 1 else None


@checked
def make_mesh(
    *, runs: int = 1, population: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh for :func:`diffevo_jax.evolve_on`: over runs, and over each population.

    Args:
        runs: devices that share independent runs, >= 1.
        population: devices that share the population of each run, >= 1.
        devices: ``runs * population`` of them; None takes the first of all, those of other
            processes included (``jax.distributed.initialize``).

    Raises:
        ValueError: a count is wrong, or does not fit the devices.

    Example:
        >>> import diffevo_jax as de
        >>> dict(de.make_mesh().shape)
        {'runs': 1, 'population': 1}
    """
    wanted, known = runs * population, jax.devices() if devices is None else devices
    if len(known) < wanted or (devices is not None and len(known) > wanted):
        raise ValueError(
            f"mesh: got {runs} x {population} with {len(known)} devices, want {wanted}"
        )
    return Mesh(np.array(known[:wanted]).reshape(runs, population), (RUNS, POPULATION))


def line(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of devices with one axis, for runs."""
    if not len(devices):
        raise ValueError("devices: got none, want at least one")
    return Mesh(np.array(devices), (RUNS,))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Leave the mesh that the caller has set (``jax.set_mesh``), for a program on our own.

    Raises:
        ValueError: inside a program that is traced for that mesh, which cannot be left.
    """
    theirs = jax.sharding.get_abstract_mesh()
    if theirs.empty:
        yield
        return
    # Its name before JAX 0.7.
    set_mesh = getattr(jax, "set_mesh", None) or vars(jax.sharding)["use_mesh"]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(set_mesh(Mesh(np.empty((), object), ())))
        except ValueError:
            raise ValueError(
                f"devices: got a mesh of axes {theirs.axis_names} set inside of jit, "
                "want the call outside of jit, or no mesh"
            ) from None
        yield


def as_placed(shapes: PyTree, where: Sharding | None) -> PyTree:
    """Shapes, and types as weak as they are, with where the arrays will be."""
    if where is None:
        return shapes
    placed = lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=where, weak_type=leaf.weak_type
    )
    return jax.tree.map(placed, shapes)


def place_of(mesh: Mesh | None, arguments: PyTree) -> Sharding | None:
    """Where the results of :func:`over_runs` are; None for where JAX has them by default.

    Args:
        mesh: that it is called with.
        arguments: of the program. With those that are kept on one device, as by
            ``jax.device_put``, are the results.
    """
    if mesh is not None:
        return NamedSharding(mesh, PartitionSpec(RUNS))
    leaves = jax.tree.leaves(arguments)
    kept = [leaf for leaf in leaves if isinstance(leaf, jax.Array) and leaf.committed]
    devices = {device for leaf in kept for device in leaf.sharding.device_set}
    return SingleDeviceSharding(devices.pop()) if len(devices) == 1 else None


def over_runs(
    function: Callable[..., Any], mesh: Mesh | None, *arguments: PyTree
) -> PyTree:
    """Call a function for many runs; on a mesh, with a part of them on every device.

    Args:
        function: of arguments without the run axis.
        mesh: of :func:`line`; None for a plain ``vmap``.
        *arguments: leaves with a leading run axis.
    """
    if mesh is None:
        return jax.vmap(function)(*arguments)
    return in_parts(jax.vmap(function), mesh, *arguments)


def in_parts(function: Callable[..., Any], mesh: Mesh, *arguments: PyTree) -> PyTree:
    """Call a function on every device, with a part of the leading axis of its arguments."""
    for leaf in jax.tree.leaves(arguments):
        arrays.check_whole("devices", leaf)
        if leaf.ndim == 0 or len(leaf) % mesh.size:
            raise ValueError(
                f"devices: got {mesh.size} for an argument of shape {leaf.shape}, want a "
                "leading axis of runs that is a multiple of the number of devices"
            )
    runs = PartitionSpec(RUNS)
    return jax.shard_map(
        function, mesh=mesh, in_specs=runs, out_specs=runs, check_vma=False
    )(*arguments)
