"""A convolutional TensorFlow.js graph model as ONNX, in the axes that ONNX's convolutions take.

Format: ``model.json`` holds a TensorFlow GraphDef as JSON and a manifest of the weights, whose bytes lie one behind
the other in the files beside it (https://github.com/tensorflow/tfjs, tfjs-converter). TensorFlow's convolutions are
NHWC; here every tensor keeps the order of axes in which it was computed, and a transpose is written only where an
operator needs another one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 8
NHWC_OF_NCHW = (0, 2, 3, 1)
NCHW_OF_NHWC = (0, 3, 1, 2)
ACTIVATIONS = {"LeakyRelu", "Relu", "Sigmoid"}
ADDITIONS = {"Add", "AddV2", "BiasAdd"}

Order = tuple[int, ...]
Node = Mapping[str, Any]


@dataclass(frozen=True)
class Held:
    """An ONNX tensor that, transposed by ``order``, is the TensorFlow tensor; no order means as it is."""

    name: str
    order: Order | None = None


def read_weights(document: Mapping[str, Any], content: bytes) -> dict[str, NDArray[Any]]:
    """Weights by name; those stored as float16 or in eight bits become what they were."""
    weights: dict[str, NDArray[Any]] = {}
    offset = 0
    for group in document["weightsManifest"]:
        for entry in group["weights"]:
            stored = entry.get("quantization")
            dtype = np.dtype(stored["dtype"] if stored else entry["dtype"])
            count = int(np.prod(entry["shape"], dtype=np.int64))
            values = np.frombuffer(content, dtype, count, offset)
            offset += values.nbytes
            if stored and "scale" in stored:
                values = values * np.float32(stored["scale"]) + np.float32(stored["min"])
            weights[entry["name"]] = values.astype(entry["dtype"]).reshape(entry["shape"])
    if offset != len(content):
        raise SystemExit(f"the manifest lists {offset} bytes of weights, and there are {len(content)}")
    return weights


class Converter:
    """Walks the graph from its outputs and writes ONNX nodes."""

    def __init__(self, document: Mapping[str, Any], content: bytes) -> None:
        self._nodes: dict[str, Node] = {node["name"]: node for node in document["modelTopology"]["node"]}
        self._constants = read_weights(document, content)
        self._held: dict[str, Held] = {}
        self._written: list[onnx.NodeProto] = []
        self._stored: dict[str, NDArray[Any]] = {}
        self._input: onnx.ValueInfoProto | None = None
        self._rules: dict[str, Callable[[Node, Sequence[str]], Held]] = {
            "Placeholder": self._declare_input,
            "Identity": self._pass_on,
            "Transpose": self._transpose,
            "Pad": self._pad,
            "PadV2": self._pad,
            "Conv2D": self._convolve,
            "MaxPool": self._pool,
            "ConcatV2": self._concatenate,
            "SplitV": self._split,
            "ResizeBilinear": self._resize,
            "Reshape": self._reshape,
            **dict.fromkeys(ACTIVATIONS, self._activate),
            **dict.fromkeys(ADDITIONS, self._add),
        }

    def convert(self, outputs: Mapping[str, str]) -> onnx.ModelProto:
        """The model whose outputs are the given TensorFlow tensors, under the names that the mapping has for them."""
        results = []
        for source, name in outputs.items():
            self._write("Identity", [self._materialise(self._visit(source))], name)
            results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        if self._input is None:
            raise SystemExit("the graph has no input")
        stored = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in self._stored.items()]
        graph = helper.make_graph(self._written, "tfjs", [self._input], results, stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        name_all_sizes(inferred.graph)
        return inferred

    def _visit(self, tensor: str) -> Held:
        """Where a TensorFlow tensor is held, written first where it is not yet."""
        name, _, place = tensor.partition(":")
        if name not in self._held:
            self._convert_node(self._nodes[name])
        return self._held[tensor if place not in {"", "0"} else name]

    def _convert_node(self, node: Node) -> None:
        """Write one node.

        Raises:
            SystemExit: its operator has no rule.
        """
        kind, name = node["op"], node["name"]
        if kind not in self._rules:
            raise SystemExit(f"no rule for the operator {kind} of node {name}")
        sources = [source for source in node.get("input", []) if not source.startswith("^")]
        self._held[name] = self._rules[kind](node, sources)

    def _declare_input(self, node: Node, sources: Sequence[str]) -> Held:
        """The graph's input."""
        del sources
        shape = [int(axis["size"]) for axis in node["attr"]["shape"]["shape"]["dim"]]
        self._input = helper.make_tensor_value_info(node["name"], TensorProto.FLOAT, shape)
        return Held(node["name"])

    def _pass_on(self, node: Node, sources: Sequence[str]) -> Held:
        """Identity."""
        del node
        return self._visit(sources[0])

    def _transpose(self, node: Node, sources: Sequence[str]) -> Held:
        """Another order of the same tensor; nothing is written."""
        del node
        source = self._visit(sources[0])
        return Held(source.name, compose(source.order, self._read(sources[1])))

    def _activate(self, node: Node, sources: Sequence[str]) -> Held:
        """An activation, whatever the order of the axes."""
        source = self._visit(sources[0])
        extra = {"alpha": float(node["attr"]["alpha"]["f"])} if node["op"] == "LeakyRelu" else {}
        return Held(self._write(node["op"], [source.name], node["name"], **extra), source.order)

    def _reshape(self, node: Node, sources: Sequence[str]) -> Held:
        """Another shape of the tensor in TensorFlow's own order."""
        shape = self._store(f"{node['name']}/shape", self._read(sources[1]).astype(np.int64))
        return Held(self._write("Reshape", [self._materialise(self._visit(sources[0])), shape], node["name"]))

    def _write(self, kind: str, inputs: Sequence[str], name: str, outputs: int = 1, **attributes: Any) -> str:  # noqa: ANN401 - what ONNX allows
        """Add a node; gives its first output's name."""
        names = [name if index == 0 else f"{name}:{index}" for index in range(outputs)]
        self._written.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return name

    def _store(self, name: str, value: NDArray[Any]) -> str:
        """Add an initializer."""
        self._stored[name] = value
        return name

    def _read(self, tensor: str) -> NDArray[Any]:
        """A constant, or what a few shape computations make of constants."""
        name = tensor.partition(":")[0]
        if name in self._constants:
            return self._constants[name]
        node = self._nodes[name]
        values = [self._read(source) for source in node["input"]]
        if node["op"] == "SparseToDense":
            indices, shape, updates, default = values
            dense = np.full(np.atleast_1d(shape), default)
            for index, update in zip(indices, np.atleast_1d(updates), strict=True):
                dense[tuple(np.atleast_1d(index))] = update
            self._constants[name] = dense
        elif node["op"] in ADDITIONS:
            self._constants[name] = values[0] + values[1]
        else:
            raise SystemExit(f"node {name} ({node['op']}) has to be a constant, and is none")
        return self._constants[name]

    def _is_constant(self, tensor: str) -> bool:
        """Whether a tensor is a stored one."""
        return tensor.partition(":")[0] in self._constants

    def _arrange(self, held: Held, order: Order | None) -> str:
        """Name of a tensor whose transposition by ``order`` is the TensorFlow tensor."""
        if held.order == order:
            return held.name
        # TF = T(held, a) and TF = T(new, b), so new = T(held, a then b's inverse).
        moved = compose(held.order, None if order is None else np.argsort(order))
        name = f"{held.name}/{'plain' if order is None else 'moved'}"
        if all(node.name != name for node in self._written):
            self._write("Transpose", [held.name], name, perm=moved or list(range(4)))
        return name

    def _materialise(self, held: Held) -> str:
        """Name of the TensorFlow tensor as it is."""
        return self._arrange(held, None)

    def _add(self, node: Node, sources: Sequence[str]) -> Held:
        """Sum of two activations, or of one and a constant, which a convolution before it takes as its bias."""
        (left, right), name = sources, node["name"]
        if self._is_constant(left):
            left, right = right, left
        held = self._visit(left)
        if not self._is_constant(right):
            return Held(
                self._write("Add", [held.name, self._arrange(self._visit(right), held.order)], name), held.order
            )
        value = self._read(right).astype(np.float32)
        before = self._written[-1]
        if before.op_type == "Conv" and before.name == held.name and len(before.input) == 2 and value.ndim == 1:
            before.input.append(self._store(f"{before.name}/bias", value))
            before.name = before.output[0] = name
            return Held(name, held.order)
        rank = len(held.order) if held.order else value.ndim
        value = value.reshape((1,) * (rank - value.ndim) + value.shape)
        moved = value if held.order is None else value.transpose(np.argsort(held.order))
        return Held(self._write("Add", [held.name, self._store(f"{name}/constant", moved)], name), held.order)

    def _pad(self, node: Node, sources: Sequence[str]) -> Held:
        """Padding, whatever the order of the axes."""
        name = node["name"]
        held = self._visit(sources[0])
        widths = self._read(sources[1]).astype(np.int64)
        if held.order is not None:
            widths = widths[np.argsort(held.order)]
        pads = self._store(f"{name}/pads", widths.T.ravel())
        fill = self._store(f"{name}/fill", self._read(sources[2]) if len(sources) > 2 else np.float32(0))
        return Held(self._write("Pad", [held.name, pads, fill], name), held.order)

    def _convolve(self, node: Node, sources: Sequence[str]) -> Held:
        """Convolution in one group, without padding of its own."""
        attributes, name = node["attr"], node["name"]
        if read_text(attributes["padding"]) != "VALID":
            raise SystemExit(f"node {name} pads by itself, which no node of a converted PyTorch model does")
        weight = self._read(sources[1]).transpose(3, 2, 0, 1)
        source = self._arrange(self._visit(sources[0]), NHWC_OF_NCHW)
        written = self._write(
            "Conv",
            [source, self._store(f"{name}/weight", weight)],
            name,
            kernel_shape=weight.shape[2:],
            strides=read_pair(attributes["strides"]),
            dilations=read_pair(attributes["dilations"]),
        )
        return Held(written, NHWC_OF_NCHW)

    def _pool(self, node: Node, sources: Sequence[str]) -> Held:
        """Maximum pool; a padding with minus infinity before it becomes its own."""
        source = self._arrange(self._visit(sources[0]), NHWC_OF_NCHW)
        pads = [0, 0, 0, 0]
        before = self._written[-1]
        if before.op_type == "Pad" and before.name == source and np.isneginf(self._stored[before.input[2]]):
            widths = self._stored.pop(before.input[1])
            del self._stored[before.input[2]]
            self._written.remove(before)
            source, pads = before.input[0], [int(width) for width in (*widths[2:4], *widths[6:8])]
        sizes = {key: read_pair(node["attr"][other]) for key, other in (("kernel_shape", "ksize"), ("strides",) * 2)}
        return Held(self._write("MaxPool", [source], node["name"], pads=pads, **sizes), NHWC_OF_NCHW)

    def _concatenate(self, node: Node, sources: Sequence[str]) -> Held:
        """Concatenation in the order of axes of the first part."""
        name = node["name"]
        parts = [self._visit(source) for source in sources[:-1]]
        order = parts[0].order
        axis = int(self._read(sources[-1]))
        place = axis if order is None else order[axis]
        names = [self._arrange(part, order) for part in parts]
        return Held(self._write("Concat", names, name, axis=place), order)

    def _split(self, node: Node, sources: Sequence[str]) -> Held:
        """Split into parts of given sizes."""
        name = node["name"]
        held = self._visit(sources[0])
        sizes = self._read(sources[1]).astype(np.int64)
        axis = int(self._read(sources[2]))
        place = axis if held.order is None else held.order[axis]
        self._write("Split", [held.name, self._store(f"{name}/sizes", sizes)], name, len(sizes), axis=place)
        for index in range(1, len(sizes)):
            self._held[f"{name}:{index}"] = Held(f"{name}:{index}", held.order)
        return Held(name, held.order)

    def _resize(self, node: Node, sources: Sequence[str]) -> Held:
        """Bilinear resize to a given height and width."""
        attributes, name = node["attr"], node["name"]
        held = self._visit(sources[0])
        source = self._arrange(held, NHWC_OF_NCHW)
        size = self._read(sources[1]).astype(np.int64)
        mode = "half_pixel" if attributes["half_pixel_centers"]["b"] else "asymmetric"
        # Only height and width are named, so the sizes need not repeat batch and channels.
        sizes = self._store(f"{name}/sizes", size)
        written = self._write(
            "Resize",
            [source, "", "", sizes],
            name,
            mode="linear",
            axes=[2, 3],
            coordinate_transformation_mode=mode,
        )
        return Held(written, NHWC_OF_NCHW)


