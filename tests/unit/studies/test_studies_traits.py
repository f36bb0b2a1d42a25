"""Which models are worth weights in integers without calibration."""

from __future__ import annotations

import numpy as np
import pytest
from graph_samples import fill

from assay.graph.prepare import prepare
from assay.studies.subject import find_traits

HEADER = '<ir_version: 10, opset_import: ["": 21]>'
PERCEPTRON = "g (float[N, 64] x) => (float[N, 64] y) { h = Gemm<transB = 1>(x, w) y = Relu(h) }"
CONVOLUTIONAL = """g (float[N, 3, 8, 8] x) => (float[N, 64] y) {
    c = Conv<kernel_shape = [8, 8]>(x, filters)
    f = Flatten(c)
    y = MatMul(f, w)
}"""
VISION = """g (float[N, 3, 8, 8] x, int64[3] axes) => (float[N, 64, 64] y) {
    c = Conv<kernel_shape = [8, 8]>(x, filters)
    t = Reshape(c, axes)
    h = MatMul(t, w)
    k = Transpose<perm = [0, 2, 1]>(h)
    s = MatMul(h, k)
    p = Softmax(s)
    y = MatMul(p, h)
}"""
RANKER = """g (int64[N] ids) => (float[N, 64] y) { e = Gather(table, ids) h = MatMul(e, w) y = Relu(h) }"""


@pytest.mark.parametrize(
    ("text", "shapes", "worth"),
    [
        (PERCEPTRON, {"w": (64, 64)}, True),
        (PERCEPTRON, {"w": (63, 64)}, False),
        (CONVOLUTIONAL, {"filters": (64, 3, 8, 8), "w": (64, 4096)}, False),
        (VISION, {"filters": (64, 3, 8, 8), "w": (64, 256)}, True),
        (VISION, {"filters": (64, 3, 8, 8), "w": (64, 64)}, False),
        (RANKER, {"table": (9000, 64), "w": (64, 64)}, True),
    ],
)
def test_products_must_hold_most_parameters(text: str, shapes: dict[str, tuple[int, ...]], worth: bool) -> None:  # noqa: FBT001 a case
    model = prepare(fill(HEADER + text, np.random.default_rng(0), **shapes))
    assert find_traits(model).has_products is worth
