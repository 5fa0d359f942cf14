"""Shared by all tests and by the examples in docstrings."""

import functools
import gc
import os
from importlib.metadata import version
from pathlib import Path

#: Examples are looked for in every module; of several modules of one name Python has one.
collect_ignore_glob = ["tests/*/conftest.py"]

#: Tests spend their time compiling small programs: each in one piece, and loops straight to
#: LLVM, not through MLIR first. XLA ends the process at a flag that it has dropped.
QUICKLY = "--xla_cpu_parallel_codegen_split_count=1"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{QUICKLY} {os.environ.get('XLA_FLAGS', '')}".strip()

import jax  # noqa: E402
import pytest  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402

#: Files that run long programs, or look at what the compiler makes of them. All others
#: spend their time compiling: formulas, and promises that hold for any program.
OPTIMISED = {
    "test_attention",
    "test_compilation",
    "test_contract_optimised",
    "test_convergence",
    "test_paper",
    "test_same_bits",
}


#: Traces make objects by the hundred thousand and next to no garbage. At Python's threshold
#: of 700 the collector took a tenth of the time of the tests.
gc.set_threshold(100_000, 50, 100)

#: JAX makes a context of MLIR for every program, and all dialects in it: a tenth of the
#: time of the tests, where programs are small. Here programs share one.
HAS_CONTEXTS = hasattr(mlir, "make_ir_context")
if HAS_CONTEXTS:
    make_context = mlir.make_ir_context
    shared_context = functools.cache(make_context)

    def context_of_a_program():
        """The shared one, but for a program that is made in the middle of another."""
        try:
            _ = mlir.ir.Context.current
        except ValueError:
            return shared_context()
        return make_context()

    mlir.make_ir_context = context_of_a_program

#: XLA maps memory for every program, and Linux lets a process have 65,530 maps: beyond them
#: the compiler crashes. So programs are forgotten after a file that leaves more than these;
#: not earlier, since to forget ten files' programs takes seconds.
MOST_MAPS = 15_000
MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Without most of XLA's optimisations where little is computed."""
    quickly = request.path.stem not in OPTIMISED
    jax.config.update("jax_disable_most_optimizations", quickly)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        if HAS_CONTEXTS:
            shared_context.cache_clear()
        gc.unfreeze()
        gc.collect()
    gc.freeze()  # compiled programs live on; the collector need not look at them again
