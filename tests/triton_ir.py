"""A kernel that was lowered for a GPU, run by NumPy: its program, as the GPU is given it.

Interpreted by Pallas a kernel is JAX, and not yet what the GPU's compiler gets: addresses,
loops and types are then still to come. Here every operation of that program is one of NumPy
in float32, and every address is checked.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from for_cuda import program_for_cuda

from diffevo_jax.attention.fused_kernels import three_products

#: What an operation is called, without its dialect, and what it does.
BINARY = {
    "addi": np.add,
    "subi": np.subtract,
    "muli": np.multiply,
    "addf": np.add,
    "subf": np.subtract,
    "mulf": np.multiply,
    "maxnumf": np.fmax,
    "minnumf": np.fmin,
}
COMPARED = {"cmpi": {0: np.equal}, "cmpf": {1: np.equal}}
#: Of matrices, by their precision: three of TF32's numbers, and full float32.
PRODUCTS = {1: lambda *both: np.asarray(three_products(*both)), 2: np.matmul}
FUNCTIONS = {"__nv_exp2f": np.exp2, "__nv_log1pf": np.log1p, "__nv_fabsf": np.abs}


def run(kernel: Callable[..., Any], *arrays: Any) -> list[np.ndarray]:
    """The results of a kernel for some arrays, which are what it is called with.

    Args:
        kernel: what ``pallas_call`` returns.
        *arrays: its arguments.
    """
    mlir = pytest.importorskip("jax._src.lib.mlir").ir
    triton = pytest.importorskip("jax._src.lib.triton").dialect
    lowered = program_for_cuda(kernel, *arrays)
    call = _found(lowered.compiler_ir("stablehlo").operation, "stablehlo.custom_call")
    config = call.attributes["mhlo.backend_config"]
    results = [np.full(one.type.shape, np.nan, np.float32) for one in call.results]
    sizes = [config[f"grid_{axis}"].value for axis in "xyz"]
    with mlir.Context() as context, mlir.Location.unknown():
        triton.register_dialect(context)
        context.load_all_available_dialects()
        module = mlir.Module.parse(config["ir"].value_bytes)
        block = _found(module.operation, "tt.func").regions[0].blocks[0]
        memory = [np.asarray(array).ravel() for array in arrays]
        memory += [result.reshape(-1) for result in results]
        for number in np.ndindex(*sizes):
            places = [(one, np.int64(0)) for one in memory]
            _Program(number).block(block, dict(zip(block.arguments, places, strict=True)))
    return results


def _found(operation: Any, name: str) -> Any:
    """The only operation of a name."""
    found = []

    def look(one: Any) -> None:
        for region in one.regions:
            for block in region.blocks:
                for inner in block.operations:
                    if inner.operation.name == name:
                        found.append(inner.operation)
                    look(inner.operation)

    look(operation)
    (only,) = found
    return only


class _Program:
    """One of the kernel's programs; a pointer is a pair of memory and places in it."""

    def __init__(self, number: Sequence[int]) -> None:
        self.number = number

    def block(self, block: Any, values: dict[Any, Any]) -> list[Any]:
        """Run to the end; what the block yields."""
        for operation in block.operations:
            one = operation.operation
            given = [values[operand] for operand in one.operands]
            name = one.name.partition(".")[2]
            if name in ("yield", "return", "reduce.return"):
                return given
            found = self.results(name, one, given, values)
            values.update(zip(one.results, found, strict=True))
        return []

    def results(self, name: str, one: Any, given: list[Any], values: Any) -> list[Any]:
        """Those of one operation."""
        if name == "for":
            return self.loop(one, given, values)
        if name == "store":
            place, value, *mask = given
            assert not mask
            place[0][_inside(place)] = value
            return []
        if name == "reduce":
            body = one.regions[0].blocks[0]
            kind = next(iter(body.operations)).operation.name.partition(".")[2]
            axis = one.attributes["axis"].value
            return [BINARY[kind].reduce(given[0], axis=axis)]
        return [self.value(name, one, given)]

    def loop(self, one: Any, given: list[Any], values: dict[Any, Any]) -> list[Any]:
        """A loop from, to, by; its body sees what is outside."""
        first, last, step, *carry = given
        body = one.regions[0].blocks[0]
        for index in range(int(first), int(last), int(step)):
            inside = dict(zip(body.arguments, [np.int32(index), *carry], strict=True))
            carry = self.block(body, values | inside)
        return carry

    def value(self, name: str, one: Any, given: list[Any]) -> Any:
        """The result of an operation that has one."""
        shape = _shape(one.results[0].type)
        if name in BINARY:
            return BINARY[name](*given)
        if name in COMPARED:
            return COMPARED[name][one.attributes["predicate"].value](*given)
        if name == "constant":
            return _constant(one.attributes["value"], one.results[0].type, shape)
        if name == "get_program_id":
            return np.int32(self.number[one.attributes["axis"].value])
        if name == "make_range":
            ends = [one.attributes[end].value for end in ("start", "end")]
            return np.arange(*ends, dtype=np.int32)
        if name == "extern_elementwise":
            return FUNCTIONS[one.attributes["symbol"].value](*given)
        if name == "select":
            return np.where(*given)
        if name == "addptr":
            (memory, place), offset = given
            return memory, place + offset
        if name == "load":
            (place,) = given
            return place[0][_inside(place)]
        if name == "dot":
            return PRODUCTS[one.attributes["inputPrecision"].value](*given[:2]) + given[2]
        change = {
            "splat": lambda array: np.broadcast_to(array, shape),
            "broadcast": lambda array: np.broadcast_to(array, shape),
            "expand_dims": lambda array: np.reshape(array, shape),
            "trans": np.transpose,
        }[name]
        if isinstance(given[0], tuple):
            return given[0][0], change(given[0][1])
        return change(given[0])


def _inside(place: tuple[np.ndarray, Any]) -> Any:
    """Addresses, none of them beyond the memory."""
    memory, index = place
    assert np.min(index) >= 0
    assert np.max(index) < memory.size
    return index


def _shape(kind: Any) -> tuple[int, ...]:
    """Of a type such as tensor<64x32xf32>."""
    found = re.match(r"tensor<((?:\d+x)+)", str(kind))
    return tuple(map(int, found[1].split("x")[:-1])) if found else ()


def _constant(attribute: Any, kind: Any, shape: tuple[int, ...]) -> Any:
    single = attribute.get_splat_value() if shape else attribute
    dtype = np.float32 if "f32" in str(kind) else np.int32
    return np.full(shape, single.value, dtype) if shape else dtype(single.value)
