"""Every part keeps every promise, and what is planted against a promise is noticed."""

from typing import Any

import jax
import pytest
from cases import FEEL_A_CONSTANT, KINDS, PROMISED, STRATEGIES, Case, marks
from planted import PLANTED

import diffevo_jax as de
from diffevo_jax import pytree, testing
from diffevo_jax.testing import Promise

#: The slow ones are run once, as users compile them: in test_contract_optimised.py.
QUICK = [one for one in PROMISED if not one.marks]


@pytest.mark.parametrize(("promise", "case"), QUICK)
def test_it_keeps(promise: Promise, case: Case) -> None:
    promise(case.part)


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=marks("strategy", c)) for c in STRATEGIES],
)
def test_a_constant_matters_where_it_is_documented(case: Case) -> None:
    if case.name in FEEL_A_CONSTANT:
        with pytest.raises(AssertionError, match="the same individuals"):
            testing.strategies.a_constant_does_not_matter(case.part)
        return
    testing.strategies.a_constant_does_not_matter(case.part)


def broken(kind: str) -> list[Any]:
    """Promises that a case does not make."""
    return [
        pytest.param(
            promise, case, id=f"{case.name}-{promise.__name__}", marks=marks(kind, case)
        )
        for case in KINDS[kind][0]
        for promise in case.but
    ]


@pytest.mark.parametrize(("promise", "case"), broken("strategy") + broken("denoiser"))
def test_what_is_not_promised_is_not_kept(promise: Promise, case: Case) -> None:
    with pytest.raises((AssertionError, ValueError)):
        promise(case.part)


@pytest.mark.parametrize(
    "promise",
    [
        pytest.param(
            promise,
            id=f"{promise.__module__}-{promise.__name__}",
            marks=pytest.mark.slow if promise in testing.strategies.PROMISES else (),
        )
        for promise in PLANTED
    ],
)
def test_a_broken_part_is_noticed(promise: Promise) -> None:
    # given a part that breaks this promise, then the promise says so
    with pytest.raises(AssertionError):
        promise(PLANTED[promise])


def test_every_promise_of_a_strategy_is_broken_by_one() -> None:
    assert set(testing.strategies.PROMISES) <= set(PLANTED)


#: What a public class has if it is of a kind, and the rooms that have such.
MEMBERS = {
    "strategy": ("ask", de.strategies),
    "denoiser": ("learn", de.denoisers, de.diffusion),
    "sampler": ("num_rounds", de.samplers),
    "kernel": ("features", de.kernels),
    "shaping": ("log_weight", de.shaping),
    "grid": ("sigmas", de.noise),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_every_public_part_is_listed(kind: str) -> None:
    member, *rooms = MEMBERS[kind]
    parts = {type(case.part) for case in KINDS[kind][0]}
    assert parts == set().union(*(public(room, member) for room in rooms))


def public(room: Any, member: str) -> set[type]:
    """Components that a package exports and that have a member."""
    return {
        value
        for value in vars(room).values()
        if isinstance(value, type)
        and hasattr(value, member)
        and hasattr(value, "__is_component__")
    }


@pytest.mark.parametrize(
    ("room", "member"),
    [
        (de.denoisers, "remember"),
        (de.denoisers, "choose"),
        (de.kernels, "features"),
        (de.shaping, "log_weight"),
        (de.conditions, "log_weight"),
    ],
    ids=["memory", "support", "kernel", "shaping", "condition"],
)
def test_every_part_of_a_population_is_in_a_strategy(room: Any, member: str) -> None:
    parts = {type(part) for case in STRATEGIES for part in components(case.part)}
    assert public(room, member) <= parts


def components(part: Any) -> list[Any]:
    """A component, and those in its fields."""
    inner = jax.tree.leaves(list(vars(part).values()), is_leaf=pytree.is_component)
    found = [part]
    for value in inner:
        if pytree.is_component(value):
            found += components(value)
    return found


def test_the_kit_wants_a_legal_component() -> None:
    with pytest.raises(TypeError, match=r"kernel: got <class .*, want a Kernel"):
        testing.check_kernel(de.kernels.Gaussian)
    with pytest.raises(ValueError, match=r"Gaussian\.kappa: got -1\.0, want"):
        testing.check_kernel(de.kernels.Gaussian(kappa=-1.0))
