"""Small networks, dialects and calibration for the tests of quantization and casts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from graph_samples import fill, run
from numpy.typing import NDArray

from assay.calibrate.ranges import solve_ranges
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration, TensorRange
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod
from assay.graph.expose import expose
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq, list_quantized

Floats = NDArray[np.float32]
LINKS = frozenset({"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "MaxPool", "Sigmoid"})
U8S8 = IntegerDialect(IntegerFormat.U8, symmetric=False, integer_bias=True, chain_operators=LINKS)
S8S8 = IntegerDialect(IntegerFormat.S8, symmetric=True, chain_operators=LINKS - {"Sigmoid"})
U8S8_LOOSE = IntegerDialect(IntegerFormat.U8, symmetric=False, chain_operators=LINKS - {"Sigmoid"})
DIALECTS = {"u8s8": U8S8, "s8s8": S8S8, "u8s8-loose": U8S8_LOOSE}
CHAIN = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)

HEADER = '<ir_version: 8, opset_import: ["": 17]>'
RESIDUAL = (
    HEADER
    + """g (float[N, 3, 16, 16] x) => (float[N, 5] y) <float zero = {0}, float six = {6}> {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1, b1)
    a1 = Relu(a)
    d = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16>(a1, w2, b2)
    d1 = Clip(d, zero, six)
    e = Conv<kernel_shape = [1, 1]>(d1, w3, b3)
    s = Add(e, a1)
    s1 = Relu(s)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(s1)
    h = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(p, w4, b4)
    h1 = Relu(h)
    q = GlobalAveragePool(h1)
    f = Flatten(q)
    y = Gemm<transB = 1>(f, w5, b5)
}"""
)
RESIDUAL_SHAPES = {
    "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 1, 3, 3), "b2": (16,), "w3": (16, 16, 1, 1), "b3": (16,),
    "w4": (24, 16, 3, 3), "b4": (24,), "w5": (5, 24), "b5": (5,),
}  # fmt: skip
GATED = (
    HEADER
    + """g (float[N, 8, 8, 8] x) => (float[N, 4] y) {
    a = Conv<kernel_shape = [1, 1]>(x, w1, b1)
    g1 = Sigmoid(a)
    s = Mul(a, g1)
    b = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(s, w2, b2)
    q = GlobalAveragePool(b)
    f = Flatten(q)
    y = Gemm<transB = 1>(f, w3, b3)
}"""
)
GATED_SHAPES = {"w1": (16, 8, 1, 1), "b1": (16,), "w2": (16, 16, 3, 3), "b2": (16,), "w3": (4, 16), "b3": (4,)}
ATTENTION = (
    HEADER
    + """g (float[N, 12, 16] x) => (float[N, 12, 16] y) <float root = {0.03}> {
    n = LayerNormalization(x, scale, shift)
    q = MatMul(n, wq)
    k = MatMul(n, wk)
    v = MatMul(n, wv)
    t = Transpose<perm = [0, 2, 1]>(k)
    l = MatMul(q, t)
    m = Mul(l, root)
    p = Softmax<axis = -1>(m)
    o = MatMul(p, v)
    r = MatMul(o, wo)
    r1 = Add(r, bo)
    y = Add(r1, x)
}"""
)
ATTENTION_SHAPES = {
    "scale": (16,), "shift": (16,), "wq": (16, 16), "wk": (16, 16), "wv": (16, 16), "wo": (16, 16), "bo": (16,),
}  # fmt: skip


def make(text: str, shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> ir.Model:
    """A prepared model with random weights."""
    return prepare(fill(text, np.random.default_rng(seed), **shapes))


def draw(model: ir.Model, items: int = 16, seed: int = 1) -> dict[str, Floats]:
    """Random float32 feeds; a dynamic axis is the item."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        shape = [axis if isinstance(axis, int) else items for axis in value.shape]
        feeds[str(value.name)] = rng.standard_normal(shape).astype(np.float32)
    return feeds


def calibrate(model: ir.Model, feeds: Mapping[str, Floats], names: Collection[str]) -> Calibration:
    """Statistics of the named tensors on these feeds."""
    inner = sorted(set(names) - set(feeds))
    values = run(expose(model, inner), feeds, inner) if inner else []
    arrays = dict(zip(inner, values, strict=True)) | {name: feeds[name] for name in names if name in feeds}
    return Calibration({name: observe_array(array) for name, array in arrays.items()}, "test", 1)


def solve(
    model: ir.Model, scheme: Scheme, feeds: Mapping[str, Floats], keep: frozenset[str] = frozenset()
) -> dict[str, TensorRange]:
    """Ranges of everything that the scheme quantizes."""
    return solve_ranges(calibrate(model, feeds, list_quantized(model, scheme, keep)), scheme)


def quantize(model: ir.Model, scheme: Scheme, keep: frozenset[str] = frozenset()) -> ir.Model:
    """The quantized model, checked by ONNX."""
    result = insert_qdq(model, scheme, solve(model, scheme, draw(model), keep), keep)
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    return result


def measure_sqnr(reference: np.ndarray, value: np.ndarray) -> float:
    """Signal to quantization noise, in dB."""
    wide = reference.astype(np.float64)
    return float(10 * np.log10(np.square(wide).sum() / np.square(wide - value).sum()))


def count_operators(model: ir.Model) -> Counter[str]:
    """Operator type -> nodes of the main graph."""
    return Counter(node.op_type for node in model.graph)


def list_paired(model: ir.Model) -> set[str]:
    """Names of the tensors that a QuantizeLinear reads."""
    return {str(node.inputs[0].name) for node in model.graph if node.op_type == "QuantizeLinear"}


def optimise(model: ir.Model, folder: Path) -> Counter[str]:
    """Operators that ONNX Runtime executes."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    content = ir.to_proto(model).SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
