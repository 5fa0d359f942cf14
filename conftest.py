"""Shared by all tests and by the examples in docstrings."""

import gc
import itertools
import os
from importlib.metadata import version

#: Tests spend their time compiling small programs: each in one piece, and loops straight to
#: LLVM, not through MLIR first. XLA ends the process at a flag that it has dropped.
QUICKLY = "--xla_cpu_parallel_codegen_split_count=1"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{QUICKLY} {os.environ.get('XLA_FLAGS', '')}".strip()

import jax  # noqa: E402
import pytest  # noqa: E402

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

#: XLA maps memory for every program, and Linux lets a process have 65,530 maps: beyond them
#: the compiler crashes. So programs are forgotten after so many files.
FILES_TOGETHER = 10
_files = itertools.count(1)


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Without most of XLA's optimisations where little is computed."""
    quickly = request.path.stem not in OPTIMISED
    jax.config.update("jax_disable_most_optimizations", quickly)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    if next(_files) % FILES_TOGETHER == 0:
        jax.clear_caches()
        gc.unfreeze()
        gc.collect()
    gc.freeze()  # compiled programs live on; the collector need not look at them again
