"""Compiles the kernels for a GPU of compute capability 9.0, which needs none. Run as a program.

Without TRITON_INTERPRET: a process has either the interpreter or the compiler.
"""

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from engine.serve.decoder.triton import attention, matmul, norm

TARGET = GPUTarget("cuda", 90, 32)
FLOAT = "*bf16"


def build(kernel, signature: dict[str, str], **constants) -> str:
    """Return the assembly of a kernel for bfloat16 models."""
    names = kernel.arg_names
    types = {name: signature.get(name, "constexpr") for name in names}
    assert set(constants) == {name for name in names if types[name] == "constexpr"}
    source = ASTSource(kernel, types, {(names.index(k),): v for k, v in constants.items()})
    return triton.compile(source, target=TARGET).asm["ptx"]


def list_kernels():
    """Yield a name and the assembly."""
    pools = {"dense": FLOAT, "int8": "*i8", "int4": "*u8"}
    for kind, number in attention._KINDS.items():
        half = dict.fromkeys(("keys", "values"), pools[kind])
        scales = "*fp32" if number else pools[kind]
        half |= dict.fromkeys(("key_scales", "value_scales", "key_lows", "value_lows"), scales)
        rest = {"query": FLOAT, "tables": "*i32", "lengths": "*i32", "partial": "*fp32"}
        rest |= {"sums": "*fp32", "table_stride": "i32", "scale": "fp32"}
        rest |= {"window": "i32", "per_part": "i32"}
        shape = (32, 4, 16, 8, 128, 128, 16, 8, 64)
        yield kind, build(attention._attend_part, half | rest, shape=shape, kind=number)
    joined = {"partial": "*fp32", "sums": "*fp32", "out": FLOAT}
    sizes = {"heads": 32, "width": 128, "width_padded": 128, "parts": 5, "parts_padded": 8}
    yield "join", build(attention._join_parts, joined, **sizes)
    tensors = {"rows": FLOAT, "weight": "*u8", "scale": "*fp32", "zero": "*u8", "bias": FLOAT}
    sizes = {"inputs": 4096, "outputs": 4096, "group": 128, "has_zero": True, "has_bias": True}
    tiles = {"rows_each": 16, "outputs_each": 64, "inputs_each": 64}
    yield (
        "int4 product",
        build(matmul._multiply, tensors | {"out": FLOAT, "count": "i32"}, **sizes, **tiles),
    )
    tensors = {"hidden": FLOAT, "added": FLOAT, "weight": "*fp32", "total": FLOAT, "normed": FLOAT}
    sizes = {"width": 4096, "width_padded": 4096, "has_added": True}
    yield "norm", build(norm._add_and_norm, tensors | {"eps": "fp32"}, **sizes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, assembly in list_kernels():
        print(f"{name}: {'mma' if 'mma' in assembly else 'no mma'}")
