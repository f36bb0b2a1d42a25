"""Follows an ONNX graph with real inputs: computes its outputs, and records what a torch graph for these shapes needs.

What depends on constants and shapes alone is computed while following, and becomes a constant of the torch graph. Where
the way through the model depends on a value of its inputs (an If, a Loop), nothing is recorded, and the model is
followed anew in every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import fx

from assay.backends.torch.catalogue import CONTROL, find_operator
from assay.backends.torch.errors import RUNNING_ERRORS, NodeFailed, describe
from assay.backends.torch.operators import Operator, Tensor, to_host, to_tensor
from assay.backends.torch.program import Executed, Program, Recorder
from assay.backends.torch.rewrite import DOMAIN

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"})
IMAGE_AXES = 4
INTEGERS = frozenset({"MatMulInteger", "QLinearMatMul"})
FAST = {"Conv": "convolve", "MatMul": "multiply"}
"""Integer product -> function of ``triton_products``."""
HOSTED = frozenset({"Shape", "Size", "ConstantOfShape"})
"""Operators whose function makes its result on the host."""


@dataclass(slots=True)
class Value:
    """A tensor on the way through a model.

    Attributes:
        tensor: what it is for the inputs at hand.
        node: of the torch graph; None for what is known without the inputs' values.
        fixed: known without their shapes too.
        loose: its shape depends on values.
    """

    tensor: Tensor
    node: fx.Node | None = None
    fixed: bool = False
    loose: bool = False


@dataclass
class Model:
    """An ONNX model ready to be followed.

    Attributes:
        graph: with its functions inlined and its integer products found.
        opset: of the standard operators.
        device: torch's name of the device.
        origins: output of an integer product -> the product of the model.
        narrow: float that products in floats compute in beside integer ones, or None.
        fast: integer products run in kernels of Triton's.
        fixed: constants and what is made of them alone, on the host; filled on the way.
        placed: the same on the device.
    """

    graph: onnx.GraphProto
    opset: int
    device: str
    origins: Mapping[str, onnx.NodeProto] = field(default_factory=dict)
    narrow: torch.dtype | None = None
    fast: bool = False
    fixed: dict[str, Tensor] = field(default_factory=dict)
    placed: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the weights as tensors alone."""
        self.fixed |= {tensor.name: to_tensor(numpy_helper.to_array(tensor)) for tensor in self.graph.initializer}
        for tensor in self.graph.initializer:
            tensor.ClearField("raw_data")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what must be fed."""
        return tuple(value.name for value in self.graph.input if value.name not in self.fixed)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what comes out."""
        return tuple(value.name for value in self.graph.output)


