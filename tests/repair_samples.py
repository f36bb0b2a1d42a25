"""Networks for the tests of the repairs, and what they are compared by."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from graph_samples import fill, run
from numpy.typing import NDArray
from quantize_samples import HEADER, U8S8, measure_sqnr

from assay.calibrate.ranges import solve_ranges
from assay.calibrate.statistics import observe_array
from assay.core.calibration import Calibration, ChannelStatistics
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.graph.channel_groups import ChannelGroup, list_groups
from assay.graph.channels import list_channel_axes
from assay.graph.expose import expose, observable_tensors
from assay.graph.prepare import infer_shapes, name_nodes
from assay.graph.realise import realise
from assay.graph.repair import repair_model
from assay.graph.rescale import rescale_group

Floats = NDArray[np.float32]
PER_TENSOR = IntegerDialect(
    U8S8.activation, symmetric=False, integer_bias=True, chain_operators=U8S8.chain_operators, per_channel=False
)

SEPARABLE = (
    HEADER
    + """g (float[N, 3, 12, 12] x) => (float[N, 5] y) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1, b1)
    a1 = Relu(a)
    d = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16>(a1, w2, b2)
    d1 = Relu(d)
    p = Conv<kernel_shape = [1, 1]>(d1, w3, b3)
    p1 = Relu(p)
    q = GlobalAveragePool(p1)
    f = Flatten(q)
    y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(f, w4, b4)
}"""
)
SEPARABLE_SHAPES = {
    "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 1, 3, 3), "b2": (16,), "w3": (24, 16, 1, 1), "b3": (24,),
    "w4": (5, 24), "b4": (5,),
}  # fmt: skip
PERCEPTRON = (
    HEADER
    + """g (float[N, 8] x) => (float[N, 4] y) {
    a = MatMul(x, w1)
    a1 = Add(a, b1)
    a2 = LeakyRelu<alpha = 0.1>(a1)
    c = Gemm(a2, w2, b2)
    c1 = Relu(c)
    y = Gemm<transB = 1>(c1, w3, b3)
}"""
)
PERCEPTRON_SHAPES = {"w1": (8, 32), "b1": (32,), "w2": (32, 24), "b2": (24,), "w3": (4, 24), "b3": (4,)}
BLOCK = (
    HEADER
    + """g (float[N, 6, 16] x) => (float[N, 6, 16] y)
    <int64[4] heads = {0, 6, 4, 4}, int64[3] joined = {0, 6, 16}, float root = {0.5}> {
    n = LayerNormalization(x, gain, shift)
    q = MatMul(n, wq)
    k = MatMul(n, wk)
    v = MatMul(n, wv)
    v1 = Add(v, bv)
    qh = Reshape(q, heads)
    kh = Reshape(k, heads)
    vh = Reshape(v1, heads)
    qt = Transpose<perm = [0, 2, 1, 3]>(qh)
    kt = Transpose<perm = [0, 2, 3, 1]>(kh)
    vt = Transpose<perm = [0, 2, 1, 3]>(vh)
    l = MatMul(qt, kt)
    m = Mul(l, root)
    p = Softmax<axis = -1>(m)
    o = MatMul(p, vt)
    ot = Transpose<perm = [0, 2, 1, 3]>(o)
    oj = Reshape(ot, joined)
    r = MatMul(oj, wo)
    s = Add(r, x)
    n2 = LayerNormalization(s, gain2, shift2)
    u = MatMul(n2, wu)
    g1 = Sigmoid(u)
    z = Mul(u, g1)
    y1 = MatMul(z, wd)
    y = Add(y1, s)
}"""
)
BLOCK_SHAPES = {
    "gain": (16,), "shift": (16,), "wq": (16, 16), "wk": (16, 16), "wv": (16, 16), "bv": (16,), "wo": (16, 16),
    "gain2": (16,), "shift2": (16,), "wu": (16, 32), "wd": (32, 16),
}  # fmt: skip


def build(text: str, shapes: dict[str, tuple[int, ...]], seed: int = 0) -> ir.Model:
    """A model with named nodes and shapes, but none of ``prepare``'s folding."""
    model = infer_shapes(fill(text, np.random.default_rng(seed), **shapes))
    name_nodes(model)
    return model


def find_group(model: ir.Model, tensor: str) -> ChannelGroup:
    """The group that scales a tensor."""
    return next(g for g in list_groups(model.graph) if tensor in {value.name for value in g.layouts})


def list_scalable(model: ir.Model) -> list[set[str]]:
    """Tensor names of every group."""
    return [{str(value.name) for value in group.layouts} for group in list_groups(model.graph)]


def spread_weights(model: ir.Model, tensor: str, factor: NDArray[np.float64]) -> None:
    """Scale the channels of a tensor in place by scaling the weights and biases around it: the same function."""
    assert rescale_group(find_group(model, tensor), factor)


def set_weight(model: ir.Model, name: str, array: NDArray[np.generic]) -> None:
    """Replace an initializer's values."""
    model.graph.initializers[name].const_value = ir.tensor(array.astype(np.float32), name=name)


def read_weight(model: ir.Model, name: str) -> Floats:
    """Values of an initializer."""
    value = model.graph.initializers[name].const_value
    assert value is not None
    return value.numpy()


def observe(model: ir.Model, feeds: dict[str, Floats]) -> Calibration:
    """Statistics of every float tensor, of its channels where a repair asks for them."""
    axes = list_channel_axes(model)
    names = observable_tensors(model)
    inner = [name for name in names if name not in feeds]
    values = dict(zip(inner, run(expose(model, inner), feeds, inner), strict=True)) | feeds
    return Calibration({name: observe_array(values[name], axis=axes.get(name)) for name in names}, "test", 1)


def observe_channels(model: ir.Model, feeds: dict[str, Floats]) -> dict[str, ChannelStatistics]:
    """Statistics of channels alone."""
    tensors = observe(model, feeds).tensors
    return {name: one.channels for name, one in tensors.items() if one.channels is not None}


def repair(model: ir.Model, feeds: dict[str, Floats], *repairs: Repair, per_channel: bool = True) -> ir.Model:
    """The repaired model, from statistics on the feeds."""
    return repair_model(model, repairs, observe(model, feeds), per_channel=per_channel)


def measure_quantized(
    reference: ir.Model, model: ir.Model, feeds: dict[str, Floats], dialect: IntegerDialect = U8S8
) -> float:
    """Signal to noise, in dB, of a model in INT8 beside a reference in FP32, calibrated on the feeds."""
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX)
    calibration = observe(model, feeds)
    quantized = realise(model, Plan(Precision.INT8, scheme=scheme), calibration, solve_ranges(calibration, scheme))
    return measure_sqnr(run(reference, feeds)[0], run(quantized, feeds)[0])


def assert_same_function(before: ir.Model, after: ir.Model, feeds: dict[str, Floats], tolerance: float = 1e-5) -> None:
    """The outputs agree within rounding of their largest value, and all names are the same."""
    for expected, found in zip(run(before, feeds), run(after, feeds), strict=True):
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(np.abs(expected).max()))
    assert list_names(after) == list_names(before)


def list_names(model: ir.Model) -> list[tuple[str, Collection[str]]]:
    """Node names and the names of their outputs."""
    return [(str(node.name), [str(value.name) for value in node.outputs]) for node in model.graph]
