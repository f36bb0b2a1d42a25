"""Faults of the pinned release that are worked around: a test fails when one is mended. One rumour that is none."""

from __future__ import annotations

import numpy as np
import pytest
from tvm_models import need_tvm, parse

from assay.backends.tvm.compilation import import_model
from assay.backends.tvm.machine import describe_x86
from assay.backends.tvm.vendor import load_compiler, load_tvm

VNNI = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"})


@pytest.fixture(autouse=True)
def tvm_is_here() -> None:
    need_tvm()


@pytest.mark.slow
@pytest.mark.xfail(raises=RuntimeError, reason="its VNNI intrinsic has the operands of LLVM before 22")
def test_tvms_own_dot_product_compiles() -> None:
    te, tir = load_compiler("te"), load_compiler("s_tir")
    load_compiler("s_tir.tensor_intrin")
    left, right = te.placeholder((4,), "uint8"), te.placeholder((16, 4), "int8")
    part = te.reduce_axis((0, 4))
    total = te.compute(
        (16,), lambda i: te.sum(left[part].astype("int32") * right[i, part].astype("int32"), axis=part), name="dot"
    )
    schedule = tir.Schedule(te.create_prim_func([left, right, total]))
    block = schedule.get_sblock("dot")
    lane, _ = schedule.get_loops(block)
    schedule.decompose_reduction(block, lane)
    schedule.tensorize(schedule.get_loops(schedule.get_sblock("dot_update"))[0], "dot_16x4_vnni")
    load_tvm().compile(schedule.mod, describe_x86(VNNI).make_target())


def quantize_upstream(values: np.ndarray) -> np.ndarray:
    """Codes of some values with scale 1 and zero point 0, by TVM's own lowering."""
    tvm, relax = load_tvm(), load_compiler("relax")
    text = "g (float[4] x) => (uint8[4] y) { y = QuantizeLinear(x, s, z) }"
    module = import_model(parse(text, s=np.float32(1), z=np.uint8(0)), {"x": (4,)})
    compiled = relax.build(module, tvm.target.Target({"kind": "llvm"}))
    machine = relax.VirtualMachine(compiled, tvm.cpu())
    return np.asarray(machine["main"](tvm.runtime.tensor(values)).numpy())


def test_tvms_own_quantization_rounds_halves_to_even() -> None:
    np.testing.assert_array_equal(quantize_upstream(np.float32([0.5, 1.5, 2.5, 3.5])), [0, 2, 2, 4])


@pytest.mark.xfail(reason="its nearbyint is taken apart into single elements", strict=True)
def test_tvms_own_rounding_has_vectors() -> None:
    load_compiler("tirx")
    assert load_compiler("ir").Op.get("tirx.nearbyint").get_attr("TVectorizable")