class Tracer:
    """Follows a model once.

    Args:
        model: to follow.
        feeds: its inputs by name, on its device.
    """

    def __init__(self, model: Model, feeds: Mapping[str, Tensor]) -> None:
        self._model = model
        self._recorder = Recorder(model.inputs)
        self._values = {name: Value(tensor, fixed=True) for name, tensor in model.fixed.items()}
        for name, node in zip(model.inputs, self._recorder.inputs, strict=True):
            self._values[name] = Value(feeds[name], node)
        self._inputs = frozenset(model.inputs)
        self._steps: list[Executed] = []
        self._followed = False

    def run(self) -> tuple[tuple[Tensor, ...], Program]:
        """Outputs in the model's order, and the program that gives them for inputs of these shapes."""
        graph = self._model.graph
        self._follow(_needed(graph), self._model.outputs)
        values = [self._values[name] for name in self._model.outputs]
        tensors = tuple(self._place(name, value) for name, value in zip(self._model.outputs, values, strict=True))
        if self._followed:
            return tensors, Program(None, tuple(self._steps))
        nodes = [self._to_node(name, value) for name, value in zip(self._model.outputs, values, strict=True)]
        return tensors, Program(self._recorder.finish(nodes), tuple(self._steps))

    def _follow(self, nodes: Sequence[onnx.NodeProto], kept: Sequence[str]) -> None:
        """Run nodes in their order, and forget what no later one reads."""
        last = {name: index for index, node in enumerate(nodes) for name in _reads(node)}
        for index, node in enumerate(nodes):
            if node.op_type in CONTROL and node.domain in {"", "ai.onnx"}:
                self._branch(node)
            else:
                self._try_step(node)
            for name in {*node.input} - {*kept, *self._inputs}:
                if last.get(name) == index and name in self._values and not self._values[name].fixed:
                    del self._values[name]

    def _try_step(self, node: onnx.NodeProto) -> None:
        """Run one node; what fails is told with its name."""
        try:
            self._step(node)
        except NodeFailed:
            raise
        except RUNNING_ERRORS as err:
            raise NodeFailed(f"node {node.name or node.output[0]!r} ({node.op_type})", describe(err)) from err

    def _step(self, node: onnx.NodeProto) -> None:
        """Run one node."""
        operator = find_operator(node.domain, node.op_type)
        if operator is None:
            raise LookupError(f"operator {node.domain or 'ai.onnx'}.{node.op_type} has no form in torch")
        inputs = [self._values[name] if name else None for name in node.input]
        if node.output[0] in self._model.fixed:
            held = {name: self._model.fixed[name] for name in node.output if name in self._model.fixed}
            self._values |= {name: Value(tensor, fixed=True) for name, tensor in held.items()}
            return
        given = [value for value in inputs if value is not None]
        shaped = node.op_type in {"Shape", "Size"} and not given[0].loose
        if shaped or all(value.node is None for value in given):
            self._fold(node, operator, inputs, fixed=all(value.fixed for value in given))
        else:
            self._record(node, operator, inputs)

    def _fold(self, node: onnx.NodeProto, operator: Operator, inputs: Sequence[Value | None], *, fixed: bool) -> None:
        """Compute on the host what needs no values."""
        arguments = _to_arguments(operator, [None if value is None else value.tensor for value in inputs])
        results = _as_tuple(operator.function(*arguments, **self._options(node, operator)))
        for name, tensor in zip(node.output, results, strict=False):
            self._values[name] = Value(tensor.cpu(), fixed=fixed)
            if fixed:
                self._model.fixed[name] = tensor.cpu()

    def _record(self, node: onnx.NodeProto, operator: Operator, inputs: Sequence[Value | None]) -> None:
        """Compute on the device, and note the step."""
        function = self._function(node, operator, inputs)
        options = self._options(node, operator)
        tensors: list[Any] = []
        arguments: list[Any] = []
        loose = operator.loose or any(value is not None and value.loose for value in inputs)
        for index, (name, value) in enumerate(zip(node.input, inputs, strict=True)):
            tensor, argument, unknown = self._prepare(name, value, host=index in operator.host)
            tensors.append(tensor)
            arguments.append(argument)
            loose |= unknown
        found = function(*tensors, **options)
        results = _as_tuple(found)
        call = self._recorder.call(node.op_type, function, arguments, options)
        for index, (name, tensor) in enumerate(zip(node.output, results, strict=False)):
            picked = call if torch.is_tensor(found) else self._recorder.pick(call, index)
            self._values[name] = Value(tensor, picked, loose=loose)
        self._note(node, inputs, results, operator)

    def _prepare(self, name: str, value: Value | None, *, host: bool) -> tuple[Any, Any, bool]:
        """What a step is given: its argument, that of the torch graph, and whether shapes follow from values."""
        if value is None:
            return None, None, False
        if not host:
            return self._place(name, value), self._to_node(name, value), False
        numbers = to_host(value.tensor)
        if value.node is None:
            return numbers, numbers, False
        return numbers, self._recorder.call("to_host", to_host, (value.node,), {}), True

    def _place(self, name: str, value: Value) -> Tensor:
        """A tensor on the device; constants stay there."""
        if value.node is not None or self._model.device == "cpu":
            return value.tensor
        if not value.fixed or not name:
            return value.tensor.to(self._model.device)
        found = self._model.placed.get(name)
        if found is None:
            found = value.tensor.to(self._model.device)
            if found.dim() == IMAGE_AXES and found.is_floating_point():
                found = found.contiguous(memory_format=torch.channels_last)
            self._model.placed[name] = found
        return found

    def _to_node(self, name: str, value: Value) -> fx.Node:
        """The value in the torch graph."""
        return self._recorder.hold(self._place(name, value)) if value.node is None else value.node

    def _function(self, node: onnx.NodeProto, operator: Operator, inputs: Sequence[Value | None]) -> Any:  # noqa: ANN401 - of torch
        """What runs a node: a product in floats beside integers passes through a narrower float."""
        narrow, device = self._model.narrow, self._model.device
        if self._model.fast and node.domain == DOMAIN and node.op_type in FAST:
            return getattr(import_module("assay.backends.torch.triton_products"), FAST[node.op_type])
        if device != "cpu" and node.op_type in HOSTED:
            return ADAPTED.setdefault((device, node.op_type), _put(operator.function, device))
        wide = all(value is None or value.tensor.dtype is torch.float32 for value in inputs)
        if narrow is None or node.op_type not in PRODUCTS or node.domain == DOMAIN or not wide:
            return operator.function
        return ADAPTED.setdefault((narrow, node.op_type), _narrow(operator.function, narrow))

    def _options(self, node: onnx.NodeProto, operator: Operator) -> dict[str, Any]:
        """Attributes of a node, and what else its function takes."""
        options = {attribute.name: _read_attribute(attribute) for attribute in node.attribute}
        if node.op_type == "ConstantOfShape" and "value" in options:  # as what a torch graph can hold
            options["value"] = (options["value"].reshape(-1)[0].item(), options["value"].dtype.name)
        if operator.versioned:
            options["opset"] = self._model.opset
        if operator.counted:
            options["outputs"] = len(node.output)
        return options

    def _note(
        self, node: onnx.NodeProto, inputs: Sequence[Value | None], results: Sequence[Tensor], operator: Operator
    ) -> None:
        """Keep what an audit tells of a step."""
        origin = self._model.origins.get(node.output[0]) if node.domain == DOMAIN else None
        shapes = {n: tuple(v.tensor.shape) for n, v in zip(node.input, inputs, strict=True) if v is not None}
        shapes |= {n: tuple(t.shape) for n, t in zip(node.output, results, strict=False)}
        first = next((value.tensor.dtype for value in inputs if value is not None), torch.float32)
        if self._model.narrow is not None and node.op_type in PRODUCTS and first is torch.float32:
            first = self._model.narrow
        integer = origin is not None or node.op_type in INTEGERS
        name = node.name or f"{node.op_type}_{len(self._steps)}"
        function = getattr(operator.function, "__name__", node.op_type)
        function = f"triton.{function}" if integer and self._model.fast and node.domain == DOMAIN else function
        self._steps.append(Executed(name, node.op_type, function, shapes, first, integer))

    def _branch(self, node: onnx.NodeProto) -> None:
        """Follow an If or a Loop with the values at hand."""
        inputs = [self._values[name] if name else None for name in node.input]
        deciding = inputs[:1] if node.op_type == "If" else inputs[:2]
        self._followed |= any(value is not None and value.node is not None for value in deciding)
        graphs = {attribute.name: attribute.g for attribute in node.attribute}
        if node.op_type == "If":
            chosen = inputs[0] is not None and bool(inputs[0].tensor.reshape(()).item())
            results = self._inner(graphs["then_branch" if chosen else "else_branch"], [])
        else:
            results = self._loop(graphs["body"], inputs)
        self._values |= dict(zip(node.output, results, strict=False))

    def _inner(self, graph: onnx.GraphProto, arguments: Sequence[Value]) -> list[Value]:
        """Follow a graph inside a node, with its own names."""
        outer = dict(self._values)
        constants = {t.name: Value(to_tensor(numpy_helper.to_array(t))) for t in graph.initializer}
        self._values |= constants | dict(zip((value.name for value in graph.input), arguments, strict=False))
        inner = [output.name for output in graph.output]
        self._follow(_needed(graph), [*inner, *outer])
        found = [self._values[name] for name in inner]
        self._values = outer
        return found

    def _loop(self, body: onnx.GraphProto, inputs: Sequence[Value | None]) -> list[Value]:
        """Follow a Loop: carried values, then what each pass adds, stacked."""
        most = inputs[0].tensor.reshape(()).item() if inputs and inputs[0] is not None else None
        go = inputs[1].tensor if len(inputs) > 1 and inputs[1] is not None else torch.tensor(True)  # noqa: FBT003
        carried = [value for value in inputs[2:] if value is not None]
        scanned: list[list[Value]] = []
        index = 0
        while (most is None or index < most) and bool(go.reshape(()).item()):
            condition, *rest = self._inner(body, [Value(torch.tensor(index)), Value(go), *carried])
            self._followed |= condition.node is not None
            carried, go = rest[: len(carried)], condition.tensor
            scanned.append(rest[len(carried) :])
            index += 1
        rows = [self._stack(list(column)) for column in zip(*scanned, strict=True)]
        return [*carried, *rows]

    def _stack(self, column: Sequence[Value]) -> Value:
        """One result of all passes."""
        tensor = torch.stack([value.tensor.to(column[0].tensor.device) for value in column])
        if all(value.node is None for value in column):
            return Value(tensor, loose=any(value.loose for value in column))
        nodes = [self._to_node("", value) for value in column]
        stacked = self._recorder.call("stack", torch.stack, (nodes,), {})
        return Value(tensor, stacked, loose=any(value.loose for value in column))


