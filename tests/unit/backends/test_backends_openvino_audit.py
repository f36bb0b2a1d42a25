from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import msgspec
import numpy as np
import pytest
from onnx import TensorProto
from openvino_models import (
    QUANTIZED_MACS,
    RESIDUAL_MACS,
    Network,
    Quantizer,
    make_quantized,
    make_residual,
    store_half,
)

from assay.backends.openvino.adapter import OpenVinoBackend
from assay.backends.openvino.settings import Settings
from assay.backends.openvino.vendor import read_capabilities
from assay.core.audit import ExecutionAudit
from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.core.target import ServingMode, Target

BATCH = 3
TARGET = Target("openvino", batch=BATCH)
FP32 = Plan(Precision.FP32)
BF16 = Plan(Precision.BF16, cast=CastStyle.HINT)
INT8 = Plan(Precision.INT8)

needs_bf16 = pytest.mark.skipif("BF16" not in read_capabilities("cpu"), reason="this CPU has no BF16 units")
needs_int8 = pytest.mark.skipif("INT8" not in read_capabilities("cpu"), reason="OpenVINO has no INT8 on this CPU")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def build(model: Path, plan: Plan = FP32, target: Target = TARGET) -> Path:
    built = model.with_suffix(".built")
    built.mkdir()
    OpenVinoBackend().build(model, built, plan, target)
    return built


def audit(model: Path, plan: Plan = FP32, target: Target = TARGET, **feeds: np.ndarray) -> ExecutionAudit:
    with OpenVinoBackend().open(build(model, plan, target), target) as session:
        return session.executed(feeds)


def total(found: ExecutionAudit) -> int:
    return sum(node.macs for node in found.nodes)


def kernels(found: ExecutionAudit) -> list[str]:
    return [f"{node.operator} {node.kernel} {node.precision}" for node in found.nodes if node.macs]


@needs_int8
@pytest.mark.parametrize("activation", [np.uint8, np.int8])
def test_signed_weights_run_as_integers(tmp_path: Path, activation: type[np.generic]) -> None:
    found = audit(make_quantized(tmp_path / "m.onnx", activation, np.int8), INT8, x=draw(BATCH, 3, 8, 8))
    assert found.shares()[Precision.INT8] == 1.0, kernels(found)
    assert total(found) == BATCH * QUANTIZED_MACS


@needs_int8
@pytest.mark.parametrize("operator", ["network", "linear"])
def test_unsigned_weights_run_in_floats(tmp_path: Path, operator: str) -> None:
    if operator == "network":
        model, feed = make_quantized(tmp_path / "m.onnx", np.uint8, np.uint8), draw(BATCH, 3, 8, 8)
    else:
        net = Quantizer(np.uint8, np.uint8)
        net.add("Gemm", net.pair("x"), net.stored_weight(32, 64), transB=1, outputs=["y"])
        model, feed = net.save(tmp_path / "m.onnx", {"x": ["n", 64]}, {"y": ["n", 32]}), draw(BATCH, 64)
    found = audit(model, INT8, x=feed)
    assert found.shares()[Precision.INT8] == 0.0, kernels(found)
    assert total(found) > 0


@needs_bf16
def test_fp32_model_at_the_runtimes_default_runs_in_bf16(tmp_path: Path) -> None:
    built = build(make_residual(tmp_path / "m.onnx"))
    msgspec.structs.replace(Settings.read(built), compute=None).write(built)
    with OpenVinoBackend().open(built, TARGET) as session:
        found = session.executed({"x": draw(BATCH, 3, 8, 8)})
    assert found.shares()[Precision.BF16] == 1.0, kernels(found)


def test_fp32_plan_runs_in_fp32(tmp_path: Path) -> None:
    found = audit(make_residual(tmp_path / "m.onnx"), x=draw(BATCH, 3, 8, 8))
    assert found.shares()[Precision.FP32] == 1.0, kernels(found)
    assert total(found) == BATCH * RESIDUAL_MACS


@needs_bf16
@pytest.mark.parametrize("mode", ServingMode)
def test_bf16_plan_runs_in_bf16(tmp_path: Path, mode: ServingMode) -> None:
    model = store_half(make_residual(tmp_path / "m.onnx"), tmp_path / "half.onnx", TensorProto.BFLOAT16)
    target = Target("openvino", batch=BATCH, threads=2, mode=mode)
    found = audit(model, BF16, target, x=draw(BATCH, 3, 8, 8))
    assert found.shares()[Precision.BF16] == 1.0, kernels(found)


