"""Variables: every candidate is legal, and what was decoded is decoded again."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.problems import Categorical, Fixed, Integer, Range, Space
from diffevo_jax.problems.columns import BOUNDARIES
from diffevo_jax.pytree import validation

KEY = jax.random.key(0)
DECODE = jax.jit(lambda space, x: space.decode(x))
ENCODE = jax.jit(lambda space, solutions: space.encode(solutions))
DRAW = jax.jit(
    lambda space, key, num: space.decode(space.sample(key, num)), static_argnums=2
)


# Random structures


def any_range(rng):
    """A float: linear of any size and place, log over many decades or few, or steps."""
    kind = rng.integers(4)
    if kind == 0:
        low = rng.normal() * 10.0 ** rng.uniform(-6, 6)
        return Range(low, low + 10.0 ** rng.uniform(-2, 6) * max(abs(low), 1e-3))
    if kind == 1:  # around 0
        return Range(*(10.0 ** rng.uniform(-4, 4) * sign for sign in (-1, 1)))
    if kind == 2:
        low = 10.0 ** rng.uniform(-12, 6)
        return Range(low, low * 10.0 ** rng.uniform(0.01, 12), "log")
    step, low = 10.0 ** rng.uniform(-3, 1), rng.normal()
    return Range(low, low + step * rng.integers(1, 50), step=step)


def any_integer(rng):
    """An integer: small, far, on a log scale, or with steps."""
    kind = rng.integers(4)
    if kind == 0:
        low = int(rng.integers(-20, 20))
        return Integer(low, low + int(rng.integers(1, 30)))
    if kind == 1:
        return Integer(*sorted(rng.choice(2**21, 2, replace=False) - 2**20))
    if kind == 2:
        low = int(rng.integers(1, 100))
        return Integer(low, int(low + 1 + 10 ** rng.uniform(0, 6)), "log")
    step, low = int(rng.integers(1, 9)), int(rng.integers(-9, 9))
    return Integer(low, low + step * int(rng.integers(1, 30)) + step // 2, step=step)


def any_choice(rng):
    """A category of strings, numbers, or of all kinds."""
    kinds = [("adam", "sgd", "lion"), (16, 32, 64, 128), (True, False), ("a", 1, 2.5, None)]
    return Categorical(kinds[rng.integers(4)])


def any_array(rng):
    """An array of floats or integers."""
    shape = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(0, 3))))
    return jax.ShapeDtypeStruct(shape, rng.choice(["float32", "int32", "float16"]))


def any_fixed(rng):
    values = (3, 0.25, True, "relu", np.arange(3.0))
    return Fixed(values[rng.integers(len(values))])


def any_space(seed):
    """A space of 2 to 9 leaves of all kinds, some of them deeper in; its arrays bounded."""
    rng = np.random.default_rng(seed)
    kinds = (any_range, any_range, any_integer, any_integer, any_choice, any_array)
    leaves = {f"x{i}": rng.choice(kinds)(rng) for i in range(int(rng.integers(2, 8)))}
    leaves["fixed"] = any_fixed(rng)
    bounded, scale = rng.random() < 0.8, 10.0 ** rng.uniform(-1, 1)
    example = {"in": [leaves.pop("x0"), {"deep": leaves}]}
    boundary = str(rng.choice(BOUNDARIES))
    arrays = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves_of(example))
    ends = {"lower": -3.0, "upper": 5.0} if bounded and arrays else {}
    return Space(example, scale, **ends, boundary=boundary), example


def leaves_of(example):
    return jax.tree.leaves(example, is_leaf=pytree.is_component)


def is_legal(leaf, values, bounded):
    """Whether every value is one that a leaf of an example may have; said anew."""
    exact = np.asarray(values, np.float64)
    if not np.isfinite(exact).all():
        return False
    if isinstance(leaf, Categorical):
        return values.dtype == np.int32 and ((exact >= 0) & (exact < leaf.width)).all()
    if isinstance(leaf, Fixed):
        want = 0 if leaf.label else np.float32(leaf.value)
        return (exact == want).all()
    if isinstance(leaf, Range | Integer):
        low, high = np.float64(np.float32(leaf.low)), np.float64(np.float32(leaf.high))
        inside = ((exact >= low) & (exact <= high)).all()
        if isinstance(leaf, Integer):
            whole = np.issubdtype(values.dtype, np.integer)
            return whole and inside and ((exact - low) % float(leaf.step) == 0).all()
        if leaf.step is not None:
            places = (exact - low) / float(leaf.step)
            return inside and (abs(places - np.round(places)) < 1e-3).all()
        return inside
    whole = np.issubdtype(leaf.dtype, np.integer)
    inside = not bounded or ((exact >= -3) & (exact <= 5)).all()
    return inside and (not whole or (exact == np.round(exact)).all())


def hold(seed, num_points):
    """One structure: nothing illegal, nothing lost between decode, encode and decode."""
    space, example = any_space(seed)
    validation.validate(space)
    points = np.random.default_rng(seed).normal(size=(num_points, space.dim)) * 2.0
    points[: num_points // 10] *= 1e3  # far outside
    points[0], points[1] = -2.0, 2.0  # in the corners
    solutions = DECODE(space, points.astype(np.float32))
    encoded = ENCODE(space, solutions)
    again = DECODE(space, encoded)
    worst = 0.0
    triples = (leaves_of(example), jax.tree.leaves(solutions), jax.tree.leaves(again))
    for leaf, first, second in zip(*triples, strict=True):
        first, second = np.asarray(first), np.asarray(second)
        assert is_legal(leaf, first, space.lower is not None), (seed, leaf)
        if isinstance(leaf, Range):
            apart = abs(first.astype(np.float64) - second) / np.spacing(abs(first))
            worst = max(worst, float(apart.max()))
        elif not isinstance(leaf, jax.ShapeDtypeStruct):
            np.testing.assert_array_equal(first, second, err_msg=f"{seed}: {leaf}")
    variables = space.layout.columns(space.layout.named)
    stable = np.asarray(ENCODE(space, again))
    np.testing.assert_array_equal(
        np.asarray(encoded)[:, variables], stable[:, variables], err_msg=str(seed)
    )
    return worst
