"""Scaling channels keeps the function of random chains of layers, whatever stands in them."""

import numpy as np
import onnx_ir as ir
import pytest
from graph_samples import fill
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantize_samples import HEADER, draw
from repair_samples import assert_same_function, observe_channels

from assay.graph.channel_groups import list_groups
from assay.graph.equalise import equalise
from assay.graph.outliers import scale_outliers
from assay.graph.prepare import infer_shapes, name_nodes
from assay.graph.rescale import rescale_group
from assay.graph.smooth import smooth

CHANNELS = 6
POINTWISE = "Conv<kernel_shape = [1, 1]>"
IMAGE_LAYERS = {
    "conv": f"{POINTWISE}(IN, w#, b#)",
    "bare": f"{POINTWISE}(IN, w#)",
    "depthwise": "Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 6>(IN, d#, b#)",
    "grouped": "Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 2>(IN, g#, b#)",
    "transposed": "ConvTranspose<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 2>(IN, t#, b#)",
    "relu": "Relu(IN)",
    "leaky": "LeakyRelu<alpha = 0.2>(IN)",
    "prelu": "PRelu(IN, c#)",
    "six": "Clip(IN, zero, six)",
    "sigmoid": "Sigmoid(IN)",
    "maxpool": "MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(IN)",
    "averagepool": "AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(IN)",
    "shift": "Add(IN, c#)",
    "scale": "Mul(IN, c#)",
    "halve": "Mul(IN, half)",
    "residual": "Add(IN, OLD)",
    "gate": "Mul(IN, OLD)",
    "norm": "BatchNormalization(IN, b#, b#, b#, var#)",
}
ROW_LAYERS = {
    "gemm": "Gemm<transB = 1, alpha = 0.5, beta = 2.0>(IN, m#, b#)",
    "plain": "Gemm(IN, m#)",
    "matmul": "MatMul(IN, m#)",
    "relu": "Relu(IN)",
    "shift": "Add(IN, b#)",
    "scale": "Mul(IN, b#)",
    "norm": "LayerNormalization(IN, b#, b#)",
    "residual": "Add(IN, OLD)",
    "gate": "Mul(OLD, IN)",
}
SHAPES = {
    "w": (6, 6, 1, 1), "b": (6,), "d": (6, 1, 3, 3), "g": (6, 3, 3, 3), "t": (6, 3, 3, 3), "c": (6, 1, 1),
    "m": (6, 6), "var": (6,),
}  # fmt: skip


def chain(layers: list[str], calls: dict[str, str], start: int, value: str) -> tuple[list[str], str]:
    """Statements of a chain; OLD is what the layer before the one before gave."""
    lines, old = [], value
    for number, layer in enumerate(layers, start):
        call = calls[layer].replace("IN", value).replace("OLD", old).replace("#", str(number))
        lines.append(f"v{number} = {call}")
        old, value = value, f"v{number}"
    return lines, value


def build_chain(image: list[str], rows: list[str], seed: int) -> ir.Model:
    """A random network whose output channels of every weight are spread over three decades."""
    front, value = chain(image, IMAGE_LAYERS, 1, "x")
    back, last = chain(rows, ROW_LAYERS, len(image) + 1, "f")
    body = "\n".join([*front, f"p = GlobalAveragePool({value})", "f = Flatten(p)", *back, f"y = MatMul({last}, m0)"])
    constants = "<float zero = {0}, float six = {6}, float half = {-0.5}>"
    text = f"{HEADER} g (float[N, 6, 5, 5] x) => (float[N, 6] y) {constants} {{ {body} }}"
    used = {
        f"{stem}{number}": shape
        for number in range(len(image) + len(rows) + 1)
        for stem, shape in SHAPES.items()
        if any(f"{stem}{number}{end}" in body for end in ",)")
    }
    rng = np.random.default_rng(seed)
    model = infer_shapes(fill(text, rng, **used))
    name_nodes(model)
    for name, constant in model.graph.initializers.items():
        if name[0] in "wdgtm" and constant.const_value is not None:
            array = constant.const_value.numpy()
            spread = 10 ** rng.uniform(-1.5, 1.5, (len(array), *[1] * (array.ndim - 1)))
            constant.const_value = ir.tensor((array * spread / 10).astype(np.float32), name=name)
    return model


@pytest.mark.parametrize("way", ["random", "equalise", "outliers", "smooth"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    image=st.lists(st.sampled_from(sorted(IMAGE_LAYERS)), max_size=7),
    rows=st.lists(st.sampled_from(sorted(ROW_LAYERS)), max_size=5),
    seed=st.integers(0, 1000),
)
def test_the_function_stays(way: str, image: list[str], rows: list[str], seed: int) -> None:
    model = build_chain(image, rows, seed)
    feeds = draw(model, items=3, seed=seed)
    if way == "random":
        changed = model.clone()
        rng = np.random.default_rng(seed)
        for group in list_groups(changed.graph):
            rescale_group(group, 10 ** rng.uniform(-2, 2, group.channels))
    elif way == "equalise":
        changed = equalise(model, observe_channels(model, feeds) if seed % 2 else None, per_channel=seed % 3 > 0).model
    else:
        rewrite = scale_outliers if way == "outliers" else smooth
        changed = rewrite(model, observe_channels(model, feeds)).model
    # Every power of two is exact; other factors round each weight once, which sums that cancel can magnify.
    assert_same_function(model, changed, feeds, 1e-4 if way == "random" else 1e-5)
