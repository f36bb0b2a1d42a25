from __future__ import annotations

import pytest
from certificate_samples import make_plan_of_items

from assay.core.certificate import Design
from assay.report.charts.units import LossUnit
from assay.report.sample_plans import explain_plan, list_plan_facts, summarise_plan

POINTS = LossUnit("top1", 100.0, "pp")


def test_the_plan_says_what_it_takes_and_what_the_items_at_hand_do() -> None:
    facts = list_plan_facts(make_plan_of_items(), POINTS)
    assert [value for _, value, _ in facts] == ["7,721", "9,000", "87%", "598"]
    assert "that 0.50 pp is certified" in summarise_plan(make_plan_of_items(), POINTS)


@pytest.mark.parametrize(
    ("available", "text"),
    [(400, "cannot certify this tolerance, whatever they show"), (2000, "fewer than that"), (9000, "items come.")],
)
def test_too_few_items_are_said(available: int, text: str) -> None:
    assert explain_plan(make_plan_of_items(available=available), POINTS).endswith((text, f"{text}."))


def test_what_is_not_known_is_a_dash() -> None:
    plan = make_plan_of_items(items=None, available=None, power_available=None)
    facts = list_plan_facts(plan, POINTS)
    assert [value for _, value, _ in facts] == ["–", "–", "–", "598"]  # noqa: RUF001 - empty cells
    assert facts[0][2] == "no sensible number would do"


def test_the_design_and_the_supposed_loss_are_said() -> None:
    text = explain_plan(make_plan_of_items(design=Design.FIXED, loss=0.001), POINTS)
    assert "3% of the items change sides" in text
    assert "a true loss of 0.10 pp" in text
    assert "one look at all items" in text
    assert "no true loss" in explain_plan(make_plan_of_items(), POINTS)


@pytest.mark.parametrize(("power", "text"), [(0.9999, "over 99%"), (1.0, "100%"), (0.125, "12%"), (0.0, "0%")])
def test_a_chance_is_certain_only_where_it_is(power: float, text: str) -> None:
    assert list_plan_facts(make_plan_of_items(power_available=power), POINTS)[2][1] == text
