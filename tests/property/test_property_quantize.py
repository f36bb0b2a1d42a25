import numpy as np
from graph_samples import fill, run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from quantize_samples import DIALECTS, HEADER, calibrate, measure_sqnr, solve

from assay.core.calibration import TensorRange
from assay.core.plan import Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod
from assay.graph.prepare import prepare
from assay.graph.quantize import insert_qdq, list_quantized
from assay.graph.scales import encode_activation, encode_weight

LIMIT = st.floats(2.0**-100, 2.0**100, width=32)
Floats = NDArray[np.float32]


@settings(deadline=None)
@given(LIMIT, LIMIT, st.sampled_from(IntegerFormat), st.booleans(), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_activation_inside_the_range_is_off_by_half_a_step_at_most(
    low: float,
    high: float,
    activation: IntegerFormat,
    symmetric: bool,  # noqa: FBT001 drawn
    shares: list[float],
) -> None:
    encoding = encode_activation(TensorRange(-low, high), activation, symmetric)
    scale = float(encoding.scale)
    x = -low + np.asarray(shares) * (high + low)
    codes = np.clip(np.rint(x / scale) + encoding.zero_point, activation.lowest, activation.highest)
    assert np.abs((codes - encoding.zero_point) * scale - x).max() <= scale * 0.501
    assert activation.lowest <= encoding.zero_point <= activation.highest


@settings(deadline=None)
@given(
    arrays(np.float32, (3, 7), elements=st.floats(-(2.0**90), 2.0**90, width=32)),
    st.sampled_from([0, 1, None]),
    st.sampled_from([64, 127]),
)
def test_a_weight_is_off_by_half_a_step_at_most(weight: Floats, axis: int | None, largest: int) -> None:
    encoded = encode_weight(weight, axis, RangeMethod.MIN_MAX, largest, np.zeros(1))
    scale = encoded.scale.astype(np.float64)
    scale = scale[:, None] if axis == 0 else scale
    assert (np.abs(encoded.codes * scale - weight) <= 0.501 * scale).all()
    assert np.abs(encoded.codes).max() <= largest


OPERATORS = [
    "Relu({})",
    "MaxPool<kernel_shape=[2,2]>({})",
    "Conv({}, w{})",
    "Add({}, {})",
    "Transpose<perm=[0,1,3,2]>({})",
    "Sigmoid({})",
    "Tanh({})",
    "Concat<axis=1>({}, {})",
    "AveragePool<kernel_shape=[1,2]>({})",
]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[str, dict[str, tuple[int, ...]]]:
    """A chain with random links to earlier tensors of the same shape."""
    tensors = [("x", (2, 9, 9))]
    lines, shapes = [], {}
    for number in range(draw(st.integers(1, 9))):
        name = f"t{number}"
        source, (channels, height, width) = draw(st.sampled_from(tensors[-3:]))
        kind = draw(st.sampled_from(OPERATORS))
        partner = draw(st.sampled_from([each for each, shape in tensors if shape == (channels, height, width)]))
        if kind.startswith("Conv"):
            lines.append(f"{name} = {kind.format(source, number)}")
            shapes[f"w{number}"] = (3, channels, 1, 1)
            shape = (3, height, width)
        elif kind.count("{}") == 2:
            lines.append(f"{name} = {kind.format(source, partner)}")
            shape = (2 * channels, height, width) if kind.startswith("Concat") else (channels, height, width)
        else:
            lines.append(f"{name} = {kind.format(source)}")
            shape = (channels, height, width)
            if kind.startswith("MaxPool"):
                shape = (channels, height - 1, width - 1)
            elif kind.startswith("Average"):
                shape = (channels, height, width - 1)
            elif kind.startswith("Transpose"):
                shape = (channels, width, height)
        if min(shape) < 3 and min(shape[1:]) < 3:
            lines.pop()
            shapes.pop(f"w{number}", None)
            continue
        tensors.append((name, shape))
    last = tensors[-1][0]
    lines.append(f"y = Conv({last}, wy)")
    shapes["wy"] = (2, tensors[-1][1][0], 1, 1)
    body = "\n".join(lines)
    return f"{HEADER} g (float[N, 2, 9, 9] x) => (float[N, 2, A, B] y) {{ {body} }}", shapes


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(sorted(DIALECTS)), st.sampled_from(Placement))
def test_any_graph_quantizes_to_nearly_itself(
    graph: tuple[str, dict[str, tuple[int, ...]]], dialect: str, placement: Placement
) -> None:
    text, shapes = graph
    model = prepare(fill(text, np.random.default_rng(0), **shapes))
    scheme = Scheme(DIALECTS[dialect], placement, RangeMethod.MIN_MAX)
    feeds = {"x": np.random.default_rng(1).standard_normal((4, 2, 9, 9)).astype(np.float32)}
    result = insert_qdq(model, scheme, solve(model, scheme, feeds))
    reference, value = run(model, feeds)[0], run(result, feeds)[0]
    assert measure_sqnr(reference, value) > 15
    needed = list_quantized(model, scheme)
    paired = {str(node.inputs[0].name) for node in result.graph if node.op_type == "QuantizeLinear"}
    assert bool(needed) == bool(paired)
    assert calibrate(model, feeds, needed).tensors.keys() == needed