@needs_bf16
def test_a_graph_typed_bf16_runs_as_it_is_typed(tmp_path: Path) -> None:
    net = Network()
    narrow = [net.constant(net.rng.standard_normal((32, 32)).astype(ml_dtypes.bfloat16)) for _ in range(2)]
    y = net.add("MatMul", net.add("Cast", "x", to=TensorProto.BFLOAT16), narrow[0])
    y = net.add("Softmax", net.add("Cast", y, to=TensorProto.FLOAT), axis=-1)
    y = net.add("MatMul", net.add("Cast", y, to=TensorProto.BFLOAT16), narrow[1])
    net.add("Cast", y, to=TensorProto.FLOAT, outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"x": ["n", 16, 32]}, {"y": ["n", 16, 32]})
    plan = Plan(Precision.BF16, cast=CastStyle.TYPED, overrides=(("n2", Precision.FP32),))
    found = audit(model, plan, x=draw(BATCH, 16, 32))
    assert found.shares()[Precision.BF16] == 1.0, kernels(found)
    assert [node.precision for node in found.nodes if "Softmax" in node.operator] == [Precision.FP32]


@needs_bf16
def test_attention_on_float_inputs_under_bf16_is_not_called_fp32(tmp_path: Path) -> None:
    def make(path: Path) -> Path:
        net = Network()
        scores = net.add("Softmax", net.add("MatMul", "q", "k"), axis=-1)
        net.add("MatMul", scores, "v", outputs=["y"])
        shapes = {"q": ["n", 2, 16, 32], "k": ["n", 2, 32, 16], "v": ["n", 2, 16, 32]}
        return net.save(path, shapes, {"y": ["n", 2, 16, 32]})

    feeds = {"q": draw(BATCH, 2, 16, 32), "k": draw(BATCH, 2, 32, 16), "v": draw(BATCH, 2, 16, 32)}
    results = {}
    for plan in (FP32, BF16):
        model = make(tmp_path / f"{plan.name}.onnx")
        with OpenVinoBackend().open(build(model, plan), TARGET) as session:
            found, results[plan] = session.executed(feeds), session.run(feeds)["y"]
        assert found.shares()[plan.precision] == 1.0, kernels(found)
        assert total(found) == BATCH * 2 * 2 * 16 * 16 * 32
    assert np.abs(results[FP32] - results[BF16]).max() > 1e-4  # rounded to 8 bits, so it did run in BF16


def _convolution(net: Network) -> int:
    net.add("Conv", "x", net.weight(6, 4, 3, 3), pads=[1] * 4, strides=[2, 2], outputs=["y"])
    return 4 * 4 * 6 * 4 * 9


def _depthwise(net: Network) -> int:
    net.add("Relu", net.conv("x", 4, 8, group=4), outputs=["y"])
    return 8 * 8 * 8 * 9


def _grouped_in_a_row(net: Network) -> int:
    net.add("Relu", net.conv(net.conv("x", 4, 4, 1), 4, 6, group=2), outputs=["y"])
    return 8 * 8 * (4 * 4 + 6 * 2 * 9)


def _transposed(net: Network) -> int:
    net.add("ConvTranspose", "x", net.weight(4, 6, 2, 2), strides=[2, 2], outputs=["y"])
    return 8 * 8 * 4 * 6 * 4


def _linear(net: Network) -> int:
    flat = net.add("Flatten", "x")
    bias = net.constant(np.ones(5, np.float32))
    net.add("Relu", net.add("Gemm", flat, net.weight(5, 256), bias, transB=1), outputs=["y"])
    return 5 * 256


def _two_activations(net: Network) -> int:
    rows = net.add("Reshape", "x", net.constant(np.array([0, 16, 16])))
    net.add("MatMul", rows, net.add("Transpose", rows, perm=[0, 2, 1]), outputs=["y"])
    return 16 * 16 * 16


def _product_of_constants(net: Network) -> int:
    folded = net.add("MatMul", net.weight(8, 8), net.weight(8, 8))
    net.add("Relu", net.add("MatMul", "x", folded), outputs=["y"])
    return 4 * 8 * 8 * 8


def _shape_from_values(net: Network) -> int:
    found = net.add("Transpose", net.add("NonZero", net.add("Flatten", "x")), perm=[1, 0])
    net.add("MatMul", net.add("Cast", found, to=TensorProto.FLOAT), net.weight(2, 3), outputs=["y"])
    return 256 * 2 * 3


