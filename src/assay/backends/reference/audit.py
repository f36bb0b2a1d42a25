"""What the reference evaluator executed: NumPy computes in the type of a node's first input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from assay.backends.onnx_macs import count_node_macs
from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.precision import Precision
from assay.core.tensor import Array

PRECISIONS = {
    "float16": Precision.FP16,
    "bfloat16": Precision.BF16,
    "uint8": Precision.INT8,
    "int8": Precision.INT8,
}
"""NumPy element type -> format. A quantized graph multiplies what it dequantized before, so it counts as FP32."""


def audit_values(graph: onnx.GraphProto, values: Mapping[str, Array]) -> ExecutionAudit:
    """Nodes of the main graph with their multiply-accumulates.

    Args:
        graph: with its weights.
        values: every tensor of one run by name.
    """
    arrays = {tensor.name: (tuple(tensor.dims), tensor.data_type) for tensor in graph.initializer}
    types = {
        name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).name for name, (_, data_type) in arrays.items()
    }
    shapes = {name: shape for name, (shape, _) in arrays.items()}
    types |= {name: value.dtype.name for name, value in values.items()}
    shapes |= {name: value.shape for name, value in values.items()}
    return ExecutionAudit(tuple(_read_node(i, node, shapes, types) for i, node in enumerate(graph.node)))


def _read_node(
    index: int, node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, str]
) -> NodeExecution:
    macs = count_node_macs(node, shapes)
    operands = node.input if macs else node.output
    kind = next((types[name] for name in operands if name in types), "")
    name = node.name or f"{node.op_type}_{index}"
    return NodeExecution(name, node.op_type, PRECISIONS.get(kind, Precision.FP32), "numpy", macs)
