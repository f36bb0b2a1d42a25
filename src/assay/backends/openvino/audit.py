"""What OpenVINO really executed: its runtime model, joined with the arithmetic of the model it came from.

The runtime model names, per executed node, a kernel, a format and the original operators fused into it. The kernel's
suffix is believed first: for a FullyConnected with u8 weights ``runtimePrecision`` is ``u8`` while the kernel
``brgemm_avx512_f32`` multiplies floats. Weights that are stored as integers and turned back into floats count as
the floats they are multiplied in.

Multiply-accumulates come from the original operators, since fusion may hide a product inside another node (attention
becomes one ``Subgraph``), and since the runtime model of a model with open shapes has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from assay.backends.openvino.arithmetic import Shape, count_node, find_arithmetic
from assay.backends.openvino.vendor import load_core
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


def audit_execution(compiled: Any, counts: Mapping[str, int]) -> ExecutionAudit:  # noqa: ANN401 - the vendor's
    """Read the runtime model of a compiled model that has run.

    Args:
        compiled: the compiled model; kernels of open shapes are known only after a call.
        counts: name of an original operator -> its multiply-accumulates, see ``count_macs``.
    """
    asked = FORMATS.get(str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string()), Precision.FP32)
    nodes = [_describe(node) for node in compiled.get_runtime_model().get_ordered_ops()]
    nodes = [node for node in nodes if node["layerType"] not in NOT_EXECUTED]
    macs = _assign_macs(nodes, counts)
    return ExecutionAudit(
        tuple(
            NodeExecution(
                name=node["name"],
                operator=node["layerType"],
                precision=_find_precision(node, asked if macs[index] else Precision.FP32),
                kernel=node["primitiveType"],
                macs=macs[index],
            )
            for index, node in enumerate(nodes)
        )
    )


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


def _assign_macs(nodes: Sequence[Mapping[str, str]], counts: Mapping[str, int]) -> list[int]:
    """Give each original operator's arithmetic to the one runtime node that took it in."""
    claims: dict[str, list[int]] = defaultdict(list)
    awkward = [name for name in counts if "," in name]
    for index, node in enumerate(nodes):
        originals = node["originalLayersNames"]
        for name in set(originals.split(",")) | {name for name in awkward if name in originals}:
            if name in counts:
                claims[name].append(index)
    macs = [0] * len(nodes)
    for name, indices in claims.items():
        macs[min(indices, key=lambda index: _rank(nodes[index]["layerType"]))] += counts[name]
    return macs


def _rank(operator: str) -> int:
    """Order in which nodes that name the same original are taken to have multiplied."""
    return 0 if operator in MULTIPLIERS else 1 if operator == FUSED else 2


def count_macs(model: Any, feeds: Sequence[Any]) -> dict[str, int]:  # noqa: ANN401 - the vendor's objects
    """Multiply-accumulates per operator of a model whose shapes are fixed.

    Args:
        model: read anew, since sizes that depend on values are found by running it with more outputs.
        feeds: tensors in the order of the model's inputs.
    """
    nodes = find_arithmetic(model)
    ports = [port for node in nodes for port in (*node.input_values(), node.output(0))]
    unknown = [port for port in ports if port.get_partial_shape().is_dynamic]
    sizes = _measure(model, unknown, feeds) if unknown else {}

    def shape(port: Any) -> Shape:  # noqa: ANN401 - the vendor's object has no types
        return sizes.get(_key(port)) or tuple(port.get_shape())

    return {
        node.get_friendly_name(): count_node(node, [shape(p) for p in node.input_values()], shape(node.output(0)))
        for node in nodes
    }


def _key(port: Any) -> tuple[str, int]:  # noqa: ANN401 - the vendor's object has no types
    """What tells a port apart in a model."""
    return port.get_node().get_friendly_name(), port.get_index()


def _measure(model: Any, ports: Sequence[Any], feeds: Sequence[Any]) -> dict[tuple[str, int], Shape]:  # noqa: ANN401
    """Shapes of ports whose sizes depend on values, by running the model with these ports as outputs."""
    distinct = {_key(port): port for port in ports}
    first = len(model.outputs)
    model.add_outputs(list(distinct.values()))
    compiled = load_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = list(compiled(list(feeds)).values())
    return {key: tuple(results[first + index].shape) for index, key in enumerate(distinct)}
