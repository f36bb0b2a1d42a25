"""What ONNX Runtime executed: the profile of a run, joined with the optimised graph that it ran."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime as ort

from assay.backends.onnx_macs import Shape, count_node_macs, pair_shapes
from assay.backends.onnxruntime.errors import VENDOR_ERRORS, to_run_error
from assay.backends.onnxruntime.options import INTEGER_ACCURACY, Settings
from assay.backends.onnxruntime.providers import Chosen
from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.precision import Precision
from assay.core.tensor import Feeds

INTEGER_OPERATORS = frozenset(
    {
        "QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul", "QGemm", "QAttention", "DynamicQuantizeLSTM",
    }
)  # fmt: skip
"""Operators whose products are integer, whatever the type of their first input."""

PRECISIONS = {
    "float16": Precision.FP16,
    "bfloat16": Precision.BF16,
    "uint8": Precision.INT8,
    "int8": Precision.INT8,
}
"""ONNX Runtime's element type -> format; everything else (indices, doubles) counts as FP32."""

STORED = {8: Precision.INT8, 4: Precision.INT4}
"""Bits of a weight of MatMulNBits -> format that it lies in."""
DEFAULT_BITS = 4

EVENT_SUFFIX = "_kernel_time"


@dataclass
class _Tensors:
    """What is known of the tensors of a run: shape and element type by name."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def audit_execution(
    model: Path, options: ort.SessionOptions, providers: Chosen, feeds: Feeds, settings: Settings
) -> ExecutionAudit:
    """Run once in a profiled session and read what ran.

    Args:
        model: the ONNX file.
        options: as the audited session was opened with; changed here.
        providers: as it was opened with.
        feeds: inputs by name.
        settings: as it was built.

    Raises:
        RunFailed: ONNX Runtime failed.
    """
    with TemporaryDirectory(prefix="assay-audit-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        if not settings.provider.compiles:  # an engine cannot be saved as a graph: its nodes are not told
            options.optimized_model_filepath = str(optimised)
        # Weights go to a file that is never read: their shapes are in the graph, and the graph stays under 2 GiB.
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        try:
            session = ort.InferenceSession(str(model), options, providers=providers)
            session.run(None, feeds)
            profile = Path(session.end_profiling())
        except VENDOR_ERRORS as err:
            raise to_run_error(err, "") from err
        events = json.loads(profile.read_bytes())
        told = model if settings.provider.compiles else optimised
        audit = read_profile(events, onnx.load(told, load_external_data=False), feeds)
    if not settings.tf32:
        return audit
    rounded = (
        replace(node, precision=Precision.TF32) if node.macs and node.precision is Precision.FP32 else node
        for node in audit.nodes
    )
    return ExecutionAudit(tuple(rounded))


def read_profile(events: Iterable[Mapping[str, Any]], optimised: onnx.ModelProto, feeds: Feeds) -> ExecutionAudit:
    """Nodes of a profile, with their multiply-accumulates.

    Args:
        events: the profile as ONNX Runtime writes it (Chrome trace format).
        optimised: the graph that was profiled, as the same session saved it.
        feeds: of the profiled run. A profile leaves out the weights that were repacked, so that its input shapes
            cannot be assigned; those of the feeds and of all outputs can.
    """
    known = _Tensors({name: array.shape for name, array in feeds.items()}, {n: a.dtype.name for n, a in feeds.items()})
    nodes = {key: cycle(found) for key, found in _index_nodes(optimised.graph, known).items()}
    executions = []
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(EVENT_SUFFIX):
            continue
        arguments = event["args"]
        name, operator = name.removesuffix(EVENT_SUFFIX), str(arguments["op_name"])
        # A node without a name is profiled as Operator_index; such nodes come in the order of the graph.
        queue = nodes.get((name, operator)) or nodes.get(("", operator))
        node = next(queue) if queue else onnx.NodeProto(op_type=operator)
        executions.append(_read_event(name, arguments, node, known))
    return ExecutionAudit(tuple(executions))


def _read_event(name: str, arguments: Mapping[str, Any], node: onnx.NodeProto, known: _Tensors) -> NodeExecution:
    inputs, outputs = _read_types(arguments["input_type_shape"]), _read_types(arguments["output_type_shape"])
    for names, found in ((node.input, inputs), (node.output, outputs)):
        known.shapes |= pair_shapes(names, [shape for _, shape in found])
        known.types |= dict(zip(pair_shapes(names, [shape for _, shape in found]), (t for t, _ in found), strict=False))
    macs = count_node_macs(node, known.shapes)
    kind = _product_type(node, inputs, known) if macs else next((kind for kind, _ in outputs), "")
    domain = f"{node.domain}." if node.domain not in {"", "ai.onnx"} else ""
    kernel = f"{arguments.get('provider', '')}:{domain}{node.op_type}"
    precision = PRECISIONS.get(kind, Precision.FP32)
    stored = STORED.get(_read_bits(node))
    return NodeExecution(name, node.op_type, precision, kernel, macs, None if stored is precision else stored)


def _read_bits(node: onnx.NodeProto) -> int:
    """Bits of a stored weight, of the operators that unpack theirs; 0 for others."""
    if node.op_type != "MatMulNBits":
        return 0
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "bits"), DEFAULT_BITS)


def _product_type(node: onnx.NodeProto, inputs: list[tuple[str, Shape]], known: _Tensors) -> str:
    """Element type in which a node multiplies."""
    if node.op_type in INTEGER_OPERATORS:
        return "int8"
    if any(a.name == "accuracy_level" and a.i == INTEGER_ACCURACY for a in node.attribute):
        return "int8"
    return known.types.get(node.input[0], inputs[0][0] if inputs else "")


def _read_types(entries: Iterable[Mapping[str, list[int]]]) -> list[tuple[str, Shape]]:
    """``[{"float": [1, 3]}]`` as pairs of element type and shape."""
    return [(kind, tuple(shape)) for entry in entries for kind, shape in entry.items()]


def _index_nodes(graph: onnx.GraphProto, known: _Tensors) -> dict[tuple[str, str], list[onnx.NodeProto]]:
    """Nodes by name and operator, those of subgraphs too; notes the shapes of the weights."""
    index: dict[tuple[str, str], list[onnx.NodeProto]] = defaultdict(list)
    for part in _graphs(graph):
        for tensor in part.initializer:
            known.shapes[tensor.name] = tuple(tensor.dims)
        for node in part.node:
            index[node.name, node.op_type].append(node)
    return index


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)
