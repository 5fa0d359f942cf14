"""What the promises share: small populations, and what it means to agree."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree

#: A promise: called with a part, and with the number of dimensions it is tried in; raises
#: AssertionError if it is broken.
Promise = Callable[..., None]

#: Individuals, and dimensions where nothing else is said.
N, D = 8, 3
#: What a failed evaluation may be.
FAILURES = (jnp.nan, jnp.inf, -jnp.inf)
#: Rounding of one generation, in units of the population's spread.
ROUNDING = 1e-5


def key() -> jax.Array:
    """The key of every promise that needs only one."""
    return jax.random.key(7)


def population(size: int = N, dim: int = D) -> jax.Array:
    """Individuals ``(size, dim)``, unit scale."""
    return jax.random.normal(jax.random.key(1), (size, dim))


def sphere(x: jax.Array) -> jax.Array:
    """Fitness ``(N,)``, positive for any shaping; its peak is not the prior's mean."""
    return 2.0 / (1.0 + jnp.sum((x - 0.5) ** 2, axis=-1))


def hold(
    part: object, promises: Iterable[Promise], dim: int, but: Collection[Promise]
) -> None:
    """Hold a part to promises, all but some.

    Raises:
        TypeError, ValueError: the part is no component, or has a number out of its range.
    """
    if isinstance(part, type) or not pytree.is_component(part):
        raise TypeError(
            f"got {part!r}, want an object of a class made with "
            "@diffevo_jax.pytree.dataclass"
        )
    pytree.validate(part)
    for promise in promises:
        if promise not in but:
            promise(part, dim)


def expect(kept: jax.typing.ArrayLike, promised: str, got: object) -> None:
    """Raise AssertionError, with what was promised and what came, unless it was kept."""
    if not bool(kept):
        raise AssertionError(f"promised: {promised}; got: {got}")


def same_bits(first: PyTree, second: PyTree, promised: str) -> None:
    """Two trees are the same, bit for bit."""
    chex.assert_trees_all_equal(first, second, custom_message=f"promised: {promised}")


def close(first: PyTree, second: PyTree, promised: str) -> None:
    """Two trees agree to the rounding of one generation."""
    chex.assert_trees_all_close(
        first,
        second,
        rtol=ROUNDING,
        atol=ROUNDING,
        custom_message=f"promised: {promised}",
    )


def same_types(first: PyTree, second: PyTree, promised: str) -> None:
    """Two trees have the same structure, shapes, dtypes, and no weak types."""
    structures: list[Any] = [jax.tree.structure(tree) for tree in (first, second)]
    expect(
        structures[0] == structures[1], promised, f"{structures[1]} after {structures[0]}"
    )
    types = [[jax.typeof(leaf) for leaf in jax.tree.leaves(t)] for t in (first, second)]
    for before, after in zip(*types, strict=True):
        same = (before.shape, before.dtype) == (after.shape, after.dtype)
        expect(same, promised, f"{after} after {before}")
        expect(not (before.weak_type or after.weak_type), promised, f"a weak {after}")


def without_nan(tree: PyTree, promised: str) -> None:
    """No leaf of a tree holds a NaN; infinities may."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        broken = np.isnan(np.asarray(leaf, float)).any()
        expect(not broken, promised, f"NaN in {jax.tree_util.keystr(path)}: {leaf}")


def finite_or_weightless(log_weight: jax.Array, promised: str) -> None:
    """Log-weights are finite, or -inf."""
    legal = jnp.isfinite(log_weight) | (log_weight == -jnp.inf)
    expect(jnp.all(legal), promised, log_weight)


def each_number_changed(part: PyTree) -> Any:
    """A part in as many settings as it has leaves: in each, one is a tenth smaller.

    Returns:
        The part, its leaves with a leading axis for the settings.
    """
    leaves, structure = jax.tree.flatten(pytree.strong(part))
    settings = []
    for place, leaf in enumerate(leaves):
        factors = np.ones((len(leaves), *[1] * leaf.ndim))
        factors[place] = 0.9
        changed = leaf.astype(float)[None] * jnp.asarray(factors, float)
        settings.append(changed.astype(leaf.dtype))
    return jax.tree.unflatten(structure, settings)


def together_and_alone(one: Callable[[Any], Any], many: PyTree, promised: str) -> None:
    """What a function gives under ``vmap`` is what it gives for each, to rounding.

    Args:
        one: a function whose costly parts are jitted.
        many: its arguments, with a leading axis.
        promised: what this shows.
    """
    leaves = jax.tree.leaves(many)
    if not leaves:
        return
    together = jax.jit(jax.vmap(one))(many)
    for place in range(len(leaves[0])):
        row = lambda tree, place=place: jax.tree.map(lambda leaf: leaf[place], tree)
        close(row(together), one(row(many)), f"{promised} (number {place})")
