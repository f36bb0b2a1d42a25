"""What each repair rescues, and that it changes nothing else."""

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import run
from quantize_samples import HEADER, RESIDUAL, RESIDUAL_SHAPES, draw
from repair_samples import (
    BLOCK,
    BLOCK_SHAPES,
    PER_TENSOR,
    PERCEPTRON,
    PERCEPTRON_SHAPES,
    SEPARABLE,
    SEPARABLE_SHAPES,
    assert_same_function,
    build,
    find_group,
    measure_quantized,
    observe,
    observe_channels,
    read_weight,
    repair,
    set_weight,
    spread_weights,
)

from assay.core.calibration import Calibration
from assay.core.precision import Repair
from assay.graph.channel_groups import list_groups
from assay.graph.channel_noise import estimate_noise, read_readings, read_writings
from assay.graph.equalise import equalise
from assay.graph.outliers import find_fence, limit_channels, scale_outliers
from assay.graph.repair import list_repairs, repair_model
from assay.graph.rescale import rescale_group, rescale_statistics
from assay.graph.smooth import smooth

BADLY_SCALED = [
    (SEPARABLE, SEPARABLE_SHAPES, ["a1", "d1", "p1"]),
    (PERCEPTRON, PERCEPTRON_SHAPES, ["a2", "c1"]),
]


def make_badly_scaled(text: str, shapes: dict[str, tuple[int, ...]], tensors: list[str]) -> ir.Model:
    """A network whose channels differ by a factor of a thousand, by scales that cancel out."""
    model, rng = build(text, shapes), np.random.default_rng(5)
    for tensor in tensors:
        spread_weights(model, tensor, 10 ** rng.uniform(-1.5, 1.5, find_group(model, tensor).channels))
    return model


@pytest.mark.parametrize(("text", "shapes", "tensors"), BADLY_SCALED, ids=["separable", "perceptron"])
def test_equalisation_rescues_one_scale_for_each_weight(
    text: str, shapes: dict[str, tuple[int, ...]], tensors: list[str]
) -> None:
    model = make_badly_scaled(text, shapes, tensors)
    feeds = draw(model, items=32)
    repaired = repair(model, feeds, Repair.EQUALISE, per_channel=False)
    assert_same_function(model, repaired, feeds)
    assert measure_quantized(model, model, feeds, PER_TENSOR) < 12
    assert measure_quantized(model, repaired, feeds, PER_TENSOR) > 25
    assert measure_quantized(model, equalise(model).model, feeds, PER_TENSOR) > 20


@pytest.mark.parametrize(("text", "shapes", "tensors"), BADLY_SCALED, ids=["separable", "perceptron"])
def test_equalisation_rescues_one_scale_for_each_activation(
    text: str, shapes: dict[str, tuple[int, ...]], tensors: list[str]
) -> None:
    model = make_badly_scaled(text, shapes, tensors)
    feeds = draw(model, items=32)
    before = measure_quantized(model, model, feeds)
    assert measure_quantized(model, repair(model, feeds, Repair.EQUALISE), feeds) > before + 6


def test_an_even_network_stays_as_it_is() -> None:
    model = build(SEPARABLE, SEPARABLE_SHAPES)
    feeds = draw(model, items=32)
    before = measure_quantized(model, model, feeds)
    assert measure_quantized(model, repair(model, feeds, Repair.EQUALISE), feeds) > before - 1
    assert not scale_outliers(model, observe_channels(model, feeds)).factors


def test_equalisation_converges() -> None:
    once = equalise(make_badly_scaled(*BADLY_SCALED[0])).model
    again = equalise(once)
    assert all((np.abs(np.log2(factor)) <= 1).all() for factor in again.factors.values())


