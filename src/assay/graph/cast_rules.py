"""Which nodes may compute in a 16-bit float, by operator, schema and value range."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx.defs
import onnx_ir as ir

from assay.core.precision import Precision
from assay.graph.quantize_roles import read_constant

DTYPES = {Precision.FP16: ir.DataType.FLOAT16, Precision.BF16: ir.DataType.BFLOAT16}
SCHEMA_TYPES = {Precision.FP16: "tensor(float16)", Precision.BF16: "tensor(bfloat16)"}

SENSITIVE = """
    LayerNormalization RMSNormalization BatchNormalization InstanceNormalization GroupNormalization LpNormalization
    MeanVarianceNormalization LRN SimplifiedLayerNormalization Softmax LogSoftmax Hardmax SoftmaxCrossEntropyLoss
    ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceProd ReduceLogSum ReduceLogSumExp Exp Log Pow CumSum
    CumProd Reciprocal Resize Upsample GridSample AffineGrid RoiAlign NonMaxSuppression DFT STFT QuantizeLinear
    DequantizeLinear DynamicQuantizeLinear Gelu Mish Softplus
"""
ALWAYS_FP32 = frozenset(SENSITIVE.split())
"""Operators that sum many values, take powers or exponentials of them, divide by small ones, or carry coordinates.

Gelu, Mish and Softplus are among them because a runtime without a 16-bit kernel expands them into such operators; ONNX
Runtime 1.31 even crashes on an expanded FP16 Gelu.
"""
ARITHMETIC = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})

HEADROOM = 0.5
"""Share of the format's largest number that calibration may reach: the data to come may reach further."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The operands of a node that change their type, by index."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The operands that change, or the reason why the node stays in FP32."""

    slots: Slots | None
    reason: str = ""


class CastRules:
    """Decides node by node.

    Args:
        precision: FP16 or BF16.
        opset: of the standard operators.
        largest: tensor name -> largest observed magnitude; a tensor that was not observed passes.
        keep: names of nodes that stay in FP32.
    """

    def __init__(self, precision: Precision, opset: int, largest: Mapping[str, float], keep: Collection[str]) -> None:
        self._precision = precision
        self._opset = opset
        self._largest = largest
        self._keep = keep

    def judge(self, node: ir.Node) -> Verdict:
        """Whether a node of the main graph computes in the 16-bit format."""
        if str(node.name) in self._keep:
            return Verdict(None, "the plan keeps it in FP32")
        if node.domain not in {"", "ai.onnx"}:
            return Verdict(None, f"operators of domain {node.domain!r} stay in FP32")
        if node.op_type in ALWAYS_FP32:
            return Verdict(None, f"{node.op_type} loses too much in {self._precision}")
        slots = find_slots(node, self._precision, self._opset)
        if slots is None:
            return Verdict(None, f"opset {self._opset} does not define {node.op_type} for {self._precision}")
        values = [node.inputs[index] for index in slots.inputs] + [node.outputs[index] for index in slots.outputs]
        for value in values:
            reason = "" if value is None else self._refuse_value(value)
            if reason:
                return Verdict(None, reason)
        return Verdict(slots)

    def _refuse_value(self, value: ir.Value) -> str:
        """Why a tensor does not fit the format, or nothing."""
        return self.refuse_activation(str(value.name)) or self.refuse_constant(value)

    def refuse_activation(self, name: str) -> str:
        """Why an activation's observed magnitude comes too near the end of the format, or nothing."""
        seen = self._largest.get(name, 0.0)
        if seen <= HEADROOM * self._precision.largest:
            return ""
        return f"tensor {name!r} reaches {seen:.4g}; {self._precision} ends at {self._precision.largest:.4g}"

    def refuse_constant(self, value: ir.Value) -> str:
        """Why a constant does not fit the format, or nothing.

        One that would vanish whole, such as an epsilon under a division, does not fit either.
        """
        values = read_constant(value)
        if values is None or not values.size:
            return ""
        magnitudes = np.abs(values[np.isfinite(values)])
        most = float(magnitudes.max(initial=0.0))
        if most > self._precision.largest:
            return f"constant {value.name!r} holds {most:.4g}; {self._precision} ends at {self._precision.largest:.4g}"
        if most and not DTYPES[self._precision].numpy().type(most):
            return f"constant {value.name!r} holds nothing above {most:.4g}, which {self._precision} rounds to zero"
        return ""


@cache
def _read_schema(kind: str, opset: int) -> onnx.defs.OpSchema | None:
    """Schema of a standard operator, or None where the opset has none."""
    try:
        return onnx.defs.get_schema(kind, opset, "")
    except onnx.defs.SchemaError:
        return None


def find_slots(node: ir.Node, precision: Precision, opset: int) -> Slots | None:
    """FP32 operands whose type may change, or None where the node has none or cannot change them all.

    Outputs must take their type from an input, so casts and generators stay as they are. So do nodes with subgraphs,
    with operands of unknown type, or with one whose type the schema fixes as float32.
    """
    schema = _read_schema(node.op_type, opset)
    graphs = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    if schema is None or any(attribute.type in graphs for attribute in node.attributes.values()):
        return None
    if any(value is not None and value.dtype is None for value in (*node.inputs, *node.outputs)):
        return None
    wanted = SCHEMA_TYPES[precision]
    allowed = {each.type_param_str for each in schema.type_constraints if wanted in each.allowed_type_strs}
    inputs = _find_changing(node.inputs, schema.inputs)
    outputs = _find_changing(node.outputs, schema.outputs)
    bound = set(inputs.values())
    if not inputs or not bound <= allowed or not set(outputs.values()) <= bound:
        return None
    return Slots(tuple(inputs), tuple(outputs))


def _find_changing(
    values: Collection[ir.Value | None], formal: Collection[onnx.defs.OpSchema.FormalParameter]
) -> dict[int, str]:
    """Index -> type variable of the FP32 operands; a variadic parameter stands for all that follow."""
    kinds = [parameter.type_str for parameter in formal]
    return {
        index: kinds[min(index, len(kinds) - 1)]
        for index, value in enumerate(values)
        if value is not None and value.dtype is ir.DataType.FLOAT
    }
