"""Every rule of TensorRT's dialect, on the real parser and builder."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from tensorrt_samples import BACKEND, builds, parse, save, target

from assay.backends.tensorrt.engine import parse_model
from assay.backends.tensorrt.plans import FLOAT_DIALECT
from assay.backends.tensorrt.vendor import load_vendor
from assay.core.errors import BuildFailed, UnsupportedPlan
from assay.core.plan import FloatScheme, Plan
from assay.core.precision import CastStyle, Precision, RangeMethod

pytestmark = builds
RNG = np.random.default_rng(7)
CODES = RNG.integers(-127, 128, (16, 16)).astype(np.int8)
SCALES = np.full(16, 0.02, np.float32)
PAIR = """q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    w = DequantizeLinear<axis = 1>(codes, scales, zeros)"""
INT8 = Plan(Precision.INT8)
FLOATS = FloatScheme(FLOAT_DIALECT, RangeMethod.MIN_MAX)


def make_product(zero: np.generic, kind: str = "float", number: type = np.float32, opset: int = 21) -> onnx.ModelProto:
    text = f"g ({kind}[N,16] x) => ({kind}[N,16] y) {{ {PAIR}\n y = MatMul(d, w) }}"
    scales = SCALES.astype(number)
    weights = {"s": scales[0], "z": zero, "codes": CODES, "scales": scales, "zeros": np.zeros(16, np.int8)}
    return parse(text, opset, **weights)


def build(model: onnx.ModelProto, folder: Path, plan: Plan = INT8, device: str = "sm86") -> Path:
    built = folder / f"{device}-{len(list(folder.iterdir()))}"
    built.mkdir()
    BACKEND.build(save(model, folder), built, plan, target(device))
    return built


def test_symmetric_s8_with_float_bias_is_built(tmp_path: Path) -> None:
    model = make_product(np.int8(0))
    model.graph.node[-1].op_type = "Gemm"
    model.graph.node[-1].input.append("b")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(16, np.float32), "b"))
    assert list(build(model, tmp_path).glob("*.engine"))


def test_an_int32_bias_is_refused_at_its_node(tmp_path: Path) -> None:
    biased = "[wide] b = DequantizeLinear(bc, bs, bz) y = Gemm(d, w, b)"
    text = f"g (float[N,16] x) => (float[N,16] y) {{ {PAIR}\n {biased} }}"
    model = parse(
        text, s=SCALES[0], z=np.int8(0), codes=CODES, scales=SCALES, zeros=np.zeros(16, np.int8),
        bc=np.arange(16, dtype=np.int32), bs=SCALES[0] * SCALES[0], bz=np.int32(0),
    )  # fmt: skip
    with pytest.raises(BuildFailed, match=r"'wide' \(DequantizeLinear\).*Int32"):
        build(model, tmp_path)


@pytest.mark.parametrize("zero", [np.int8(3), np.int8(-128), np.uint8(128)])
def test_a_non_zero_zero_point_is_refused_by_the_parser(tmp_path: Path, zero: np.generic) -> None:
    path = save(make_product(zero), tmp_path)
    with pytest.raises(BuildFailed, match=r"'quantizelinear_0' \(QuantizeLinear\).*zero point"):
        parse_model(path, load_vendor())


def test_u8_with_zero_point_0_is_parsed_as_s8_with_a_warning_alone(tmp_path: Path) -> None:
    parsed = parse_model(save(make_product(np.uint8(0)), tmp_path), load_vendor())
    assert any("INT8" in warning for warning in parsed.messages.warnings)
    kinds = {
        str(parsed.network.get_layer(index).get_output(0).dtype)
        for index in range(parsed.network.num_layers)
        if "QUANTIZE" in str(parsed.network.get_layer(index).type)
    }
    assert not any("UINT8" in kind for kind in kinds)


@pytest.mark.parametrize("zero", [np.uint8(0), None])
def test_so_u8_is_refused_before_the_parser_sees_it(tmp_path: Path, zero: np.generic | None) -> None:
    model = make_product(np.uint8(0) if zero is None else zero)
    if zero is None:
        for node in model.graph.node[:2]:
            del node.input[2]
    with pytest.raises(UnsupportedPlan, match="'quantizelinear_0' quantizes to u8"):
        build(model, tmp_path)


def test_dynamic_quantization_and_integer_products_are_refused_at_their_nodes(tmp_path: Path) -> None:
    text = """g (float[N,16] x) => (float[N,16] y) {
        [measure] q, s, z = DynamicQuantizeLinear(x)
        [multiply] i = MatMulInteger(q, codes, z)
        f = Cast<to = 1>(i)
        y = Mul(f, s)
    }"""
    with pytest.raises(BuildFailed) as caught:
        build(parse(text, codes=CODES), tmp_path)
    assert "'measure' (DynamicQuantizeLinear) is not supported" in caught.value.message
    assert "'multiply' (MatMulInteger) is not supported" in caught.value.message


def test_integer_operators_of_onnx_are_refused(tmp_path: Path) -> None:
    text = "g (int8[N,16] x) => (int8[N,16] y) { [whole] y = QLinearMatMul(x, s, z, codes, s, z, s, z) }"
    with pytest.raises(BuildFailed, match=r"'whole' \(QLinearMatMul\)"):
        build(parse(text, codes=CODES, s=SCALES[0], z=np.int8(0)), tmp_path)


def test_fp32_products_are_refused_for_turing_at_their_node(tmp_path: Path) -> None:
    model = parse("g (float[N,16] x) => (float[N,16] y) { [head] y = MatMul(x, w) }", w=np.eye(16, dtype=np.float32))
    with pytest.raises(BuildFailed, match=r"at node 'head'.*FP32 GEMM is not supported"):
        build(model, tmp_path, Plan(Precision.FP32), "sm75")
    build(model, tmp_path, Plan(Precision.FP32), "sm80")


def test_integers_with_an_fp16_rest_are_built_for_turing(tmp_path: Path) -> None:
    plan = Plan(Precision.INT8, rest=Precision.FP16, cast=CastStyle.TYPED)
    build(make_product(np.int8(0), "float16", np.float16), tmp_path, plan, "sm75")
    with pytest.raises(BuildFailed, match="FP32 GEMM"):
        build(make_product(np.int8(0)), tmp_path, INT8, "sm75")


@pytest.mark.parametrize(("kind", "number"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_16_bit_floats_are_typed_onnx(tmp_path: Path, kind: str, number: type) -> None:
    precision = Precision.FP16 if number is np.float16 else Precision.BF16
    model = parse(f"g ({kind}[N,16] x) => ({kind}[N,16] y) {{ y = MatMul(x, w) }}", 22, w=np.eye(16).astype(number))
    build(model, tmp_path, Plan(precision, cast=CastStyle.TYPED))
    refused = BACKEND.supports(Plan(precision, cast=CastStyle.TYPED), target("sm75"))
    assert refused.supported == (precision is Precision.FP16)


@pytest.mark.parametrize("block", [0, 64])
def test_weights_in_4_bits_are_built_from_ampere_on(tmp_path: Path, block: int) -> None:
    codes = RNG.integers(-7, 8, (128, 64)).astype(ml_dtypes.int4)
    scales = np.full((2, 64) if block else 64, 0.02, np.float16)
    attributes = f"axis = 0, block_size = {block}" if block else "axis = 1"
    text = (
        f"g (float16[N,128] x) => (float16[N,64] y) {{ w = DequantizeLinear<{attributes}>(c, s)\n y = MatMul(x, w) }}"
    )
    model = parse(text, c=codes, s=scales)
    build(model, tmp_path, Plan(Precision.FP16, cast=CastStyle.TYPED), "sm80")
    with pytest.raises(BuildFailed, match="int4"):
        build(model, tmp_path, Plan(Precision.FP16, cast=CastStyle.TYPED), "sm75")


EIGHTH = ml_dtypes.float8_e4m3fn
EIGHTHS = {
    "MatMul": ("[N,64]", "[N,32]", (64, 32), 1, "y = MatMul(d, w)"),
    "Gemm": ("[N,64]", "[N,32]", (32, 64), 0, "y = Gemm<transB = 1>(d, w, b)"),
    "Conv": ("[N,64,8,8]", "[N,32,6,6]", (32, 64, 3, 3), 0, "y = Conv(d, w, b)"),
    "depthwise": ("[N,32,8,8]", "[N,32,6,6]", (32, 1, 3, 3), 0, "y = Conv<group = 32>(d, w, b)"),
    "ConvTranspose": ("[N,64,8,8]", "[N,32,9,9]", (64, 32, 2, 2), 1, "y = ConvTranspose(d, w, b)"),
}
"""Product -> shapes of what it takes and gives, of its weight, the axis of its channels, and its text."""


def make_eighths(product: str, kind: str, number: type) -> onnx.ModelProto:
    taken, given, shape, axis, text = EIGHTHS[product]
    pair = (
        f"q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear<axis = {axis}>(codes, scales)"
    )
    weights = {
        "s": number(0.02), "z": np.zeros((), EIGHTH), "codes": (40 * RNG.standard_normal(shape)).astype(EIGHTH),
        "scales": np.full(32, 0.02, number), **({"b": np.ones(32, number)} if "b)" in text else {}),
    }  # fmt: skip
    return parse(f"g ({kind}{taken} x) => ({kind}{given} y) {{ {pair} {text} }}", **weights)


@pytest.mark.parametrize("product", EIGHTHS)
@pytest.mark.parametrize("device", ["sm89", "sm120"])
def test_products_of_8_bit_floats_with_a_scale_per_channel_are_built_from_ada_on(
    tmp_path: Path, product: str, device: str
) -> None:
    plan = Plan(Precision.FP8, rest=Precision.FP16, cast=CastStyle.TYPED, floats=FLOATS)
    assert list(build(make_eighths(product, "float16", np.float16), tmp_path, plan, device).glob("*.engine"))
    build(make_eighths(product, "float", np.float32), tmp_path, Plan(Precision.FP8, floats=FLOATS), device)
    with pytest.raises(BuildFailed, match="fp8_e4m3"):
        build(make_eighths(product, "float", np.float32), tmp_path, Plan(Precision.FP32), "sm86")
    with pytest.raises(UnsupportedPlan, match=r"compute capability 8\.6 has no fp8"):
        build(make_eighths(product, "float", np.float32), tmp_path, Plan(Precision.FP8, floats=FLOATS), "sm86")


def test_a_product_of_two_activations_takes_8_bit_floats(tmp_path: Path) -> None:
    pairs = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) r = QuantizeLinear(v, s, z)"
    text = f"g (float[N,8,64] x, float[N,64,8] v) => (float[N,8,8] y) {{ {pairs} e = DequantizeLinear(r, s, z) "
    model = parse(f"{text} y = MatMul(d, e) }}", s=np.float32(0.02), z=np.zeros((), EIGHTH))
    build(model, tmp_path, Plan(Precision.FP8, floats=FLOATS), "sm89")


def test_weights_in_8_bit_floats_take_half_of_fp16(tmp_path: Path) -> None:
    text = "w = DequantizeLinear<axis = 1>(codes, scales) y = MatMul(d, w)"
    pair = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
    weight, half = 40 * RNG.standard_normal((2048, 2048)), np.float16(0.02)
    model = parse(
        f"g (float16[N,2048] x) => (float16[N,2048] y) {{ {pair} {text} }}",
        s=half, z=np.zeros((), EIGHTH), codes=weight.astype(EIGHTH), scales=np.full(2048, half),
    )  # fmt: skip
    plain = parse("g (float16[N,2048] x) => (float16[N,2048] y) { y = MatMul(x, w) }", w=weight.astype(np.float16))
    plan = Plan(Precision.FP8, rest=Precision.FP16, cast=CastStyle.TYPED, floats=FLOATS)
    eighths = next(build(model, tmp_path, plan, "sm89").glob("*.engine")).stat().st_size
    halves = next(build(plain, tmp_path, Plan(Precision.FP16, cast=CastStyle.TYPED), "sm89").glob("*.engine"))
    assert eighths < 0.6 * halves.stat().st_size


def test_8_bit_floats_are_parsed_and_built_from_ada_on(tmp_path: Path) -> None:
    eighth = ml_dtypes.float8_e4m3fn
    text = f"g (float16[N,16] x) => (float16[N,16] y) {{ {PAIR.replace('<axis = 1>', '')}\n y = MatMul(d, w) }}"
    zero, scale = np.zeros((), eighth), np.float16(0.02)
    model = parse(text, s=scale, z=zero, codes=np.eye(16).astype(eighth), scales=scale, zeros=zero)
    build(model, tmp_path, Plan(Precision.FP16, cast=CastStyle.TYPED), "sm89")
    with pytest.raises(BuildFailed, match="fp8"):
        build(model, tmp_path, Plan(Precision.FP16, cast=CastStyle.TYPED), "sm86")
