"""The program of a group of settings: a batch of runs at a time."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Info
from diffevo_jax.compilation import compiler_options, make_room
from diffevo_jax.pytree import validation
from diffevo_jax.running import device_mesh, memory
from diffevo_jax.running.evolution import Result, evolve
from diffevo_jax.running.forecast import Footprint, footprint_of
from diffevo_jax.sweeps.settings import Group, assemble

MODES = ("vmap", "map")
#: What ``keep=`` can ask for, with the names of its axes.
KEEPABLE = {
    "best_solution": ("dimension",),
    "population": ("individual", "dimension"),
    "fitness": ("individual",),
}
#: Share of the free memory that a batch may take.
_SHARE = 0.5
#: Runs of a batch at most; more are no faster.
_MOST = {"cpu": 64}
_MOST_ELSEWHERE = 4096


class Batching(NamedTuple):
    """How runs are run; what they come to depends on it to rounding.

    Attributes:
        mode: ``"vmap"`` or ``"map"``.
        batch_size: runs of a batch; None takes what fits into memory.
        devices: to spread a batch over; None for the default one.
        keep: what to keep beside scalars.
    """

    mode: str = "vmap"
    batch_size: int | None = None
    devices: tuple[jax.Device, ...] | None = None
    keep: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ValueError or TypeError if a value is none."""
        if self.batch_size is not None:
            validation.check_count("batch_size", self.batch_size)
        if self.devices is not None and not self.devices:
            raise ValueError("devices: got none, want at least one")
        if self.mode not in MODES:
            raise ValueError(f"mode: got {self.mode!r}, want one of {MODES}")
        if isinstance(self.keep, str) or not set(self.keep) <= set(KEEPABLE):
            want = f"want names among {tuple(KEEPABLE)}"
            raise ValueError(f"keep: got {self.keep!r}, {want}")


@pytree.dataclass
class KeptRuns:
    """What is kept of runs, with a leading axis of runs.

    Attributes:
        history: scalars of all generations.
        best: () best fitness of all evaluations, under noise the luckiest; -inf if every
            one failed.
        kept: what ``keep=`` asked for, in unit scale.
    """

    history: Info
    best: jax.Array
    kept: dict[str, jax.Array]


def named(runs: KeptRuns) -> dict[str, Any]:
    """The arrays of runs by name, as they stand in a file of a batch."""
    arrays = {f"history/{name}": value for name, value in vars(runs.history).items()}
    arrays |= {f"kept/{name}": value for name, value in runs.kept.items()}
    return arrays | {"best": runs.best}


def run_shapes(traced: jax.stages.Traced) -> dict[str, jax.ShapeDtypeStruct]:
    """What the program of a group leaves of one run, by name."""
    return {
        name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
        for name, leaf in named(traced.out_info).items()
    }


class Program(NamedTuple):
    """A compiled program that runs any ``batch_size`` runs of a group.

    Attributes:
        call: ``call(setting (B,), seed (B,), count) -> KeptRuns``, on the device.
        batch_size: B.
    """

    call: Callable[[np.ndarray, np.ndarray, int], KeptRuns]
    batch_size: int


