"""Whether the reference evaluator truly computes in a 16-bit float."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from assay.backends.reference.errors import EVALUATOR_ERRORS
from assay.core.precision import Precision

ELEMENT_TYPES = {Precision.FP16: TensorProto.FLOAT16, Precision.BF16: TensorProto.BFLOAT16}


@cache
def refuse_reason(precision: Precision) -> str:
    """Why the evaluator cannot compute in a 16-bit float, from a tiny typed model; empty where it can."""
    element = ELEMENT_TYPES[precision]
    wanted = np.dtype(helper.tensor_dtype_to_np_dtype(element))
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], "cast_in", to=element),
        helper.make_node("Conv", ["narrow", "narrow"], ["features"], "conv"),
        helper.make_node("Relu", ["features"], ["rectified"], "relu"),
        helper.make_node("MatMul", ["rectified", "rectified"], ["product"], "matmul"),
        helper.make_node("Cast", ["product"], ["y"], "cast_out", to=TensorProto.FLOAT),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, 1, 1)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "product", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return _run_probe(model, wanted)


def _run_probe(model: onnx.ModelProto, wanted: np.dtype[np.generic]) -> str:
    try:
        evaluator = ReferenceEvaluator(model)
        values = dict(evaluator.run(None, {"x": np.ones((1, 1, 1, 1), np.float32)}, intermediate=True))
    except EVALUATOR_ERRORS as err:
        return f"{type(err).__name__}: {' '.join(str(err).split())}"
    for name in ("features", "product"):
        if values[name].dtype != wanted:
            return f"its {name} came out as {values[name].dtype.name}"
    return ""
