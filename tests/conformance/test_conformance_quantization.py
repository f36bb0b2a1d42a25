"""QuantizeLinear and DequantizeLinear alone, bit for bit against NumPy; whole networks against exact semantics.

Source: ONNX operators QuantizeLinear and DequantizeLinear, opset 13 and later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from conformance_models import make_quantized, parse_model

from assay.backends.backend import Backend
from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.table import load_backend
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import Target

Opener = Callable[..., Session]

TYPES = {"uint8": np.uint8, "int8": np.int8}


FUSED = {"openvino"}
"""Runtimes that compute ``x * (1 / scale) + zero`` and ``code * scale - zero * scale`` in FP32.

Measured on OpenVINO 2026.4.1: such a code is one off beside a tie and nowhere else, and a dequantized value is off by
the rounding of ``zero * scale``. All other runtimes are exact to the last bit.
"""

CENTRED = {"tensorrt"}
"""Runtimes whose quantizers take s8 with zero point 0 alone."""

SLACK = 4 * 256 * np.finfo(np.float32).eps
"""Rounding of a fused computation, in steps: a few last bits of the largest code."""


@dataclass(frozen=True)
class Sample:
    """One quantizer and the values to put through it.

    Attributes:
        x: ``[rows, channels] float32`` without NaN.
        scale: scalar or ``[channels] float32``.
        zero: zero points of the same shape.
    """

    x: np.ndarray
    scale: np.ndarray
    zero: np.ndarray


def draw_sample(rng: np.random.Generator, kind: type, *, per_channel: bool) -> Sample:
    """Values around the codes of a random quantizer: ties, saturation both ways, denormals, zeros of both signs."""
    channels = int(rng.integers(1, 9))
    shape = (channels,) if per_channel else ()
    exponents = rng.integers(-20, 10, shape)
    mantissas = np.where(rng.random(shape) < 0.5, 1.0, 1 + rng.random(shape))  # a power of two makes exact ties
    scale = np.asarray(np.ldexp(mantissas, exponents), np.float32)
    limits = np.iinfo(kind)
    zero = rng.integers(limits.min, limits.max + 1, shape).astype(kind)
    codes = rng.integers(-400, 400, (64, channels)).astype(np.float32)
    near = (codes + rng.choice(np.float32([0, 0.5, -0.5, 0.25]), codes.shape)) * scale
    nudged = np.nextafter(near, rng.choice(np.float32([-np.inf, np.inf]), near.shape))
    any_bits = rng.integers(0, 2**32, (64, channels), np.uint32).view(np.float32)
    special = np.float32([0, -0.0, 1e-45, -1e-45, 1e-38, -1e-39, 3.4e38, -3.4e38, 2.0**31, -(2.0**31), 2.0**40])
    x = np.concatenate([near, nudged, np.where(np.isnan(any_bits), 0, any_bits), np.outer(special, np.ones(channels))])
    return Sample(x.astype(np.float32), scale, zero)


def fit_sample(backend: Backend, sample: Sample) -> Sample:
    """The sample with codes that the runtime takes."""
    if backend.name not in CENTRED:
        return sample
    if sample.zero.dtype != np.int8:
        pytest.skip(f"{backend.name} quantizes to s8 alone")
    return replace(sample, zero=np.zeros_like(sample.zero))


def quantize(sample: Sample) -> np.ndarray:
    """The specification in NumPy: divide in FP32, round half to even, add the zero point, saturate."""
    limits = np.iinfo(sample.zero.dtype)
    with np.errstate(over="ignore"):
        codes = np.rint(sample.x / sample.scale).astype(np.float64) + sample.zero
    return codes.clip(limits.min, limits.max).astype(sample.zero.dtype)


def dequantize(codes: np.ndarray, sample: Sample) -> np.ndarray:
    return ((codes.astype(np.int32) - sample.zero.astype(np.int32)).astype(np.float32) * sample.scale).astype(
        np.float32
    )


def quantizer(sample: Sample, opset: int) -> onnx.ModelProto:
    width, kind = sample.x.shape[1], sample.zero.dtype.name
    text = f"g (float[N,{width}] x) => ({kind}[N,{width}] y) {{ y = QuantizeLinear<axis = 1>(x, scale, zero) }}"
    return parse_model(text, opset, scale=sample.scale, zero=sample.zero)


def dequantizer(sample: Sample, opset: int) -> onnx.ModelProto:
    width, kind = sample.x.shape[1], sample.zero.dtype.name
    text = f"g ({kind}[N,{width}] x) => (float[N,{width}] y) {{ y = DequantizeLinear<axis = 1>(x, scale, zero) }}"
    return parse_model(text, opset, scale=sample.scale, zero=sample.zero)


def pair(sample: Sample, opset: int) -> onnx.ModelProto:
    width = sample.x.shape[1]
    text = f"""g (float[N,{width}] x) => (float[N,{width}] y) {{
        q = QuantizeLinear<axis = 1>(x, scale, zero)
        y = DequantizeLinear<axis = 1>(q, scale, zero)
    }}"""
    return parse_model(text, opset, scale=sample.scale, zero=sample.zero)


@pytest.mark.parametrize("opset", [13, 23])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_quantize_linear_is_exact(
    backend: Backend,
    opener: Opener,
    kind: str,
    per_channel: bool,  # noqa: FBT001 - a parameter of the test
    opset: int,
) -> None:
    rng = np.random.default_rng([opset, per_channel, len(kind)])
    for _ in range(3):
        sample = fit_sample(backend, draw_sample(rng, TYPES[kind], per_channel=per_channel))
        with opener(backend, quantizer(sample, opset), precision=Precision.INT8) as session:
            y = session.run({"x": sample.x})["y"]
        expected = quantize(sample)
        assert y.dtype == expected.dtype
        check_codes(backend, sample, y, expected, 1)


@pytest.mark.parametrize("opset", [13, 23])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_dequantize_linear_is_exact(
    backend: Backend,
    opener: Opener,
    kind: str,
    per_channel: bool,  # noqa: FBT001 - a parameter of the test
    opset: int,
) -> None:
    rng = np.random.default_rng([opset, per_channel, len(kind)])
    limits = np.iinfo(TYPES[kind])
    for _ in range(3):
        sample = fit_sample(backend, draw_sample(rng, TYPES[kind], per_channel=per_channel))
        codes = np.arange(limits.min, limits.max + 1, dtype=TYPES[kind])
        codes = np.repeat(codes[:, None], sample.x.shape[1], 1)
        with opener(backend, dequantizer(sample, opset), precision=Precision.INT8) as session:
            y = session.run({"x": codes})["y"]
        expected = dequantize(codes, sample)
        if backend.name in FUSED:
            assert np.all(np.abs(y - expected) <= SLACK * sample.scale)
        else:
            np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("kind", TYPES)
def test_a_pair_is_exact(backend: Backend, opener: Opener, kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    for per_channel in (False, True):
        sample = fit_sample(backend, draw_sample(rng, TYPES[kind], per_channel=per_channel))
        with opener(backend, pair(sample, 21), precision=Precision.INT8) as session:
            y = session.run({"x": sample.x})["y"]
        check_codes(backend, sample, y, dequantize(quantize(sample), sample), sample.scale)


def check_codes(
    backend: Backend, sample: Sample, y: np.ndarray, expected: np.ndarray, step: float | np.ndarray
) -> None:
    """Bit for bit; one ``step`` off beside a tie for runtimes that fuse."""
    wrong = y != expected
    if backend.name in FUSED:
        with np.errstate(over="ignore"):
            quotient = np.clip(sample.x / sample.scale, -1e6, 1e6).astype(np.float64)
        from_tie = np.abs(quotient - np.floor(quotient) - 0.5)
        steps = np.abs(y.astype(np.float64) - expected.astype(np.float64)) / step
        wrong = steps > SLACK + (from_tie <= SLACK)
    places = np.argwhere(wrong)
    lines = [f"{len(places)} of {y.size} differ; scale {sample.scale}, zero {sample.zero}"]
    lines += [f"x {sample.x[*at]!r}: {y[*at]} instead of {expected[*at]}" for at in places[:5]]
    assert not len(places), "\n".join(lines)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("numbered", range(2))
def test_exact_sessions_stay_within_a_step_on_whole_networks(opener: Opener, seed: int, numbered: int) -> None:
    """``ORT_DISABLE_ALL`` against ONNX's own evaluator, for both dialects."""
    dialect = load_backend("reference").dialects(Target("reference"))[numbered]
    model, x, step = make_quantized(dialect, np.random.default_rng([seed, numbered]))
    with opener(OnnxRuntimeBackend(optimise=False), model, precision=Precision.INT8) as session:
        y = session.run({"x": x})["y"]
    expected = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert np.abs(y - expected).max() <= step * 1.001
    assert np.abs(y).max() > 8 * step  # the comparison is of a signal, not of zeros
