from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import fill, run
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
    calibrate,
    draw,
    make,
    solve,
)

from assay.calibrate.ranges import solve_ranges
from assay.core.errors import ModelError
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.graph.chunks import Chunk, split_chunks
from assay.graph.expose import observable_tensors
from assay.graph.groups import find_groups
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq
from assay.graph.realise import realise
from assay.graph.simulate import SimulatedModel, simulate

NETWORKS = {
    "residual": (RESIDUAL, RESIDUAL_SHAPES),
    "gated": (GATED, GATED_SHAPES),
    "attention": (ATTENTION, ATTENTION_SHAPES),
}


def simulate_scheme(model: ir.Model, scheme: Scheme) -> tuple[SimulatedModel, ir.Model]:
    ranges = solve(model, scheme, draw(model))
    realised = insert_qdq(model, scheme, ranges)
    return simulate(model, realised, find_groups(model, scheme, ranges)), realised


def run_switched(simulated: SimulatedModel, feeds: Mapping[str, np.ndarray], switches: np.ndarray) -> list[np.ndarray]:
    return run(simulated.model, {**feeds, simulated.switch: switches})


@pytest.mark.parametrize("network", sorted(NETWORKS))
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("placement", list(Placement))
def test_all_off_is_the_float_model_and_all_on_is_the_plan(network: str, dialect: str, placement: Placement) -> None:
    model = make(*NETWORKS[network])
    simulated, realised = simulate_scheme(model, Scheme(DIALECTS[dialect], placement, RangeMethod.MSE))
    onnx.checker.check_model(ir.to_proto(simulated.model), full_check=True)
    feeds, count = draw(model, seed=5), len(simulated.groups)
    floats, plan = run(model, feeds)[0], run(realised, feeds)[0]
    assert np.abs(floats - plan).max() > 1e-3
    np.testing.assert_array_equal(run_switched(simulated, feeds, np.zeros(count, bool))[0], floats)
    np.testing.assert_array_equal(run_switched(simulated, feeds, np.ones(count, bool))[0], plan)


def test_one_group_on_is_a_plan_that_keeps_the_others() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    scheme = Scheme(U8S8_LOOSE, Placement.CHAIN, RangeMethod.MIN_MAX)
    ranges = solve(model, scheme, draw(model))
    grouping = find_groups(model, scheme, ranges)
    simulated = simulate(model, insert_qdq(model, scheme, ranges), grouping)
    feeds = draw(model, seed=5)
    for index in (0, 1, 4):  # those without a link, which a plan quantizes only between integers
        keep = {name for other, found in enumerate(grouping.groups) if other != index for name in found.nodes}
        alone = run(insert_qdq(model, scheme, ranges, frozenset(keep)), feeds)[0]
        np.testing.assert_array_equal(run_switched(simulated, feeds, np.arange(5) == index)[0], alone)


def test_repaired_weights_and_biases_are_switched_too() -> None:
    model = make(ATTENTION, ATTENTION_SHAPES)
    scheme = Scheme(U8S8, Placement.OPERANDS, RangeMethod.MIN_MAX, (Repair.BIAS,))
    observed = calibrate(model, draw(model), observable_tensors(model))
    ranges = solve_ranges(observed, scheme)
    realised = realise(model, Plan(Precision.INT8, scheme=scheme), observed, ranges)
    simulated = simulate(model, realised, find_groups(model, scheme, ranges))
    feeds, count = draw(model, seed=5), len(simulated.groups)
    np.testing.assert_array_equal(run_switched(simulated, feeds, np.zeros(count, bool))[0], run(model, feeds)[0])
    np.testing.assert_array_equal(run_switched(simulated, feeds, np.ones(count, bool))[0], run(realised, feeds)[0])


def test_a_tensor_that_is_an_output_and_is_read_in_a_subgraph_stays_both() -> None:
    text = (
        HEADER
        + """g (float[N, 2, 4, 4] x, bool c) => (float[N, 2, 4, 4] a, float[N, 2, 4, 4] y) {
        a = Conv(x, w1)
        [cond] b = If(c) <then_branch = t () => (float[N, 2, 4, 4] p) { p = Neg(a) },
                          else_branch = e () => (float[N, 2, 4, 4] q) { q = Abs(a) }>
        y = Conv(b, w2)
    }"""
    )
    model = prepare(fill(text, np.random.default_rng(0), w1=(2, 2, 1, 1), w2=(2, 2, 1, 1)))
    scheme = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
    feeds = {"x": np.random.default_rng(2).standard_normal((3, 2, 4, 4)).astype(np.float32), "c": np.ones((), bool)}
    ranges = solve_ranges(calibrate(model, feeds, observable_tensors(model)), scheme)
    realised = insert_qdq(model, scheme, ranges)
    simulated = simulate(model, realised, find_groups(model, scheme, ranges))
    for switches, wanted in ((np.zeros(2, bool), model), (np.ones(2, bool), realised)):
        for got, expected in zip(run_switched(simulated, feeds, switches), run(wanted, feeds), strict=True):
            np.testing.assert_array_equal(got, expected)
    assert_chunks_agree(simulated, split_chunks(simulated, 2), feeds)


def test_a_plan_without_integers_is_refused() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    scheme = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
    keep = frozenset(str(node.name) for node in model.graph)
    with pytest.raises(ModelError, match="quantizes no node"):
        simulate(model, insert_qdq(model, scheme, {}, keep), find_groups(model, scheme, {}, keep))


def assert_chunks_agree(simulated: SimulatedModel, chunks: tuple[Chunk, ...], feeds: Mapping[str, np.ndarray]) -> None:
    count = len(simulated.groups)
    assert chunks[0].first == 0
    assert chunks[-1].last == count
    for switches in (np.zeros(count, bool), np.ones(count, bool), np.arange(count) % 2 == 0):
        known: dict[str, np.ndarray] = {}
        for chunk in chunks:
            onnx.checker.check_model(ir.to_proto(chunk.model), full_check=True)
            inputs = {**feeds, simulated.switch: switches, **{name: known[name] for name in chunk.reads}}
            known |= dict(zip(chunk.gives, run(chunk.model, inputs), strict=True))
        for output, wanted in zip(simulated.model.graph.outputs, run_switched(simulated, feeds, switches), strict=True):
            np.testing.assert_array_equal(known[str(output.name)], wanted)


@pytest.mark.parametrize("network", sorted(NETWORKS))
@pytest.mark.parametrize("most", [1, 2, 3, 50])
def test_chunks_one_after_the_other_are_the_whole(network: str, most: int) -> None:
    model = make(*NETWORKS[network])
    simulated, _ = simulate_scheme(model, Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX))
    chunks = split_chunks(simulated, most)
    assert len(chunks) == min(most, len(simulated.groups))
    assert_chunks_agree(simulated, chunks, draw(model, seed=5))


def test_no_cut_crosses_a_tensor_of_unknown_type() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    simulated, _ = simulate_scheme(model, Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX))
    blurred = replace(simulated, model=simulated.model.clone())
    node = next(node for node in blurred.model.graph if node.name == simulated.nodes[1])
    node.outputs[0].type = None
    assert len(split_chunks(simulated, 5)) == 5
    assert [(chunk.first, chunk.last) for chunk in split_chunks(blurred, 5)] == [(0, 1), (1, 3), (3, 4), (4, 5)]
