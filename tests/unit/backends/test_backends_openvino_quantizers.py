from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from openvino_models import Quantizer

from assay.backends.openvino.adapter import OpenVinoBackend
from assay.backends.openvino.quantizers import fuse_pairs
from assay.backends.openvino.signs import find_lost_signs, has_open_signs
from assay.backends.openvino.vendor import load_core, read_capabilities
from assay.core.audit import ExecutionAudit
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import IntegerFormat, Placement, Precision, RangeMethod
from assay.core.target import Target

TARGET = Target("openvino", batch=2)
CHANNELS = 16
STEP = 4 / 127
Body = Callable[[Quantizer, str], tuple[str, int]]

pytestmark = pytest.mark.skipif("INT8" not in read_capabilities("cpu"), reason="OpenVINO has no INT8 on this CPU")


def convolve(net: Quantizer, x: str, kernel: int = 1, channels: int = CHANNELS, **attributes: object) -> str:
    weight = net.stored_weight(CHANNELS, channels, kernel, kernel)
    return net.add("Conv", x, weight, pads=[kernel // 2] * 4, **attributes)


def write(path: Path, body: Body, activation: type[np.generic] = np.int8) -> Path:
    """The body between a quantized input and a convolution."""
    net = Quantizer(activation, np.int8)
    y, channels = body(net, net.pair("x"))
    net.add("Conv", y, net.stored_weight(CHANNELS, channels, 1, 1), outputs=["y"])
    return net.save(path, {"x": ["n", CHANNELS, 8, 8]}, {"y": ["n", CHANNELS, "h", "w"]})


def make_plan(activation: type[np.generic]) -> Plan:
    signed = activation is np.int8
    dialect = IntegerDialect(IntegerFormat.S8 if signed else IntegerFormat.U8, symmetric=signed)
    return Plan(Precision.INT8, scheme=Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX))


def draw() -> np.ndarray:
    return np.random.default_rng(7).normal(0, 2, (2, CHANNELS, 8, 8)).astype(np.float32)


def evaluate(model: Path, x: np.ndarray) -> np.ndarray:
    """What the model means: node by node, nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def run(model: Path, x: np.ndarray, activation: type[np.generic] = np.int8) -> tuple[np.ndarray, ExecutionAudit]:
    built = model.with_suffix(".built")
    built.mkdir()
    OpenVinoBackend().build(model, built, make_plan(activation), TARGET)
    model.unlink()  # the built folder is all that opens
    with OpenVinoBackend().open(built, TARGET) as session:
        return session.run({"x": x})["y"], session.executed({"x": x})


def make_stem(net: Quantizer, x: str) -> str:
    return net.pair(net.add("Relu", convolve(net, x, 3)))


def shortcut(net: Quantizer, x: str) -> tuple[str, int]:
    """One tensor whose two readers are 1x1 convolutions of a stride, as at the start of a stage of a ResNet."""
    stem = make_stem(net, x)
    both = [net.pair(convolve(net, stem, strides=[2, 2])) for _ in range(2)]
    return net.pair(net.add("Add", *both)), CHANNELS


def downsample(net: Quantizer, x: str) -> tuple[str, int]:
    return net.pair(convolve(net, make_stem(net, x), strides=[2, 2])), CHANNELS


@pytest.mark.parametrize("activation", [np.uint8, np.int8])
@pytest.mark.parametrize("body", [shortcut, downsample])
def test_strided_shortcuts_run_on_integers(tmp_path: Path, body: Body, activation: type[np.generic]) -> None:
    model = write(tmp_path / "m.onnx", body, activation)
    x = draw()
    expected = evaluate(model, x)
    got, audit = run(model, x, activation)
    assert audit.shares()[Precision.INT8] == 1.0, audit.nodes
    assert np.abs(got - expected).max() < STEP


def plain(net: Quantizer, x: str) -> tuple[str, int]:
    return net.pair(net.add("Concat", *(net.pair(convolve(net, x)) for _ in range(2)), axis=1)), 2 * CHANNELS


def own_ranges(net: Quantizer, x: str) -> tuple[str, int]:
    return net.pair(net.add("Concat", *(net.pair(convolve(net, x), s) for s in (2, 6)), axis=1)), 2 * CHANNELS


def bare(net: Quantizer, x: str) -> tuple[str, int]:
    """Nothing quantizes the result."""
    return net.add("Concat", *(net.pair(convolve(net, x)) for _ in range(2)), axis=1), 2 * CHANNELS


def floats(net: Quantizer, x: str) -> tuple[str, int]:
    """Only the result is quantized."""
    return net.pair(net.add("Concat", *(convolve(net, x) for _ in range(2)), axis=1)), 2 * CHANNELS


def pooled(net: Quantizer, x: str) -> tuple[str, int]:
    pool = net.add("MaxPool", net.pair(convolve(net, x)), kernel_shape=[3, 3], pads=[1] * 4)
    return net.pair(net.add("Concat", pool, net.pair(convolve(net, x)), axis=1)), 2 * CHANNELS


def nested(net: Quantizer, x: str) -> tuple[str, int]:
    inner, channels = plain(net, x)
    return net.pair(net.add("Concat", inner, net.pair(convolve(net, x)), axis=1)), channels + CHANNELS


def also_read(net: Quantizer, x: str) -> tuple[str, int]:
    """A tensor that a convolution reads too, and one that passed it."""
    first = net.pair(convolve(net, x))
    return net.pair(net.add("Concat", first, net.pair(convolve(net, first, 3)), axis=1)), 2 * CHANNELS


@pytest.mark.parametrize("body", [plain, own_ranges, bare, floats, pooled, nested, also_read])
def test_concats_of_signed_codes_keep_negative_values(tmp_path: Path, body: Body) -> None:
    model = write(tmp_path / "m.onnx", body)
    x = draw()
    expected = evaluate(model, x)
    assert expected.min() < -STEP
    got, audit = run(model, x)
    assert np.abs(got - expected).max() < STEP
    assert audit.shares()[Precision.INT8] == 1.0, audit.nodes


def mixed_readers(net: Quantizer, x: str) -> tuple[str, int]:
    stem = make_stem(net, x)
    both = [net.pair(convolve(net, stem, kernel, strides=[2, 2])) for kernel in (1, 3)]
    return net.pair(net.add("Add", *both)), CHANNELS


@pytest.mark.parametrize(
    ("body", "activation", "fused"),
    [(mixed_readers, np.int8, 0), (plain, np.uint8, 0), (plain, np.int8, 3), (shortcut, np.int8, 1)],
)
def test_no_more_is_rewritten_than_the_two_patterns(
    tmp_path: Path, body: Body, activation: type[np.generic], fused: int
) -> None:
    model = load_core().read_model(str(write(tmp_path / "m.onnx", body, activation)))
    before = len(model.get_ordered_ops())
    assert fuse_pairs(model) == fused
    assert (len(model.get_ordered_ops()) < before) is (fused > 0)
    assert fuse_pairs(model) == 0


def test_outputs_keep_their_names(tmp_path: Path) -> None:
    net = Quantizer(np.int8, np.int8)
    joined = net.add("Concat", net.pair("x"), net.pair(convolve(net, net.pair("x"))), axis=1)
    tensor = net.pair(joined)
    path = net.save(tmp_path / "m.onnx", {"x": ["n", CHANNELS, 8, 8]}, {tensor: ["n", 2 * CHANNELS, 8, 8]})
    model = load_core().read_model(str(path))
    assert fuse_pairs(model) == 3
    assert model.outputs[0].get_names() == {tensor}


def test_codes_left_open_are_found(tmp_path: Path) -> None:
    model = load_core().read_model(str(write(tmp_path / "m.onnx", plain)))
    compiled = load_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wrong = np.abs(compiled(draw())[0] - evaluate(tmp_path / "m.onnx", draw())).max() > STEP
    assert has_open_signs(model)
    assert find_lost_signs(model, compiled) or not wrong
    fuse_pairs(model)
    assert not has_open_signs(model)
    assert not find_lost_signs(model, compiled)
