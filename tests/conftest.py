"""Shared by all tests."""

import jax
import pytest


@pytest.fixture
def key() -> jax.Array:
    """The key of every test that needs only one."""
    return jax.random.key(0)
