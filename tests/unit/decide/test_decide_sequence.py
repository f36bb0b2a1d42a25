"""Which candidates are certified, and in what order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trial_samples import S8S8, U8S8, make_evidence, make_plan, make_quality, make_reference, make_requirements
from trial_samples import make_trial as make_any

from assay.core.certificate import Certificate, CertificateStatus, Design
from assay.core.decision import DecisionStatus
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.trial import Trial
from assay.decide.conclude import conclude
from assay.decide.sequence import order_tests

INT8, BF16, FP32 = Precision.INT8, Precision.BF16, Precision.FP32
REQUIREMENTS = make_requirements("top1: 2pp")
FAST = make_plan(INT8, U8S8, Placement.CHAIN, RangeMethod.MSE)
FASTER = make_plan(INT8, S8S8, Placement.CHAIN, RangeMethod.MSE)


def make_trial(ms: float, loss: float, width: float = 1.0, plan: object = None, precision: Precision = INT8) -> Trial:
    quality = make_quality(loss, width, n=200)
    return make_any(precision, ms, quality, plan=plan or make_plan(precision))  # type: ignore[arg-type] # a plan


def test_the_safest_comes_first_and_each_is_cheaper_than_all_before() -> None:
    trials = [make_reference(), make_trial(4.0, 0.9, plan=FAST), make_trial(10.0, 0.0, 0.5, precision=BF16)]
    tests = order_tests(REQUIREMENTS, trials)
    assert tests.order == ("openvino.bf16", "openvino.int8-u8s8-chain-mse")
    assert not tests.worse
    assert not tests.untested


def test_what_is_neither_safer_nor_cheaper_is_left_out_with_its_rival_named() -> None:
    trials = [make_reference(), make_trial(4.0, 0.5, plan=FAST), make_trial(6.0, 1.5, plan=FASTER)]
    tests = order_tests(REQUIREMENTS, trials)
    assert tests.order == ("openvino.int8-u8s8-chain-mse",)
    reason = tests.untested["openvino.int8-s8s8-chain-mse"]
    assert "looks no riskier on the search items" in reason
    assert "4 ms per item against 1.50 ms" not in reason
    assert "1.00 ms per item against 1.50 ms per item" in reason


def test_a_cheaper_one_that_is_hardly_riskier_takes_the_place_of_a_dearer_one() -> None:
    close = [make_reference(), make_trial(6.0, 0.5, plan=FAST), make_trial(4.0, 0.9, plan=FASTER)]
    assert order_tests(REQUIREMENTS, close).order == ("openvino.int8-s8s8-chain-mse",)
    far = [make_reference(), make_trial(6.0, 0.5, plan=FAST), make_trial(4.0, 1.5, plan=FASTER)]
    assert order_tests(REQUIREMENTS, far).order == ("openvino.int8-u8s8-chain-mse", "openvino.int8-s8s8-chain-mse")


def test_a_higher_precision_keeps_its_place_before_a_cheaper_one_as_a_fallback() -> None:
    trials = [make_reference(), make_trial(6.0, 0.5, precision=BF16), make_trial(4.0, 0.5, plan=FAST)]
    assert order_tests(REQUIREMENTS, trials).order == ("openvino.bf16", "openvino.int8-u8s8-chain-mse")


def test_bf16_that_is_as_fast_as_int8_is_tested_first_though_int8_looked_luckier() -> None:
    trials = [make_reference(), make_trial(4.0, -0.5, plan=FAST), make_trial(4.1, 0.5, precision=BF16)]
    assert order_tests(REQUIREMENTS, trials).order == ("openvino.bf16", "openvino.int8-u8s8-chain-mse")
    # beyond noise INT8 is the cheaper one, and BF16 looks riskier
    slower = [make_reference(), make_trial(4.0, -0.5, plan=FAST), make_trial(4.6, 0.5, precision=BF16)]
    assert order_tests(REQUIREMENTS, slower).order == ("openvino.int8-u8s8-chain-mse",)
    # a loss that takes most of the tolerance speaks against it
    harmed = [make_reference(), make_trial(4.0, -0.5, plan=FAST), make_trial(4.1, 1.5, precision=BF16)]
    assert order_tests(REQUIREMENTS, harmed).order == ("openvino.int8-u8s8-chain-mse",)


def test_a_lucky_gain_does_not_keep_what_changes_nothing_from_its_test() -> None:
    """On other items the gain is gone; had it been tested alone and failed, nothing would be certified."""
    same = make_trial(6.0, 0.0, 1.0, precision=BF16)
    trials = [make_reference(), make_trial(4.0, -0.3, 1.1, plan=FAST), same]
    assert order_tests(REQUIREMENTS, trials).order == ("openvino.bf16", "openvino.int8-u8s8-chain-mse")
    # of two with the same spread the gain makes neither safer, and the cheaper one takes the place
    wider = [make_reference(), make_trial(4.0, -0.3, 1.0, plan=FAST), same]
    assert order_tests(REQUIREMENTS, wider).order == ("openvino.bf16", "openvino.int8-u8s8-chain-mse")


def test_bf16_that_ties_with_int8_is_chosen_and_says_why() -> None:
    good = make_quality(0.1, 0.2, n=2000)
    trials = [make_reference(), make_any(INT8, 4.0, good, plan=FAST), make_any(BF16, 4.1, good)]
    decision = conclude(REQUIREMENTS, trials)
    assert decision.chosen == "openvino.bf16"
    reason = decision.reasons["openvino.bf16"]
    assert reason.startswith("chosen: within noise of the lowest latency (1.02 ms per item against 1.00 ms per item)")
    assert "with the higher precision" in reason


def test_what_the_search_items_prove_worse_is_not_tested() -> None:
    trials = [make_reference(), make_trial(4.0, 5.0, 1.0, plan=FAST)]
    tests = order_tests(REQUIREMENTS, trials)
    assert tests.order == ()
    assert "on 200 search items it lost 5.00 pp" in tests.worse["openvino.int8-u8s8-chain-mse"]


def test_what_does_not_beat_fp32_or_breaks_a_constraint_is_not_tested() -> None:
    slow = [make_reference(10.0), make_trial(11.0, 0.0, plan=FAST)]
    assert "no better than FP32" in order_tests(REQUIREMENTS, slow).untested["openvino.int8-u8s8-chain-mse"]
    bound = make_requirements("top1: 2pp", "p99 <= 5ms")
    broken = [make_reference(), make_trial(10.0, 0.0, plan=FAST)]
    assert "misses 'p99 <= 5ms'" in order_tests(bound, broken).untested["openvino.int8-u8s8-chain-mse"]


def test_fp32_that_breaks_a_constraint_is_no_floor() -> None:
    bound = make_requirements("top1: 2pp", "memory <= 100MB")
    heavy = make_any(FP32, evidence=make_evidence(4.0), reference=True)
    light = make_any(INT8, evidence=make_evidence(5.0, make_quality(0.1), precision=INT8, memory_bytes=50_000_000))
    assert order_tests(bound, [heavy, light]).order == ("openvino.int8-u8s8-chain-mse",)


def certify(trial: Trial, status: CertificateStatus, reason: str = "") -> Trial:
    evidence = trial.evidence
    assert evidence is not None
    quality = evidence.quality
    assert quality is not None
    certificate = Certificate(
        status=status,
        metric="top1",
        margin=0.02,
        loss=-quality.difference,
        low=-quality.high,
        high=-quality.low,
        confidence=0.95,
        n=quality.n,
        available=1000,
        design=Design.SEQUENTIAL,
        method="m",
        reason=reason,
    )
    return replace(trial, evidence=replace(evidence, certificate=certificate))


@pytest.mark.parametrize(
    ("status", "decided"),
    [
        (CertificateStatus.CERTIFIED, DecisionStatus.CHOSEN),
        (CertificateStatus.WORSE, DecisionStatus.CHOSEN),
        (CertificateStatus.OPEN, DecisionStatus.UNDECIDED),
        (CertificateStatus.UNTESTED, DecisionStatus.UNDECIDED),
    ],
)
def test_the_certificate_decides_and_not_the_interval(status: CertificateStatus, decided: DecisionStatus) -> None:
    """The interval lies within the tolerance in all four."""
    trial = certify(make_trial(4.0, 0.1, 0.1, plan=FAST), status, "because")
    decision = conclude(REQUIREMENTS, [make_reference(), trial])
    assert decision.status is decided
    assert (decision.chosen == trial.id) is (status is CertificateStatus.CERTIFIED)
    if status is not CertificateStatus.CERTIFIED:
        assert "because" in decision.reasons[trial.id]


def test_an_untested_one_whose_search_loss_is_beyond_the_tolerance_holds_nothing_up() -> None:
    trial = certify(make_trial(4.0, 3.0, 3.0, plan=FAST), CertificateStatus.UNTESTED, "another one stopped the tests")
    decision = conclude(REQUIREMENTS, [make_reference(), trial])
    assert decision.status is DecisionStatus.CHOSEN
    assert decision.chosen == "openvino.fp32"


def test_without_an_interval_the_loss_on_the_search_items_orders() -> None:
    """Too few items for an interval: the bounds are all that the metric can be."""
    safe, risky = (make_trial(4.0, loss, 100 - loss, plan=FAST) for loss in (0.0, 1.0))
    half = make_trial(6.0, 0.5, 99.5, precision=BF16)
    assert order_tests(REQUIREMENTS, [make_reference(), risky, half]).order == (half.id, risky.id)
    assert order_tests(REQUIREMENTS, [make_reference(), safe, half]).order == (safe.id,)
