"""Files that are damaged: a bit has changed, or the end is not there."""

from collections.abc import Iterator

import numpy as np


def damages(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """So many damaged copies of a file: every fifth is cut, the others have a wrong bit."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        content = bytearray(whole)
        if number % 5:
            at = rng.integers(8 * len(content))
            content[at // 8] ^= 1 << (at % 8)
        else:
            content = content[: rng.integers(len(content))]
        yield bytes(content)
