from __future__ import annotations

import pytest
from trial_samples import S8S8, U8S8

from assay.core.plan import Candidate
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod
from assay.decide.propose import Capabilities, ModelTraits, Screened, propose

ALL = tuple(Precision)
RANGES = (RangeMethod.MIN_MAX, RangeMethod.MSE)
CONVNET = ModelTraits(has_convolutions=True)
OPENVINO = Capabilities(
    "openvino",
    (U8S8, S8S8),
    (Precision.BF16, Precision.FP32),
    {Precision.FP16: CastStyle.HINT, Precision.BF16: CastStyle.HINT},
)
ONNXRUNTIME = Capabilities("onnxruntime", (U8S8,), (Precision.FP32,), {Precision.FP16: CastStyle.TYPED})


def ids(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.id for candidate in candidates]


def screen(candidates: tuple[Candidate, ...], latencies: dict[str, float | None]) -> list[Screened]:
    return [Screened(candidate, latencies.get(candidate.id, 50.0)) for candidate in candidates]


def test_first_round_has_every_form_of_every_runtime_in_order() -> None:
    first = propose([OPENVINO, ONNXRUNTIME], CONVNET, ALL, RANGES, ())
    assert ids(first) == [
        "openvino.fp32",
        "openvino.fp16",
        "openvino.bf16",
        "openvino.int8-u8s8-chain-mse-bf16",
        "openvino.int8-s8s8-chain-mse-bf16",
        "onnxruntime.fp32",
        "onnxruntime.fp16",
        "onnxruntime.bf16",
        "onnxruntime.int8-u8s8-chain-mse",
    ]
    assert first[1].plan.cast is CastStyle.HINT
    assert first[6].plan.cast is CastStyle.TYPED


@pytest.mark.parametrize(
    ("traits", "placements"),
    [
        (ModelTraits(has_convolutions=True), {Placement.CHAIN}),
        (ModelTraits(has_convolutions=False, has_attention_or_norms=True), {Placement.OPERANDS}),
        (ModelTraits(has_convolutions=True, has_attention_or_norms=True), set(Placement)),
        (ModelTraits(has_convolutions=False), {Placement.OPERANDS}),
    ],
)
def test_placement_follows_the_model(traits: ModelTraits, placements: set[Placement]) -> None:
    first = propose([ONNXRUNTIME], traits, ALL, RANGES, ())
    assert {c.plan.scheme.placement for c in first if c.plan.scheme} == placements


def test_excluded_precisions_appear_nowhere_and_fp32_always() -> None:
    first = propose([OPENVINO], CONVNET, [Precision.INT8], RANGES, ())
    assert ids(first) == ["openvino.fp32", "openvino.int8-u8s8-chain-mse", "openvino.int8-s8s8-chain-mse"]
    assert ids(propose([OPENVINO], CONVNET, [], RANGES, ())) == ["openvino.fp32"]
    assert ids(propose([OPENVINO], CONVNET, [Precision.INT8], [], ())) == ["openvino.fp32"]


def test_second_round_varies_the_fastest_form_of_each_runtime() -> None:
    first = propose([OPENVINO, ONNXRUNTIME], CONVNET, ALL, RANGES, ())
    tried = screen(first, {"openvino.int8-s8s8-chain-mse-bf16": 4.0, "onnxruntime.int8-u8s8-chain-mse": 16.0})
    assert ids(propose([OPENVINO, ONNXRUNTIME], CONVNET, ALL, RANGES, tried)) == [
        "openvino.int8-s8s8-chain-minmax-bf16",
        "openvino.int8-s8s8-chain-mse",
        "openvino.int8-s8s8-operands-mse-bf16",
        "onnxruntime.int8-u8s8-chain-minmax",
    ]


def test_a_faster_other_placement_gets_the_other_ranges_too() -> None:
    tried = screen(propose([ONNXRUNTIME], CONVNET, ALL, RANGES, ()), {"onnxruntime.int8-u8s8-chain-mse": 16.0})
    second = propose([ONNXRUNTIME], CONVNET, ALL, RANGES, tried)
    tried += screen(second, {"onnxruntime.int8-u8s8-operands-mse": 9.0})
    third = propose([ONNXRUNTIME], CONVNET, ALL, RANGES, tried)
    assert ids(third) == ["onnxruntime.int8-u8s8-operands-minmax"]
    assert propose([ONNXRUNTIME], CONVNET, ALL, RANGES, [*tried, *screen(third, {})]) == ()


def test_a_failed_chain_is_followed_by_operands_only() -> None:
    first = propose([ONNXRUNTIME], CONVNET, ALL, RANGES, ())
    tried = screen(first, {"onnxruntime.int8-u8s8-chain-mse": None})
    second = propose([ONNXRUNTIME], CONVNET, ALL, RANGES, tried)
    assert ids(second) == ["onnxruntime.int8-u8s8-operands-mse"]
    tried += screen(second, {"onnxruntime.int8-u8s8-operands-mse": None})
    assert propose([ONNXRUNTIME], CONVNET, ALL, RANGES, tried) == ()


def test_a_resumed_study_is_given_only_what_is_missing() -> None:
    first = propose([OPENVINO], CONVNET, ALL, RANGES, ())
    assert propose([OPENVINO], CONVNET, ALL, RANGES, screen(first[:3], {})) == first[3:]


def test_rounds_end_and_repeat_nothing() -> None:
    tried: list[Screened] = []
    for _ in range(10):
        fresh = propose([OPENVINO, ONNXRUNTIME], CONVNET, ALL, RANGES, tried)
        if not fresh:
            break
        tried += [Screened(c, float(len(tried) + i + 1)) for i, c in enumerate(fresh)]
    seen = [screened.candidate.id for screened in tried]
    assert fresh == ()
    assert len(seen) == len(set(seen))
