"""A model for one set of input shapes as a torch graph: all that depends on shapes alone is worked out already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from assay.backends.torch.operators import Tensor


@dataclass(frozen=True, slots=True)
class Executed:
    """A step that ran.

    Attributes:
        name: of the node in the model.
        operator: ONNX operator.
        function: name of the torch function.
        shapes: of all tensors that it reads and writes, by name.
        dtype: of its first input.
        integer: whether it multiplies codes.
    """

    name: str
    operator: str
    function: str
    shapes: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype
    integer: bool


@dataclass
class Program:
    """What a model computes for inputs of one set of shapes.

    Attributes:
        module: takes the inputs in the model's order and gives the outputs in its order; None where what is computed
            depends on values, so that the model must be followed anew in every call.
        steps: in the order in which they ran.
    """

    module: fx.GraphModule | None
    steps: Sequence[Executed] = field(default_factory=tuple)


class Recorder:
    """Builds the torch graph while the model is followed.

    Args:
        names: of the inputs, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._graph = fx.Graph()
        self._root = torch.nn.Module()
        self._targets: dict[tuple[str, int], Callable[..., Any]] = {}
        self._constants: dict[int, fx.Node] = {}
        self._kept: list[Tensor] = []
        self.inputs = [self._graph.placeholder(f"x{index}_{_clean(name)}") for index, name in enumerate(names)]

    def hold(self, tensor: Tensor) -> fx.Node:
        """A constant of the graph."""
        found = self._constants.get(id(tensor))
        if found is None:
            name = f"constant{len(self._constants)}"
            self._root.register_buffer(name, tensor, persistent=False)
            found = self._constants[id(tensor)] = self._graph.get_attr(name)
            self._kept.append(tensor)
        return found

    def call(
        self, operator: str, function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
    ) -> fx.Node:
        """A call of a function."""
        return self._graph.call_function(self._name(operator, function), tuple(arguments), options)

    def pick(self, node: fx.Node, index: int) -> fx.Node:
        """One of several results."""
        return self._graph.call_function(_pick, (node, index))

    def finish(self, outputs: Sequence[fx.Node]) -> fx.GraphModule:
        """The graph with these outputs."""
        self._graph.output(tuple(outputs))
        self._graph.eliminate_dead_code()
        return fx.GraphModule(self._root, self._graph).eval()

    def _name(self, operator: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function under a name that generated code can use."""
        key = (operator, id(function))
        if key not in self._targets:

            def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - passes on what the table says
                return function(*arguments, **options)

            run.__name__ = run.__qualname__ = f"onnx_{_clean(operator)}_{len(self._targets)}"
            self._targets[key] = run
        return self._targets[key]


def _pick(values: Sequence[Tensor], index: int) -> Tensor:
    return values[index]


def _clean(name: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)
