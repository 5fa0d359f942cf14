"""Every strategy keeps every promise, and every promise can be broken."""

from collections.abc import Callable
from operator import attrgetter

import pytest
from cases import CASES, Case
from planted import PLANTED
from promises import PROMISES

import diffevo_jax as de
from diffevo_jax import strategies

#: Each case takes 20 seconds to compile: every part is in one of the others, or has tests.
SLOW = tuple(
    f"diffusion_evolution-{name}"
    for name in (
        "latent",
        "local",
        "self_conditioned",
        "gaussian",
        "published",
        "two_answers",
    )
)
SLOW += ("monoflow-learned",)
MARKED = [
    pytest.param(case, marks=pytest.mark.slow if case.name in SLOW else (), id=case.name)
    for case in CASES
]


@pytest.mark.parametrize("promise", PROMISES, ids=attrgetter("__name__"))
@pytest.mark.parametrize("case", MARKED)
def test_strategy_keeps(case: Case, promise: Callable[[Case], None]) -> None:
    promise(case)


@pytest.mark.parametrize("promise", PROMISES, ids=attrgetter("__name__"))
def test_a_broken_strategy_is_noticed(promise: Callable[[Case], None]) -> None:
    # given a strategy that breaks this promise
    mutant = Case("planted", PLANTED[promise](4), shift_invariant=True)
    # then the check fails
    with pytest.raises(AssertionError):
        promise(mutant)


def test_every_public_strategy_is_listed() -> None:
    public = {
        value
        for value in vars(strategies).values()
        if isinstance(value, type) and hasattr(value, "ask")
    }
    assert {type(case.strategy) for case in CASES} == public
    assert de.DiffusionEvolution in public
