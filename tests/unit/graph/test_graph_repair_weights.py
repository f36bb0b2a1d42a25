from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import fill, run
from numpy.typing import NDArray
from quantize_samples import (
    ATTENTION,
    ATTENTION_SHAPES,
    DIALECTS,
    HEADER,
    RESIDUAL,
    RESIDUAL_SHAPES,
    U8S8,
    calibrate,
    count_operators,
    draw,
    make,
    measure_sqnr,
)

from assay.calibrate.moments import MomentsBuilder
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration, ChannelStatistics
from assay.core.errors import UnsupportedPlan
from assay.core.moments import LayerMoments
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.graph import repair_weights
from assay.graph.bias_sites import find_bias
from assay.graph.expose import expose, observable_tensors
from assay.graph.layer_inputs import describe_layer, list_moment_layers, spread_channels
from assay.graph.prepare import prepare
from assay.graph.quantize_roles import assign_part, read_constant
from assay.graph.realise import realise
from assay.graph.rounded import RoundedWeights
from assay.graph.rounding import Metric, solve_rounding
from assay.graph.scales import EncodedWeight

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]
BIAS, ROUND = Repair.BIAS, Repair.ROUND
FP32 = Precision.FP32


def plan(
    *repairs: Repair,
    dialect: IntegerDialect = U8S8,
    method: RangeMethod = RangeMethod.MIN_MAX,
    placement: Placement = Placement.CHAIN,
) -> Plan:
    return Plan(Precision.INT8, scheme=Scheme(dialect, placement, method, repairs))


def observe_channels(model: ir.Model, feeds: Mapping[str, Floats]) -> Calibration:
    """Statistics of every activation, with the channels of what Conv, MatMul and Gemm read."""
    calibration = calibrate(model, feeds, observable_tensors(model))
    values = read_values(model, feeds)
    tensors = dict(calibration.tensors)
    for node in model.graph:
        if node.op_type in {"Conv", "MatMul", "Gemm"} and node.inputs[0] is not None:
            name, axis = str(node.inputs[0].name), 1 if node.op_type == "Conv" else -1
            rows = np.moveaxis(values[name], axis, 0).astype(np.float64)
            rows = rows.reshape(len(rows), -1)
            count = np.full(len(rows), rows.shape[1])
            sums = rows.sum(axis=1), np.square(rows).sum(axis=1), count
            tensors[name] = replace(
                tensors[name], channels=ChannelStatistics(axis, rows.min(axis=1), rows.max(axis=1), *sums)
            )
    return replace(calibration, tensors=tensors)


def read_values(model: ir.Model, feeds: Mapping[str, Floats]) -> dict[str, Floats]:
    """Every activation on these feeds."""
    names = [name for name in observable_tensors(model) if name not in feeds]
    return {**dict(zip(names, run(expose(model, names), feeds, names), strict=True)), **feeds}


def observe_layers(model: ir.Model, feeds: Mapping[str, Floats], chosen: Plan) -> dict[str, LayerMoments]:
    values, items = read_values(model, feeds), len(next(iter(feeds.values())))
    found = {}
    for layer in list_moment_layers(model, chosen):
        builder = MomentsBuilder(layer, items)
        builder.add(values[layer.tensor], 0, items)
        found[layer.node] = builder.build()
    return found


def quantize(model: ir.Model, chosen: Plan, feeds: Mapping[str, Floats], calibration: Calibration) -> ir.Model:
    assert chosen.scheme is not None
    moments = observe_layers(model, feeds, chosen) if ROUND in chosen.scheme.repairs else None
    result = realise(model, chosen, calibration, solve_ranges(calibration, chosen.scheme), moments)
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    return result


def weigh_alone(model: ir.Model, quantized: ir.Model) -> ir.Model:
    """The quantized model with its activations left in floats: every pair on one is bypassed."""
    alone = quantized.clone()
    for node in list(alone.graph):
        source, output = node.inputs[0], node.outputs[0]
        if node.op_type == "DequantizeLinear" and source is not None and (pair := source.producer()) is not None:
            assert pair.inputs[0] is not None
            name, output.name = output.name, f"{output.name}_bypassed"
            if output.is_graph_output():
                pair.inputs[0].name = name
            output.replace_all_uses_with(pair.inputs[0], replace_graph_outputs=True)
    assert [value.name for value in alone.graph.outputs] == [value.name for value in model.graph.outputs]
    return alone


