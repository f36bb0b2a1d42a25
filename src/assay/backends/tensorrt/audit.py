"""What TensorRT really executes: the engine inspector's layers, joined with the arithmetic of the model.

A layer names its kernel (``TacticName``), the formats of its tensors, and in its metadata the ONNX nodes that it was
made of. The kernel is believed first: a layer that quantizes its own input shows that in floats. What no layer names
is taken in the float format that the graph is typed in, which a strongly typed engine keeps to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from assay.backends.tensorrt.arithmetic import Product
from assay.core.audit import ExecutionAudit, NodeExecution
from assay.core.errors import RunFailed
from assay.core.precision import Precision

KERNELS = (
    (re.compile(r"e4m3|e5m2|fp8|f8f8", re.IGNORECASE), Precision.FP8),
    (re.compile(r"i8i8|s8s8|int8|imma|igemm", re.IGNORECASE), Precision.INT8),
    (re.compile(r"tf32", re.IGNORECASE), Precision.TF32),
    (re.compile(r"bf16", re.IGNORECASE), Precision.BF16),
    (re.compile(r"f16f16|fp16|hmma|h1688|h16816|hgemm|_f16", re.IGNORECASE), Precision.FP16),
    (re.compile(r"f32f32|fp32|ffma|sgemm", re.IGNORECASE), Precision.FP32),
)
"""Mark in a kernel's name -> what it multiplies, the first that fits."""
FORMATS = (
    (re.compile(r"e4m3|fp8|float8", re.IGNORECASE), Precision.FP8),
    (re.compile(r"int8", re.IGNORECASE), Precision.INT8),
    (re.compile(r"bf16|bfloat", re.IGNORECASE), Precision.BF16),
    (re.compile(r"half|fp16|float16", re.IGNORECASE), Precision.FP16),
    (re.compile(r"float|fp32", re.IGNORECASE), Precision.FP32),
)
"""Mark in a tensor's ``Format/Datatype`` -> format, the first that fits."""
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


class Layer(msgspec.Struct, frozen=True):
    """A layer of an engine.

    Attributes:
        name: TensorRT's.
        operator: TensorRT's type of layer.
        kernel: name of the tactic; empty where it does not tell.
        precision: that its arithmetic runs in, as far as it tells.
        origins: ONNX nodes that it was made of.
    """

    name: str
    operator: str
    kernel: str
    precision: Precision | None
    origins: tuple[str, ...]


def read_layers(told: str, names: Sequence[str] = ()) -> tuple[Layer, ...]:
    """Layers of the engine inspector's JSON.

    Args:
        told: ``{"Layers": [...]}``, each an object or, without details, a name.
        names: of the model's nodes, by which layers without metadata are understood.

    Raises:
        RunFailed: it is no such JSON.
    """
    try:
        layers = msgspec.json.decode(told.encode())["Layers"]
        return tuple(_read_layer(layer, frozenset(names)) for layer in layers)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as err:
        raise RunFailed(f"the engine inspector's answer cannot be read: {err}", "report its version") from err


def _read_layer(layer: Any, names: frozenset[str]) -> Layer:  # noqa: ANN401 - the vendor's JSON
    """One layer."""
    if isinstance(layer, str):
        layer = {"Name": layer}
    name, kernel = str(layer.get("Name", "")), str(layer.get("TacticName", ""))
    origins = _ORIGIN.findall(str(layer.get("Metadata", "")))
    parts = [part.strip() for part in re.split(r" \+ |\x1e|,", name)]
    found = dict.fromkeys([*origins, *(part for part in parts if part in names)])
    return Layer(name, str(layer.get("LayerType", "")) or "layer", kernel, _find_precision(layer, kernel), tuple(found))


def _find_precision(layer: Mapping[str, Any], kernel: str) -> Precision | None:
    """Format of a layer's arithmetic: by its kernel, else by its first input."""
    for mark, precision in KERNELS:
        if mark.search(kernel):
            return precision
    inputs = layer.get("Inputs") or [{}]
    told = str(inputs[0].get("Format/Datatype", inputs[0].get("Format", "")))
    return next((precision for mark, precision in FORMATS if mark.search(told)), None)


def join_layers(layers: Sequence[Layer], products: Sequence[Product], rest: Precision) -> ExecutionAudit:
    """Layers with the arithmetic of the nodes that they were made of.

    Args:
        layers: of the engine.
        products: of the model, at the shapes of the call.
        rest: format of products of FP32 tensors that no layer tells of: FP32, or TF32 where the engine may use it.
    """
    claims = {origin: index for index, layer in reversed(list(enumerate(layers))) for origin in layer.origins}
    macs, typed = [0] * len(layers), [rest] * len(layers)
    unclaimed = []
    for product in products:
        index = claims.get(product.name)
        said = rest if product.typed is Precision.FP32 else product.typed
        if index is None:
            unclaimed.append(NodeExecution(product.name, product.operator, said, "", product.macs))
        else:
            macs[index] += product.macs
            typed[index] = said
    executed = [
        NodeExecution(layer.name, layer.operator, layer.precision or typed[index], layer.kernel, macs[index])
        for index, layer in enumerate(layers)
    ]
    return ExecutionAudit((*executed, *unclaimed))
