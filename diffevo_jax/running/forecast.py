"""What a run takes, said before it runs: the compiler knows it of a compiled program."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Problem, Strategy
from diffevo_jax.compilation import compiler_options, make_room
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running import device_mesh
from diffevo_jax.running.arguments import as_pytree, check_run
from diffevo_jax.running.evolution import Result, evolve
from diffevo_jax.running.memory import free_memory, in_words, needed_memory


@pytree.dataclass
class Footprint:
    """The memory that a run takes, and that there is.

    Attributes:
        needed: bytes on each device while it runs: what goes in, what comes out, and what
            is in between. JAX itself and its compiler take some 450 MB of the host more.
        results: bytes on each device of what comes out, and is kept.
        free: bytes that a device has left; None where nobody says. That of a CPU is the
            machine's, in equal parts if several devices share it.

    Example:
        >>> import diffevo_jax as de
        >>> footprint = de.Footprint(needed=3 * 10**9, results=5 * 10**7, free=2 * 10**9)
        >>> footprint.fits  # of de.footprint; if not, evolve fewer runs at once
        False
    """

    needed: int = pytree.static()
    results: int = pytree.static()
    free: int | None = pytree.static()

    @property
    def fits(self) -> bool | None:
        """Whether there is as much as is needed; None where nobody says."""
        return None if self.free is None else self.needed <= self.free

    def __str__(self) -> str:
        """In words.

        Example:
            >>> from diffevo_jax.running.forecast import Footprint
            >>> print(Footprint(needed=3 * 10**9, results=5 * 10**7, free=2 * 10**9))
            takes 3.0 GB, of which results 50 MB; 2.0 GB are free: it does not fit
        """
        said = f"takes {in_words(self.needed)}, of which results {in_words(self.results)}; "
        if self.free is None:
            return f"{said}what is free is not known"
        fits = "it fits" if self.fits else "it does not fit"
        return f"{said}{in_words(self.free)} are free: {fits}"


@checked
def footprint(
    strategy: Strategy,
    problem: Problem,
    *,
    population_size: int,
    num_runs: int = 1,
    record: tuple[str, ...] = (),
    devices: Sequence[jax.Device] | None = None,
) -> Footprint:
    """The memory that an evolution takes, one run or many at once, without running it.

    The program is compiled, of shapes alone: that takes its seconds, and some memory of the
    host, and no array is made. Of what XLA then says this is the sum: arguments, results
    and what is in between, without the final evaluation. :func:`diffevo_jax.run` holds the
    last state beside it.

    Args:
        strategy: see :func:`diffevo_jax.evolve`.
        problem: see :func:`diffevo_jax.evolve`.
        population_size: N.
        num_runs: R >= 1, at once, as under ``vmap``.
        record: see :func:`diffevo_jax.evolve`.
        devices: that share the runs, a divisor of R in number; None for the default one.

    Returns:
        What it takes on each device, and what that has left now.

    Raises:
        ValueError, TypeError: as :func:`diffevo_jax.evolve`; or ``devices`` do not divide
            the runs.

    Example:
        >>> import diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -(x**2).sum(), dim=58)
        >>> size = dict(population_size=4096)
        >>> one = de.footprint(de.DiffusionEvolution(10), problem, **size)
        >>> many = de.footprint(de.DiffusionEvolution(10), problem, **size, num_runs=8)
        >>> one.fits, one.needed < many.needed < 8 * one.needed  # they attend in groups
        (True, True)
    """
    validation.check_count("num_runs", num_runs)
    share = 1 if devices is None else len(devices)
    if not share or num_runs % share:
        raise ValueError(
            f"devices: got {share} for {num_runs} runs, want a divisor of their number"
        )
    problem = as_pytree(problem)
    check_run(jax.random.key(0), strategy, problem, population_size, None, record)
    make_room()

    def runs(keys: jax.Array, strategy: Strategy, problem: Problem) -> Result:
        def one(key: jax.Array) -> Result:
            return evolve(
                key,
                strategy,
                problem,
                population_size=population_size,
                record=record,
                final=0,
            )

        return one(keys) if num_runs == 1 else jax.vmap(one)(keys)

    shape = () if num_runs == 1 else (num_runs // share,)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), shape))
    parts = pytree.strong(strategy), pytree.strong(problem)
    with device_mesh.alone(), jax.disable_jit(False):
        program = jax.jit(runs, compiler_options=compiler_options() or None)
        compiled = program.lower(keys, *parts).compile()
    return footprint_of(compiled, devices)


def footprint_of(
    compiled: jax.stages.Compiled, devices: Sequence[jax.Device] | None
) -> Footprint:
    """The memory that a compiled program takes on each device.

    Args:
        compiled: for one of the devices.
        devices: that run it at once; None for the default one.
    """
    device, *others = devices or jax.local_devices()[:1]
    free = free_memory(device)
    if free is not None and device.platform == "cpu":  # its devices share one memory
        free //= 1 + len(others)
    results = sum(
        leaf.size * jnp.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(compiled.out_info)
    )
    return Footprint(needed_memory(compiled), results, free)
