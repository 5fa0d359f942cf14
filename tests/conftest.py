"""Shared by all tests."""

import signal

import jax
import pytest
from forks import Forks

from diffevo_jax.pytree import signals


@pytest.fixture
def key() -> jax.Array:
    """The key of every test that needs only one."""
    return jax.random.key(0)


@pytest.fixture(scope="module")
def forks():
    """Starts processes that have imported the library already."""
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def signals_as_before():
    """Whatever answers signals in a test does so no longer after it."""
    before = {number: signal.getsignal(number) for number in signals.NUMBERS}
    yield
    for number, found in before.items():
        signal.signal(number, found)
