from __future__ import annotations

import math
from dataclasses import replace

import pytest
from trial_samples import (
    S8S8,
    make_evidence,
    make_missing,
    make_plan,
    make_quality,
    make_realistic_trials,
    make_reference,
    make_requirements,
    make_trial,
)

from assay.core.decision import DecisionStatus
from assay.core.errors import MeasurementError
from assay.core.precision import Precision
from assay.core.requirements import Objective
from assay.core.threshold import BINARY_LABEL, Threshold
from assay.core.trial import Quality, Trial, TrialStatus
from assay.decide.assess import measure_loss
from assay.decide.conclude import conclude
from assay.decide.words import format_about

INT8, BF16, FP16, FP32 = Precision.INT8, Precision.BF16, Precision.FP16, Precision.FP32
GOOD = make_quality(0.1, 0.1)
UNCLEAR = make_quality(0.4, 0.8, n=250)
BAD = make_quality(1.2, 0.4)


def test_the_fastest_certified_trial_is_chosen_with_its_chain() -> None:
    decision = conclude(
        make_requirements(), [make_reference(), make_trial(INT8, 4.0, GOOD), make_trial(BF16, 6.0, GOOD)]
    )
    assert decision.status is DecisionStatus.CHOSEN
    assert decision.chosen == "openvino.int8-u8s8-chain-mse"
    assert decision.fallbacks == ("openvino.bf16", "openvino.fp32")
    assert decision.best is None
    assert decision.items_needed is None
    for part in ("INT8 on openvino", "10.0x as fast as FP32", "0.10 pp", "0.20 pp", "95%", "10,000 items"):
        assert part in decision.sentence


def test_a_loss_beyond_the_tolerance_says_so_with_numbers() -> None:
    decision = conclude(
        make_requirements(), [make_reference(), make_trial(INT8, 4.0, BAD), make_trial(BF16, 6.0, GOOD)]
    )
    assert decision.chosen == "openvino.bf16"
    assert decision.reasons["openvino.int8-u8s8-chain-mse"] == (
        "lost 1.20 pp (95% bounds 0.80 pp and 1.60 pp) against the tolerated 0.50 pp"
    )
    assert "slower than the chosen one" in decision.reasons["openvino.fp32"]
    assert decision.reasons["openvino.fp32"].endswith("fallback 1")


def test_the_data_cannot_tell() -> None:
    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, UNCLEAR)])
    assert decision.status is DecisionStatus.UNDECIDED
    assert decision.chosen is None
    assert decision.best == "openvino.fp32"
    assert decision.fallbacks == ()
    assert decision.items_needed is not None
    assert decision.items_needed > 250
    assert f"{format_about(decision.items_needed)} items" in decision.sentence
    assert "250 items" in decision.sentence


def test_a_slow_certified_one_does_not_hide_that_the_fast_one_is_open() -> None:
    trials = [make_reference(), make_trial(FP16, 60.0, GOOD), make_trial(INT8, 4.0, UNCLEAR)]
    assert conclude(make_requirements(), trials).status is DecisionStatus.UNDECIDED


def test_a_certified_one_is_chosen_and_the_faster_open_one_named() -> None:
    trials = [make_reference(), make_trial(BF16, 6.0, GOOD), make_trial(INT8, 4.0, UNCLEAR)]
    decision = conclude(make_requirements(), trials)
    assert decision.chosen == "openvino.bf16"
    assert decision.items_needed is not None
    assert "INT8 on openvino would be better" in decision.sentence
    assert f"{format_about(decision.items_needed)} items" in decision.sentence


def test_an_open_one_that_is_slower_anyway_changes_nothing() -> None:
    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 80.0, UNCLEAR)])
    assert decision.status is DecisionStatus.CHOSEN
    assert decision.chosen == "openvino.fp32"
    assert "would not beat the chosen one anyway" in decision.reasons["openvino.int8-u8s8-chain-mse"]


