"""Convolutions and matrix products on TVM, of codes and of floats, on this processor and as older ones compute them."""

from __future__ import annotations

import numpy as np
import pytest
from tvm_models import choose_machine, compile_and_run, convert_half, evaluate, parse, quantized_conv

from assay.backends.tvm.machine import Machine
from assay.core.precision import Precision

CONVOLUTIONS = {
    "dense": ((16, 8, 3, 3), "pads = [1,1,1,1]"),
    "strided": ((24, 8, 3, 3), "pads = [1,1,1,1], strides = [2,2]"),
    "uneven": ((8, 8, 3, 3), "pads = [0,1,1,0], strides = [2,2]"),
    "dilated": ((16, 8, 3, 3), "pads = [2,2,2,2], dilations = [2,2]"),
    "odd": ((7, 8, 1, 1), "strides = [1,1]"),
    "depthwise": ((8, 1, 3, 3), "group = 8, pads = [1,1,1,1]"),
}


@pytest.fixture(params=["here", "plain"])
def machine(request: pytest.FixtureRequest) -> Machine:
    return choose_machine(request.param)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_codes_are_exact(name: str, kind: str, machine: Machine) -> None:
    rng = np.random.default_rng(len(name))
    shape, text = CONVOLUTIONS[name]
    model = quantized_conv(rng, kind, shape, text)
    limits = np.iinfo(kind)
    feeds = {"q": rng.integers(limits.min, limits.max + 1, (2, 8, 9, 10)).astype(kind)}
    found, compiled = compile_and_run(model, feeds, machine)
    expected = evaluate(model, feeds)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    assert [product.precision for product in compiled.products] == [Precision.INT8]
    dots = machine.dot and name != "depthwise"
    assert compiled.products[0].kernel.startswith("dot_" if dots else "int32_")


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_floats(name: str, machine: Machine) -> None:
    rng = np.random.default_rng(len(name))
    shape, text = CONVOLUTIONS[name]
    weight = rng.standard_normal(shape).astype(np.float32)
    model = parse(f"g (float[N, C, H, W] x) => (float[N, M, Y, X] y) {{ y = Conv<{text}>(x, w) }}", w=weight)
    feeds = {"x": rng.standard_normal((2, 8, 9, 10)).astype(np.float32)}
    found, compiled = compile_and_run(model, feeds, machine)
    np.testing.assert_allclose(found, evaluate(model, feeds), rtol=1e-4, atol=1e-4)
    assert [product.precision for product in compiled.products] == [Precision.FP32]


def test_grouped_convolutions_run_in_floats_and_say_so(machine: Machine) -> None:
    rng = np.random.default_rng(3)
    model = quantized_conv(rng, "uint8", (16, 4, 3, 3), "group = 2, pads = [1,1,1,1]")
    feeds = {"q": rng.integers(0, 256, (1, 8, 6, 6)).astype(np.uint8)}
    found, compiled = compile_and_run(model, feeds, machine)
    expected = evaluate(model, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert [product.precision for product in compiled.products] == [Precision.FP32]


@pytest.mark.parametrize("columns", [5, 16, 24])
def test_products_of_two_quantized_activations_are_exact(columns: int, machine: Machine) -> None:
    rng = np.random.default_rng(columns)
    model = parse(
        """g (uint8[N, H, M, K] a, uint8[N, H, K, L] b) => (float[N, H, M, L] y) {
            x = DequantizeLinear(a, xs, xz)
            z = DequantizeLinear(b, zs, zz)
            y = MatMul(x, z)
        }""",
        xs=np.float32(0.02), xz=np.uint8(131), zs=np.float32(0.03), zz=np.uint8(9),
    )  # fmt: skip
    feeds = {
        "a": rng.integers(0, 256, (2, 3, 7, 11)).astype(np.uint8),
        "b": rng.integers(0, 256, (2, 3, 11, columns)).astype(np.uint8),
    }
    found, compiled = compile_and_run(model, feeds, machine)
    expected = evaluate(model, feeds)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    assert [product.precision for product in compiled.products] == [Precision.INT8]


def test_halves_are_added_up_in_fp32(machine: Machine) -> None:
    rng = np.random.default_rng(1)
    wide = parse(
        """g (float[N, K] x) => (float[N, M] y) {
            h = MatMul(x, w)
            y = Relu(h)
        }""",
        w=rng.standard_normal((512, 32)).astype(np.float32),
    )
    feeds = {"x": rng.standard_normal((3, 512)).astype(np.float16)}
    found, compiled = compile_and_run(convert_half(wide), feeds, machine)
    exact = evaluate(wide, {"x": feeds["x"].astype(np.float32)})
    assert found.dtype == np.float16
    assert np.abs(found - exact).max() < 0.05
    assert [product.precision for product in compiled.products] == [Precision.FP16]


def test_transposed_convolutions_and_pools_are_right(machine: Machine) -> None:
    rng = np.random.default_rng(2)
    model = parse(
        """g (float[N, C, H, W] x) => (float[N, M, Y, X] y) {
            a = ConvTranspose<strides = [2,2]>(x, w)
            b = MaxPool<kernel_shape = [2,2], strides = [2,2]>(a)
            c = AveragePool<kernel_shape = [3,3], pads = [1,1,1,1]>(b)
            d = Concat<axis = 1>(b, c)
            y = Conv(d, v)
        }""",
        w=rng.standard_normal((4, 16, 2, 2)).astype(np.float32),
        v=rng.standard_normal((16, 32, 1, 1)).astype(np.float32),
    )
    feeds = {"x": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)}
    found, compiled = compile_and_run(model, feeds, machine)
    np.testing.assert_allclose(found, evaluate(model, feeds), rtol=1e-4, atol=1e-4)
    assert sum(product.macs for product in compiled.products) == 8 * 8 * 4 * 16 * 4 + 8 * 8 * 32 * 16
