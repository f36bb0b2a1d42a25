import numpy as np
import pytest
from quantize_samples import HEADER, draw
from repair_samples import (
    BLOCK,
    BLOCK_SHAPES,
    SEPARABLE,
    SEPARABLE_SHAPES,
    assert_same_function,
    build,
    find_group,
    list_scalable,
    spread_weights,
)

from assay.graph.channel_groups import list_groups
from assay.graph.channels import list_channel_axes
from assay.graph.layouts import Layout, reshape_layout

CONV = "Conv<kernel_shape = [1, 1]>"


def scramble(text: str, tensor: str, **shapes: tuple[int, ...]) -> None:
    """Scale a group by factors over seven decades and hold the outputs against those before."""
    model = build(text, shapes)
    feeds = draw(model, items=3)
    changed = model.clone()
    group = find_group(changed, tensor)
    spread_weights(changed, tensor, 10 ** np.random.default_rng(3).uniform(-3.5, 3.5, group.channels))
    assert_same_function(model, changed, feeds)


def test_axes_are_those_of_what_constant_weights_multiply() -> None:
    assert list_channel_axes(build(SEPARABLE, SEPARABLE_SHAPES)) == {"x": 1, "a1": 1, "d1": 1, "f": -1}
    assert list_channel_axes(build(BLOCK, BLOCK_SHAPES)) == {"n": -1, "oj": -1, "n2": -1, "z": -1}


def test_axes_of_a_transposed_operand() -> None:
    text = HEADER + "g (float[6, N] x) => (float[N, 2] y) { y = Gemm<transA = 1>(x, w) }"
    assert list_channel_axes(build(text, {"w": (6, 2)})) == {"x": -2}


def test_groups_of_a_chain_end_at_weights() -> None:
    model = build(SEPARABLE, SEPARABLE_SHAPES)
    assert list_scalable(model) == [{"a", "a1"}, {"d", "d1"}, {"p", "p1", "q", "f"}]
    group = find_group(model, "f")
    assert [port.node.op_type for port in (*group.writers, *group.readers)] == ["Conv", "Gemm"]


def test_a_transformer_scales_norms_and_values_but_not_keys_or_the_stream() -> None:
    found = list_scalable(build(BLOCK, BLOCK_SHAPES))
    assert {"n"} in found
    assert {"n2"} in found
    assert {"v", "v1", "vh", "vt", "o", "ot", "oj"} in found
    assert len(found) == 3


@pytest.mark.parametrize("tensor", ["n", "n2", "oj"])
def test_a_transformer_computes_the_same_when_scaled(tensor: str) -> None:
    scramble(BLOCK, tensor, **BLOCK_SHAPES)