SINGLE = {
    "conv": ("y = Conv(x, w, b)", {"w": (6, 4, 1, 1), "b": (6,)}),
    "conv without a bias": ("y = Conv(x, w)", {"w": (6, 4, 1, 1)}),
    "grouped conv": ("y = Conv<group = 2, kernel_shape = [2, 3]>(x, w, b)", {"w": (6, 2, 2, 3), "b": (6,)}),
    "depthwise conv": ("y = Conv<group = 4>(x, w)", {"w": (8, 1, 2, 2)}),
}
PRODUCTS = {
    "gemm": ("y = Gemm(x, w, b)", {"w": (8, 5), "b": (5,)}),
    "gemm turned, scaled": ("y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b)", {"w": (5, 8), "b": (5,)}),
    "gemm without a bias": ("y = Gemm<beta=3.0>(x, w)", {"w": (8, 5)}),
    "gemm with one number": ("y = Gemm(x, w, b)", {"w": (8, 5), "b": (1,)}),
    "product and addition": ("m = MatMul(x, w)\n y = Add(m, b)", {"w": (8, 5), "b": (5,)}),
    "addition and product": ("m = MatMul(x, w)\n y = Add(b, m)", {"w": (8, 5), "b": (1, 5)}),
}


def make_single(kind: str) -> tuple[ir.Model, dict[str, Floats]]:
    """A network of one layer, and inputs with a mean that is far from 0."""
    body, shapes = {**SINGLE, **PRODUCTS}[kind]
    shape = "float[N, 4, 6, 7]" if kind in SINGLE else "float[N, 8]"
    axes = "float[N, C, A, B]" if kind in SINGLE else "float[N, 5]"
    model = prepare(fill(f"{HEADER} g ({shape} x) => ({axes} y) {{ {body} }}", np.random.default_rng(0), **shapes))
    feeds = draw(model, 64)
    channels = feeds["x"].shape[1]
    means = np.linspace(-3, 6, channels, dtype=np.float32).reshape(1, -1, *[1] * (feeds["x"].ndim - 2))
    return model, {"x": np.broadcast_to(feeds["x"][:, :1] * 0.5 + means, feeds["x"].shape).astype(np.float32)}


def find_mean_error(model: ir.Model, quantized: ir.Model, feeds: Mapping[str, Floats]) -> NDArray[np.float64]:
    """Mean error of every output channel, from the weights alone."""
    error = run(weigh_alone(model, quantized), feeds)[0].astype(np.float64) - run(model, feeds)[0]
    return np.abs(error.mean(axis=(0, *range(2, error.ndim))))


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("kind", sorted(SINGLE | PRODUCTS))
def test_a_corrected_layer_has_the_mean_of_the_float_one(kind: str, dialect: str) -> None:
    model, feeds = make_single(kind)
    calibration = observe_channels(model, feeds)
    plain = find_mean_error(model, quantize(model, plan(dialect=DIALECTS[dialect]), feeds, calibration), feeds)
    corrected = quantize(model, plan(BIAS, dialect=DIALECTS[dialect]), feeds, calibration)
    error = find_mean_error(model, corrected, feeds).max()
    # An int32 bias is rounded to a step of its own, which is coarse beside so few inputs; and the windows of a
    # convolution do not read all pixels equally often.
    assert error < (0.1 if DIALECTS[dialect].integer_bias else 0.02 if "conv" in kind else 1e-3) * plain.max()


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_correction_follows_the_rounding(dialect: str) -> None:
    model, feeds = make_single("grouped conv")
    calibration = observe_channels(model, feeds)
    errors = {
        repairs: find_mean_error(
            model, quantize(model, plan(*repairs, dialect=DIALECTS[dialect]), feeds, calibration), feeds
        ).max()
        for repairs in ((), (ROUND,), (BIAS, ROUND))
    }
    assert errors[BIAS, ROUND] < 0.1 * errors[()]


def test_a_product_without_an_addition_is_left_as_it_is() -> None:
    model = make(ATTENTION, ATTENTION_SHAPES)
    feeds = draw(model)
    calibration = observe_channels(model, feeds)
    result = quantize(model, plan(BIAS, placement=Placement.OPERANDS), feeds, calibration)
    assert count_operators(result)["Add"] == count_operators(model)["Add"]
    assert "bo_corrected" in result.graph.initializers


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("m = MatMul(x, w)\n s = Add(m, b)\n y = Add(s, m)", (5,)),
        ("m = MatMul(x, w)\n y = Add(m, b)", (1,)),
        ("y = Gemm(x, w, b)", (3, 5)),
        ("y = Gemm(x, w, b)", (3, 1)),
    ],
)
def test_what_is_no_constant_per_channel_is_no_bias(body: str, shape: tuple[int, ...]) -> None:
    text = f"{HEADER} g (float[3, 8] x) => (float[3, 5] y) {{ {body} }}"
    model = prepare(fill(text, np.random.default_rng(0), w=(8, 5), b=shape))
    node = next(iter(model.graph))
    part = assign_part(node, DIALECTS["s8s8"], observable_tensors(model))
    weight = read_constant(node.inputs[1])
    assert part is not None
    assert weight is not None
    assert find_bias(node, part, weight) is None


