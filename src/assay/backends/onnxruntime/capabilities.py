"""What ONNX Runtime can do with number formats on this machine: asked of the machine and of the runtime itself."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from assay.backends.onnxruntime.errors import VENDOR_ERRORS, describe
from assay.backends.onnxruntime.providers import QUIET, Provider, choose_providers
from assay.core.plan import IntegerDialect
from assay.core.precision import IntegerFormat, Precision

CHAIN_OPERATORS = frozenset(
    {
        "Add", "Mul", "Concat", "Where", "Sigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool", "MaxPool",
        "ReduceMax", "ReduceMin", "Resize", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice",
        "Gather", "DepthToSpace",
    }
)  # fmt: skip
"""Operators that the optimiser keeps on integers between a DequantizeLinear and a QuantizeLinear.

Measured on one thread between two convolutions, 64 x 56 x 56, as integers against floats: Add 1.25x, Mul 1.8x,
Concat 1.2x, Sigmoid 1.2x, MaxPool 1.2x, GlobalAveragePool 2.2x. AveragePool alone is slower (0.5-0.8x), but a
convolution before it runs on integers only with a quantized output. Softmax has an integer kernel too: it is slower
(0.36x) and eight bits are too few for its results.
"""

ENGINE_OPERATORS = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool", "MaxPool"})
"""Operators that TensorRT fuses with the convolutions around them, or moves codes through."""

WIDE_PRODUCT_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "avx512vnni", "avxvnni"})
"""CPU flags of instructions that add u8 x s8 products in 32 bits; without them a pair of products saturates in 16."""

ELEMENT_TYPES = {Precision.FP16: TensorProto.FLOAT16, Precision.BF16: TensorProto.BFLOAT16}


def make_dialect(*, saturates: bool) -> IntegerDialect:
    """The form of INT8 graph that ONNX Runtime's CPU kernels execute as integers."""
    return IntegerDialect(
        activation=IntegerFormat.U8,
        symmetric=False,
        integer_bias=True,
        chain_operators=CHAIN_OPERATORS,
        reduced_range=saturates,
    )


def make_engine_dialect() -> IntegerDialect:
    """The form of INT8 graph that TensorRT builds integer engines of: s8 around 0, float biases."""
    return IntegerDialect(activation=IntegerFormat.S8, symmetric=True, chain_operators=ENGINE_OPERATORS)


def product_saturates(machine: str, flags: frozenset[str]) -> bool:
    """Whether the u8 x s8 product of this CPU saturates in 16 bits.

    Args:
        machine: architecture, as ``platform.machine()`` names it.
        flags: of ``/proc/cpuinfo``; empty where the system does not tell, which is taken as the worst.
    """
    return machine.lower() in {"x86_64", "amd64", "i686", "x86"} and not flags & WIDE_PRODUCT_FLAGS


@cache
def machine_saturates() -> bool:
    """``product_saturates`` of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return product_saturates(platform.machine(), frozenset(flags))


@cache
def refuse_reason(precision: Precision, device: str, provider: Provider = Provider.CPU) -> str:
    """Why ONNX Runtime refuses to multiply in a 16-bit format, in its own words; empty where it does not."""
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    model = _make_product(ELEMENT_TYPES[precision])
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=choose_providers(provider, device))
    except VENDOR_ERRORS as err:
        return describe(err)
    return ""


def _make_product(element: int) -> onnx.ModelProto:
    """A typed convolution and matrix product, in FP32 at the interface."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], "cast_in", to=element),
        helper.make_node("Cast", ["w"], ["weight"], "cast_weight", to=element),
        helper.make_node("Conv", ["narrow", "weight"], ["features"], "conv"),
        helper.make_node("MatMul", ["features", "features"], ["product"], "matmul"),
        helper.make_node("Cast", ["product"], ["y"], "cast_out", to=TensorProto.FLOAT),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 1, 1)) for n in ("x", "w", "y")]
    graph = helper.make_graph(nodes, "product", values[:2], values[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
