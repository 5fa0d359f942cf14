"""What a machine can do at most, as XLA reaches it: arithmetic, memory, sines.

Measured in a process that sees only so many cores; ``roofline.py`` starts it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import median

import diffevo_jax as de

#: Multiply-adds in one pass over an array, and its length: in the first caches of a core.
CHAINS = ((8, 1024), (8, 4096), (16, 1024), (32, 4096))
FUNCTIONS = ("sin", "cos", "exp")
#: Numbers of an array: too many for a cache.
LARGE = 2**25
LOOPS = 10


def measure(quick: bool) -> dict[str, float]:
    """All limits: flop/s, bytes/s, seconds an element."""
    accelerator, repetitions = jax.default_backend() != "cpu", 3 if quick else 7
    size = 512 if quick else 8192 if accelerator else 2048
    width = 2**20 if accelerator else 1024
    return {
        "matmul": matmul(size, repetitions),
        "multiply_add": max(
            multiply_add(chain, 2**22 if accelerator else length, repetitions, quick)
            for chain, length in CHAINS
        ),
        "bandwidth": triad(LARGE // 16 if quick else LARGE, repetitions),
        **{name: elementwise(name, width, repetitions, quick) for name in FUNCTIONS},
    }


def matmul(size: int, repetitions: int) -> float:
    """Flop/s of a product of square float32 matrices, over all cores."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST))
    return 2 * size**3 / median(lambda: product(a, a), repetitions)


def multiply_add(chain: int, length: int, repetitions: int, quick: bool) -> float:
    """Flop/s of chained multiply-adds on an array in the cache, one for each device."""
    passes, devices = (20_000 if quick else 1_000_000) // chain, jax.local_device_count()

    def run(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        def body(_: Any, x: jax.Array) -> jax.Array:
            for _ in range(chain):
                x = x * a + b
            return x

        return jax.lax.fori_loop(0, passes, body, x)

    each = lambda value: jnp.full(devices, value, jnp.float32)
    everywhere = de.spread(run)
    arguments = jnp.ones((devices, length)), each(0.99), each(0.01)
    flops = 2 * devices * length * passes * chain
    return flops / median(lambda: everywhere(*arguments), repetitions)


def triad(length: int, repetitions: int) -> float:
    """Bytes/s of ``x = y + s x`` on arrays in main memory, in place: two reads, a write."""

    def run(x: jax.Array, y: jax.Array, s: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, LOOPS, lambda _, x: y + s * x, x)

    program, x, half = jax.jit(run), jnp.ones(length), jnp.asarray(0.5)
    return 12 * LOOPS * length / median(lambda: program(x, x, half), repetitions)


def elementwise(name: str, length: int, repetitions: int, quick: bool) -> float:
    """Seconds an element of a function, at angles of a balanced pole."""
    function, passes = getattr(jnp, name), 100 if quick else 2000

    def run(x: jax.Array) -> jax.Array:
        # The sum keeps the call alive and the angles where they are.
        return jax.lax.fori_loop(0, passes, lambda _, x: x + 1e-9 * function(x), x)

    program, angles = jax.jit(run), jnp.linspace(-0.2, 0.2, length, dtype=np.float32)
    return median(lambda: program(angles), repetitions) / (passes * length)
