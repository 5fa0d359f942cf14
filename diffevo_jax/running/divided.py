"""One population on several devices, in one process or in many.

The state is replicated, since it is small; what costs is divided. Every device evaluates
some of the individuals and answers for some of them, with all of the population as
evidence, and an all-gather gives everybody the results. What comes after it is computed by
every device for itself.

The population is cut into a fixed number of blocks (:mod:`diffevo_jax.blocks`), on which
the bits of a run depend, and not on the number of devices.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffevo_jax import pytree
from diffevo_jax.base import Divisible, Problem, Strategy
from diffevo_jax.pytree import validation
from diffevo_jax.running import checks, placement
from diffevo_jax.running.blocks import DividedAttention, DividedProblem
from diffevo_jax.running.evolution import Result, evolve


def evolve_on(
    mesh: Mesh,
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    record: tuple[str, ...] = (),
    num_blocks: int = 8,
) -> Result:
    """Evolve one large population on several devices: :func:`evolve`, divided.

    Evaluation and attention are divided; the rest is done by every device. The same call on
    CPU devices, GPUs and TPUs, and in every process of ``jax.distributed``. The bits of the
    result depend on ``num_blocks``, and not on the number of devices.

    For many independent runs :func:`spread` and :func:`sweep` are better: they do not
    communicate.

    Args:
        mesh: of :func:`make_mesh`.
        key: a typed key; or (R,) of them, R a multiple of the mesh's ``runs``.
        strategy: one that is not :class:`diffevo_jax.base.Divisible` is told on every
            device alike.
        problem: without a state.
        population_size: N, as in :func:`evolve`.
        population: (N, D), as in :func:`evolve`.
        record: as in :func:`evolve`.
        num_blocks: the population is cut into so many, at least as many as devices share
            it. Each evaluates with a key of its own.

    Returns:
        The result, the same on all devices; with R keys it has a leading run axis.

    Raises:
        ValueError: the mesh does not fit the keys or the blocks, or as :func:`evolve`.
        TypeError: as :func:`evolve`.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(5)
        >>> mesh = de.make_mesh(population=1)
        >>> result = de.evolve_on(
        ...     mesh, jax.random.key(0), strategy, problem, population_size=64)
        >>> result.population.shape
        (64, 2)
    """
    _check(mesh, key, num_blocks)
    one = key.reshape(-1)[0]
    checks.check_run(one, strategy, problem, population_size, population, record)
    if pytree.offers(strategy, Divisible):
        strategy = strategy.divided(
            lambda whole: DividedAttention(whole, placement.POPULATION, num_blocks)
        )
    problem = DividedProblem(problem, placement.POPULATION, num_blocks)
    arguments = pytree.strong((key, strategy, problem, population))
    return _compiled(mesh.devices.flat[0].platform)(
        *_everywhere(mesh, arguments),
        mesh=mesh,
        population_size=population_size,
        record=tuple(record),
    )


def _check(mesh: Mesh, key: jax.Array, num_blocks: int) -> None:
    validation.check_count("num_blocks", num_blocks)
    if mesh.axis_names != (placement.RUNS, placement.POPULATION):
        raise ValueError(f"mesh: got axes {mesh.axis_names}, want one of make_mesh")
    if mesh.shape[placement.POPULATION] > num_blocks:
        raise ValueError(
            f"mesh: got {mesh.shape[placement.POPULATION]} devices for a population, want "
            f"at most num_blocks={num_blocks}"
        )
    runs, shape = mesh.shape[placement.RUNS], jnp.shape(key)
    if len(shape) > 1 or (shape or (1,))[0] % runs:
        raise ValueError(
            f"mesh: got {runs} devices for runs with keys of shape {shape}, want (R,) "
            "with R a multiple of them"
        )


def _everywhere(mesh: Mesh, arguments: Any) -> Any:
    """The same values on all devices, those of other processes included."""
    replicated = NamedSharding(mesh, PartitionSpec())

    def put(leaf: jax.Array) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, replicated, values.__getitem__)

    return jax.tree.map(put, arguments)


@functools.cache
def _compiled(platform: str) -> Callable[..., Result]:
    """The core, jitted.

    XLA simplifies the algebra of a program for several devices more often than that of a
    program for one, and rounds it differently. On a CPU the bits are worth more than that.
    """
    options = {"xla_disable_hlo_passes": "algsimp"} if platform == "cpu" else None
    static = ("mesh", "population_size", "record")
    return jax.jit(_evolve_on, static_argnames=static, compiler_options=options)


def _evolve_on(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population: jax.Array | None,
    *,
    mesh: Mesh,
    population_size: int | None,
    record: tuple[str, ...],
) -> Result:
    def one(
        key: jax.Array, strategy: Strategy, problem: Problem, population: Any
    ) -> Result:
        return evolve(
            key,
            strategy,
            problem,
            population_size=population_size,
            population=population,
            record=record,
        )

    runs, everywhere = PartitionSpec(placement.RUNS), PartitionSpec()
    if key.ndim == 0:
        runs = everywhere
    else:
        one = jax.vmap(one, (0, None, None, None))
    divided = jax.shard_map(
        one,
        mesh=mesh,
        in_specs=(runs, everywhere, everywhere, everywhere),
        out_specs=runs,
        check_vma=False,
    )
    return divided(key, strategy, problem, population)
