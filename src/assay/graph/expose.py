"""Makes inner tensors of a model visible as outputs, so that they can be observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from assay.core.errors import ModelError
from assay.graph.naming import Namer

RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)

BFLOAT16 = ir.DataType.BFLOAT16
BFLOAT16_OPSET = 13
"""The first in which Cast is defined for bfloat16."""


def observable_tensors(model: ir.Model) -> tuple[str, ...]:
    """Names of the float32 activations: graph inputs, then node outputs of the main graph, in the graph's order.

    Left out: initializers, whatever is computed from constants alone, tensors of another or unknown element type,
    and the insides of If, Loop and Scan.
    """
    constants = find_constants(model.graph)
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    computed = [value for node in model.graph for value in node.outputs if value not in constants]
    return tuple(str(value.name) for value in (*inputs, *computed) if value.name and value.dtype is ir.DataType.FLOAT)


def find_constants(graph: ir.Graph) -> set[ir.Value]:
    """Values that are the same in every run: initializers and what nodes compute from nothing else."""
    constants = set(graph.initializers.values()) - set(graph.inputs)
    for node in graph:
        if node.op_type in RANDOM_OPERATORS or any(is_subgraph(attribute) for attribute in node.attributes.values()):
            continue
        if all(value is None or value in constants for value in node.inputs):
            constants.update(node.outputs)
    return constants


def is_subgraph(attribute: ir.Attr) -> bool:
    """Whether an attribute is a graph, which may read what its node does not list as an input."""
    return attribute.type in {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}


def expose(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """The same model with inner tensors as extra outputs, after its own and in the order given.

    Args:
        model: left as it is; weights are shared.
        names: tensors of the main graph; graph inputs and outputs among them are skipped.

    Raises:
        ModelError: the main graph computes no tensor of this name.
    """
    exposed = model.clone()
    graph = exposed.graph
    computed = {value.name: value for node in graph for value in node.outputs if value.name}
    present = {value.name for value in (*graph.inputs, *graph.outputs)}
    for name in names:
        if name in present:
            continue
        if name not in computed:
            raise ModelError(f"the model computes no tensor '{name}'", "list the names with observable_tensors")
        present.add(name)
        value = computed[name]
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(value)
    return exposed


@dataclass(frozen=True, slots=True)
class Exposed:
    """A model with inner tensors as extra outputs.

    Attributes:
        model: the model.
        outputs: tensor -> the output that gives it, for every output.
    """

    model: ir.Model
    outputs: Mapping[str, str]


def expose_halved(model: ir.Model, names: Iterable[str]) -> Exposed:
    """As ``expose``, the extra float32 outputs cast to bfloat16: half the memory, under names that were free.

    Nothing is lost where the runtime computes these tensors in bfloat16; elsewhere they are rounded.

    Raises:
        ModelError: as ``expose``, or the opset cannot cast to bfloat16.
    """
    opset = model.graph.opset_imports.get("", 0)
    if opset < BFLOAT16_OPSET:
        message = f"opset {opset} cannot cast to bfloat16, which exposing tensors halved needs"
        raise ModelError(message, f"convert the model to opset {BFLOAT16_OPSET} or newer")
    exposed = expose(model, names)
    graph, own = exposed.graph, len(model.graph.outputs)
    namer = Namer(graph)
    outputs = {str(value.name): str(value.name) for value in graph.outputs}
    for index, value in enumerate(graph.outputs[own:], own):
        if value.dtype is not ir.DataType.FLOAT:
            continue
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(BFLOAT16))], name=namer.name(f"{value.name}_Cast"))
        halved = node.outputs[0]
        halved.name = namer.name(f"{value.name}_halved")
        halved.type, halved.shape = ir.TensorType(BFLOAT16), value.shape
        graph.append(node)
        graph.outputs[index] = halved
        outputs[str(value.name)] = halved.name
    return Exposed(exposed, outputs)
