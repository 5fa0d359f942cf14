"""Shared by all tests and by the examples in docstrings."""

import gc

import jax
import pytest

#: Files that run long programs, or look at what the compiler makes of them. All others
#: spend their time compiling: formulas, and promises that hold for any program.
OPTIMISED = {
    "test_attention",
    "test_compilation",
    "test_convergence",
    "test_paper",
}


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Without most of XLA's optimisations where little is computed."""
    quickly = request.path.stem not in OPTIMISED
    jax.config.update("jax_disable_most_optimizations", quickly)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    gc.freeze()  # compiled programs live on; the collector need not look at them again
