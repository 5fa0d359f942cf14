"""Attention with a Gaussian kernel in one pass over the keys, for a GPU.

The compiler of :func:`diffevo_jax.attention.attend` writes the logits of a block into
memory and reads them again for every sum. Here a kernel of our own keeps them in registers
(as FlashAttention does, arXiv:2205.14135), in full float32: of N queries only their sums
are written. :mod:`diffevo_jax.attention.fused_kernels` is that kernel; this file is what
stands around it.
"""

import functools
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffevo_jax.attention.blocked import attend, check_given
from diffevo_jax.attention.cells import (
    as_keys,
    as_queries,
    find_centres,
    in_cells,
    mean_of_cells,
)
from diffevo_jax.attention.fused_kernels import (
    FULL,
    LOG2_E,
    THREE,
    Sums,
    Table,
    Tiling,
    sums,
    usual_tiling,
)
from diffevo_jax.attention.numerics import Guidance, guided_sums
from diffevo_jax.base import Estimate
from diffevo_jax.pytree.annotations import checked, outside

#: Numbers of a query, and of a value, for which there is room beside those of the cells.
_MOST_DIMENSIONS = 112
#: The least of a tile's two sides, if products are those of matrices.
_LEAST = 16

#: Means (N, D), effective sample sizes (N,) and own weights (N,).
_Answers = tuple[jax.Array, jax.Array, jax.Array]


class _Given(NamedTuple):
    """The arrays of :func:`attend_fused`."""

    queries: jax.Array
    keys: jax.Array
    values: jax.Array
    log_weight: jax.Array
    own: jax.Array


@checked
def attend_fused(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    log_weight: jax.Array,
    own: jax.Array,
    *,
    floor: float | None = None,
    guidance: Guidance | None = None,
    tiling: Tiling | None = None,
    interpret: bool = False,
) -> Estimate:
    """Attend as :func:`diffevo_jax.attention.attend` does, by one kernel of a GPU.

    To prefer on a GPU, for many points of few dimensions, where ``attend`` moves far more
    than it computes. Memory is of the order of ``N (d + D)``, at any N. Each query is
    answered as by ``attend``, to float32 rounding and not to the bit.

    Args:
        queries: (N, d) float32, d at most 112, close to the origin compared with the
            spread of all: centre them.
        keys: (M, d) float32, centred by the same point.
        values: (M, D) float32, D at most 112.
        log_weight: (M,) float32 log g, ``-inf`` for weight zero; not all may be.
        own: (N,) int32, number of the key that belongs to each query; M or more for none.
        floor: added to the kernel; None: no floor.
        guidance: how far to go beyond the weighted means, and away from which plain means
            of the same keys; None for not. It is a second pass over the keys, left out
            where the strength is 0; the weighted means then keep their bits.
        tiling: how the work is cut; None for what was found fast on one card. It changes
            times and rounding. Without it products are left to tensor cores, by three of
            TF32's for each, which are as right as full ones and several times as fast.
        interpret: run the kernel as plain JAX, slowly, on any platform: for tests.

    Returns:
        As of ``attend``.

    Raises:
        ValueError: beyond 112 dimensions, where products of matrices are most of the work,
            and ``attend`` makes them too; or if a tiling does not fit.
        TypeError: for other numbers than float32.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.attention import attend_fused
        >>> points = jnp.array([[-1.0], [1.0]])
        >>> origin, none = jnp.zeros((1, 1)), jnp.array([2])
        >>> given = origin, points, points, jnp.zeros(2), none
        >>> attend_fused(*given, interpret=True).clean.tolist()
        [[0.0]]

    Notes:
        On an H200 it is three times as fast as ``attend`` in blocks of 8,192 for 100,000
        points in 3 dimensions, and twice in 58 (``docs/performance.md``). The benchmark
        ``accelerator_estimator.py`` measures time and error, and compares tilings. Tests
        interpret the kernel on a CPU, and lower it for CUDA and run that program, which a
        GPU's compiler is given, operation by operation in NumPy.

        The kernel is written in Pallas and lowered by its Triton back end, of JAX 0.7 and
        newer. JAX 0.11 has deprecated that, and says so, in favour of Mosaic GPU, whose
        products of matrices are of TF32 at best. Where there is no such kernel ``attend``
        answers, and a warning says so, by the default platform of the process: a program
        that is lowered for another one is ``attend``'s too.

        Derivatives are those of ``attend``, in its time and memory.
    """
    given = _Given(queries, keys, values, log_weight, own)
    check_given(*given, floor)
    _check_fits(given)
    usual = tiling or usual_tiling(len(queries), *_columns(keys, values))
    _check_tiling(usual)
    if guidance is not None:
        strength = jnp.asarray(guidance.strength, queries.dtype)
        guidance = Guidance(strength, guidance.log_weight)
    has_kernels = interpret or _warn_without_kernel()
    fused = functools.partial(_fused, floor, usual, interpret)
    # Of other makers' cards Triton makes no such products of three.
    full = functools.partial(_fused, floor, usual._replace(precision=FULL), interpret)
    blocked = functools.partial(_blocked, floor)

    @jax.custom_jvp
    def answer(given: _Given, guidance: Guidance | None) -> _Answers:
        if interpret:
            return fused(given, guidance)
        if not has_kernels:
            return blocked(given, guidance)
        chosen: _Answers = jax.lax.platform_dependent(
            given, guidance, default=blocked, cuda=fused, rocm=fused if tiling else full
        )
        return chosen

    @answer.defjvp
    def derivative(
        primals: tuple[_Given, Guidance | None], tangents: tuple[_Given, Guidance | None]
    ) -> tuple[_Answers, _Answers]:
        return answer(*primals), jax.jvp(blocked, primals, tangents)[1]

    return Estimate(*answer(given, guidance))


