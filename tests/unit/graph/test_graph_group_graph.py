import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill
from quantize_samples import HEADER, U8S8

from assay.core.calibration import TensorRange
from assay.core.explanation import GroupGraph
from assay.core.plan import Scheme
from assay.core.precision import Placement, RangeMethod
from assay.graph.expose import observable_tensors
from assay.graph.group_graph import find_group_graph
from assay.graph.groups import find_groups
from assay.graph.prepare import prepare

RESIDUAL = (
    HEADER
    + """g (float[N, 3, 8, 8] image) => (float[N, 4, 8, 8] out) {
    [stem] a = Conv<kernel_shape = [1, 1]>(image, w1)
    [first] b = Conv<kernel_shape = [1, 1]>(a, w2)
    [second] c = Conv<kernel_shape = [1, 1]>(b, w3)
    [join] d = Add(a, c)
    [soft] e = Softplus(d)
    [last] f = Conv<kernel_shape = [1, 1]>(e, w4)
    out = Add(f, a)
}"""
)
SHAPES = {"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 4, 1, 1), "w4": (4, 4, 1, 1)}
NAMES = ("stem", "first", "second", "last")


def find(keep: tuple[str, ...] = (), text: str = RESIDUAL) -> tuple[ir.Model, GroupGraph]:
    model = prepare(fill(text, np.random.default_rng(0), **SHAPES))
    scheme = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
    ranges = {name: TensorRange(-1.0, 1.0) for name in observable_tensors(model)}
    grouping, whole = (find_groups(model, scheme, ranges, kept) for kept in (keep, ()))
    return model, find_group_graph(model, grouping, whole)


def test_ways_through_nodes_in_no_group_are_found() -> None:
    _, graph = find()
    assert tuple(group.name for group in graph.groups) == NAMES
    held = {name for group in graph.groups for name in group.nodes}
    assert not held & {"join", "soft"}  # what follows is in floats, so that nothing rounds their outputs
    assert graph.edges == ((0, 1), (0, 3), (1, 2), (2, 3))


def test_a_residual_way_leads_into_the_group_that_adds() -> None:
    _, graph = find(text=RESIDUAL.replace("Softplus", "Relu"))
    assert "join" in graph.groups[2].nodes
    assert graph.edges == ((0, 1), (0, 2), (1, 2), (2, 3))


@pytest.mark.parametrize("kept", NAMES)
def test_a_kept_group_stands_in_its_place_with_its_ways(kept: str) -> None:
    _, graph = find((kept,))
    assert tuple(group.name for group in graph.groups) == NAMES
    assert [group.name for group in graph.groups if not group.quantized] == [kept]
    assert {(0, 1), (1, 2), (2, 3)} <= set(graph.edges)


@pytest.mark.parametrize("kept", [(), ("first",), ("second", "join"), ("join",), NAMES])
def test_groups_stand_in_an_order_in_which_they_can_run(kept: tuple[str, ...]) -> None:
    model, graph = find(kept)
    assert all(source < target for source, target in graph.edges)
    held = [name for group in graph.groups for name in group.nodes]
    assert len(held) == len(set(held))
    assert set(held) <= {str(node.name) for node in model.graph}
    quantized = {name for group in graph.groups for name in group.quantized}
    assert not quantized & set(kept)
