"""The sample plan in words: what it takes to certify the tolerance, and what the items at hand can do."""

from __future__ import annotations

from assay.core.certificate import Design
from assay.core.sample_plan import SamplePlan
from assay.decide import words
from assay.report import cells
from assay.report.charts.units import LossUnit


def list_plan_facts(plan: SamplePlan, unit: LossUnit) -> tuple[tuple[str, str, str], ...]:
    """Key numbers: name, value and what it is compared with."""
    power = _percent(plan.power)
    facts = [
        (
            "items needed",
            cells.NOTHING if plan.items is None else words.format_count(plan.items),
            f"for a chance of {power}" if plan.items is not None else "no sensible number would do",
        ),
        (
            "items at hand",
            cells.NOTHING if plan.available is None else words.format_count(plan.available),
            "for the certification",
        ),
        (
            "chance with those",
            cells.NOTHING if plan.power_available is None else _percent(plan.power_available),
            f"that {unit.say(plan.margin)} is certified",
        ),
        ("least items", words.format_count(plan.least_items), "even if no item flips"),
    ]
    return tuple(facts)


def explain_plan(plan: SamplePlan, unit: LossUnit) -> str:
    """What the numbers suppose."""
    loss = f"a true loss of {unit.say(plan.loss)}" if plan.loss else "no true loss"
    looks = "looks as the items come" if plan.design is Design.SEQUENTIAL else "one look at all items"
    text = (
        f"Supposing that {_percent(plan.flip_rate)} of the items change sides and {loss} of {plan.metric}: "
        f"what it takes to certify {unit.say(plan.margin)} at {words.format_confidence(plan.confidence)}, with {looks}."
    )
    if plan.available is None:
        return text
    if plan.available < plan.least_items:
        return f"{text} The items at hand cannot certify this tolerance, whatever they show."
    if plan.items is not None and plan.available < plan.items:
        return f"{text} The items at hand are fewer than that."
    return text


def summarise_plan(plan: SamplePlan, unit: LossUnit) -> str:
    """The plan as one line."""
    return "; ".join(f"{name}: {value} ({note})" for name, value, note in list_plan_facts(plan, unit))


def _percent(share: float) -> str:
    """A share in percent that says 100% only of the whole."""
    if 0.995 <= share < 1:  # noqa: PLR2004 - from here two digits would say the whole
        return "over 99%"
    return f"{float(f'{share * 100:.2g}'):g}%"