def test_fp32_stays_where_reduced_precision_does_not_pay() -> None:
    decision = conclude(make_requirements(), [make_reference(), make_trial(FP16, 60.0, GOOD)])
    assert decision.chosen == "openvino.fp32"
    assert decision.fallbacks == ()
    assert "no reduced precision pays" in decision.sentence
    assert "0.67x" in decision.sentence


def test_fp32_stays_where_the_fast_one_is_proven_worse() -> None:
    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, BAD)])
    assert decision.chosen == "openvino.fp32"
    assert "lost 1.20 pp" in decision.sentence


def test_within_noise_the_higher_precision_wins() -> None:
    trials = [make_reference(), make_trial(INT8, 4.0, GOOD), make_trial(BF16, 4.1, GOOD)]
    decision = conclude(make_requirements(), trials)
    assert decision.chosen == "openvino.bf16"
    assert "within noise" in decision.reasons["openvino.bf16"]
    assert "higher precision" in decision.reasons["openvino.int8-u8s8-chain-mse"]


def test_overlapping_speed_ups_are_noise_too() -> None:
    wide = make_trial(INT8, evidence=make_evidence(4.0, GOOD, precision=INT8, spread=0.10))
    other = make_trial(BF16, evidence=make_evidence(4.3, GOOD, precision=BF16, spread=0.10))
    assert conclude(make_requirements(), [make_reference(), wide, other]).chosen == "openvino.bf16"


def test_within_noise_of_one_precision_fewer_flips_win() -> None:
    better = make_trial(INT8, 4.1, make_quality(0.05, 0.1))
    worse = make_trial(INT8, 4.0, make_quality(0.2, 0.1), plan=make_plan(INT8, S8S8))
    decision = conclude(make_requirements(), [make_reference(), better, worse])
    assert decision.chosen == better.id
    assert "fewer flips" in decision.reasons[better.id]


def test_nothing_fits_names_the_best_so_far() -> None:
    trials = [make_reference(), make_trial(INT8, 4.0, GOOD), make_trial(BF16, 6.0, GOOD)]
    decision = conclude(make_requirements("top1: 0.5pp", "p50 <= 1ms"), trials)
    assert decision.status is DecisionStatus.NONE
    assert decision.chosen is None
    assert decision.best == "openvino.int8-u8s8-chain-mse"
    assert "misses 'p50 <= 1ms'" in decision.sentence


def test_too_few_calls_cannot_certify_a_p99() -> None:
    few = make_trial(INT8, evidence=make_evidence(4.0, GOOD, precision=INT8, calls=100))
    decision = conclude(make_requirements("top1: 0.5pp", "p99 <= 10ms"), [make_reference(), few])
    assert decision.status is DecisionStatus.UNDECIDED
    assert decision.items_needed is None
    assert "299 are needed" in decision.reasons[few.id]


@pytest.mark.parametrize(
    ("constraint", "status"),
    [
        ("p50 <= 4.05ms", DecisionStatus.CHOSEN),
        ("p50 <= 4.02ms", DecisionStatus.UNDECIDED),
        ("p50 <= 3.9ms", DecisionStatus.NONE),
        ("p95 <= 4.5ms", DecisionStatus.CHOSEN),
        ("p99 <= 5.2ms", DecisionStatus.UNDECIDED),
        ("throughput >= 1000/s", DecisionStatus.CHOSEN),
        ("throughput >= 1125/s", DecisionStatus.UNDECIDED),
        ("throughput >= 1200/s", DecisionStatus.NONE),
        ("memory <= 120MB", DecisionStatus.CHOSEN),
        ("memory <= 119MB", DecisionStatus.NONE),
        ("size <= 4MB", DecisionStatus.CHOSEN),
        ("size <= 3999kB", DecisionStatus.NONE),
    ],
)
def test_constraints_are_held_to_the_bound_that_counts(constraint: str, status: DecisionStatus) -> None:
    trials = [make_reference(), make_trial(INT8, 4.0, GOOD)]
    assert conclude(make_requirements("top1: 0.5pp", constraint), trials).status is status