def program(key: jax.Array, group: Group, runs: int, batching: Batching) -> Program:
    """Compile for a group; a batch size that is not given is found by memory."""
    share, size = _share(batching), first_size(runs, batching)
    if getattr(jax.config, "jax_disable_jit", False):  # a debugger sees every operation
        compiled = _function(group.structure, group.population_size, batching)
    else:
        compiled, size = _fitting(key, group, size, batching)

    def call(setting: np.ndarray, seed: np.ndarray, count: int) -> KeptRuns:
        # The rest of a last batch repeats its first run.
        fill = lambda array: np.concatenate(
            [array, np.repeat(array[:1], size - len(array))]
        )
        per_device = np.clip(count - size // share * np.arange(share), 0, size // share)
        return compiled(
            key,
            group.varying,
            group.fixed,
            fill(setting).astype(np.int32),
            fill(seed).astype(np.uint32),
            per_device.astype(np.int32),
        )

    return Program(call, size)


def _fitting(
    key: jax.Array, group: Group, size: int, batching: Batching
) -> tuple[jax.stages.Compiled, int]:
    """Compiled for so many runs, or for fewer if the memory asks for it; and how many."""
    compiled, share, free = _compile(key, group, size, batching), _share(batching), None
    if batching.batch_size is None:
        free = memory.free_memory()
    while (
        free is not None and memory.needed_memory(compiled) > _SHARE * free and size > share
    ):
        size = max(share, size // 2 // share * share)
        compiled = _compile(key, group, size, batching)
    return compiled, size


def footprint(
    key: jax.Array, group: Group, runs: int, batching: Batching
) -> tuple[int, Footprint]:
    """Runs of a group at a time, and the memory that they take; arguments of `program`."""
    with jax.disable_jit(False):
        compiled, size = _fitting(key, group, first_size(runs, batching), batching)
    return size, footprint_of(compiled, batching.devices)


def first_size(runs: int, batching: Batching) -> int:
    """Runs at a time, before anybody has looked at the memory: all devices have equally."""
    share = _share(batching)
    most = share * _MOST.get(jax.default_backend(), _MOST_ELSEWHERE)
    size = batching.batch_size or min(runs, most)
    return size + -size % share


def _share(batching: Batching) -> int:
    """How many devices share a batch."""
    return len(batching.devices or (None,))


def trace(key: jax.Array, group: Group, size: int, batching: Batching) -> jax.stages.Traced:
    """The program of a group for ``size`` runs at a time, not compiled.

    Raises:
        ValueError: what only N, D and the structure show is wrong.
        TypeError: the same.
    """
    index = jax.ShapeDtypeStruct((size,), jnp.int32)
    seed = jax.ShapeDtypeStruct((size,), jnp.uint32)
    counts = jax.ShapeDtypeStruct((_share(batching),), jnp.int32)
    # A program of another size is another shape, not another function.
    batching = batching._replace(batch_size=None)
    jitted = _jitted(group.structure, group.population_size, batching)
    with jax.disable_jit(False):
        return jitted.trace(key, group.varying, group.fixed, index, seed, counts)


def _compile(
    key: jax.Array, group: Group, size: int, batching: Batching
) -> jax.stages.Compiled:
    return trace(key, group, size, batching).lower().compile()


@functools.lru_cache(maxsize=8)  # the same function again is not compiled again
def _jitted(
    structure: jax.tree_util.PyTreeDef, population_size: int, batching: Batching
) -> jax.stages.Wrapped:
    make_room()
    runs = _function(structure, population_size, batching)
    return jax.jit(runs, compiler_options=compiler_options() or None)


def _function(
    structure: jax.tree_util.PyTreeDef, population_size: int, batching: Batching
) -> Callable[..., Any]:
    return functools.partial(_runs, structure, population_size, batching)


def _runs(
    structure: jax.tree_util.PyTreeDef,
    population_size: int,
    batching: Batching,
    key: jax.Array,
    varying: tuple[Any, ...],
    fixed: tuple[Any, ...],
    setting: jax.Array,
    seed: jax.Array,
    counts: jax.Array,
) -> KeptRuns:
    """Runs number ``setting`` (B,) of the group with the seeds (B,)."""

    def one(setting: jax.Array, seed: jax.Array) -> KeptRuns:
        leaves = [
            constant if column is None else jnp.asarray(column)[setting]
            for column, constant in zip(varying, fixed, strict=True)
        ]
        strategy, problem = assemble(structure, leaves)
        result = evolve(
            jax.random.fold_in(key, seed),
            strategy,
            problem,
            population_size=population_size,
            final=0,
        )
        return _kept(result, batching.keep)

    mesh = device_mesh.line(batching.devices) if batching.devices else None
    if batching.mode == "vmap":
        return device_mesh.over_runs(one, mesh, setting, seed)
    in_turn = functools.partial(_in_turn, one)
    if mesh is None:
        return in_turn(counts, setting, seed)
    return device_mesh.in_parts(in_turn, mesh, counts, setting, seed)


def _in_turn(
    one: Callable[..., KeptRuns], count: jax.Array, *arguments: jax.Array
) -> KeptRuns:
    """One run after the other; bits that do not depend on how many there are.

    How many happen is traced, so that the compiler cannot make a special case of few.
    """
    shapes = jax.eval_shape(one, *(argument[0] for argument in arguments))
    size = len(arguments[0])
    blank = jax.tree.map(lambda s: jnp.zeros((size, *s.shape), s.dtype), shapes)

    def body(index: jax.Array, rows: KeptRuns) -> KeptRuns:
        row = one(*(argument[index] for argument in arguments))
        return jax.tree.map(lambda rows, value: rows.at[index].set(value), rows, row)

    return jax.lax.fori_loop(0, count[0], body, blank)


def _kept(result: Result, keep: tuple[str, ...]) -> KeptRuns:
    known = {
        "best_solution": result.state.best_solution,
        "population": result.population,
        "fitness": result.fitness,
    }
    kept = {name: known[name] for name in keep}
    return KeptRuns(history=result.history, best=result.best_fitness, kept=kept)