@pytest.mark.parametrize("batch", [BATCH, 2])  # the target's own, and one that is compiled with open shapes
@pytest.mark.parametrize(
    "make",
    [
        _convolution,
        _depthwise,
        _grouped_in_a_row,
        _transposed,
        _linear,
        _two_activations,
        _product_of_constants,
        _shape_from_values,
    ],
)
def test_multiply_accumulates_are_exact(tmp_path: Path, make: Callable[[Network], int], batch: int) -> None:
    net = Network()
    macs = make(net)
    rank = {_linear: 2, _shape_from_values: 2, _two_activations: 3}.get(make, 4)
    model = net.save(tmp_path / "m.onnx", {"x": ["n", 4, 8, 8]}, {"y": [f"d{axis}" for axis in range(rank)]})
    found = audit(model, x=draw(batch, 4, 8, 8) + np.float32(0.5))
    assert total(found) == batch * macs, kernels(found)


def test_recurrent_layers_are_counted(tmp_path: Path) -> None:
    net, hidden, steps = Network(), 16, 5
    net.add("LSTM", "x", net.weight(1, 4 * hidden, 8), net.weight(1, 4 * hidden, hidden), hidden_size=hidden)
    lstm = net.nodes[-1].output[0]
    gates = net.weight(2, 3 * hidden, 8), net.weight(2, 3 * hidden, hidden)
    gru = net.add("GRU", "x", *gates, hidden_size=hidden, direction="bidirectional")
    net.add("Relu", net.add("Concat", lstm, gru, axis=1), outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"x": [steps, "n", 8]}, {"y": [steps, 3, "n", hidden]})
    found = audit(model, x=draw(steps, BATCH, 8))
    assert total(found) == steps * BATCH * (4 + 2 * 3) * hidden * (8 + hidden), kernels(found)


def test_einsum_is_counted(tmp_path: Path) -> None:
    net = Network()
    mixed = net.add("Einsum", "x", net.weight(8, 6), equation="nij,jk->nik")
    net.add("Einsum", mixed, mixed, equation="nik,nlk->nil", outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"x": ["n", 4, 8]}, {"y": ["n", 4, 4]})
    found = audit(model, x=draw(BATCH, 4, 8))
    assert total(found) == BATCH * (4 * 8 * 6 + 4 * 4 * 6), kernels(found)


def test_node_names_with_commas_are_found(tmp_path: Path) -> None:
    net = Network()
    net.add("Relu", net.conv("x", 4, 8), outputs=["y"])
    net.nodes[0].name = "stage,1"
    model = net.save(tmp_path / "m.onnx", {"x": ["n", 4, 8, 8]}, {"y": ["n", 8, 8, 8]})
    assert total(audit(model, x=draw(BATCH, 4, 8, 8))) == BATCH * 8 * 8 * 8 * 4 * 9


def test_what_is_folded_into_attention_is_not_counted(tmp_path: Path) -> None:
    net = Network()
    mask = net.add("MatMul", net.weight(16, 8), net.weight(8, 16))
    scores = net.add("Softmax", net.add("Add", net.add("MatMul", "q", "k"), mask), axis=-1)
    net.add("MatMul", scores, "v", outputs=["y"])
    shapes = {"q": ["n", 2, 16, 32], "k": ["n", 2, 32, 16], "v": ["n", 2, 16, 32]}
    model = net.save(tmp_path / "m.onnx", shapes, {"y": ["n", 2, 16, 32]})
    found = audit(model, q=draw(BATCH, 2, 16, 32), k=draw(BATCH, 2, 32, 16), v=draw(BATCH, 2, 16, 32))
    assert total(found) == BATCH * 2 * 2 * 16 * 16 * 32, kernels(found)


def test_integer_storage_alone_counts_as_the_floats_it_is_multiplied_in(tmp_path: Path) -> None:
    net = Quantizer(np.uint8, np.int8)
    net.add("Gemm", "x", net.stored_weight(32, 64), transB=1, outputs=["y"])
    model = net.save(tmp_path / "m.onnx", {"x": ["n", 64]}, {"y": ["n", 32]})
    found = audit(model, INT8, x=draw(BATCH, 64))
    assert found.shares()[Precision.FP32] == 1.0, kernels(found)
