"""What is wrong with a command line, in one line, and which word was meant."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

#: What development versions called otherwise: the last word of a key or a flag, and what to
#: write now.
_BEFORE = {
    "archive": "memory = archive, with memory.generations",
    "archive_correction": "memory.correction of memory = archive",
    "floor": "kernel.floor and shaping.floor",
    "num_support": "support = best or drawn, with support.count",
    "self_conditioned": "kernel = self-conditioned",
}


class UsageError(ValueError):
    """The command line asks for what cannot be.

    Example:
        >>> from diffevo_jax.cli import words
        >>> words.read(["beale"])
        Traceback (most recent call last):
        diffevo_jax.cli.errors.UsageError: got 'beale', want a flag, such as --seeds 3
    """


def hint_at(
    given: str, known: Collection[str], meaning: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A hint at the known words that are most like the given one; empty if none is.

    A word of before a renaming is said in the words of now.

    Args:
        given: a word that is not known.
        known: words.
        meaning: how those are named that are not named by themselves.

    Example:
        >>> from diffevo_jax.cli import errors
        >>> errors.hint_at("sede", ["seed", "mode"])
        '; closest: seed'
        >>> errors.hint_at("--floor", [])
        '; it is now kernel.floor and shaping.floor'
    """
    named = dict.fromkeys(meaning.get(one, one) for one in closest(given, known))
    if named:
        return f"; closest: {', '.join(named)}"
    before = given.lstrip("-").replace("-", "_").rpartition(".")[2]
    return f"; it is now {_BEFORE[before]}" if before in _BEFORE else ""


def closest(given: str, known: Collection[str]) -> list[str]:
    """The known words at the smallest distance, if that is a third of the word or less.

    One letter may always be wrong: so a word with one slip is always among them.

    Example:
        >>> from diffevo_jax.cli import errors
        >>> errors.closest("seedx", ["seed", "seeds", "mode"])
        ['seed', 'seeds']
        >>> errors.closest("wide", ["seed"])
        []
    """
    most = max(1, len(given) // 3)
    apart = {
        one: distance(given, one) for one in known if abs(len(one) - len(given)) <= most
    }
    least = min(apart.values(), default=most + 1)
    return [one for one in apart if apart[one] == least <= most]


def distance(first: str, second: str) -> int:
    """Letters to drop, add, change, or swap with a neighbour, to get from one to another.

    Example:
        >>> from diffevo_jax.cli import errors
        >>> errors.distance("sede", "seed"), errors.distance("kappa", "kapa")
        (1, 1)

    References:
        Damerau, "A technique for computer detection and correction of spelling errors",
        1964; no part is edited twice (optimal string alignment).
    """
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first):
        above, before, row = before, row, [i + 1]
        for j, other in enumerate(second):
            cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != other))
            if i and j and (letter, first[i - 1]) == (second[j - 1], other):
                cost = min(cost, above[j - 1] + 1)
            row.append(cost)
    return row[-1]