def test_padding_counts_as_often_as_a_tap_reads_it() -> None:
    text = HEADER + "g (float[N, 2, 4, 5] x) => (float[N, 3, 4, 5] y) { y = Conv<pads = [1, 1, 1, 1]>(x, w) }"
    model = fill(text, np.random.default_rng(0), w=(3, 2, 3, 3))
    node = model.graph.node(0)
    layer = describe_layer(node)
    assert layer is not None
    assert node.inputs[0] is not None
    found = spread_channels(layer, node.inputs[0], np.array([1.0, 10.0]))[0].reshape(2, 3, 3)
    shares = np.outer([3 / 4, 1, 3 / 4], [4 / 5, 1, 4 / 5])
    np.testing.assert_allclose(found, [shares, 10 * shares])
    node.inputs[0].shape = ir.Shape(["N", 2, None, None])
    np.testing.assert_allclose(spread_channels(layer, node.inputs[0], np.array([1.0, 10.0]))[0][:9], 1)


def test_padding_is_corrected_exactly_where_images_are_even() -> None:
    text = HEADER + "g (float[N, 3, 6, 6] x) => (float[N, 8, A, B] y) { y = Conv<pads = [1, 1, 1, 1]>(x, w) }"
    model = prepare(fill(text, np.random.default_rng(0), w=(8, 3, 3, 3)))
    feeds = {"x": np.broadcast_to(np.array([2.0, -1.0, 3.0], np.float32)[:, None, None], (8, 3, 6, 6)).copy()}
    calibration = observe_channels(model, feeds)
    plain = find_mean_error(model, quantize(model, plan(), feeds, calibration), feeds)
    corrected = find_mean_error(model, quantize(model, plan(BIAS), feeds, calibration), feeds)
    assert corrected.max() < 0.01 * plain.max()


@pytest.mark.parametrize("method", [RangeMethod.MIN_MAX, RangeMethod.MSE])
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_each_repair_brings_a_network_nearer_to_the_float_one(dialect: str, method: RangeMethod) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model, 64)
    feeds = {"x": feeds["x"] + np.roll(feeds["x"], 1, axis=2) + 1}
    calibration = observe_channels(model, feeds)
    reference = run(model, feeds)[0]
    chosen = replace(DIALECTS[dialect], reduced_range=True)
    sqnr = {
        repairs: measure_sqnr(
            reference,
            run(
                weigh_alone(model, quantize(model, plan(*repairs, dialect=chosen, method=method), feeds, calibration)),
                feeds,
            )[0],
        )
        for repairs in ((), (BIAS,), (ROUND,), (BIAS, ROUND))
    }
    assert sqnr[()] + 1 < sqnr[BIAS,] < sqnr[BIAS, ROUND]
    assert sqnr[()] + 3 < sqnr[ROUND,]


def test_repairs_need_their_statistics() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    calibration = calibrate(model, draw(model), observable_tensors(model))
    for chosen in (plan(BIAS), plan(ROUND)):
        assert chosen.scheme is not None
        ranges = solve_ranges(calibration, chosen.scheme)
        with pytest.raises(UnsupportedPlan, match="without"):
            realise(model, chosen, calibration if BIAS not in chosen.scheme.repairs else None, ranges)


def test_layers_without_statistics_stay_as_they_were() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    calibration = calibrate(model, draw(model), observable_tensors(model))
    ranges = solve_ranges(calibration, U8S8_PLAN.scheme)
    plain = realise(model, U8S8_PLAN, calibration, ranges)
    for chosen in (plan(BIAS), plan(ROUND), plan(BIAS, ROUND)):
        assert ir.to_proto(realise(model, chosen, calibration, ranges, {})) == ir.to_proto(plain)


U8S8_PLAN = plan()