def test_equalisation_leaves_a_clip_at_six_alone() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 6, 6] x) => (float[N, 3, 6, 6] y) <float zero = {0}, float six = {6}> {
        a = Conv<kernel_shape = [1, 1]>(x, w1, b1) b = Clip(a, zero, six) y = Conv<kernel_shape = [1, 1]>(b, w2) }"""
    )
    model = build(text, {"w1": (6, 4, 1, 1), "b1": (6,), "w2": (3, 6, 1, 1)})
    assert list_repairs(model) == (Repair.BIAS, Repair.ROUND)
    assert not equalise(model).factors


def test_a_channel_of_small_weights_and_a_large_bias_is_not_blown_up() -> None:
    model = build(SEPARABLE, SEPARABLE_SHAPES)
    weight, bias = read_weight(model, "w1").copy(), read_weight(model, "b1").copy()
    weight[0] *= 1e-4
    bias[0] = 3
    set_weight(model, "w1", weight)
    set_weight(model, "b1", bias)
    feeds = draw(model, items=32)
    blind = measure_quantized(model, equalise(model).model, feeds)
    assert measure_quantized(model, repair(model, feeds, Repair.EQUALISE), feeds) > blind + 10


def make_outlying(text: str, shapes: dict[str, tuple[int, ...]], tensor: str, size: float) -> ir.Model:
    """A network with two channels of a tensor far beyond the others, which its readers weigh little."""
    model = build(text, shapes)
    factor = np.ones(find_group(model, tensor).channels)
    factor[[1, 5]] = size, size / 2
    spread_weights(model, tensor, factor)
    return model


def test_outlying_channels_are_brought_back() -> None:
    model = make_outlying(SEPARABLE, SEPARABLE_SHAPES, "p1", 200)
    feeds = draw(model, items=32)
    scaled = scale_outliers(model, observe_channels(model, feeds))
    assert_same_function(model, scaled.model, feeds)
    assert set(scaled.factors) == {"p", "p1", "q", "f"}
    assert np.flatnonzero(scaled.factors["f"] != 1).tolist() == [1, 5]
    before = measure_quantized(model, model, feeds)
    assert measure_quantized(model, scaled.model, feeds) > before + 10


@pytest.mark.parametrize("whole", [True, False])
def test_estimated_noise_does_not_depend_on_the_scales_of_the_next_tensor(whole: bool) -> None:  # noqa: FBT001
    model = build(SEPARABLE, SEPARABLE_SHAPES)
    feeds = draw(model, items=8)
    found = []
    for spread in (np.zeros(16), np.random.default_rng(0).integers(-6, 7, 16)):
        scaled = model.clone()
        spread_weights(scaled, "d1", np.exp2(spread))
        group, channels = find_group(scaled, "a1"), observe_channels(scaled, feeds)
        readings = read_readings(group, channels, list_groups(scaled.graph))
        assert readings is not None
        found.append(estimate_noise(readings, np.ones(16), None))
        assert estimate_noise(readings, np.ones(16), read_writings(group, channels) if whole else None) >= found[-1]
    assert found[0] == pytest.approx(found[1])


def test_outliers_are_brought_back_as_far_as_it_pays() -> None:
    model = build(SEPARABLE, SEPARABLE_SHAPES)
    weight = read_weight(model, "w3").copy()
    weight[1] *= 500  # read by weights as large as the others', which scaling up would cost their digits
    set_weight(model, "w3", weight)
    feeds = draw(model, items=32)
    channels = observe_channels(model, feeds)
    readings = read_readings(find_group(model, "f"), channels)
    assert readings is not None
    reach = np.maximum(-channels["f"].low, channels["f"].high)
    ways = [limit_channels(reach, reach.max() / 2**exponent) for exponent in range(12)]
    best = ways[int(np.argmin([estimate_noise(readings, way) for way in ways]))]
    found = scale_outliers(model, channels).factors.get("f", np.ones(24))
    assert abs(np.log2(found[1] / best[1])) <= 1
    assert estimate_noise(readings, found) <= 1.3 * estimate_noise(readings, best)


def test_outliers_that_no_weight_can_take_up_stay() -> None:
    model = build(RESIDUAL, RESIDUAL_SHAPES)
    weight = read_weight(model, "w2").copy()
    weight[3] *= 1000
    set_weight(model, "w2", weight)
    feeds = draw(model)
    assert "d1" not in scale_outliers(model, observe_channels(model, feeds)).factors


@pytest.mark.parametrize(
    ("reach", "outlying"),
    [([1, 1.1, 0.9, 1, 1.2, 30], True), ([1, 1.1, 0.9, 1, 1.2, 3], False), ([0, 0, 0, 0], False),
     ([0, 0, 0, 1, 1, 9], False), ([1, 2, 4, 8, 16, 32, 64], False), ([1, 1, 1, 1, 1, 1e6], True)],
)  # fmt: skip
def test_the_fence_is_robust(reach: list[float], outlying: bool) -> None:  # noqa: FBT001 - a table's column
    fence = find_fence(np.array(reach))
    assert (fence is not None) is outlying
    assert fence is None or 1.2 < fence < max(reach)


@pytest.mark.parametrize("chosen", [Repair.SMOOTH, Repair.OUTLIERS])
def test_a_transformer_with_outliers_behind_its_norm_is_rescued(chosen: Repair) -> None:
    model = make_outlying(BLOCK, BLOCK_SHAPES, "n", 150)
    feeds = draw(model, items=16)
    repaired = repair(model, feeds, chosen)
    assert_same_function(model, repaired, feeds)
    # The block's own share of its output: without the residual stream that quantization leaves alone.
    before, after = (measure_quantized(expose_branch(model), expose_branch(one), feeds) for one in (model, repaired))
    assert after > before + 6


def expose_branch(model: ir.Model) -> ir.Model:
    """The model up to the output of the attention."""
    branch = model.clone()
    value = next(node.outputs[0] for node in branch.graph if node.outputs[0].name == "r")
    branch.graph.outputs[:] = [value]
    return branch


def test_smoothing_leaves_even_activations_alone() -> None:
    model = build(BLOCK, BLOCK_SHAPES)
    set_weight(model, "gain", np.ones(16))
    set_weight(model, "shift", np.zeros(16))
    for name in ("wq", "wk", "wv"):
        weight = read_weight(model, name).copy()
        set_weight(model, name, weight * (1 + 3 * (np.arange(16) % 2))[:, None])
    assert "n" not in smooth(model, observe_channels(model, draw(model, items=32)), 0.0).factors


def test_smoothing_takes_the_largest_of_all_weights_that_share_an_input() -> None:
    model = make_outlying(BLOCK, BLOCK_SHAPES, "n", 40)
    feeds = draw(model)
    channels = observe_channels(model, feeds)
    smoothed = smooth(model, channels)
    reach = np.maximum(-channels["n"].low, channels["n"].high)
    weight = np.max([np.abs(read_weight(model, name)).max(axis=1) for name in ("wq", "wk", "wv")], axis=0)
    exponent = 0.5 * np.log2(weight) - 0.5 * np.log2(reach)
    np.testing.assert_array_equal(smoothed.factors["n"], np.exp2(np.rint(exponent - exponent.mean())))
    for name in ("wq", "wk"):
        scaled = read_weight(model, name) / smoothed.factors["n"][:, None]
        np.testing.assert_array_equal(read_weight(smoothed.model, name), scaled.astype(np.float32))


def test_smoothing_changes_nothing_where_nothing_takes_the_factor_up() -> None:
    text = HEADER + "g (float[N, 6] x) => (float[N, 4] y) { a = Tanh(x) y = MatMul(a, w) }"
    model = build(text, {"w": (6, 4)})
    assert not smooth(model, observe_channels(model, draw(model))).factors


def test_repairs_follow_one_another_on_scaled_statistics() -> None:
    model = make_outlying(PERCEPTRON, PERCEPTRON_SHAPES, "c1", 300)
    feeds = draw(model, items=32)
    repaired = repair(model, feeds, *Repair)
    assert_same_function(model, repaired, feeds)
    first = equalise(model, observe_channels(model, feeds))
    known = {
        name: rescale_statistics(one, first.factors[name]) if name in first.factors else one
        for name, one in observe_channels(model, feeds).items()
    }
    for name, found in observe_channels(first.model, feeds).items():
        np.testing.assert_allclose(known[name].low, found.low, rtol=1e-6)
        np.testing.assert_allclose(known[name].total_squares, found.total_squares, rtol=1e-6)


def test_the_model_before_is_left_alone() -> None:
    model = make_badly_scaled(*BADLY_SCALED[0])
    proto = ir.to_proto(model).SerializeToString()
    feeds = draw(model, items=8)
    repair(model, feeds, *Repair)
    assert ir.to_proto(model).SerializeToString() == proto


def test_without_statistics_of_channels_only_weights_are_evened_out() -> None:
    model = make_badly_scaled(*BADLY_SCALED[0])
    blind = Calibration({}, "", 0)
    same = repair_model(model, (Repair.OUTLIERS, Repair.SMOOTH, Repair.BIAS), blind)
    assert ir.to_proto(same) == ir.to_proto(model)
    feeds = draw(model, items=8)
    assert_same_function(model, repair_model(model, (Repair.EQUALISE,), blind), feeds)


def test_only_repairs_that_can_change_a_model_are_listed() -> None:
    convolutional = (Repair.EQUALISE, Repair.OUTLIERS, Repair.BIAS, Repair.ROUND)
    assert list_repairs(build(SEPARABLE, SEPARABLE_SHAPES)) == convolutional
    assert list_repairs(build(PERCEPTRON, PERCEPTRON_SHAPES)) == tuple(Repair)
    assert list_repairs(build(HEADER + "g (float[N, 2] x) => (float[N, 2] y) { y = Relu(x) }", {})) == ()
    norm = HEADER + "g (float[N, 4] x) => (float[N, 2] y) { n = LayerNormalization(x, s, t) y = MatMul(n, w) }"
    listed = list_repairs(build(norm, {"s": (4,), "t": (4,), "w": (4, 2)}))
    assert listed == (Repair.OUTLIERS, Repair.SMOOTH, Repair.BIAS, Repair.ROUND)


def test_factors_that_would_overflow_are_refused() -> None:
    model = build(PERCEPTRON, PERCEPTRON_SHAPES)
    before = ir.to_proto(model)
    assert not rescale_group(find_group(model, "a2"), np.full(32, 1e39))
    assert not rescale_group(find_group(model, "a2"), np.full(32, 1e-38))
    assert ir.to_proto(model) == before


def test_powers_of_two_change_no_bit() -> None:
    model = make_badly_scaled(*BADLY_SCALED[0])
    feeds = draw(model, items=8)
    repaired = repair(model, feeds, *Repair)
    assert repaired is not model
    np.testing.assert_array_equal(run(repaired, feeds)[0], run(model, feeds)[0])
    assert observe(repaired, feeds).tensors["a1"].high != observe(model, feeds).tensors["a1"].high
