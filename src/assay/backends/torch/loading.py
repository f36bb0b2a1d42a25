"""From a built folder's ONNX file to a model that can be followed: functions inlined, integer products found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import inliner

from assay.backends.model_files import describe_interface
from assay.backends.torch.catalogue import CONTROL, find_operator
from assay.backends.torch.errors import LOADING_ERRORS, to_build_error
from assay.backends.torch.rewrite import fuse_integers
from assay.backends.torch.settings import Settings
from assay.backends.torch.tracing import Model
from assay.backends.torch.vendor import has_integer_kernels
from assay.core.errors import BuildFailed
from assay.core.precision import Precision
from assay.core.tensor import Signature

NARROW = {Precision.FP16: (torch.float16, 16), Precision.BF16: (torch.bfloat16, -16)}
"""Rest of an INT8 plan -> torch's type, and how integer products are told of it."""


def load_model(path: Path, settings: Settings, device: str) -> tuple[Model, Signature]:
    """Read an ONNX file.

    Raises:
        BuildFailed: it is no valid model, or has an operator without a form in torch; names the node.
    """
    try:
        onnx.checker.check_model(path)
        proto = _expand(onnx.load(path))
        _check_operators(proto, path)
        dtype, bits = NARROW.get(settings.rest, (None, 0))
        origins = fuse_integers(proto.graph, bits) if settings.integers else {}
        signature = describe_interface(proto.graph)
        opset = max((entry.version for entry in proto.opset_import if entry.domain in {"", "ai.onnx"}), default=1)
        fast = has_integer_kernels(device)
        return Model(proto.graph, opset, device, origins, dtype, fast), signature
    except BuildFailed:
        raise
    except LOADING_ERRORS as err:
        raise to_build_error(err, path) from err


def _expand(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its own functions inlined, and operators that are functions of others where torch lacks them."""
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    lacking = {(node.domain, node.op_type) for node in _nodes(proto.graph) if _lacks(node)}
    known = [(domain, name) for domain, name in lacking if _has_body(domain, name, proto)]
    if not known:
        return proto
    return inliner.inline_selected_functions(proto, known, inline_schema_functions=True)


def _has_body(domain: str, name: str, proto: onnx.ModelProto) -> bool:
    version = next((entry.version for entry in proto.opset_import if entry.domain == domain), 0)
    if not onnx.defs.has(name, domain) or not version:
        return False
    schema = onnx.defs.get_schema(name, version, domain)
    return any(getattr(schema, kind, False) for kind in ("has_function", "has_context_dependent_function"))


def _lacks(node: onnx.NodeProto) -> bool:
    standard = node.domain in {"", "ai.onnx"}
    return find_operator(node.domain, node.op_type) is None and not (standard and node.op_type in CONTROL)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _check_operators(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a model with an operator that torch has no form of.

    Raises:
        BuildFailed: naming the node.
    """
    node = next((node for node in _nodes(proto.graph) if _lacks(node)), None)
    if node is not None:
        name = node.name or node.output[0]
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise BuildFailed(f"{path}: node {name!r} is a {kind}, which has no form in torch", "choose another runtime")