ADAPTED: dict[tuple[Any, str], Any] = {}
"""Functions that are not those of the table, by what they are adapted to: made once, so that graphs stay alike."""


def _put(function: Any, device: str) -> Any:  # noqa: ANN401 - functions of tensors
    """A function that makes tensors from nothing, on the device."""

    def run(*inputs: Any, **options: Any) -> Tensor:  # noqa: ANN401 - as above
        return function(*inputs, **options).to(device)

    return run


def _narrow(function: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - functions of tensors
    """A product that takes and gives FP32 and computes in a narrower float."""

    def run(*inputs: Tensor | None, **options: Any) -> Tensor:  # noqa: ANN401 - as above
        return function(*(None if x is None else x.to(dtype) for x in inputs), **options).to(torch.float32)

    return run


def _as_tuple(results: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - one tensor or several
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def _to_arguments(operator: Operator, tensors: Sequence[Tensor | None]) -> list[Any]:
    return [
        to_host(tensor) if tensor is not None and index in operator.host else tensor
        for index, tensor in enumerate(tensors)
    ]


def _read_attribute(attribute: onnx.AttributeProto) -> Any:  # noqa: ANN401 - of any type
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(text.decode() for text in value)
    return tuple(value) if attribute.type in {onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS} else value


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node and the graphs inside it read."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            found |= {name for inner in attribute.g.node for name in _reads(inner)}
            found |= {output.name for output in attribute.g.output}
    return found


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that an output depends on, in their order."""
    wanted = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted & {*node.output}:
            wanted |= _reads(node)
            kept.append(node)
    return kept[::-1]
