"""Going back from a faulty output to the node where the fault begins."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from assay.core.calibration import TensorRange
from assay.core.fault import Fault, FaultKind
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod
from assay.graph.expose import observable_tensors
from assay.graph.fault_source import find_sources, list_fused, pair_tensors
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq

MODEL = prepare(
    ir.from_onnx_text("""
<ir_version: 10, opset_import: ["": 18]>
net (float[n, 4, 6, 6] x) => (float[n, 8] y, float[n, 4] z)
<float[4, 4, 1, 1] w1 = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16},
 float[4, 4, 1, 1] w2 = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>
{
  [stem] a = Conv (x, w1)
  [relu] b = Relu (a)
  [left] c = Conv (b, w2)
  [pool_left] d = GlobalAveragePool (c)
  [flat_left] e = Flatten (d)
  [pool_right] f = GlobalAveragePool (b)
  [flat_right] z = Flatten (f)
  [join] y = Concat <axis = 1> (z, e)
}
""")
)


def fault(tensor: str, *channels: int, kind: FaultKind = FaultKind.CONSTANT) -> Fault:
    return Fault(kind, tensor, 1 if channels else 0, channels, 4, 60, words="")


def find(*faults: Fault, output: str = "y") -> str:
    return " ".join(str(node.name) for node in find_sources(MODEL, {one.tensor: one for one in faults}, output))


@pytest.mark.parametrize(
    ("faults", "source"),
    [
        ([fault("y")], "join"),
        ([fault("y", 5), fault("e"), fault("d"), fault("c")], "left"),
        ([fault("y", 5), fault("e", 1), fault("d", 1), fault("c", 1), fault("b", 2)], "left"),  # Conv mixes channels
        ([fault("y"), fault("e", 1)], "join"),  # a part does not explain the whole
        ([fault("y"), fault("z"), fault("f"), fault("b"), fault("a"), fault("x")], "stem"),  # the input itself
        ([fault("y"), fault("e"), fault("d"), fault("c"), fault("a")], "left"),  # healthy in between
        ([fault("y"), fault("e"), fault("z"), fault("f")], "flat_left pool_right"),  # two branches
        ([], ""),
    ],
)
def test_the_way_back_follows_what_explains_the_fault(faults: list[Fault], source: str) -> None:
    assert find(*faults) == source


def test_only_nan_explains_nan_and_any_nan_does() -> None:
    nan = [fault("y", kind=FaultKind.NONFINITE), fault("e", 1, kind=FaultKind.NONFINITE)]
    assert find(*nan, fault("d"), fault("c")) == "flat_left"


def test_tensors_are_paired_with_what_their_readers_get() -> None:
    dialect = IntegerDialect(IntegerFormat.U8, symmetric=False, integer_bias=True)
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MSE)
    ranges = dict.fromkeys(observable_tensors(MODEL), TensorRange(-1.0, 1.0))
    pairs = pair_tensors(MODEL, insert_qdq(MODEL, scheme, ranges))
    assert pairs["x"] == "x_dequantized"
    assert pairs["b"] == "b_dequantized"
    assert pairs["a"] == "a"
    assert pairs["y"] == "y"
    assert dict(pair_tensors(MODEL, MODEL)) == {name: name for name in observable_tensors(MODEL)}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("left", ("left", "pool_left")),
        ("relu", ("stem", "relu", "left", "pool_right")),
        ("pool_left", ("left", "pool_left", "flat_left", "join")),  # Flatten passes the range on
        ("unknown", ()),
    ],
)
def test_what_runs_together_is_kept_together(name: str, kept: tuple[str, ...]) -> None:
    assert list_fused(MODEL, name) == kept


def test_no_quantizer_is_left_on_what_is_kept() -> None:
    dialect = IntegerDialect(IntegerFormat.U8, symmetric=False, integer_bias=True)
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MSE)
    ranges = dict.fromkeys(observable_tensors(MODEL), TensorRange(-1.0, 1.0))
    for name, tensor in (("relu", "b"), ("left", "c")):
        kept = frozenset(list_fused(MODEL, name))
        assert pair_tensors(MODEL, insert_qdq(MODEL, scheme, ranges, kept))[tensor] == tensor
