"""Which tensors pass between groups, and how large they are."""

from __future__ import annotations

import onnx_ir as ir
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    HEADER,
    RESIDUAL,
    RESIDUAL_SHAPES,
    S8S8,
    U8S8,
    U8S8_LOOSE,
    draw,
    make,
    solve,
)

from assay.core.mixing import Boundary
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import Placement, RangeMethod
from assay.graph.arithmetic import bind_shapes
from assay.graph.boundaries import find_boundaries, size_tensors
from assay.graph.groups import Grouping, find_groups

BATCH = 4


def look(
    model: ir.Model, dialect: IntegerDialect, placement: Placement, keep: frozenset[str] = frozenset()
) -> tuple[Grouping, tuple[Boundary, ...]]:
    scheme, feeds = Scheme(dialect, placement, RangeMethod.MIN_MAX), draw(model, BATCH)
    grouping = find_groups(model, scheme, solve(model, scheme, feeds, keep), keep)
    bound = bind_shapes(model, {name: array.shape for name, array in feeds.items()})
    return grouping, find_boundaries(bound, grouping)


def test_a_chain_hands_its_tensors_on() -> None:
    grouping, found = look(make(RESIDUAL, RESIDUAL_SHAPES), U8S8_LOOSE, Placement.CHAIN)
    first, depthwise, last = range(3)
    written = {boundary.writer: boundary for boundary in found}
    assert written[first].readers == (depthwise, last)  # the sum behind the third reads it too
    assert written[first].elements == BATCH * 16 * 16 * 16
    assert written[depthwise].readers == (last,)
    assert not any(boundary.read_in_floats for boundary in found)
    assert [boundary.writer for boundary in found] == list(range(len(grouping.groups) - 1))


def test_a_tensor_that_a_kept_node_reads_is_read_in_floats() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    second = [str(node.name) for node in model.graph if node.op_type == "Conv"][1]
    grouping, found = look(model, U8S8_LOOSE, Placement.CHAIN, frozenset({second}))
    (first,) = (boundary for boundary in found if boundary.writer == 0)
    assert first.read_in_floats
    assert second not in {name for group in grouping.groups for name in group.nodes}


def test_what_comes_in_floats_is_a_boundary_where_several_groups_share_it() -> None:
    grouping, found = look(make(ATTENTION, ATTENTION_SHAPES), S8S8, Placement.OPERANDS)
    shared = [boundary for boundary in found if boundary.writer is None]
    assert [len(boundary.readers) for boundary in shared] == [3]  # queries, keys and values
    assert shared[0].elements == BATCH * 12 * 16
    assert len(grouping.groups) > 3


def test_one_group_alone_has_no_boundary() -> None:
    text = HEADER + "g (float[N, 4] x) => (float[N, 4] y) { y = MatMul(x, w) }"
    _, found = look(make(text, {"w": (4, 4)}), U8S8, Placement.OPERANDS)
    assert found == ()


def test_what_comes_in_floats_belongs_to_the_one_group_that_reads_it() -> None:
    text = HEADER + "g (float[N, 4] x) => (float[N, 4] y) { e = Exp(x) a = MatMul(e, w) y = Add(a, e) }"
    grouping, found = look(make(text, {"w": (4, 4)}), S8S8, Placement.OPERANDS)
    assert len(grouping.groups) == 1
    assert found == ()


def test_a_mover_in_no_group_ends_a_boundary() -> None:
    text = (
        HEADER
        + """g (float[N, 8, 8, 8] x) => (float[N, 8, 8, 8] y) {
        a = Conv(x, w1)
        e = Exp(a)
        t = Transpose<perm = [0, 1, 3, 2]>(e)
        y = Conv(t, w2)
    }"""
    )
    _, found = look(make(text, {"w1": (8, 8, 1, 1), "w2": (8, 8, 1, 1)}), U8S8_LOOSE, Placement.CHAIN)
    assert all(boundary.writer is None or boundary.read_in_floats for boundary in found)


def test_an_axis_of_unknown_size_counts_once() -> None:
    model = make(HEADER + "g (float[N, 4] x) => (float[N, 4] y) { y = MatMul(x, w) }", {"w": (4, 4)})
    assert size_tensors(model) == {"x": 4, "y": 4}