def test_a_metric_that_is_better_when_lower() -> None:
    def judge(loss_pp: float, half_width_pp: float) -> DecisionStatus:
        quality = make_quality(loss_pp, half_width_pp, metric="mae", higher_is_better=False, reference=0.2)
        trials = [make_reference(), make_trial(INT8, 4.0, quality)]
        decision = conclude(make_requirements("mae: 0.005"), trials)
        assert (decision.chosen == "openvino.fp32") is (decision.status is DecisionStatus.CHOSEN and loss_pp > 0.5)
        return decision.status

    assert judge(-0.3, 0.1) is DecisionStatus.CHOSEN
    assert judge(0.1, 0.1) is DecisionStatus.CHOSEN
    assert judge(1.0, 0.1) is DecisionStatus.CHOSEN
    assert judge(0.45, 0.3) is DecisionStatus.UNDECIDED


def test_a_relative_tolerance_scales_with_the_reference() -> None:
    trials = [make_reference(), make_trial(INT8, 4.0, make_quality(0.4, 0.05, reference=0.5))]
    assert conclude(make_requirements("top1: 1%"), trials).chosen == "openvino.int8-u8s8-chain-mse"
    trials = [make_reference(), make_trial(INT8, 4.0, make_quality(0.4, 0.05, reference=0.3))]
    assert conclude(make_requirements("top1: 1%"), trials).chosen == "openvino.fp32"


def test_another_runtimes_fp32_passes_unless_proven_worse() -> None:
    other = make_trial(FP32, 20.0, make_quality(0.1, 0.6), runtime="onnxruntime")
    assert conclude(make_requirements(), [make_reference(), other]).chosen == other.id
    wrong = make_trial(FP32, 20.0, make_quality(2.0, 0.6), runtime="onnxruntime")
    assert conclude(make_requirements(), [make_reference(), wrong]).chosen == "openvino.fp32"


def test_fp32_that_ran_in_bf16_is_not_the_model_itself() -> None:
    secret = make_trial(FP32, runtime="other", evidence=make_evidence(6.0, UNCLEAR, precision=BF16))
    decision = conclude(make_requirements(), [make_reference(), secret])
    assert decision.status is DecisionStatus.UNDECIDED
    assert decision.best == "openvino.fp32"


def test_quality_without_measurement_or_of_another_metric_certifies_nothing() -> None:
    for quality in (None, replace(GOOD, metric="top5"), replace(GOOD, confidence=0.9)):
        trial = make_trial(INT8, evidence=make_evidence(4.0, quality, precision=INT8))
        decision = conclude(make_requirements(), [make_reference(), trial])
        assert decision.status is DecisionStatus.UNDECIDED
        assert decision.best == "openvino.fp32"


def test_failed_and_unsupported_trials_have_reasons_and_no_place_in_the_chain() -> None:
    missing = [
        make_missing(BF16, "openvino", "kernel missing", TrialStatus.UNSUPPORTED),
        make_missing(FP16, "openvino", "it crashed"),
    ]
    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, GOOD), *missing])
    assert decision.reasons["openvino.bf16"] == "not supported: kernel missing"
    assert decision.reasons["openvino.fp16"] == "failed: it crashed"
    assert decision.fallbacks == ("openvino.fp32",)


def test_the_chain_ends_on_the_chosen_ones_runtime_where_it_can() -> None:
    other = make_trial(FP32, 30.0, make_quality(0.0, 0.1), runtime="onnxruntime")
    chosen = make_trial(INT8, 4.0, GOOD, runtime="onnxruntime")
    assert conclude(make_requirements(), [make_reference(), other, chosen]).fallbacks == ("onnxruntime.fp32",)
    wrong = make_trial(FP32, 30.0, make_quality(3.0, 0.1), runtime="onnxruntime")
    assert conclude(make_requirements(), [make_reference(), wrong, chosen]).fallbacks == ("openvino.fp32",)


def test_a_half_precision_slower_than_fp32_is_no_fallback() -> None:
    trials = [make_reference(), make_trial(INT8, 4.0, GOOD), make_trial(FP16, 70.0, GOOD)]
    assert conclude(make_requirements(), trials).fallbacks == ("openvino.fp32",)


