"""Times of executed nodes, divided among groups."""

from __future__ import annotations

import pytest

from assay.core.mixing import NodeTime
from assay.measure.group_times import Owners, divide_evenly, divide_times, even_out, fill_gaps

OWNERS = Owners(
    groups={"conv": 0, "relu": 0, "product": 1, "bias": 1},
    pairs={"x_QuantizeLinear": (0,), "a_QuantizeLinear": (0, 1)},
    outside={"norm"},
    weights={"conv": 300.0, "product": 100.0, "relu": 0.0, "bias": 0.0},
    count=2,
)


def test_every_node_goes_to_the_group_of_its_origins() -> None:
    nodes = [
        NodeTime("conv", ("conv", "relu", "a_QuantizeLinear"), 4.0),
        NodeTime("input", ("x_QuantizeLinear",), 1.0),
        NodeTime("between", ("a_QuantizeLinear",), 0.5),
        NodeTime("norm", ("norm",), 2.0),
        NodeTime("norm and input", ("norm", "x_QuantizeLinear"), 0.25),
        NodeTime("reorder", (), 0.25),
        NodeTime("stranger", ("of nobody",), 0.5),
        NodeTime("product", ("product", "norm"), 1.5),
    ]
    found = divide_times(nodes, OWNERS, 10.0)
    assert found.groups == (5.0, 1.5)
    assert (found.converting_ms, found.outside_ms, found.nameless_ms) == (0.5, 2.25, 0.75)
    assert found.rest_ms == 3.0


def test_times_are_scaled_to_a_call_without_profiling() -> None:
    found = divide_times([NodeTime("a", ("conv",), 30.0), NodeTime("b", ("norm",), 10.0)], OWNERS, 4.0)
    assert found.groups == (3.0, None)
    assert found.outside_ms == 1.0


def test_a_node_of_several_groups_is_divided_by_weight() -> None:
    found = divide_times([NodeTime("fused", ("conv", "product"), 8.0)], OWNERS, 8.0)
    assert found.groups == (6.0, 2.0)
    even = divide_times([NodeTime("fused", ("relu", "bias"), 8.0)], OWNERS, 8.0)
    assert even.groups == (4.0, 4.0)


@pytest.mark.parametrize("nodes", [[], [NodeTime("conv", ("conv",), 0.0)]])
def test_nothing_measured_is_nameless(nodes: list[NodeTime]) -> None:
    found = divide_times(nodes, OWNERS, 7.0)
    assert found.groups == (None, None)
    assert found.nameless_ms == 7.0


def test_a_missing_time_is_its_part_of_the_whole_as_far_as_time_is_left() -> None:
    assert fill_gaps((4.0, None), (300.0, 100.0), 10.0, 6.0) == [4.0, 2.5]
    assert fill_gaps((4.0, None), (300.0, 100.0), 10.0, 1.0) == [4.0, 1.0]
    assert fill_gaps((None, None), (300.0, 100.0), 10.0, 10.0) == [7.5, 2.5]
    assert fill_gaps((None, None), (0.0, 0.0), 10.0, 10.0) == [5.0, 5.0]
    assert fill_gaps((1.0, 2.0), (1.0, 1.0), 10.0, 7.0) == [1.0, 2.0]


def test_shares_add_to_one() -> None:
    assert divide_evenly((3, 1)) == [0.75, 0.25]
    assert divide_evenly((0, 0)) == [0.5, 0.5]


def test_groups_of_one_kind_take_their_mean() -> None:
    assert even_out((1.0, 5.0, 3.0), ("a", "b", "a")) == [2.0, 5.0, 2.0]
