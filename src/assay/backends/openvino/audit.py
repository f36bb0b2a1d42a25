"""What OpenVINO really executed: its runtime model, joined with the arithmetic of the model it came from.

The runtime model names, per executed node, a kernel, a format and the original operators fused into it. The kernel's
suffix is believed first: for a FullyConnected with weights stored as integers ``runtimePrecision`` is ``i8`` while the
kernel is called ``brgemm_avx512_f32``. Such a kernel multiplies floats, or integers where OpenVINO rounds groups of
activations: it is asked which. In both cases the format that the weights lie in is told beside it.

Multiply-accumulates come from the original operators, since fusion may hide a product inside another node (attention
becomes one ``Subgraph``), and since the runtime model of a model with open shapes has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from assay.backends.openvino.arithmetic import Product
from assay.backends.openvino.stored_weights import STORED, rounds_activations
from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.precision import Precision

FORMATS = {
    "i8": Precision.INT8,
    "u8": Precision.INT8,
    "bf16": Precision.BF16,
    "f16": Precision.FP16,
    "f32": Precision.FP32,
    "f64": Precision.FP32,
}
"""OpenVINO's element types; a kernel on u8 inputs is suffixed ``I8``. What is absent here is not arithmetic."""

NOT_EXECUTED = frozenset({"Input", "Output", "Const", "Parameter", "Result", "Constant"})
MULTIPLIERS = frozenset(
    {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "ScaledDotProductAttention", "RNNSeq", "RNNCell"}
)
FUSED = "Subgraph"
PRODUCT = "FullyConnected"
GROUP_SIZE = "DYNAMIC_QUANTIZATION_GROUP_SIZE"


def audit_execution(compiled: Any, products: Sequence[Product]) -> ExecutionAudit:  # noqa: ANN401 - the vendor's
    """Read the runtime model of a compiled model that has run.

    Args:
        compiled: the compiled model; kernels of open shapes are known only after a call.
        products: the arithmetic of the model that was compiled, at the shapes of the call.
    """
    hint = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    asked = FORMATS.get(hint, Precision.FP32)
    nodes = [_describe(node) for node in compiled.get_runtime_model().get_ordered_ops()]
    nodes = [node for node in nodes if node["layerType"] not in NOT_EXECUTED]
    macs = _assign_macs(nodes, products)
    executed = []
    for index, node in enumerate(nodes):
        precision = _find_precision(node, asked if macs[index] else Precision.FP32)
        stored = _find_stored(node, precision)
        if stored is not None and _is_rounded(compiled, hint, stored):
            precision, stored = Precision.INT8, None if stored is Precision.INT8 else stored
        executed.append(
            NodeExecution(node["name"], node["layerType"], precision, node["primitiveType"], macs[index], stored)
        )
    return ExecutionAudit(tuple(executed))


def _find_stored(node: Mapping[str, str], precision: Precision) -> Precision | None:
    """Format in which the weight of a product lies, where it is another one than its kernel is called after."""
    stored = STORED.get(node["runtimePrecision"]) if node["layerType"] == PRODUCT else None
    return None if stored is precision else stored


def _is_rounded(compiled: Any, hint: str, stored: Precision) -> bool:  # noqa: ANN401 - as above
    """Whether products with stored weights multiply activations that were rounded to integers."""
    if not any(str(name) == GROUP_SIZE for name in compiled.get_property("SUPPORTED_PROPERTIES")):
        return False
    devices = compiled.get_property("EXECUTION_DEVICES")
    return rounds_activations(str(devices[0]), hint, int(compiled.get_property(GROUP_SIZE)), stored)


def _describe(node: Any) -> dict[str, str]:  # noqa: ANN401 - the vendor's object has no types
    """The runtime's notes on one node."""
    notes = node.get_rt_info()
    keys = ("layerType", "runtimePrecision", "primitiveType", "originalLayersNames")
    return {"name": node.get_friendly_name()} | {key: notes[key].astype(str) if key in notes else "" for key in keys}


def _find_precision(node: Mapping[str, str], asked: Precision) -> Precision:
    """Format in which a node's arithmetic ran.

    A fused subgraph converts the operands of its products to the 16-bit format that was asked for, whatever its
    own inputs are in, and shows the inputs' format.
    """
    suffix = node["primitiveType"].rpartition("_")[2].lower()
    found = FORMATS.get(suffix) or FORMATS.get(node["runtimePrecision"], Precision.FP32)
    if node["layerType"] == FUSED and found is Precision.FP32 and asked in (Precision.BF16, Precision.FP16):
        return asked
    return found


def _assign_macs(nodes: Sequence[Mapping[str, str]], products: Sequence[Product]) -> list[int]:
    """Give the arithmetic of each product to the one runtime node that took it in."""
    claims = _index_originals(nodes)
    macs = [0] * len(nodes)
    orphans = []
    for product in products:
        indices = claims.get(product.name)
        if indices:
            macs[min(indices, key=lambda index: _rank(nodes[index]["layerType"]))] += product.macs
        else:
            orphans.append(product)
    lost = []
    for product in orphans:  # what is fused behind it, such as a bias, left its own name only
        indices = [index for name in product.followers for index in claims.get(name, ())]
        free = [index for index in indices if nodes[index]["layerType"] in MULTIPLIERS and not macs[index]]
        fused = [index for index in indices if nodes[index]["layerType"] == FUSED]
        if free or fused:
            macs[(free or fused)[0]] += product.macs
        else:
            lost.append(product)
    empty = [index for index, node in enumerate(nodes) if node["layerType"] in MULTIPLIERS and not macs[index]]
    for place, product in enumerate(lost if empty else ()):  # rewritten operators leave no name: go by their order
        macs[empty[min(place, len(empty) - 1)]] += product.macs
    return macs


def _index_originals(nodes: Sequence[Mapping[str, str]]) -> Mapping[str, Sequence[int]]:
    """Original operator -> runtime nodes that name it; the runtime separates names by commas."""
    claims: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in node["originalLayersNames"].split(","):
            claims[name].append(index)
    return claims


def _rank(operator: str) -> int:
    """Order in which nodes that name the same original are taken to have multiplied."""
    return 0 if operator in MULTIPLIERS else 1 if operator == FUSED else 2