def _check_fits(given: _Given) -> None:
    """Raise if numbers are not of the kernel's kind, or there are too many."""
    for name, array in given._asdict().items():
        if name != "own" and array.dtype != jnp.float32:
            raise TypeError(f"{name}: got {array.dtype}, want float32; or attention.attend")
        if array.ndim == 2 and array.shape[1] > _MOST_DIMENSIONS:
            raise ValueError(
                f"{name}: got {array.shape[1]} dimensions, want at most "
                f"{_MOST_DIMENSIONS}; for more there is attention.attend"
            )


def _check_tiling(tiling: Tiling) -> None:
    """Raise ValueError unless a kernel can be cut so."""
    least = _LEAST if tiling.wide else 1
    for name, wanted in (("queries", least), ("keys", least), ("num_warps", 1)):
        got = tiling._asdict()[name]
        if got < wanted or got & (got - 1):
            raise ValueError(
                f"tiling: got {name}={got}, want a power of 2, at least {wanted}"
            )
    if tiling.num_stages < 1:
        raise ValueError(f"tiling: got num_stages={tiling.num_stages}, want at least 1")
    if tiling.precision not in (FULL, THREE):
        raise ValueError(
            f"tiling: got precision={tiling.precision}, want {FULL} or {THREE}: others "
            "round the numbers to half of their digits"
        )


def _columns(keys: jax.Array, values: jax.Array) -> tuple[int, int]:
    """How many columns of keys, and of values, meet in a kernel."""

    def found(keys: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        placed = as_keys(keys, find_centres(keys))
        return placed.columns, in_cells(values, placed)[0]

    key_columns, value_columns = jax.eval_shape(found, keys, values)
    return key_columns.shape[1], value_columns.shape[1]


def _warn_without_kernel() -> bool:
    """Whether this JAX can lower the kernel; a warning where attend will answer."""
    platform = jax.default_backend()
    why = None if platform == "gpu" else f"has no kernel for the platform {platform!r}"
    try:
        from jax.experimental.pallas.triton import CompilerParams  # noqa: F401
    except ImportError:  # it was called otherwise before JAX 0.7, and may go one day
        why = f"finds no Triton back end in the Pallas of JAX {jax.__version__}"
        has_kernels = False
    else:
        has_kernels = True
    if why is not None:
        warnings.warn(f"attend_fused {why}: attend answers", stacklevel=outside())
    return has_kernels


def _blocked(floor: float | None, given: _Given, guidance: Guidance | None) -> _Answers:
    found = attend(*given, floor=floor, guidance=guidance)
    return found.clean, found.effective_sample_size, found.self_weight


def _fused(
    floor: float | None,
    tiling: Tiling,
    interpret: bool,
    given: _Given,
    guidance: Guidance | None,
) -> _Answers:
    queries, keys, values, log_weight, own = given
    centres = find_centres(keys)
    asked, placed = as_queries(queries, centres), as_keys(keys, centres)
    columns, value_centres = in_cells(values, placed)
    # Of one dimension differences are taken, and scaled after that.
    scale = 1.0 if placed.columns.shape[1] == 1 else LOG2_E

    def sums_by(log_weight: jax.Array) -> Sums:
        log_kernel = -placed.half_square
        if floor is None:
            log_kernel += log_weight
        table = Table(
            queries=asked.columns,
            half_square=LOG2_E * asked.half_square,
            own=own,
            keys=scale * placed.columns,
            log_kernel=LOG2_E * log_kernel,
            log_weight=LOG2_E * log_weight,
            values=columns,
        )
        return sums(table, floor, tiling, interpret)

    found = sums_by(log_weight)
    weighted = found.weighted
    if guidance is not None:
        cells = len(value_centres)
        strength, plain_log_weight = jnp.asarray(guidance.strength), guidance.log_weight
        weighted = jax.lax.cond(
            strength == 0,
            lambda: weighted,
            lambda: guided_sums(
                weighted, sums_by(plain_log_weight).weighted, cells, strength
            ),
        )
    mean, total = mean_of_cells(weighted, value_centres)
    own_weight = jnp.exp2(jnp.minimum(found.own - found.largest, 0.0)) / total
    size = jnp.clip(total**2 / found.squares, 1.0, len(keys))
    return mean, size, jnp.minimum(own_weight, 1.0)
