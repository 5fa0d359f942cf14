"""The contract with the optimisations that users get: the other tests do without most.

Parts that the default run leaves out keep all of their promises here. The others keep all
of them there, and here each keeps a third, in turn: so every part and every promise is
compiled as users compile it.
"""

from typing import Any

import jax
import pytest
from cases import KINDS, PROMISED, Case

from diffevo_jax.testing import Promise

#: Of the promises of a part that others keep too.
SHARE = 3


def in_turn() -> list[Any]:
    """All promises of the slow parts, and of each other one every third, from another."""
    found = []
    for kind, (cases, promises) in KINDS.items():
        for place, case in enumerate(cases):
            mine = [p for p in PROMISED if p.values[1] is case and p.values[0] in promises]
            turn = [p for n, p in enumerate(mine) if (n + place) % SHARE == 0]
            found += mine if mine and mine[0].marks else turn
            assert turn, f"{kind} {case.name} keeps nothing"
    return found


@pytest.fixture(scope="module")
def compiled_anew() -> None:
    """What was compiled without optimisations is forgotten."""
    jax.clear_caches()


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize(("promise", "case"), in_turn())
def test_it_keeps(promise: Promise, case: Case) -> None:
    promise(case.part)


def test_every_part_and_every_promise_has_a_turn() -> None:
    kept = [one.values for one in in_turn()]
    assert {id(case) for _, case in kept} == {id(one.values[1]) for one in PROMISED}
    assert {promise for promise, _ in kept} == {one.values[0] for one in PROMISED}
