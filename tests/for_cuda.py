"""What a GPU is given; none is needed to see it."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import jax
import pytest

#: Once in a program for each kernel of Pallas's Triton back end.
KERNEL = "gpu.triton"


def need_triton() -> None:
    """Skip a test where JAX cannot lower kernels for a GPU."""
    triton = pytest.importorskip("jax.experimental.pallas.triton")
    if not hasattr(triton, "CompilerParams"):  # JAX calls it so from 0.7 on
        pytest.skip("an old Pallas")


def lowered(function: Callable[..., Any], *shapes: Any) -> str:
    """The program of a function on a GPU, as text."""
    return program_for_cuda(function, *shapes).as_text()


def program_for_cuda(function: Callable[..., Any], *shapes: Any) -> jax.stages.Lowered:
    """The program of a function on a GPU; what it warns of here is known."""
    need_triton()
    with warnings.catch_warnings(record=True) as said, abstract_gpu():
        warnings.simplefilter("always")
        traced = jax.jit(function).trace(*shapes)
        program = traced.lower(lowering_platforms=("cuda",))
    expected = ("attend answers", "Pallas Triton backend is deprecated")
    assert all(any(part in str(one.message) for part in expected) for one in said)
    return program


def abstract_gpu() -> contextlib.AbstractContextManager[Any]:
    """A card to lower for: JAX takes one by itself before 0.11."""
    sharding = jax.sharding
    if not hasattr(sharding, "AbstractDevice"):
        return contextlib.nullcontext()
    card = sharding.AbstractDevice(
        device_kind="NVIDIA H100", num_cores=None, platform="gpu"
    )
    mesh = sharding.AbstractMesh((), (), abstract_device=card)
    return sharding.use_abstract_mesh(mesh)
