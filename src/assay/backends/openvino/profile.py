"""What the nodes of an OpenVINO artifact take: its performance counters, joined with the names of the ONNX model.

OpenVINO names an operator after the ONNX node that it came from, and its results after the node's tensors; the
operators that a node was translated to beside the last one have names of OpenVINO's own and no tensor names. The
runtime model lists, per executed node, the operators that were fused into it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.backends.openvino.audit import NOT_EXECUTED
from assay.core.mixing import NodeTime

WARM_UP_CALLS = 3
Profile = Mapping[str, float]
"""Executed node -> milliseconds of one call."""


def find_renamed(model: Path, converted: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - the vendor's object
    """Operators that carry the name of a tensor instead of their node's: those at the outputs of a model, for one.

    Args:
        model: the ONNX file.
        converted: what OpenVINO read from it.

    Returns:
        Pairs of an operator's and its ONNX node's name.
    """
    # Opening what was built needs no ONNX package.
    from assay.backends.model_files import read_graph  # noqa: PLC0415

    nodes = read_graph(model).graph.node
    names = {node.name for node in nodes}
    makers = {output: node.name for node in nodes for output in node.output if output and node.name}
    return tuple(
        (operator.get_friendly_name(), maker)
        for operator in converted.get_ordered_ops()
        if operator.get_friendly_name() not in names and (maker := _find_maker(operator, makers)) is not None
    )


def _find_maker(operator: Any, makers: Mapping[str, str]) -> str | None:  # noqa: ANN401 - as above
    """ONNX node that makes one of an operator's results."""
    if operator.get_type_name() in NOT_EXECUTED:
        return None
    return next((makers[name] for port in operator.outputs() for name in port.get_names() if name in makers), None)


def find_origins(model: Any, renamed: Iterable[tuple[str, str]]) -> Mapping[str, str]:  # noqa: ANN401 - as above
    """Operator -> ONNX node, for every operator that comes from one.

    Args:
        model: in OpenVINO's form, as it was built.
        renamed: of ``find_renamed``.
    """
    proper = dict(renamed)
    operators = [operator for operator in model.get_ordered_ops() if operator.get_type_name() not in NOT_EXECUTED]
    found = {}
    for operator in operators:
        name = operator.get_friendly_name()
        if any(port.get_names() for port in operator.outputs()):
            found[name] = proper.get(name, name)
    for operator in reversed(operators):  # what has no names is a step on the way to the next that has one
        name = operator.get_friendly_name()
        readers = [entry.get_node().get_friendly_name() for port in operator.outputs() for entry in _read_by(port)]
        known = [found[reader] for reader in readers if reader in found]
        if name not in found and known:
            found[name] = known[0]
    return found


def _read_by(port: Any) -> Iterable[Any]:  # noqa: ANN401 - as above
    """Inputs that a port feeds, in a fixed order."""
    return sorted(port.get_target_inputs(), key=lambda entry: str(entry.get_node().get_friendly_name()))


def time_nodes(compiled: Any, tensors: Sequence[tuple[int, Any]], calls: int) -> Profile:  # noqa: ANN401 - as above
    """Median milliseconds of each executed node.

    Args:
        compiled: with performance counters.
        tensors: feeds with the index of their port.
        calls: to take the median over, after a few that warm up.
    """
    request = compiled.create_infer_request()
    for index, tensor in tensors:
        request.set_input_tensor(index, tensor)
    samples: dict[str, list[float]] = defaultdict(list)
    for call in range(WARM_UP_CALLS + calls):
        request.infer()
        if call >= WARM_UP_CALLS:
            for info in request.profiling_info:
                if info.status == type(info).Status.EXECUTED:
                    samples[str(info.node_name)].append(info.real_time.total_seconds() * 1e3)
    return {name: statistics.median(found) for name, found in samples.items()}


def describe_nodes(compiled: Any, times: Profile, origins: Mapping[str, str]) -> tuple[NodeTime, ...]:  # noqa: ANN401 - as above
    """Executed nodes in their order.

    What OpenVINO put in to change a layout or a format has no origins of its own: it has those of what reads it, at an
    output those of what writes it.

    Args:
        compiled: that was timed.
        times: of ``time_nodes``.
        origins: of ``find_origins``.
    """
    nodes = [node for node in compiled.get_runtime_model().get_ordered_ops() if _is_executed(node, times)]
    known: dict[str, tuple[str, ...]] = {}
    for node in reversed(nodes):
        notes, name = node.get_rt_info(), str(node.get_friendly_name())
        originals = notes["originalLayersNames"].astype(str).split(",") if "originalLayersNames" in notes else []
        found = [origin for original in originals if (origin := trace_operator(original, origins)) is not None]
        if not found:
            readers = [entry.get_node().get_friendly_name() for port in node.outputs() for entry in _read_by(port)]
            found = [origin for reader in readers for origin in known.get(reader, ())]
        known[name] = tuple(dict.fromkeys(found))
    names = [str(node.get_friendly_name()) for node in nodes]
    for node, name in zip(nodes, names, strict=True):
        writers = [port.get_node().get_friendly_name() for port in node.input_values()]
        known[name] = known[name] or next((known[writer] for writer in writers if known.get(writer)), ())
    return tuple(NodeTime(name, known[name], times[name]) for name in names)


def trace_operator(original: str, origins: Mapping[str, str]) -> str | None:
    """ONNX node of an operator, also of one that a rewrite named after another, as ``MatMul/DequantizationMultiply``.

    Args:
        original: name of the operator.
        origins: of ``find_origins``.
    """
    name = original
    while name and name not in origins:
        name = name.rpartition("/")[0]
    return origins.get(name)


def _is_executed(node: Any, times: Profile) -> bool:  # noqa: ANN401 - as above
    return node.get_friendly_name() in times and node.get_rt_info()["layerType"].astype(str) not in NOT_EXECUTED