@pytest.mark.parametrize(
    ("objective", "chosen"),
    [
        (Objective.LATENCY, "openvino.bf16"),
        (Objective.THROUGHPUT, "openvino.bf16"),
        (Objective.COST, "openvino.bf16"),
        (Objective.SIZE, "openvino.int8-u8s8-chain-mse"),
        (Objective.MEMORY, "openvino.int8-u8s8-chain-mse"),
    ],
)
def test_the_objective_decides(objective: Objective, chosen: str) -> None:
    small = make_evidence(8.0, GOOD, precision=INT8, size_bytes=1_000_000, memory_bytes=60_000_000)
    trials = [make_reference(), make_trial(INT8, evidence=small), make_trial(BF16, 6.0, GOOD)]
    decision = conclude(make_requirements(objective=objective, price_per_hour=0.5), trials)
    assert decision.chosen == chosen


def test_the_front_holds_what_nothing_beats() -> None:
    decision = conclude(make_requirements(), make_realistic_trials())
    assert decision.chosen == "openvino.int8-u8s8-chain-mse"
    assert decision.front == (
        "openvino.int8-u8s8-chain-mse-bf16",
        "openvino.int8-u8s8-chain-mse",
        "openvino.int8-u8s8-operands-mse",
        "openvino.bf16",
        "openvino.fp32",
    )


def test_every_trial_has_a_reason_in_the_order_given() -> None:
    trials = make_realistic_trials()
    decision = conclude(make_requirements(), trials)
    assert list(decision.reasons) == [trial.id for trial in trials]
    assert all(decision.reasons.values())


def test_a_given_planner_is_asked() -> None:
    asked: list[tuple[Quality, float, float]] = []

    def plan(quality: Quality, margin: float, confidence: float) -> int:
        asked.append((quality, margin, confidence))
        return 12_345

    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, UNCLEAR)], plan)
    assert decision.items_needed == 12_345
    assert asked == [(UNCLEAR, 0.005, 0.95)]


def test_without_a_measured_reference_there_is_no_decision() -> None:
    lost = Trial(make_reference().candidate, TrialStatus.FAILED, "out of memory", reference=True)
    with pytest.raises(MeasurementError, match="reference was not measured"):
        conclude(make_requirements(), [lost, make_trial(INT8, 4.0, GOOD)])


def test_a_point_beyond_the_margin_is_not_proof() -> None:
    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, make_quality(0.6, 0.3))])
    assert decision.status is DecisionStatus.UNDECIDED


def test_latency_is_told_per_item() -> None:
    decision = conclude(make_requirements(), [make_reference(40.0), make_trial(INT8, 4.0, GOOD)])
    assert "(10.0 ms per item against 1.00 ms per item)" in decision.reasons["openvino.fp32"]


def test_the_open_one_with_fewer_flips_is_asked_about_within_noise() -> None:
    fast = make_trial(INT8, 4.0, make_quality(0.4, 0.8, n=1000))
    gentle = make_trial(INT8, 4.1, make_quality(0.1, 0.8, n=1000), plan=make_plan(INT8, S8S8))
    decision = conclude(make_requirements(), [make_reference(), fast, gentle])
    alone = conclude(make_requirements(), [make_reference(), gentle])
    assert decision.items_needed == alone.items_needed
    assert "would settle it" in decision.reasons[gentle.id]
    assert "would settle it" not in decision.reasons[fast.id]


def test_no_difference_is_no_negative_zero() -> None:
    loss = measure_loss(make_requirements(), make_quality(0.0, 0.0))
    assert [math.copysign(1, x) for x in (loss.point, loss.lower, loss.upper)] == [1, 1, 1]