def test_channels_change_nothing_without_repairs_or_least_squares() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model)
    assert U8S8_PLAN.scheme is not None
    with_channels = observe_channels(model, feeds)
    without = calibrate(model, feeds, observable_tensors(model))
    ranges = solve_ranges(without, U8S8_PLAN.scheme)
    results = [realise(model, U8S8_PLAN, one, ranges) for one in (with_channels, without, None)]
    assert ir.to_proto(results[0]) == ir.to_proto(results[1]) == ir.to_proto(results[2])


def test_moments_are_asked_for_only_where_weights_are_rounded_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    assert list_moment_layers(model, plan(BIAS)) == ()
    assert list_moment_layers(model, Plan(Precision.FP32)) == ()
    layers = list_moment_layers(model, plan(ROUND))
    assert sorted((layer.tensor, layer.groups, layer.size) for layer in layers) == [
        ("a1", 16, 9), ("d1", 1, 16), ("f", 1, 24), ("p", 1, 144), ("x", 1, 27),
    ]  # fmt: skip
    kept = replace(plan(ROUND), overrides=((layers[0].node, Precision.FP32),))
    assert list_moment_layers(model, kept) == layers[1:]
    monkeypatch.setattr("assay.graph.layer_inputs.MOMENT_BYTES", 8 * 16 * 17 + 8 * 16 * 90)
    assert sorted(layer.tensor for layer in list_moment_layers(model, plan(ROUND))) == ["d1", "f", "x"]


def test_layers_that_share_an_input_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(ATTENTION, ATTENTION_SHAPES)
    monkeypatch.setattr("assay.graph.layer_inputs.MOMENT_BYTES", 2 * 8 * 16 * 17)
    assert len(list_moment_layers(model, plan(ROUND))) == 4


def test_few_vectors_are_not_rounded_by() -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model, 2)
    calibration = observe_channels(model, feeds)
    plain, rounded = (quantize(model, plan(*repairs), feeds, calibration) for repairs in ((), (ROUND,)))
    changed = {
        name
        for name, value in plain.graph.initializers.items()
        if value.const_value is not None
        and (other := rounded.graph.initializers[name].const_value) is not None
        and not np.array_equal(value.const_value.numpy(), other.numpy())
    }
    assert "w2_quantized" in changed  # nine inputs, hundreds of vectors
    assert "w5_quantized" not in changed  # 24 inputs, two vectors


def list_weights(model: ir.Model) -> dict[str, NDArray[np.generic]]:
    found = ((str(name), value.const_value) for name, value in model.graph.initializers.items())
    return {name: stored.numpy() for name, stored in found if stored is not None}


def test_what_was_rounded_for_one_plan_is_not_solved_again_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model, 64)
    calibration = observe_channels(model, feeds)
    solved = []

    def count(weights: Wide, scales: Wide, metric: Metric, largest: int, floor: Wide | None) -> tuple[Wide, Wide]:
        solved.append(weights.shape)
        return solve_rounding(weights, scales, metric, largest, floor)

    monkeypatch.setattr(repair_weights, "solve_rounding", count)
    rounded = RoundedWeights()

    def build(chosen: Plan, known: RoundedWeights, moments: Mapping[str, LayerMoments]) -> ir.Model:
        assert chosen.scheme is not None
        return realise(model, chosen, calibration, solve_ranges(calibration, chosen.scheme), moments, known)

    moments = observe_layers(model, feeds, plan(ROUND))
    first = build(plan(ROUND), rounded, moments)
    layers = len(solved)
    assert layers >= 4
    again = build(plan(ROUND), rounded, moments)
    kept = replace(plan(ROUND), overrides=((str(next(n.name for n in model.graph if n.op_type == "Conv")), FP32),))
    mixed = build(kept, rounded, moments)
    assert len(solved) == layers
    for found, expected in ((again, first), (mixed, build(kept, RoundedWeights(), moments))):
        ours, theirs = list_weights(found), list_weights(expected)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    # Other moments are another question.
    solved.clear()
    build(plan(ROUND), rounded, observe_layers(model, {"x": feeds["x"] * 2 + 1}, plan(ROUND)))
    assert len(solved) == layers


def test_remembered_weights_never_take_more_than_their_share() -> None:
    known = RoundedWeights(most_bytes=100)
    weights = [EncodedWeight(np.full(40, code, np.int8), np.ones((), np.float32), None) for code in range(3)]
    for index, weight in enumerate(weights):
        known.keep(bytes([index]), weight)
        known.find(bytes([0]))
    assert [known.find(bytes([index])) for index in range(3)] == [weights[0], None, weights[2]]