def name_all_sizes(graph: onnx.GraphProto) -> None:
    """Let every Resize name the sizes of all axes, as exporters do; all shapes are known."""
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in graph.value_info}
    stored = {value.name: value for value in graph.initializer}
    for node in graph.node:
        if node.op_type == "Resize":
            values = np.array(shapes[node.output[0]], np.int64)
            stored[node.input[3]].CopyFrom(numpy_helper.from_array(values, node.input[3]))
            del node.attribute[[entry.name for entry in node.attribute].index("axes")]


def compose(first: Order | None, second: NDArray[Any] | Sequence[int] | None) -> Order | None:
    """The order of a transpose by ``first`` and then by ``second``; None where nothing moves."""
    if second is None:
        return first
    moved = tuple(int(axis) for axis in second)
    if first is not None:
        moved = tuple(first[axis] for axis in moved)
    return None if moved == tuple(range(len(moved))) else moved


def read_text(attribute: Mapping[str, Any]) -> str:
    """A string attribute."""
    return base64.b64decode(attribute["s"]).decode()


def read_pair(attribute: Mapping[str, Any]) -> list[int]:
    """Height and width of a list over NHWC."""
    return [int(value) for value in attribute["list"]["i"]][1:3]


def convert_tfjs(document: bytes, content: bytes, outputs: Mapping[str, str]) -> onnx.ModelProto:
    """Convert ``model.json`` and its weights.

    Args:
        document: the JSON file.
        content: the weight files, one behind the other.
        outputs: TensorFlow tensor -> name that it gets.

    Raises:
        SystemExit: an operator has no rule here.
    """
    return Converter(json.loads(document), content).convert(outputs)