def test_a_lucky_gain_on_too_few_items_certifies_nothing() -> None:
    lucky = make_quality(-2.4, 1.9, n=250)
    decision = conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, lucky)])
    assert decision.status is DecisionStatus.UNDECIDED
    assert decision.best == "openvino.fp32"
    assert "250 items cannot resolve 0.50 pp" in decision.sentence
    assert "598" in decision.sentence
    assert decision.items_needed is not None
    assert decision.items_needed > 598
    enough = replace(lucky, n=598, flips_lost=0, flips_won=round(0.024 * 598), difference=round(0.024 * 598) / 598)
    assert conclude(make_requirements(), [make_reference(), make_trial(INT8, 4.0, enough)]).chosen is not None


def test_wide_intervals_do_not_hide_a_clear_difference() -> None:
    def widen(trial: Trial) -> Trial:
        assert trial.evidence is not None
        speedup = replace(trial.evidence.speedup, low=0.5, high=50.0)
        return replace(trial, evidence=replace(trial.evidence, speedup=speedup))

    trials = [make_reference(), widen(make_trial(INT8, 4.0, GOOD)), widen(make_trial(BF16, 4.6, GOOD))]
    assert conclude(make_requirements(), trials).chosen == "openvino.int8-u8s8-chain-mse"
    trials[2] = widen(make_trial(BF16, 4.3, GOOD))
    assert conclude(make_requirements(), trials).chosen == "openvino.bf16"


def test_what_ran_as_asked_wins_a_tie() -> None:
    flagged = make_trial(FP16, 4.0, GOOD)
    assert flagged.evidence is not None
    flagged = replace(flagged, evidence=replace(flagged.evidence, flags=("asked for fp16, but it ran in bf16",)))
    trials = [make_reference(), flagged, make_trial(BF16, 4.05, GOOD)]
    assert conclude(make_requirements(), trials).chosen == "openvino.bf16"
    assert (
        conclude(make_requirements(), [make_reference(), make_trial(FP16, 4.0, GOOD), trials[2]]).chosen == flagged.id
    )


F1 = make_quality(0.1, 0.1, metric="f1")


def test_a_share_of_f1_and_a_percentile_are_one_decision_with_both_certificates() -> None:
    requirements = make_requirements("f1: 1%", "p99 <= 10ms at 95%")
    decision = conclude(requirements, [make_reference(), make_trial(INT8, 4.0, F1)])
    assert decision.status is DecisionStatus.CHOSEN
    for part in (
        "lost 0.10 pp of f1 (at most 0.20 pp with 95% confidence",
        f"(1% of FP32's {F1.reference:.3f})",
        "; p99 5.20 ms (at most ",
        "keeps 'p99 <= 10ms at 95%'",
        "; both statements together hold with at least 90% confidence",
    ):
        assert part in decision.sentence


def test_what_is_counted_adds_no_doubt() -> None:
    requirements = make_requirements("f1: 1%", "size <= 5MB")
    decision = conclude(requirements, [make_reference(), make_trial(INT8, 4.0, F1)])
    assert "keeps 'size <= 5MB'" in decision.sentence
    assert "together" not in decision.sentence


def test_a_tight_confidence_of_one_part_counts_with_its_own() -> None:
    requirements = make_requirements("f1: 1%", "p99 <= 10ms at 95%", "throughput >= 10/s")
    decision = conclude(requirements, [make_reference(), make_trial(INT8, 4.0, F1)])
    assert "all 3 statements together hold with at least 85% confidence" in decision.sentence


def test_the_decision_names_the_thresholds_that_it_holds_at() -> None:
    def at(trial: Trial, value: float, items: int) -> Trial:
        assert trial.evidence is not None
        threshold = Threshold(BINARY_LABEL, value, value, value, items=items)
        return replace(trial, evidence=replace(trial.evidence, thresholds=(threshold,)))

    trials = [make_reference(), make_trial(INT8, 4.0, F1)]
    tuned = conclude(make_requirements("f1: 1%"), [at(trials[0], 0.47, 800), at(trials[1], 0.31, 800)])
    assert "each at its own threshold (0.310 and FP32's 0.470)" in tuned.sentence
    given = conclude(make_requirements("f1: 1%"), [at(trial, 0.5, 0) for trial in trials])
    assert "threshold" not in given.sentence
