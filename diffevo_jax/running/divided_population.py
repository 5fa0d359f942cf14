"""One population on several devices, in one process or in many.

The state is replicated, since it is small; what costs is divided. Every device evaluates
some of the individuals and answers for some of them, with all of the population as
evidence, and an all-gather gives everybody the results. What comes after it is computed by
every device for itself.

The population is cut into a fixed number of blocks, and a device takes one after the other
in a loop whose body is the same program for any number of devices. So the bits of a run
depend on the number of blocks and not on that of the devices: there is no sum over devices
whose order could matter.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffevo_jax import pytree
from diffevo_jax.attention import Attention
from diffevo_jax.base import (
    Divisible,
    Estimate,
    Evaluation,
    Problem,
    PyTree,
    Strategy,
)
from diffevo_jax.compilation import make_room
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import Index, Keys, checked
from diffevo_jax.running import arguments, device_mesh
from diffevo_jax.running.evolution import Result, evolve
from diffevo_jax.running.final import is_noisy


@checked
def evolve_on(
    mesh: Mesh,
    key: Keys,
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int | None = None,
    population: jax.Array | None = None,
    record: tuple[str, ...] = (),
    final: Index | None = None,
    num_blocks: int = 8,
) -> Result:
    """Evolve one large population on several devices: :func:`evolve`, divided.

    Evaluation and attention are divided; the rest is done by every device. The same call on
    CPU devices, GPUs and TPUs, and in every process of ``jax.distributed``. The bits of the
    result depend on ``num_blocks``, and not on the number of devices.

    For many independent runs :func:`diffevo_jax.spread` and :func:`diffevo_jax.sweep` are
    better: they do not communicate.

    Args:
        mesh: of :func:`diffevo_jax.make_mesh`; one of ``jax.make_mesh`` with the same axes
            will do.
        key: a typed key; or (R,) of them, R a multiple of the mesh's ``runs``.
        strategy: one that is not :class:`diffevo_jax.base.Divisible` is told on every
            device alike.
        problem: without a state.
        population_size: N, as in :func:`evolve`.
        population: (N, D), as in :func:`evolve`.
        record: as in :func:`evolve`.
        final: as in :func:`evolve`.
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
    mesh = Mesh(mesh.devices, mesh.axis_names)  # axes that nothing outside is divided over
    one = key.reshape(-1)[0]
    problem = arguments.as_pytree(problem)
    arguments.check_run(one, strategy, problem, population_size, population, record)
    if pytree.offers(strategy, Divisible):
        strategy = strategy.divided(
            lambda whole: DividedAttention(whole, device_mesh.POPULATION, num_blocks)
        )
    problem = DividedProblem(problem, device_mesh.POPULATION, num_blocks)
    make_room()
    given = pytree.strong((key, strategy, problem, population))
    with device_mesh.alone():
        return _compiled(mesh.devices.flat[0].platform)(
            *_everywhere(mesh, given),
            mesh=mesh,
            population_size=population_size,
            record=tuple(record),
            final=final,
        )


def _check(mesh: Mesh, key: jax.Array, num_blocks: int) -> None:
    validation.check_count("num_blocks", num_blocks)
    if mesh.axis_names != (device_mesh.RUNS, device_mesh.POPULATION):
        raise ValueError(f"mesh: got axes {mesh.axis_names}, want one of make_mesh")
    devices = mesh.shape[device_mesh.POPULATION]
    if devices > num_blocks:
        raise ValueError(
            f"mesh: got {devices} devices for a population, want "
            f"at most num_blocks={num_blocks}"
        )
    runs, shape = mesh.shape[device_mesh.RUNS], jnp.shape(key)
    if len(shape) > 1 or (shape or (1,))[0] % runs:
        raise ValueError(
            f"mesh: got {runs} devices for runs with keys of shape {shape}, want (R,) "
            "with R a multiple of them"
        )


def _everywhere(mesh: Mesh, tree: PyTree) -> PyTree:
    """The same values on all devices, those of other processes included."""
    replicated = NamedSharding(mesh, PartitionSpec())

    def put(leaf: jax.Array) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, replicated, values.__getitem__)

    return jax.tree.map(put, tree)


