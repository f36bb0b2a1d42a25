"""Integer products of the torch adapter: exact sums, and which products of a graph they take the place of."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

torch = pytest.importorskip("torch", reason="torch is not installed")

from assay.backends.torch import integers  # noqa: E402 - needs torch
from assay.backends.torch.rewrite import fuse_integers  # noqa: E402
from assay.backends.torch.session import TorchSession  # noqa: E402
from assay.backends.torch.settings import Settings  # noqa: E402
from assay.core.precision import Precision  # noqa: E402
from assay.core.target import Target  # noqa: E402

WINDOWS = [
    {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)},
    {"strides": (2, 1), "pads": (0, 1, 2, 0), "dilations": (1, 2)},
    {"strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)},
    {"auto_pad": "SAME_UPPER", "strides": (2, 2)},
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", [torch.uint8, torch.int8])
def test_convolutions_of_codes_are_exact(window: dict[str, object], kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    limits = torch.iinfo(kind)
    x = torch.randint(limits.min, limits.max + 1, (2, 5, 9, 8), generator=generator).to(kind)
    zero = torch.randint(limits.min, limits.max + 1, (), generator=generator).to(kind)
    w = torch.randint(-127, 128, (6, 5, 3, 3), generator=generator).to(torch.int8)
    bias, scale = torch.randn(6, generator=generator), torch.rand(6, generator=generator)
    packed = integers.pack_weight(w, form="Conv")
    offset = integers.pack_offset(packed, zero)
    y = integers.convolve_packed(x, zero, packed, scale, offset, bias, kernel=(3, 3), **window)
    sums = integers.convolve_codes(x.to(torch.int32) - zero.to(torch.int32), w.to(torch.int32), **window)
    expected = sums.to(torch.float64) * scale.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    torch.testing.assert_close(y.to(torch.float64), expected, rtol=1e-6, atol=1e-4)


def test_products_of_codes_are_exact() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (2, 3, 17), generator=generator).to(torch.uint8)
    w = torch.randint(-127, 128, (17, 5), generator=generator).to(torch.int8)
    zero, scale = torch.tensor(131, dtype=torch.uint8), torch.rand(5, generator=generator)
    packed = integers.pack_weight(w, form="MatMul")
    y = integers.multiply_packed(x, packed, scale, integers.pack_offset(packed, zero), relu=1)
    expected = torch.relu((x.double() - 131) @ w.double() * scale)
    torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-4)


CODES = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear<axis = {axis}>(w, t)"


def make(body: str, shape: tuple[int, ...], axis: int, result: str, **weights: np.ndarray) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    rank = "N,8,6,6" if len(shape) > 2 else "N,8"
    text = f"g (float[{rank}] x) => ({result} y) {{ {CODES.format(axis=axis)} {body} }}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    held = {
        "s": np.float32(0.02),
        "z": np.uint8(120),
        "w": rng.integers(-127, 128, shape).astype(np.int8),
        "t": (rng.random(shape[axis]) * 0.01 + 0.001).astype(np.float32),
        **weights,
    }
    for name, array in held.items():
        if any(name in node.input for node in model.graph.node):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type.lower()}_{index}"
    return model


BIAS, STEP = np.linspace(-1, 1, 4).astype(np.float32), np.float32(0.05)
FUSED = {
    "conv": make("y = Conv(d, v)", (4, 8, 3, 3), 0, "float[N,4,4,4]"),
    "conv-relu-codes": make(
        "c = Conv<pads = [1,1,1,1]>(d, v, b) r = Relu(c) y = QuantizeLinear(r, p, z)",
        (4, 8, 3, 3),
        0,
        "uint8[N,4,6,6]",
        b=BIAS,
        p=STEP,
    ),
    "matmul-bias-codes": make(
        "c = MatMul(d, v) a = Add(b, c) y = QuantizeLinear(a, p, z)", (8, 4), 1, "uint8[N,4]", b=BIAS, p=STEP
    ),
    "gemm": make("y = Gemm<transB = 1>(d, v, b)", (4, 8), 0, "float[N,4]", b=BIAS),
    "gemm-straight": make("y = Gemm(d, v, b)", (8, 4), 1, "float[N,4]", b=BIAS),
    "turned": make("k = Transpose<perm = [1,0]>(v) y = MatMul(d, k)", (4, 8), 0, "float[N,4]"),
}
LEFT = {
    "grouped": make("y = Conv<group = 8>(d, v)", (8, 1, 3, 3), 0, "float[N,8,4,4]"),
    "scaled gemm": make("y = Gemm<alpha = 2.0, transB = 1>(d, v)", (4, 8), 0, "float[N,4]"),
    "channels along the sum": make("y = MatMul(d, v)", (8, 4), 0, "float[N,4]"),
}


def run(model: onnx.ModelProto, folder: Path, **settings: object) -> tuple[np.ndarray, np.ndarray, float]:
    """Outputs, those of ONNX's evaluator, and the share that ran on integers."""
    onnx.save(model, folder / "model.onnx")
    Settings(**({"compiled": False} | settings)).write(folder)
    shape = [3, *(axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim[1:])]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    with TorchSession(folder, Target("torch")) as session:
        y = session.run({"x": x})["y"]
        share = session.executed({"x": x}).shares()[Precision.INT8]
    return y, ReferenceEvaluator(model).run(None, {"x": x})[0], share