CHAIN_SHAPES = {"w1": (6, 4, 1, 1), "b1": (6,), "w2": (3, 6, 1, 1)}
IMAGE = HEADER + "g (float[N, 4, 6, 6] x) => (float[N, 3, H, W] y) "
PASSING = {
    "PRelu": ("PRelu(a, s)", {"s": (6, 1, 1)}),
    "MaxPool": ("MaxPool<kernel_shape = [2, 2], pads = [1, 1, 0, 0]>(a)", {}),
    "AveragePool": ("AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)", {}),
    "Add": ("Add(a, s)", {"s": (6, 1, 1)}),
    "AddScalar": ("Add(a, s)", {"s": ()}),
    "SubFrom": ("Sub(s, a)", {"s": (1, 1, 6, 6)}),
    "Mul": ("Mul(a, s)", {"s": (1,)}),
    "MulImage": ("Mul(a, s)", {"s": (6, 6, 6)}),
    "Div": ("Div(a, s)", {"s": ()}),
    "Sum": ("Sum(a, a)", {}),
    "Max": ("Max(a, a)", {}),
    "MinChannels": ("Min(a, s)", {"s": (6, 1, 1)}),
    "MaxScalar": ("Max(s, a)", {"s": ()}),
    "Pad": ("Pad(a, p)", {}),
    "Resize": ('Resize<mode = "nearest">(a, , f)', {}),
    "Clip": ("Clip(a, zero)", {}),
    "Abs": ("Abs(a)", {}),
    "Concat": ("Concat<axis = 2>(a, a)", {}),
    "Gate": ("Mul(a, x1)", {}),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_factor_passes(kind: str) -> None:
    call, shapes = PASSING[kind]
    constants = "<int64[8] p = {0, 0, 1, 0, 0, 0, 2, 1}, float[4] f = {1, 1, 2, 3}, float zero = {0}>"
    body = f"{{ x1 = ReduceMean<axes = [1]>(x) a = {CONV}(x, w1, b1) b = {call} y = {CONV}(b, w2) }}"
    scramble(f"{IMAGE}{constants} {body}", "b", **CHAIN_SHAPES, **shapes)


@pytest.mark.parametrize(
    "call",
    [
        "Clip(a, zero, six)",
        "Sigmoid(a)",
        "Div(one, a)",
        "Pad(a, p, six)",
        "Concat<axis = 1>(a, a)",
        "Mul(a, a)",
        "Add(a, x2)",
        "Softmax<axis = 2>(a)",
        'Resize<mode = "nearest">(a, , f)',
        "Slice(a, from, to)",
    ],
)
def test_a_factor_does_not_pass(call: str) -> None:
    constants = (
        "<int64[8] p = {0, 0, 1, 0, 0, 0, 2, 1}, float[4] f = {1, 1.1, 1, 1}, float zero = {0}, float six = {6}, "
        "float one = {1}, int64[2] from = {0, 1}, int64[2] to = {9, 9}>"
    )
    width = {"Concat": 12, "Slice": 5}.get(call.partition("(")[0].partition("<")[0], 6)
    body = f"{{ x2 = {CONV}(x, v) z = Sigmoid(x2) a = {CONV}(x, w1, b1) b = {call} y = {CONV}(b, w2) }}"
    shapes = CHAIN_SHAPES | {"w2": (3, width, 1, 1), "v": (6, 4, 1, 1)}
    assert not any("a" in tensors for tensors in list_scalable(build(f"{IMAGE}{constants} {body}", shapes)))


@pytest.mark.parametrize(("product", "passes"), [("MatMul(a, z)", False), ("MatMul(z, a)", True)])
def test_a_product_of_activations_passes_what_it_does_not_sum_over(product: str, passes: bool) -> None:  # noqa: FBT001
    text = (
        HEADER
        + f"""g (float[N, 6, 6] x) => (float[N, 6, 2] y) {{
        z = Sigmoid(x) a = MatMul(x, w1) b = {product} y = MatMul(b, w2) }}"""
    )
    shapes = {"w1": (6, 6), "w2": (6, 2)}
    assert ({"a", "b"} in list_scalable(build(text, shapes))) is passes
    if passes:
        scramble(text, "b", **shapes)


def test_a_tensor_that_anybody_else_reads_keeps_its_scale() -> None:
    for reader in ("z = Sigmoid(b)", "z = Identity(a)"):
        text = (
            HEADER
            + f"""g (float[N, 4, 6, 6] x) => (float[N, 3, 6, 6] y, float[N, 6, 6, 6] z) {{
            a = {CONV}(x, w1, b1) b = Relu(a) y = {CONV}(b, w2) {reader} }}"""
        )
        assert not list_groups(build(text, CHAIN_SHAPES).graph)


def test_residual_sums_scale_together() -> None:
    text = (
        HEADER
        + f"""g (float[N, 4, 6, 6] x) => (float[N, 3, 6, 6] y) {{
        a = {CONV}(x, w1, b1) b = Relu(a) c = {CONV}(b, w3) s = Add(b, c) t = Relu(s) y = {CONV}(t, w2) }}"""
    )
    shapes = CHAIN_SHAPES | {"w3": (6, 6, 1, 1)}
    assert list_scalable(build(text, shapes)) == [{"a", "b", "c", "s", "t"}]
    scramble(text, "t", **shapes)


def test_grouped_and_transposed_convolutions() -> None:
    text = (
        HEADER
        + """g (float[N, 4, 6, 6] x) => (float[N, 2, 8, 8] y) {
        a = Conv<kernel_shape = [1, 1], group = 2>(x, w1, b1)
        b = Relu(a)
        c = Conv<kernel_shape = [1, 1], group = 3>(b, w2)
        d = LeakyRelu(c)
        e = ConvTranspose<kernel_shape = [2, 2], group = 3>(d, w3, b3)
        f = Relu(e)
        y = ConvTranspose<kernel_shape = [2, 2]>(f, w4) }"""
    )
    shapes = {
        "w1": (6, 2, 1, 1), "b1": (6,), "w2": (9, 2, 1, 1), "w3": (9, 2, 2, 2), "b3": (6,), "w4": (6, 2, 2, 2),
    }  # fmt: skip
    assert list_scalable(build(text, shapes)) == [{"a", "b"}, {"c", "d"}, {"e", "f"}]
    for tensor in ("b", "d", "f"):
        scramble(text, tensor, **shapes)


def test_a_flattened_image_repeats_each_channel() -> None:
    text = (
        HEADER
        + f"""g (float[N, 4, 6, 6] x) => (float[N, 2] y) {{
        a = {CONV}(x, w1, b1) b = Relu(a) f = Flatten(b) y = Gemm(f, w2, c) }}"""
    )
    shapes = {"w1": (6, 4, 1, 1), "b1": (6,), "w2": (216, 2), "c": (1, 2)}
    assert find_group(build(text, shapes), "f").readers[0].layout == Layout((1,), 36)
    scramble(text, "f", **shapes)


def test_products_with_constants_take_factors_up() -> None:
    text = (
        HEADER
        + """g (float[N, 5, 6] x) => (float[N, 5, 2] y) {
        a = Sigmoid(x) b = Mul(a, s) c = Div(b, t) d = Add(c, u) y = MatMul(d, w) }"""
    )
    shapes = {"s": (6,), "vart": (1, 1, 6), "u": (6,), "w": (6, 2)}
    text = text.replace("(b, t)", "(b, vart)")
    assert list_scalable(build(text, shapes)) == [{"c", "d"}]
    scramble(text, "d", **shapes)


def test_a_shared_weight_is_copied_for_the_nodes_that_scale_it() -> None:
    text = (
        HEADER
        + """g (float[N, 6] x) => (float[N, 6] y, float[N, 6] z) {
        a = MatMul(x, w) b = Relu(a) y = MatMul(b, v) z = MatMul(x, w) }"""
    )
    scramble(text, "b", w=(6, 6), v=(6, 6))
    tied = text.replace("(b, v)", "(b, w)")
    scramble(tied, "b", w=(6, 6))


def test_an_instance_norm_writes_channels() -> None:
    text = (
        HEADER
        + f"""g (float[N, 6, 6, 6] x) => (float[N, 3, 6, 6] y) {{
        a = InstanceNormalization(x, s, b1) b = Relu(a) y = {CONV}(b, w2) }}"""
    )
    scramble(text, "b", s=(6,), b1=(6,), w2=(3, 6, 1, 1))


@pytest.mark.parametrize(
    ("layout", "source", "target", "found"),
    [
        (Layout((1,)), (None, 8, 3, 3), (None, 72), Layout((1,), 9)),
        (Layout((1,), 9), (None, 72), (None, 8, 3, 3), Layout((1,))),
        (Layout((2,)), (None, 5, 12), (None, 12), Layout((1,))),
        (Layout((2,)), (None, 5, 12), (None, 5, 3, 4), Layout((2, 3))),
        (Layout((2, 3)), (None, 5, 3, 4), (None, 5, 12), Layout((2,))),
        (Layout((1, 3)), (None, 3, 5, 4), (None, 60), None),
        (Layout((1,)), (None, 8, None, None), (None, None), None),
        (Layout((1,)), (None, 8, 9), (None, 9, 8), Layout((1, 2), 9)),
        (Layout((1,)), (None, 8), (None, 4, 2), Layout((1, 2))),
        (Layout((1,)), (4, 8), (8, 4), None),
    ],
)
def test_reshapes_keep_channels_or_are_refused(
    layout: Layout, source: tuple[int | None, ...], target: tuple[int | None, ...], found: Layout | None
) -> None:
    assert reshape_layout(layout, source, target) == found
