"""Export a trained network to one ONNX file with readable names."""

import contextlib
import io
from pathlib import Path

import onnx
import torch
from fashion_data import SIDE, write_atomically
from torch import nn

OPSET = 18
SCOPE_KEY = "namespace"
_LAYER = {1: "weight", 2: "bias"}
ROLES = {"Conv": _LAYER, "Gemm": _LAYER, "ReduceMean": {1: "axes"}}


def export(model: nn.Module, path: Path) -> None:
    """Write ``model`` in evaluation mode, weights inside, and check the file."""
    model.eval()
    example = torch.zeros(2, 1, SIDE, SIDE)
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    graph_model = program.model_proto
    rename(graph_model.graph)
    strip(graph_model)
    graph_model.graph.name = path.stem
    onnx.checker.check_model(graph_model, full_check=True)
    write_atomically(path, graph_model.SerializeToString(deterministic=True))


def name_of(node: onnx.NodeProto, weights: set[str]) -> str:
    """Return a name made of the module the node comes from and what it does."""
    for source in node.input:
        if source in weights and source.endswith(".weight"):
            return str(source).removesuffix(".weight")
    scope = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPE_KEY, "")
    levels = [level.split(":")[0].strip() for level in scope.split("/")[:-1]]
    module = levels[-1] if levels else ""
    action = node.op_type.lower()
    if module.split(".")[-1] == action:
        return module
    return f"{module}.{action}" if module else action


def rename(graph: onnx.GraphProto) -> None:
    """Name nodes after their modules, and the tensors they make after the nodes."""
    weights = {weight.name for weight in graph.initializer}
    fixed = {value.name for value in (*graph.input, *graph.output)}
    tensors: dict[str, str] = {}
    names: set[str] = set()
    for node in graph.node:
        name = name_of(node, weights)
        if name in names or len(node.output) != 1:
            raise ValueError(f"cannot name node {node.name}: {name}")
        names.add(name)
        node.name = name
        tensors[node.output[0]] = name
        for place, source in enumerate(node.input):
            if source in weights:
                tensors[source] = f"{name}.{ROLES[node.op_type][place]}"
    for name in fixed:
        tensors.pop(name, None)
    for node in graph.node:
        node.input[:] = [tensors.get(source, source) for source in node.input]
        node.output[:] = [tensors.get(result, result) for result in node.output]
    for value in (*graph.initializer, *graph.value_info):
        value.name = tensors.get(value.name, value.name)


def strip(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes, which hold source lines and paths of this machine."""
    graph = model.graph
    del graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = graph.doc_string = ""
    values = (*graph.input, *graph.output, *graph.value_info)
    for part in (*graph.node, *graph.initializer, *values):
        del part.metadata_props[:]
        part.doc_string = ""
