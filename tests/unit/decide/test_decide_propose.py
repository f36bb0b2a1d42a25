from __future__ import annotations

from dataclasses import replace

import pytest
from trial_samples import S8S8, U8S8

from assay.core.plan import Candidate, FloatDialect, FloatScheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod, Repair
from assay.decide.propose import Capabilities, ModelTraits, Screened, propose

ALL = tuple(precision for precision in Precision if precision not in {Precision.TF32, Precision.FP8})
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


def test_tf32_is_tried_where_it_is_named() -> None:
    first = propose([OPENVINO], CONVNET, (Precision.TF32,), RANGES, ())
    assert ids(first) == ["openvino.fp32", "openvino.tf32"]


def test_fp8_is_tried_where_it_is_named_and_the_runtime_says_whether_it_has_it() -> None:
    dialect = FloatDialect(frozenset({"ConvTranspose"}))
    rtx = Capabilities("rtx", (S8S8,), (Precision.FP16, Precision.FP32), {Precision.FP16: CastStyle.TYPED}, {}, dialect)
    named = (Precision.FP8, Precision.FP16)
    first = propose([rtx, ONNXRUNTIME], CONVNET, named, RANGES, ())
    assert ids(first) == [
        "rtx.fp32", "rtx.fp16", "rtx.fp8-mse-fp16", "onnxruntime.fp32", "onnxruntime.fp16", "onnxruntime.fp8-mse",
    ]  # fmt: skip
    assert first[2].plan.floats == FloatScheme(dialect, RangeMethod.MSE)
    assert first[2].plan.cast is CastStyle.TYPED
    assert not any(c.plan.floats for c in propose([rtx], CONVNET, named, (), ())), "without data there are no ranges"
    assert not any(c.plan.floats for c in propose([rtx], CONVNET, ALL, RANGES, ()))
    later = propose([rtx], CONVNET, named, RANGES, screen(first[:3], {}))
    assert ids(later) == ["rtx.fp8-minmax-fp16", "rtx.fp8-mse"]
    assert later[1].plan.cast is None
    only = propose([rtx], CONVNET, named, (RangeMethod.ENTROPY,), ())
    assert "rtx.fp8-minmax-fp16" in ids(only)
    assert not propose([rtx], CONVNET, named, RANGES, screen(first[:3], {first[2].id: None}))


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


REPAIRABLE = ModelTraits(has_convolutions=True, repairs=(Repair.EQUALISE, Repair.BIAS, Repair.ROUND))


def repairs_of(candidates: tuple[Candidate, ...]) -> list[tuple[Repair, ...]]:
    return [candidate.plan.scheme.repairs for candidate in candidates if candidate.plan.scheme is not None]


def test_every_form_of_the_first_round_has_the_repairs_that_cost_nothing() -> None:
    first = propose([ONNXRUNTIME], REPAIRABLE, ALL, RANGES, ())
    assert repairs_of(first) == [(Repair.BIAS,)]
    assert repairs_of(propose([ONNXRUNTIME], CONVNET, ALL, RANGES, ())) == [()]


@pytest.mark.parametrize("strained", [True, False])
def test_all_repairs_are_tried_where_the_fastest_form_strains_the_tolerance(*, strained: bool) -> None:
    first = propose([OPENVINO], REPAIRABLE, ALL, RANGES, ())
    tried = [
        Screened(c, 4.0 if c.plan.scheme and c.plan.scheme.dialect == S8S8 else 9.0, strained=strained) for c in first
    ]
    while fresh := propose([OPENVINO], REPAIRABLE, ALL, RANGES, tried):
        tried += [Screened(c, 5.0) for c in fresh]
    repaired = [
        c
        for c in (s.candidate for s in tried)
        if c.plan.scheme is not None and c.plan.scheme.repairs == REPAIRABLE.repairs
    ]
    assert [c.id for c in repaired] == (["openvino.int8-s8s8-chain-mse-equalise-bias-round-bf16"] if strained else [])


def run_rounds(tried: list[Screened], latencies: dict[str, float], *, hurried: bool) -> list[str]:
    """Ids of what is proposed until nothing follows, in order; every form strains the tolerance."""
    order: list[str] = []
    while fresh := propose([OPENVINO, ONNXRUNTIME], REPAIRABLE, ALL, RANGES, tried, hurried=hurried):
        order += ids(fresh)
        tried += [Screened(c, latencies.get(c.id, 9.0), strained=True) for c in fresh]
    return order