@pytest.mark.parametrize("name", FUSED)
def test_products_between_pairs_run_on_integers(name: str, tmp_path: Path) -> None:
    y, expected, share = run(FUSED[name], tmp_path)
    assert share == 1
    assert y.dtype == expected.dtype
    if y.dtype == np.uint8:
        assert np.abs(y.astype(int) - expected.astype(int)).max() <= 1
        assert (y == expected).mean() > 0.99
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_what_follows_is_taken_in() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(FUSED["conv-relu-codes"])
    origins = fuse_integers(model.graph)
    assert [node.op_type for node in origins.values()] == ["Conv"]
    assert {node.op_type for node in model.graph.node} == {
        "QuantizeLinear", "DequantizeLinear", "Pack", "Scale", "Offset", "Conv"
    }  # fmt: skip
    assert list(origins) == ["y"]


def test_what_others_read_too_is_not_taken_in(tmp_path: Path) -> None:
    body = "c = Conv(d, v) r = Relu(c) y = Add(r, c)"
    y, expected, share = run(make(body, (4, 8, 3, 3), 0, "float[N,4,4,4]"), tmp_path)
    assert share == 1
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LEFT)
def test_other_products_stay_in_floats(name: str, tmp_path: Path) -> None:
    y, expected, share = run(LEFT[name], tmp_path)
    assert share == 0
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_pairs_stand_where_integers_are_off(tmp_path: Path) -> None:
    y, expected, share = run(FUSED["conv"], tmp_path, integers=False)
    assert share == 0
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_products_in_floats_compute_in_the_rest(tmp_path: Path) -> None:
    model = LEFT["scaled gemm"]
    y, expected, _ = run(model, tmp_path, rest=Precision.BF16)
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    with TorchSession(tmp_path, Target("torch")) as session:
        assert session.executed({"x": x}).shares()[Precision.BF16] == 1
    assert 0 < np.abs(y - expected).max() < 0.1


INTERPRETED = """
import torch
from assay.backends.torch import integers, triton_products
generator = torch.Generator().manual_seed(0)
draw = lambda low, high, shape, kind: torch.randint(low, high, shape, generator=generator).to(kind)
cases = [(3, 9, 7, 5, 3, 1, 1, torch.uint8), (64, 6, 6, 40, 3, 2, 1, torch.int8), (32, 5, 5, 17, 1, 1, 0, torch.uint8)]
for channels, height, width, out, kernel, stride, pad, kind in cases:
    low, high = (0, 256) if kind is torch.uint8 else (-128, 128)
    x, zero = draw(low, high, (2, channels, height, width), kind), draw(low, high, (), kind)
    packed = integers.pack_weight(draw(-127, 128, (out, channels, kernel, kernel), torch.int8), form="Conv")
    held = (x, zero, packed, torch.rand(out, generator=generator) * 1e-3, integers.pack_offset(packed, zero))
    bias = torch.randn(out, generator=generator)
    window = {"strides": (stride,) * 2, "pads": (pad,) * 4, "kernel": (kernel,) * 2}
    for step, point in ((None, None), (torch.tensor(0.05), torch.tensor(3, dtype=torch.int8))):
        found = triton_products.convolve(*held, bias, step, point, relu=1, **window)
        expected = integers.convolve_packed(*held, bias, step, point, relu=1, **window)
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
print("same")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_gives_the_same_in_tritons_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", INTERPRETED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "same", done.stderr
