"""Independent runs on several devices at once: GPUs, or the cores of a CPU.

JAX shows a CPU as one device. To have one for each core, say so before the first JAX
computation: ``jax.config.update("jax_num_cpu_devices", os.cpu_count())``. Importing this
library never does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffevo_jax.base import PyTree

_RUNS = "runs"


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
        A compiled function of arguments whose leaves have a leading axis R, a multiple of
        D; so have its results.

    Raises:
        ValueError: when called, if D does not divide R.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(5)
        >>> evolve = lambda key: de.evolve(key, strategy, problem, population_size=16)
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> de.spread(evolve)(keys).best_fitness.shape
        (4,)
    """
    mesh = make_mesh(jax.local_devices() if devices is None else devices)
    return jax.jit(lambda *arguments: over_runs(function, mesh, *arguments))


def make_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of devices with one axis, for runs."""
    if not len(devices):
        raise ValueError("devices: got none, want at least one")
    return Mesh(np.array(devices), (_RUNS,))


def as_placed(shapes: PyTree, mesh: Mesh | None) -> PyTree:
    """Shapes of what :func:`over_runs` returns, with where it will be."""
    if mesh is None:
        return shapes
    sharding = NamedSharding(mesh, PartitionSpec(_RUNS))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )


def over_runs(function: Callable[..., Any], mesh: Mesh | None, *arguments: Any) -> Any:
    """Call a function for many runs; on a mesh, with a part of them on every device.

    Args:
        function: of arguments without the run axis.
        mesh: of :func:`make_mesh`; None for a plain ``vmap``.
        *arguments: leaves with a leading run axis.
    """
    if mesh is None:
        return jax.vmap(function)(*arguments)
    for leaf in jax.tree.leaves(arguments):
        if leaf.ndim == 0 or len(leaf) % mesh.size:
            raise ValueError(
                f"devices: got {mesh.size} for an argument of shape {leaf.shape}, want a "
                "leading axis of runs that is a multiple of the number of devices"
            )
    runs = PartitionSpec(_RUNS)
    return jax.shard_map(
        jax.vmap(function), mesh=mesh, in_specs=runs, out_specs=runs, check_vma=False
    )(*arguments)
