"""Operations and bytes, counted from the formulas, and as XLA counts them.

A multiply-add is two flops; comparisons, maxima and divisions are one; sines, cosines and
exponentials are counted apart. Bytes are those that must move if every input is read once
and every output written once; all numbers have four.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import peer

import diffevo_jax as de

NUMBER = 4


class Count(NamedTuple):
    """What one unit of work takes."""

    flops: float
    functions: float
    bytes: float


def network(widths: tuple[int, ...]) -> int:
    """Flops of a network of these widths: products and sums, a maximum a hidden unit."""
    pairs = itertools.pairwise(widths)
    return sum(2 * before * after for before, after in pairs) + sum(widths[1:-1])


def weights(widths: tuple[int, ...]) -> int:
    """Numbers of a network: a matrix and a bias a layer."""
    return sum((before + 1) * after for before, after in itertools.pairwise(widths))


def cartpole_step(widths: tuple[int, ...] = (4, 8, 2)) -> Count:
    """One step of one CartPole lane with its policy."""
    dynamics = (
        4  # force = F a - F (1 - a)
        + 5  # temp = (force + m l thetadot^2 sin) / M
        + 9  # thetaacc = (g sin - cos temp) / (l (4/3 - m cos^2 / M))
        + 4  # xacc = temp - m l thetaacc cos / M
        + 8  # four Euler steps x + tau v
    )
    ends = 4 + 4 + 1  # |x| and |theta| beyond their bounds, before and after; the limit
    book = 3  # reward, total reward, length
    observation = 5 * widths[0]  # sqrt(3) (2 (o - low) / (high - low) - 1)
    choice = widths[-1] - 1  # argmax
    state = 5 + 3  # position, angle, velocities, time; total reward, length, over
    return Count(
        flops=network(widths) + observation + choice + dynamics + ends + book,
        functions=2,  # sin and cos of one angle
        bytes=NUMBER * (weights(widths) + 2 * state),
    )


def estimate(size: int, dim: int) -> Count:
    """One pass of the estimator over N individuals of D numbers."""
    pairs, numbers = size**2, size * dim
    return Count(
        flops=2 * pairs * dim  # products of queries and keys
        + 3 * pairs  # minus half the norm, times the precision, plus the log-weight
        + 4 * pairs  # softmax: maximum, difference, sum, quotient
        + 2 * pairs * dim  # means of the values
        + 2 * pairs  # squares of the weights and their sum: the effective sample size
        + 8 * numbers,  # three means taken off, norms of the keys, one mean put back
        functions=pairs,  # exp
        bytes=NUMBER * (3 * numbers + 3 * size),  # queries, keys, means; three of scalars
    )


def xla(compiled: Any) -> Count:
    """XLA's own count of a compiled program; the body of a loop counts once."""
    counts = compiled.cost_analysis()
    names = ("flops", "transcendentals", "bytes accessed")
    return Count(*(float(counts.get(name, 0.0)) for name in names))


def xla_cartpole_step(lanes: int) -> Count:
    """XLA's count for a lane, of lanes that step together, from the public parts."""
    import gymnax  # which computes when it is imported

    env, params = gymnax.make("CartPole-v1")
    policy = de.problems.MLP((8,), num_outputs=2)
    factor, offset = peer.normalisation("CartPole-v1")

    def step(key: jax.Array, policy_params: Any, lane: Any) -> Any:
        observation, state, total, length, over = lane
        signal = factor * observation + offset
        output, _ = policy.apply(policy_params, signal, ())
        observation, state, reward, ended, _ = env.step_env(
            key, state, jnp.argmax(output), params
        )
        ended = over | ended | env.is_truncated(state, params)
        total, length = (
            jnp.where(over, old, old + more) for old, more in ((total, reward), (length, 1))
        )
        return observation, state, total, length, ended

    keys = jax.random.split(jax.random.key(0), lanes)
    observation, state = jax.vmap(env.reset_env, (0, None))(keys, params)
    example = policy.init(keys[0], observation[0])
    each = jax.tree.map(lambda leaf: jnp.zeros((lanes, *leaf.shape)), example)
    zeros = [jnp.zeros(lanes, dtype) for dtype in (float, int, bool)]
    lane = (observation, state, *zeros)
    total = xla(jax.jit(jax.vmap(step)).lower(keys, each, lane).compile())
    return Count(*(value / lanes for value in total))
