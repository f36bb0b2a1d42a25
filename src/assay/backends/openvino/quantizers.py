"""Writes a quantize/dequantize pair as one FakeQuantize where OpenVINO mishandles it as a chain of operators.

OpenVINO reads QuantizeLinear and DequantizeLinear as FakeQuantize -> Convert -> Convert -> Subtract -> Multiply: the
codes lie open in the graph, and two of its rewrites (seen in 2026.4) trip over them.

Strides: 1x1 convolutions of a stride hand it upwards as a pool. Where they are all that reads a tensor, the pool
settles between the two Converts and the dequantization; the codes are no longer recognised, and the convolutions run
in floats. These are the shortcuts of a ResNet.

Signs: on CPUs whose convolutions take u8 alone, signed codes get a shift. Before a Concat, and where the result of a
Concat is quantized, the shift is forgotten, and negative values are lost.

One FakeQuantize from floats to floats means the same and hides the codes; OpenVINO then chooses format and shift
itself. Only the tensors of these two patterns are rewritten, the narrowest form that mends both: unsigned codes survive
a Concat, and where scales differ OpenVINO keeps open codes apart but requantizes hidden ones to the coarsest scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.backends.openvino.arithmetic import COUNTS
from assay.backends.openvino.vendor import load_opset

WRAPPERS = frozenset({"Convert", "Reshape"})
BARRIERS = frozenset(COUNTS) | {"FakeQuantize"}
"""Operators behind which there are other values, with codes of their own or none."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A quantize/dequantize pair of one activation, with one scale.

    Attributes:
        source: the FakeQuantize that makes the codes.
        output: the port of the dequantized values.
        low: value of the smallest code.
        high: value of the largest code.
        signed: whether codes may be negative.
    """

    source: Any
    output: Any
    low: float
    high: float
    signed: bool

    @property
    def name(self) -> str:
        """Name of the operator that dequantizes."""
        return str(self.output.get_node().get_friendly_name())


def fuse_pairs(model: Any) -> int:  # noqa: ANN401 - the vendor's object has no types
    """Write the pairs of the two patterns as one FakeQuantize each, in place; the values stay what they are.

    Args:
        model: as read from ONNX.

    Returns:
        How many pairs were rewritten.
    """
    pairs = list(find_pairs(model))
    behind = find_behind_concats(model)
    chosen = [pair for pair in pairs if _loses_integers(pair) or (pair.signed and touches_concat(pair.source, behind))]
    opset = load_opset()
    for pair in chosen:
        inputs = [pair.source.input_value(index) for index in range(3)]
        bounds = [opset.constant(np.float32(bound)) for bound in (pair.low, pair.high)]
        fused = opset.fake_quantize(*inputs, *bounds, pair.source.get_attributes()["levels"])
        fused.set_friendly_name(pair.name)
        pair.output.replace(fused.output(0))
    return len(chosen)


def find_pairs(model: Any) -> Iterator[Pair]:  # noqa: ANN401 - as above
    """All quantize/dequantize pairs in FP32 with one scale for the tensor, in the order of execution."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Multiply" and (pair := _match_pair(node)) is not None:
            yield pair


def follow_values(ports: Iterable[Any]) -> list[Any]:
    """Operators that the values of ports reach, up to and with the next quantization, product or shape."""
    waiting, reached = list(ports), {}
    while waiting:
        for reader in _list_readers(waiting.pop()):
            name = reader.get_friendly_name()
            if name not in reached:
                reached[name] = reader
                if reader.get_type_name() not in BARRIERS:
                    waiting.extend(port for port in reader.outputs() if port.get_element_type().is_real())
    return list(reached.values())


def find_behind_concats(model: Any) -> frozenset[str]:  # noqa: ANN401 - as above
    """Names of the operators that the results of Concat nodes reach, as ``follow_values``."""
    concats = [node for node in model.get_ordered_ops() if node.get_type_name() == "Concat"]
    ports = [port for node in concats for port in node.outputs() if port.get_element_type().is_real()]
    return frozenset(str(node.get_friendly_name()) for node in follow_values(ports))


def touches_concat(quantizer: Any, behind: frozenset[str]) -> bool:  # noqa: ANN401 - as above
    """Whether codes reach a Concat or come out of one, straight or through operators such as pools and reshapes.

    Args:
        quantizer: the FakeQuantize that makes the codes.
        behind: of ``find_behind_concats``.
    """
    if quantizer.get_friendly_name() in behind:
        return True
    codes = [port for reader in _list_readers(quantizer.output(0)) for port in reader.outputs()]
    return any(node.get_type_name() == "Concat" for node in follow_values(codes))


def _loses_integers(pair: Pair) -> bool:
    """Whether 1x1 convolutions of a stride are all that reads the tensor."""
    readers = _list_readers(pair.output)
    return bool(readers) and all(_is_strided_pointwise(reader) for reader in readers)


def _list_readers(port: Any) -> list[Any]:  # noqa: ANN401 - as above
    """Operators that read a port."""
    return [entry.get_node() for entry in port.get_target_inputs()]


def _is_strided_pointwise(node: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a node is a convolution that takes in single points and skips some."""
    if node.get_type_name() != "Convolution":
        return False
    kernel = tuple(node.input_value(1).get_partial_shape().get_max_shape())[2:]
    return set(kernel) == {1} and any(stride > 1 for stride in node.get_attributes()["strides"])


def _match_pair(multiply: Any) -> Pair | None:  # noqa: ANN401 - as above
    """The pair that ends in a multiplication, or None where there is none in this form."""
    codes, zero = multiply.input_value(0).get_node(), np.float32(0)
    if codes.get_type_name() == "Subtract":
        found = _read_scalar(codes.input_value(1))
        if found is None:
            return None
        codes, zero = codes.input_value(0).get_node(), found
    for _ in range(2):
        if codes.get_type_name() != "Convert":
            return None
        codes = codes.input_value(0).get_node()
    if codes.get_type_name() != "FakeQuantize" or codes.get_output_element_type(0).get_type_name() != "f32":
        return None
    scale = _read_scalar(multiply.input_value(1))
    bounds = [_read_scalar(codes.input_value(index)) for index in (3, 4)]
    if scale is None or bounds[0] is None or bounds[1] is None or not multiply.output(0).get_target_inputs():
        return None
    low, high = (float((bound - zero) * scale) for bound in bounds if bound is not None)
    return Pair(codes, multiply.output(0), low, high, signed=bool(bounds[0] < 0))


def _read_scalar(port: Any) -> np.float32 | None:  # noqa: ANN401 - as above
    """The one value of a constant behind conversions and reshapes, or None where there are several or none known."""
    node = port.get_node()
    while node.get_type_name() in WRAPPERS:
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    values = np.asarray(node.data).ravel()
    return np.float32(values[0]) if values.size == 1 else None