@functools.cache
def _compiled(platform: str) -> Callable[..., Result]:
    """The core, jitted.

    XLA simplifies the algebra of a program for several devices more often than that of a
    program for one, and rounds it differently. On a CPU the bits are worth more than that.
    """
    options = {"xla_disable_hlo_passes": "algsimp"} if platform == "cpu" else None
    static = ("mesh", "population_size", "record", "final")
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
    final: int | None,
) -> Result:
    def one(
        key: jax.Array, strategy: Strategy, problem: Problem, population: jax.Array | None
    ) -> Result:
        return evolve(
            key,
            strategy,
            problem,
            population_size=population_size,
            population=population,
            record=record,
            final=final,
        )

    runs, everywhere = PartitionSpec(device_mesh.RUNS), PartitionSpec()
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


def in_blocks(
    function: Callable[..., PyTree], axis: str, num_blocks: int, *arrays: PyTree
) -> PyTree:
    """Call a function for blocks of rows, each on one device of a mesh's axis.

    Args:
        function: ``function(number (), *rows (B, ...)) -> rows (B, ...)``.
        axis: name of the axis, whose devices all hold the same arrays.
        num_blocks: into so many, of equal size, the last ones filled up with zeros.
        *arrays: leaves with a leading axis N.

    Returns:
        (N, ...) on every device.
    """
    count = len(jax.tree.leaves(arrays)[0])
    size = -(-count // num_blocks)
    num_devices = jax.lax.psum(1, axis)
    share = -(-num_blocks // num_devices)
    padding = num_devices * share * size - count
    padded = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, padding), *[(0, 0)] * (leaf.ndim - 1))), arrays
    )
    first = jax.lax.axis_index(axis) * share
    # The compiler must not know how many there are, or one block would be a special case.
    mine = jax.lax.optimization_barrier(jnp.clip(-(-count // size) - first, 0, share))

    def block(number: jax.Array) -> PyTree:
        cut = lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, number * size, size)
        return function(number, *jax.tree.map(cut, padded))

    blank = jax.tree.map(
        lambda shape: jnp.zeros((share, *shape.shape), shape.dtype),
        jax.eval_shape(block, first),
    )

    def body(index: jax.Array, rows: PyTree) -> PyTree:
        answer = block(first + index)
        return jax.tree.map(lambda rows, row: rows.at[index].set(row), rows, answer)

    rows = jax.lax.fori_loop(0, mine, body, blank)
    everything = jax.lax.optimization_barrier(jax.lax.all_gather(rows, axis, tiled=True))
    join = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count]
    return jax.tree.map(join, everything)


@dataclasses.dataclass(frozen=True)
class DividedAttention:
    """Attention whose queries are divided over the devices of an axis.

    Attributes:
        whole: what computes a block.
        axis: name of the mesh's axis.
        num_blocks: of queries.
    """

    whole: Attention
    axis: str
    num_blocks: int

    def of(self, attention: Attention) -> "DividedAttention":
        """The same division of another attention."""
        return dataclasses.replace(self, whole=attention)

    def __call__(
        self,
        queries: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        log_weight: jax.Array,
        own: jax.Array,
        **options: Any,
    ) -> Estimate:
        """Attend as :func:`diffevo_jax.attention.attend` does."""

        def block(number: jax.Array, queries: jax.Array, own: jax.Array) -> PyTree:
            few = self.whole(queries, keys, values, log_weight, own, **options)
            return few.clean, few.effective_sample_size, few.self_weight

        return Estimate(*in_blocks(block, self.axis, self.num_blocks, queries, own))


@pytree.dataclass
class DividedProblem:
    """A problem whose solutions are divided over the devices of an axis.

    Attributes:
        problem: without a state; each block of its solutions gets a key of its own.
        axis: name of the mesh's axis, static.
        num_blocks: of solutions, static.
    """

    problem: Problem
    axis: str = pytree.static()
    num_blocks: int = pytree.static()

    @property
    def space(self) -> Any:
        """The problem's own."""
        return self.problem.space

    @property
    def noisy(self) -> bool:
        """The problem's own."""
        return is_noisy(self.problem)

    def init(self, key: jax.Array) -> PyTree:
        """The problem's own, which has to be empty."""
        state = self.problem.init(key)
        if jax.tree.leaves(state):
            raise ValueError(
                f"problem: got {type(self.problem).__name__} with a state, which depends "
                "on the whole population; want one without, to divide its population"
            )
        return state

    def evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """Evaluate blocks of solutions."""

        def block(number: jax.Array, few: PyTree) -> Evaluation:
            own = jax.random.fold_in(key, number)
            return self.problem.evaluate(own, problem_state, few)[0]

        return in_blocks(block, self.axis, self.num_blocks, solutions), problem_state
