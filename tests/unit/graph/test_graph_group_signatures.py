"""Groups that take equally long have the same signature, and others have another."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from quantize_samples import HEADER, RESIDUAL, RESIDUAL_SHAPES, U8S8_LOOSE, draw, make, solve

from assay.core.plan import Scheme
from assay.core.precision import Placement, RangeMethod
from assay.graph.arithmetic import bind_shapes
from assay.graph.group_signatures import sign_groups, sign_rest
from assay.graph.groups import find_groups

SCHEME = Scheme(U8S8_LOOSE, Placement.CHAIN, RangeMethod.MIN_MAX)
TEXT = (
    HEADER
    + """g (float[N, 8, 8, 8] x) => (float[N, 8, 8, 8] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    b = Relu(a)
    c = Conv<pads = [1, 1, 1, 1]>(b, w2)
    d = Relu(c)
    f = Softmax(d)
    y = Conv<pads = [1, 1, 1, 1]>(f, w3)
}"""
)
SHAPES = dict.fromkeys(("w1", "w2", "w3"), (8, 8, 3, 3))


def sign(model: ir.Model, batch: int = 2) -> tuple[tuple[str, ...], str]:
    feeds = draw(model, batch)
    grouping = find_groups(model, SCHEME, solve(model, SCHEME, feeds))
    bound = bind_shapes(model, {name: array.shape for name, array in feeds.items()})
    return sign_groups(bound, grouping), sign_rest(bound, grouping)


def test_layers_that_are_alike_share_a_signature_whatever_their_weights() -> None:
    groups, _ = sign(make(TEXT, SHAPES, seed=0))
    assert groups[0] == groups[1]
    assert groups[2] != groups[0]  # no activation behind it
    assert sign(make(TEXT, SHAPES, seed=5)) == sign(make(TEXT, SHAPES, seed=0))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1, 1, 1, 1]>(x", "[0, 2, 2, 0]>(x"),
        ("b = Relu(a)", "b = Tanh(a)"),
        ("<pads = [1, 1, 1, 1]>(x", "<pads = [2, 2, 2, 2], dilations = [2, 2]>(x"),
    ],
)
def test_attributes_and_operators_count(old: str, new: str) -> None:
    before, after = sign(make(TEXT, SHAPES))[0], sign(make(TEXT.replace(old, new), SHAPES))[0]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_the_batch_counts() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    assert not set(sign(model, 2)[0]) & set(sign(model, 3)[0])


def test_the_rest_is_what_no_group_has() -> None:
    other = TEXT.replace("Softmax(d)", "LogSoftmax(d)")
    assert sign(make(TEXT, SHAPES))[1] != sign(make(other, SHAPES))[1]
    assert sign(make(TEXT, SHAPES))[0] == sign(make(other, SHAPES))[0]
