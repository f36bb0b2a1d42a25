"""Checks that every operator is one the ONNX standard, the model itself, or ONNX Runtime's contrib set defines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
import onnx.defs

from assay.core.errors import ModelError
from assay.graph.wellformed import describe_node, list_subgraphs

OLDEST_OPSET = 13
CONTRIB_DOMAIN = "com.microsoft"
"""ONNX Runtime's own operators. OpenVINO knows some of them too, so they are let through: a runtime that does not
know one fails its trial and says so."""


def normalize_domain(domain: str) -> str:
    """The standard domain's two spellings as one."""
    return "" if domain == "ai.onnx" else domain


def read_opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Domain -> version."""
    return {normalize_domain(entry.domain): entry.version for entry in imports}


def check_versions(proto: onnx.ModelProto, path: Path) -> None:
    """Check that the installed ``onnx`` knows the IR version and the operator sets.

    Raises:
        ModelError: one is missing or newer.
    """
    hint = f"update the onnx package (installed: {onnx.__version__}), or export for an older opset"
    if proto.ir_version > onnx.IR_VERSION:
        message = f"{path} has ONNX IR version {proto.ir_version}; the newest known here is {onnx.IR_VERSION}"
        raise ModelError(message, hint)
    opsets = read_opsets(proto.opset_import)
    if proto.ir_version <= 0 or not opsets:
        raise ModelError(f"{path} states no {'opset' if proto.ir_version > 0 else 'IR version'}", "export it again")
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", OLDEST_OPSET) > newest:
        message = f"{path} needs ONNX opset {opsets['']}; the newest known here is {newest}"
        raise ModelError(message, hint)
    if opsets.get("", OLDEST_OPSET) <= 0:
        raise ModelError(f"{path} states ONNX opset {opsets['']}, which does not exist", "export it again")


def check_operators(proto: onnx.ModelProto, path: Path) -> None:
    """Check the operators of the graph, of the graphs inside it, and of the model's functions.

    Raises:
        ModelError: an operator or domain is unknown, naming the node.
    """
    functions = {(normalize_domain(function.domain), function.name) for function in proto.functions}
    check_nodes(proto.graph.node, read_opsets(proto.opset_import), functions, path)
    for function in proto.functions:
        check_nodes(function.node, read_opsets(function.opset_import), functions, path)


def check_nodes(
    nodes: Iterable[onnx.NodeProto], opsets: Mapping[str, int], functions: set[tuple[str, str]], path: Path
) -> None:
    """Check the operators of some nodes and of the graphs inside them."""
    for node in nodes:
        domain = normalize_domain(node.domain)
        if (domain, node.op_type) not in functions:
            check_operator(node, domain, opsets, path)
        for graph in list_subgraphs(node):
            check_nodes(graph.node, opsets, functions, path)


def check_operator(node: onnx.NodeProto, domain: str, opsets: Mapping[str, int], path: Path) -> None:
    """Check the operator of one node that no function of the model defines."""
    shown = domain or "ai.onnx"
    if domain not in opsets:
        message = f"{path}: {describe_node(node)} is of domain '{shown}', which the model does not import"
        raise ModelError(message, "export the model again")
    if domain == CONTRIB_DOMAIN:
        return
    if not onnx.defs.has(node.op_type, domain):
        raise explain_unknown(node, domain, path)
    version = opsets[domain]
    newest = onnx.defs.get_schema(node.op_type, domain)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError as err:
        message = f"{path}: {describe_node(node)} does not exist in {shown} opset {version}"
        raise ModelError(message, f"it came with a later opset; {node.op_type} is at {newest.since_version}") from err
    if schema.deprecated:
        message = f"{path}: {describe_node(node)} was withdrawn in {shown} opset {schema.since_version}"
        raise ModelError(message, f"the model imports opset {version}: export it again")


def explain_unknown(node: onnx.NodeProto, domain: str, path: Path) -> ModelError:
    """Say of which kind an unknown operator is."""
    if domain and not any(schema.domain == domain for schema in onnx.defs.get_all_schemas()):
        message = f"{path}: {describe_node(node)} is of the custom domain '{domain}', which no runtime here knows"
        return ModelError(message, "export with standard operators, or with the operator as a function of the model")
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == domain}
    near = difflib.get_close_matches(node.op_type, sorted(names), n=1)
    hint = f"did the exporter mean '{near[0]}'?" if near else "export with standard operators"
    return ModelError(f"{path}: {describe_node(node)}: there is no operator '{node.op_type}' in ONNX", hint)