def test_in_a_hurry_repairs_come_before_neighbours_and_formats_that_are_not_computed_in() -> None:
    tried: list[Screened] = []
    fastest = {"openvino.int8-u8s8-chain-mse-bias-bf16": 8.0, "onnxruntime.int8-u8s8-chain-mse-bias": 8.5}
    soon = run_rounds(tried, fastest, hurried=True)
    assert "openvino.bf16" in soon
    assert not any("s8s8" in name for name in soon)
    assert not {"openvino.fp16", "onnxruntime.fp16", "onnxruntime.bf16"} & {*soon}
    assert soon[-2:] == [
        "openvino.int8-u8s8-chain-mse-equalise-bias-round-bf16",
        "onnxruntime.int8-u8s8-chain-mse-equalise-bias-round",
    ]
    assert not any("minmax" in name or "operands" in name for name in soon)
    late = run_rounds(tried, fastest, hurried=False)
    assert {"openvino.fp16", "onnxruntime.fp16", "onnxruntime.bf16"} <= {*late}
    assert {*soon, *late} == {*run_rounds([], fastest, hurried=False)}
    assert not {*soon} & {*late}


def test_in_a_hurry_the_next_dialect_follows_where_the_first_does_not_run() -> None:
    chain = "openvino.int8-u8s8-chain-mse-bias-bf16"
    fresh = propose([OPENVINO], REPAIRABLE, ALL, RANGES, (), hurried=True)
    assert [name for name in ids(fresh) if "int8" in name] == [chain]
    tried = [Screened(c, None if c.id == chain else 5.0) for c in fresh]
    assert ids(propose([OPENVINO], REPAIRABLE, ALL, RANGES, tried, hurried=True)) == [chain.replace("u8s8", "s8s8")]


def test_a_much_faster_placement_is_repaired_as_well() -> None:
    tried: list[Screened] = []
    fastest = {"openvino.int8-s8s8-chain-mse-bias-bf16": 8.0, "openvino.int8-s8s8-operands-mse-bias-bf16": 4.0}
    run_rounds(tried, fastest, hurried=True)
    late = run_rounds(tried, fastest, hurried=False)
    assert "openvino.int8-s8s8-operands-mse-equalise-bias-round-bf16" in late


def test_a_repaired_form_is_no_start_of_further_forms() -> None:
    tried: list[Screened] = []
    rounds = 0
    while fresh := propose([OPENVINO, ONNXRUNTIME], REPAIRABLE, ALL, RANGES, tried):
        rounds += 1
        tried += [
            Screened(c, 1.0 if c.plan.scheme and len(c.plan.scheme.repairs) > 1 else 2.0, strained=True) for c in fresh
        ]
    assert rounds < 5
    whole = [c for c in (s.candidate for s in tried) if c.plan.scheme and c.plan.scheme.repairs == REPAIRABLE.repairs]
    assert {c.runtime for c in whole} == {"openvino", "onnxruntime"}
    assert len(whole) == 2


def test_a_form_with_broken_outputs_is_tried_again_without_the_guilty_nodes() -> None:
    tried = [replace(one, guilty=()) for one in screen(propose([OPENVINO], CONVNET, ALL, RANGES, ()), {})]
    broken = next(one for one in tried if one.candidate.id == "openvino.int8-u8s8-chain-mse-bf16")
    tried = [one for one in tried if one is not broken]
    seen = [replace(broken, latency_ms=None, guilty=("head", "pool"))]
    for count in (2, 3, 4):
        (mended,) = (c for c in propose([OPENVINO], CONVNET, ALL, RANGES, [*tried, *seen]) if c.plan.overrides)
        assert len(mended.plan.overrides) == count
        assert {precision for _, precision in mended.plan.overrides} == {Precision.BF16}
        assert replace(mended.plan, overrides=()) == broken.candidate.plan
        seen.append(Screened(mended, None, guilty=("head", f"neck{count}")))
    assert not [c for c in propose([OPENVINO], CONVNET, ALL, RANGES, [*tried, *seen]) if c.plan.overrides]


def test_a_broken_fp16_form_is_mended_where_int8_is_not_allowed() -> None:
    allowed = (Precision.FP32, Precision.FP16)
    tried = screen(propose([ONNXRUNTIME], CONVNET, allowed, RANGES, ()), {})
    assert not propose([ONNXRUNTIME], CONVNET, allowed, RANGES, tried)
    tried = [replace(one, guilty=("head",) if one.candidate.plan.cast else ()) for one in tried]
    (mended,) = propose([ONNXRUNTIME], CONVNET, allowed, RANGES, tried)
    assert mended.plan.overrides == (("head", Precision.FP32),)
    seen = [*tried, Screened(mended, None, guilty=("head",))]
    assert not propose([ONNXRUNTIME], CONVNET, allowed, RANGES, seen)
