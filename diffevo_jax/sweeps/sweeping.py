"""Many settings times many seeds as one program, and one labelled result."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from diffevo_jax.base import Problem, Strategy
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.running.device_mesh import alone
from diffevo_jax.sweeps.batches import Batching
from diffevo_jax.sweeps.execution import execute
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.plan import check_confirm, check_shard, make_plan
from diffevo_jax.sweeps.settings import Axes

if TYPE_CHECKING:
    import xarray


@checked
@alone()
def sweep(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    axes: Axes | None = None,
    num_seeds: int = 1,
    population_size: int | None = None,
    keep: tuple[str, ...] = (),
    confirm: Index = 0,
    mode: str = "vmap",
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    folder: str | Path | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> "xarray.Dataset":
    """Run many settings with many seeds, in one compiled program for each structure.

    A number field with one axis more than it declares is swept; several such fields go
    together. ``axes`` multiplies: every entry is one more axis, by the name of a field: its
    path, or any ending of it that is unambiguous. ``"shaping.temperature"`` is
    ``"strategy.denoiser.shaping.temperature"``; what the strategy has not is looked for in
    the problem, ``"problem.scale"`` is the problem's, and ``"population_size"`` is swept
    too. Axes over structure (counts, classes, environments) compile once for each
    structure.

    The other arguments are what to keep (``keep``, ``confirm``), how to run it (``mode``,
    ``batch_size``, ``devices``), and where to store it (``folder``, ``shard``): each is of
    use without the others, and none is needed.

    Every setting sees the same seeds; a run is a function of ``key``, its setting and its
    seed number. Numbers beyond their range raise; runs that fail are flagged, not fatal.

    Args:
        key: a typed key; the run with seed s has ``jax.random.fold_in(key, s)``.
        strategy: its number fields may have a leading axis of settings.
        problem: what to maximise; the same.
        axes: values by field name; a mapping instead of a sequence gives them labels; a
            tuple of names takes tuples of values, for fields that go together.
        num_seeds: runs of each setting, >= 1.
        population_size: N, if it is no axis.
        keep: also ``"best_solution"``, ``"population"`` or ``"fitness"`` of every run, in
            unit scale.
        confirm: run the best setting on so many fresh seeds, and give the mean of
            ``final_mean`` with its 95 % interval in the attributes ``confirmed_mean``,
            ``confirmed_low`` and ``confirmed_high``; 0 for not, else >= 2. Not done while
            runs are missing, or if every setting has failed ones.
        mode: ``"vmap"`` is fastest; with ``"map"`` a run has the same bits whatever else
            is in the sweep.
        batch_size: runs at a time, >= 1; None takes what fits into half of the memory, or
            64 with a ``folder``, so that all jobs have the same.
        devices: spread a batch over these; None stays on the default one.
        folder: store every batch there; a sweep that was stopped, or killed, goes on from
            it. It knows its sweep by the programs that functions come to, so that these may
            not call the host.
        shard: ``(i, n)``: run only every n-th batch from the i-th on, counted from 0, for
            jobs that share a folder; runs that other jobs have stored are in the result,
            and the others are ``missing``.
        progress: show a bar over the runs, with the time left.

    Returns:
        An ``xarray.Dataset`` with the dimensions ``setting``, ``seed`` and ``generation``:
        the fields of :class:`diffevo_jax.Info`, ``final_mean`` and ``final_best``
        (under noise the luckiest, since there is no final evaluation: compare the means),
        ``failed`` and ``missing``, ``evaluations``; swept fields are coordinates. Shorter
        runs end in NaN. :func:`diffevo_jax.sweeps.save` stores it.

    Raises:
        ValueError: an axis names no field, lengths do not match, a number is out of range;
            the folder holds another sweep, or a file that is damaged.
        ImportError: xarray is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> sampler = de.samplers.DDIM(jnp.array([0.0, 1.0]))
        >>> strategy = de.DiffusionEvolution(5, sampler=sampler)
        >>> problem = de.problems.Landscape("beale")
        >>> result = de.sweep(jax.random.key(0), strategy, problem, num_seeds=3,
        ...                   axes={"population_size": [16, 32]})
        >>> dict(result.final_mean.sizes)
        {'setting': 4, 'seed': 3}
        >>> result["sampler.eta"].values.tolist(), result.population_size.values.tolist()
        ([0.0, 0.0, 1.0, 1.0], [16, 32, 16, 32])
    """
    if devices is not None and not len(devices):
        raise ValueError("devices: got none, want at least one")
    check_confirm(confirm)
    check_shard(shard)
    plan = make_plan(
        key,
        strategy,
        problem,
        axes=axes,
        num_seeds=num_seeds,
        population_size=population_size,
        batching=Batching(
            mode, batch_size, None if devices is None else tuple(devices), keep
        ),
        stored=folder is not None,
    )
    store = None if folder is None else Folder(folder, plan)
    return execute(plan, store, shard=shard, confirm=confirm, progress=progress)
