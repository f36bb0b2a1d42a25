"""Dot products of four 8-bit numbers as TVM's tensor intrinsics, in the forms that LLVM 22 takes.

TVM's own ``dot_16x4_vnni`` hands 32-bit vectors to ``llvm.x86.avx512.vpdpbusd.512``, which LLVM 22 wants as 8-bit
vectors, so that its verifier refuses the module; and its accumulators cannot lie in registers.
"""

from __future__ import annotations

from functools import cache

from assay.backends.tvm.machine import ARM, Machine
from assay.backends.tvm.vendor import load_compiler

QUAD = 4
"""Products that one lane adds up at once."""

X86_WIDTHS = (16, 8, 4)
ARM_WIDTHS = (4,)

HEADER = """
@T.prim_func(s_tir=True)
def dot(
    A: T.Buffer((4,), "{kind}", offset_factor=1),
    B: T.Buffer(({lanes}, 4), "int8", offset_factor=1),
    C: T.Buffer(({lanes},), "int32", offset_factor=1, scope="local"),
) -> None:
    with T.sblock("root"):
        T.reads(C[0:{lanes}], A[0:4], B[0:{lanes}, 0:4])
        T.writes(C[0:{lanes}])
"""

MEANING = """
        for i in T.serial(0, {lanes}):
            for k in T.serial(0, 4):
                with T.sblock("update"):
                    vi, vk = T.axis.remap("SR", [i, k])
                    C[vi] = C[vi] + T.cast(A[vk], "int32") * T.cast(B[vi, vk], "int32")
"""

INSTRUCTION = """
        four = T.reinterpret(A.vload([0], "{kind}x4"), dtype="int32")
        C[T.ramp(T.int32(0), 1, {lanes})] = T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("{name}"),
            C.vload([0], dtype="int32x{lanes}"),
            T.reinterpret(T.broadcast(four, {lanes}), dtype="{kind}x{bytes}"),
            B.vload([0, 0], dtype="int8x{bytes}"),
            dtype="int32x{lanes}",
        )
"""


def list_widths(machine: Machine) -> tuple[int, ...]:
    """Lanes of the dot products that a machine has, the widest first; none where it has no such instruction."""
    if not machine.dot:
        return ()
    widths = ARM_WIDTHS if machine.architecture == ARM else X86_WIDTHS
    return tuple(width for width in widths if width <= machine.lanes)


@cache
def register_dot(machine: Machine, lanes: int) -> str:
    """Make the dot product of some lanes known to TVM.

    Args:
        machine: that has it.
        lanes: one of ``list_widths``.

    Returns:
        The name by which schedules call it.
    """
    arm = machine.architecture == ARM
    name = f"assay_dot_{machine.architecture}_{lanes}"
    called = f"llvm.aarch64.neon.sdot.v{lanes}i32.v{QUAD * lanes}i8"
    fields = {
        "kind": machine.encoding,
        "lanes": lanes,
        "bytes": QUAD * lanes,
        "name": called if arm else f"llvm.x86.avx512.vpdpbusd.{32 * lanes}",
    }
    script, names = load_compiler("script"), {"T": load_compiler("script.tirx")}
    meaning = script.from_source((HEADER + MEANING).format(**fields), extra_vars=names)
    instruction = script.from_source((HEADER + INSTRUCTION).format(**fields), extra_vars=names)
    load_compiler("s_tir").TensorIntrin.register(name, meaning, instruction, override=True)
    return name
