import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    DIALECTS,
    GATED,
    GATED_SHAPES,
    HEADER,
    RESIDUAL,
    RESIDUAL_SHAPES,
    U8S8,
    U8S8_LOOSE,
    draw,
    make,
    solve,
)

from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import Placement, RangeMethod
from assay.graph.groups import Grouping, find_groups
from assay.graph.prepare import prepare


def group(
    model: ir.Model, dialect: IntegerDialect, placement: Placement, keep: frozenset[str] = frozenset()
) -> Grouping:
    scheme = Scheme(dialect, placement, RangeMethod.MIN_MAX)
    return find_groups(model, scheme, solve(model, scheme, draw(model), keep), keep)


def list_operators(grouping: Grouping) -> list[str]:
    return ["+".join(found.operators) for found in grouping.groups]


def test_a_convolution_takes_its_activation_its_residual_sum_and_its_pool() -> None:
    grouping = group(make(RESIDUAL, RESIDUAL_SHAPES), U8S8, Placement.CHAIN)
    assert list_operators(grouping) == [
        "Conv+Relu",
        "Conv+Clip",
        "Conv+Add+Relu+MaxPool",
        "Conv+Relu+GlobalAveragePool+Flatten",
        "Gemm",
    ]
    assert all(found.name == found.nodes[0] for found in grouping.groups)


def test_what_is_kept_is_in_no_group() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    first = next(str(node.name) for node in model.graph)
    grouping = group(model, U8S8, Placement.CHAIN, frozenset({first}))
    assert first not in {name for found in grouping.groups for name in found.nodes}
    assert len(grouping.groups) == 4


def test_a_gate_goes_with_what_it_gates() -> None:
    grouping = group(make(GATED, GATED_SHAPES), U8S8_LOOSE, Placement.CHAIN)
    assert list_operators(grouping)[0] == "Conv+Sigmoid+Mul"


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_the_products_of_an_attention_are_one_group(dialect: str) -> None:
    grouping = group(make(ATTENTION, ATTENTION_SHAPES), DIALECTS[dialect], Placement.OPERANDS)
    found = list_operators(grouping)
    assert "MatMul+Mul+Softmax+MatMul" in found
    assert "MatMul+Add" in found  # a product takes its bias
    assert len(found) == 5


def test_no_group_waits_for_itself() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] y) {
        a = Conv(x, w1)
        b = Tanh(a)
        c = Conv(b, w2)
        d = Add(a, c)
        y = Conv(d, w3)
    }"""
    )
    model = prepare(fill(text, np.random.default_rng(0), w1=(4, 4, 1, 1), w2=(4, 4, 1, 1), w3=(4, 4, 1, 1)))
    assert list_operators(group(model, U8S8, Placement.CHAIN)) == ["Conv", "Conv+Add", "Conv"]

    # Here only the first convolution feeds the sum as integers, and the way round it leads through a float node.
    text = text.replace("d = Add(a, c)", "e = Tanh(c)\n        d = Add(a, e)")
    model = prepare(fill(text, np.random.default_rng(0), w1=(4, 4, 1, 1), w2=(4, 4, 1, 1), w3=(4, 4, 1, 1)))
    assert list_operators(group(model, U8S8, Placement.CHAIN)) == ["Conv", "Conv", "Add", "Conv"]


def test_a_group_names_the_tensors_that_it_rounds() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    grouping = group(model, U8S8, Placement.CHAIN)
    sums = grouping.groups[2]
    assert grouping.tensors[sums.name] == ("d1", "e", "a1", "s1", "p")
    assert grouping.sources["p"] == "s1"  # a pool keeps its input's scale
    assert "d1" in grouping.firm
    assert not group(model, U8S8_LOOSE, Placement.CHAIN).firm
