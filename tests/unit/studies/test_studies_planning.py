"""Sample plans in a study's terms, from flips, options and pilots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.core.certificate import Design
from assay.core.errors import MeasurementError, RequestError
from assay.core.requirements import ToleranceKind
from assay.core.trial import Quality
from assay.measure.statistics.power import MOST_ITEMS, compute_power, count_least_items
from assay.studies.plan_requests import PlanRequest, answer_plan, compose_plan, parse_share, parse_tolerance
from assay.studies.planning import (
    Supposed,
    count_search_items,
    count_study_items,
    least_items,
    plan_certificate,
    plan_quality,
    plan_study,
    refuse_unresolvable,
)
from assay.studies.split import split_items

QUALITY = Quality(
    metric="top1",
    higher_is_better=True,
    reference=0.8,
    value=0.796,
    difference=-0.004,
    low=-0.009,
    high=0.001,
    confidence=0.95,
    n=1000,
    flips_lost=12,
    flips_won=8,
    agreement=0.9,
    method="exact",
)


def compose(**options: object) -> PlanRequest:
    given: dict[str, object] = {
        "metric": "top1",
        "tolerance": "0.5pp",
        "flips": "3%",
        "loss": None,
        "deviation": None,
        "reference": None,
        "confidence": 0.95,
        "power": 0.8,
        "items": None,
        "pilot": None,
        "candidates": 2,
    }
    return compose_plan(**(given | options))  # type: ignore[arg-type]


def test_the_plan_of_one_certificate_promises_its_exact_power() -> None:
    plan = plan_certificate(Supposed("top1", 0.03), 0.02, 0.95, 0.8, available=400)
    assert plan.items is not None
    assert plan.power == compute_power(0.015, 0.015, plan.items, 0.02, 0.95)
    assert plan.power_available == compute_power(0.015, 0.015, 400, 0.02, 0.95)
    assert plan.least_items == count_least_items(0.02, 0.95)
    assert plan.design is Design.FIXED


def test_a_study_with_plenty_of_items_pays_for_its_looks() -> None:
    once = plan_certificate(Supposed("top1", 0.05), 0.02, 0.95)
    study = plan_study(None, Supposed("top1", 0.05), 0.02, 0.95)
    assert study.design is Design.SEQUENTIAL
    assert study.items is not None
    assert once.items is not None
    assert once.items < study.items < 1.6 * once.items
    assert study.least_items == count_least_items(0.02, 0.975)
    assert plan_study(150, Supposed("top1", 0.05), 0.02, 0.95).design is Design.FIXED


@pytest.mark.parametrize("total", [1, 5, 11, 400, 4999, 5000, 5003, 20_000])
def test_search_items_are_those_of_the_split(total: int) -> None:
    assert count_search_items(total) == split_items(total).search
    assert count_search_items(total, several=False) == 0


@pytest.mark.parametrize("needed", [4, 10, 333, 3999, 4000, 4001, 9613])
def test_study_items_leave_enough_to_certify_on_and_not_one_more(needed: int) -> None:
    total = count_study_items(needed)
    assert total - count_search_items(total) >= needed
    assert total - 1 - count_search_items(total - 1) < needed
    assert count_study_items(needed, several=False) == needed


def test_too_few_items_are_refused_with_the_number_that_would_do() -> None:
    plan = plan_study(400, Supposed("top1", 0.0), 0.005, 0.95)
    assert plan.available == 320
    with pytest.raises(MeasurementError) as caught:
        refuse_unresolvable(plan, accepted=False)
    enough = count_study_items(plan.least_items)
    assert f"{enough:,}" in caught.value.hint
    refuse_unresolvable(plan, accepted=True)
    refuse_unresolvable(plan_study(enough, Supposed("top1", 0.0), 0.005, 0.95), accepted=False)


def test_no_tolerance_at_all_is_beyond_any_number_of_items() -> None:
    plan = plan_study(400, Supposed("top1", 0.01), 0.0, 0.95)
    assert plan.items is None
    assert plan.least_items == MOST_ITEMS
    with pytest.raises(MeasurementError, match="no number of items"):
        refuse_unresolvable(plan, accepted=False)
    assert least_items(1.0, 0.95, Design.FIXED) == 1


def test_items_that_would_decide_come_from_the_flips_seen() -> None:
    close = plan_quality(QUALITY, 0.02, 0.95)
    assert close == QUALITY.n + 1  # these would have done already: one more than there were
    far = plan_quality(QUALITY, 0.006, 0.95)
    assert far is not None
    assert far > 5_000
    assert plan_quality(QUALITY, 0.004, 0.95) is None
    gained = replace(QUALITY, difference=0.01, flips_lost=5, flips_won=15)
    assert plan_quality(gained, 0.006, 0.95) == plan_quality(
        replace(QUALITY, difference=0.0, flips_lost=10, flips_won=10), 0.006, 0.95
    )


def test_agreement_loses_all_its_flips() -> None:
    assert Supposed("agreement", 0.02).rates == (0.02, 0.0)
    assert Supposed("top1", 0.02, 0.01).rates == pytest.approx((0.015, 0.005))


@pytest.mark.parametrize(("rate", "loss"), [(1.2, 0.0), (-0.1, 0.0), (0.01, 0.02)])
def test_impossible_flips_are_refused(rate: float, loss: float) -> None:
    with pytest.raises(RequestError):
        Supposed("top1", rate, loss)


def test_options_become_a_request() -> None:
    request = compose(tolerance="1%", reference="76%", loss="0.1pp", items=2000, candidates=1)
    assert request.margin == pytest.approx(0.0076)
    assert request.tolerance.kind is ToleranceKind.RELATIVE
    assert request.supposed == Supposed("top1", 0.03, 0.001)
    assert (request.items, request.several) == (2000, False)


@pytest.mark.parametrize(
    ("text", "metric", "expected"),
    [("0.5pp", "top1", ("top1", 0.005)), ("f1: 0.02", None, ("f1", 0.02)), ("top1 = 1pp", "top1", ("top1", 0.01))],
)
def test_the_metric_may_stand_in_the_tolerance(text: str, metric: str | None, expected: tuple[str, float]) -> None:
    name, tolerance = parse_tolerance(metric, text)
    assert (name, tolerance.amount) == expected


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"metric": None}, "no metric"),
        ({"metric": "top5", "tolerance": "top1: 1pp"}, "top5"),
        ({"tolerance": "1%"}, "not known"),
        ({"flips": None}, "once"),
        ({"deviation": "5pp"}, "once"),
        ({"flips": "many"}, "many"),
        ({"flips": "120%"}, "120%"),
        ({"power": 1.0}, "power"),
        ({"confidence": 95.0}, "confidence"),
        ({"items": 0}, "0 items"),
        ({"candidates": 0}, "0 candidates"),
        ({"loss": "0.5pp"}, "not within"),
        ({"tolerance": "0pp"}, "allows 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        compose(**options)


@pytest.mark.parametrize(("text", "share"), [("3%", 0.03), ("0.5pp", 0.005), ("0.03", 0.03), (" 1e-3 ", 0.001)])
def test_shares_are_read(text: str, share: float) -> None:
    assert parse_share("--flips", text) == pytest.approx(share)


def test_an_answer_has_a_rising_table_and_the_smallest_margin() -> None:
    answer = answer_plan(compose(tolerance="3pp", flips="5%", items=500))
    chances = [chance for _, chance in answer.table]
    assert chances[-1] > 0.9 > chances[0]
    assert answer.smallest_margin is not None
    assert compute_power(0.025, 0.025, 500, answer.smallest_margin, 0.95) >= 0.8
    assert answer.study_items is not None
    assert answer.study.items is not None
    assert answer.study_items - (answer.study_search or 0) >= answer.study.items


def test_scores_between_0_and_1_are_planned_by_their_deviation() -> None:
    answer = answer_plan(compose(metric="ndcg", flips=None, deviation="8pp", tolerance="1pp"))
    assert answer.certificate.items is not None
    assert 396 < answer.certificate.items < 1000  # 396 by the normal approximation alone
    assert answer.smallest_margin is None
