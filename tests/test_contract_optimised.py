"""The contract with the optimisations that users get: the other tests do without most."""

import jax
import pytest
from cases import PROMISED, Case

from diffevo_jax.testing import Promise


@pytest.fixture(scope="module", autouse=True)
def compiled_anew() -> None:
    """What was compiled without optimisations is forgotten."""
    jax.clear_caches()


@pytest.mark.slow
@pytest.mark.parametrize(("promise", "case"), PROMISED)
def test_it_keeps(promise: Promise, case: Case) -> None:
    promise(case.part)
