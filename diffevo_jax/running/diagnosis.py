"""What is wrong with a run, in sentences, by the numbers of its history."""

from collections.abc import Iterator

import numpy as np

from diffevo_jax.base import Info
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result

#: A self weight from here on is near 1: nine tenths of an estimate are the point itself.
ALONE = 0.9
#: An effective sample size up to here is near 1.
ONE = 1.2
#: With a self weight up to here the one is another individual.
OTHERS = 0.5
#: Of the generations that estimate: how many must show it.
MOST = 0.5


@checked
def diagnose(history: Info | Result) -> tuple[str, ...]:
    """Say what is wrong with a run, and what to do about it.

    Args:
        history: a result, or its history; leaves (generations,) or (runs, generations), of
            which medians over runs count.

    Returns:
        Sentences, the gravest first; ``("all well",)`` if these numbers show nothing wrong.
    """
    raise NotImplementedError
