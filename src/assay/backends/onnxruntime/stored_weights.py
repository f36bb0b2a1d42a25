"""Which forms of weights stored in integers ONNX Runtime multiplies by, asked of the runtime itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from assay.backends.onnxruntime.capabilities import machine_saturates
from assay.backends.onnxruntime.errors import VENDOR_ERRORS
from assay.backends.onnxruntime.options import Settings, make_options
from assay.core.plan import Plan, WeightScheme
from assay.core.precision import Precision, WeightStyle
from assay.core.target import Target

GROUP = 128
"""Activations that share a scale with weights in 8 bits: faster than 16 to 64 and than 256 (one thread, with VNNI)."""
BLOCKS = (32, 128)
"""Elements of a weight in 4 bits that share a scale; its activations are rounded in the same groups."""
SIDE = 144
"""Rows and columns of the weight that the runtime is asked with: its last block is shorter than the others."""
FUSED = "MatMulNBits"


def list_weight_schemes(precision: Precision) -> tuple[WeightScheme, ...]:
    """Schemes that are faster than FP32, the one expected fastest first.

    Measured on a CPU with VNNI, one thread, a decoder of 12 layers with random weights: quantizing activations in the
    graph takes 2.5 times less CPU time than FP32 for one token and 2.7 times less for a prompt of 128; MatMulNBits in
    8 bits 2.45 times and 1.4 times less, at 3 dB less noise. With floats (``accuracy_level`` 1) 8-bit weights take ten
    times as long as FP32 ones, so that form is not offered.

    Args:
        precision: of the weights.
    """
    if precision is Precision.INT8:
        dynamic = WeightScheme(WeightStyle.DYNAMIC, reduced_range=machine_saturates())
        grouped = WeightScheme(WeightStyle.WEIGHTS, group=GROUP, ragged=True)
        return (dynamic, grouped) if fuses_weights(precision) else (dynamic,)
    if precision is Precision.INT4 and fuses_weights(precision):
        return tuple(WeightScheme(WeightStyle.WEIGHTS, block=block, group=block, ragged=True) for block in BLOCKS)
    return ()


def refuse_scheme(plan: Plan) -> str:
    """Why a plan that quantizes weights without calibration cannot be realised; empty where it can.

    Args:
        plan: one with weights of 4 bits, or with a scheme of weights.
    """
    if plan.weights is None or plan.precision not in {Precision.INT8, Precision.INT4}:
        return f"ONNX Runtime has {plan.precision} for stored weights alone"
    if plan.weights.style is WeightStyle.DYNAMIC:
        return "" if plan.precision is Precision.INT8 else "ONNX Runtime has 4 bits only under floats and groups"
    if not fuses_weights(plan.precision):
        return f"this ONNX Runtime turns stored {plan.precision} weights back into fp32 when it loads them"
    return ""


@cache
def fuses_weights(precision: Precision) -> bool:
    """Whether the runtime multiplies by weights of a format as they are stored; older ones unpack some at loading."""
    model = _make_product(precision)
    with TemporaryDirectory(prefix="assay-weights-") as folder:
        options = make_options(Target("onnxruntime"), Settings(quantized=True, group=BLOCKS[0]))
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        try:
            ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            nodes = onnx.load(options.optimized_model_filepath).graph.node
        except VENDOR_ERRORS:
            return False
    return any(node.op_type == FUSED for node in nodes)


def _make_product(precision: Precision) -> onnx.ModelProto:
    """A product with a stored weight: per column in 8 bits, in blocks in 4."""
    if precision is Precision.INT4:
        block = BLOCKS[0]
        codes = helper.make_tensor("codes", TensorProto.INT4, [SIDE, SIDE], bytes(SIDE * SIDE // 2), raw=True)
        scales = numpy_helper.from_array(np.ones((-(-SIDE // block), SIDE), np.float32), "scales")
        weight = [helper.make_node("DequantizeLinear", ["codes", "scales"], ["w"], axis=0, block_size=block)]
    else:
        codes = numpy_helper.from_array(np.zeros((SIDE, SIDE), np.int8), "codes")
        scales = numpy_helper.from_array(np.ones(SIDE, np.float32), "scales")
        weight = [
            helper.make_node("DequantizeLinear", ["codes", "scales"], ["rows"], axis=0),
            helper.make_node("Transpose", ["rows"], ["w"], perm=[1, 0]),
        ]
    nodes = [*weight, helper.make_node("MatMul", ["x", "w"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", SIDE)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "product", values[:1], values[1:], [codes, scales])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
