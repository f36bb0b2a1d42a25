"""What counts as positive under each variant, and how far another draw of tuning items would move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from assay.core.threshold import BINARY_LABEL, Threshold, ThresholdGoal, ThresholdRule
from assay.core.trial import Trial
from assay.decide import words
from assay.report import cells
from assay.report.rows import Row, keep_measured
from assay.studies.record import StudyRecord

HEADER = ("#", "variant", "label", "threshold", "other draws", "F1", "precision", "recall", "spread", "positive items")
TABLE_SENTENCE = (
    "F1, precision and recall here are of the items that the threshold was tuned on, which flatters them. Nine of ten "
    "other draws of as many items would put the threshold between the bounds; the spread is the F1 that their "
    "thresholds would lose on average."
)
MOST_LABELS = 12
"""Labels of one variant that a report shows; the JSON has all."""


class ThresholdDocument(msgspec.Struct, frozen=True):
    """A threshold; positive is what scores above it. Of a given one only ``value`` says anything.

    Attributes:
        label: number of the label; null where there is one positive class.
        low: 5% of other draws of tuning items would put it lower.
        high: 5% would put it higher.
        f1: on the tuning items, like ``precision`` and ``recall``.
        spread: F1 that the thresholds of other draws lose there, on average.
        met: the goal was reached on the tuning items.
    """

    label: int | None
    value: float
    low: float
    high: float
    f1: float
    precision: float
    recall: float
    spread: float
    items: int
    positives: int
    met: bool


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """A line of the table.

    Attributes:
        cells: as in ``HEADER`` from the label on.
    """

    row: Row
    cells: tuple[str, ...]

    @property
    def line(self) -> tuple[str, ...]:
        """All cells."""
        return (str(self.row.number), self.row.title, *self.cells)


def show_thresholds(thresholds: Sequence[Threshold]) -> tuple[ThresholdDocument, ...]:
    """What a trial's JSON says of its thresholds."""
    return tuple(
        ThresholdDocument(
            label=None if one.label == BINARY_LABEL else one.label,
            value=one.value,
            low=one.low,
            high=one.high,
            f1=one.f1,
            precision=one.precision,
            recall=one.recall,
            spread=one.spread,
            items=one.items,
            positives=one.positives,
            met=one.met,
        )
        for one in thresholds
    )


def list_thresholds(record: StudyRecord, rows: Sequence[Row]) -> tuple[ThresholdRow, ...]:
    """Lines of the table; none where the task's own thresholds are kept, or one was given for all."""
    if record.threshold is None or not record.threshold.is_tuned:
        return ()
    return tuple(
        ThresholdRow(measured.row, _describe(one))
        for measured in keep_measured(rows)
        for one in measured.evidence.thresholds[:MOST_LABELS]
    )


def explain_thresholds(record: StudyRecord, *, tabled: bool = True) -> str:
    """What the thresholds are, and what the certificates say of them; empty where the task's own are kept.

    Args:
        record: of the study.
        tabled: the table stands below.
    """
    rule = record.threshold
    if rule is None:
        return ""
    if not rule.is_tuned:
        return f"Positive is what scores above {rule.amount:g}, under every variant."
    known = [trial.evidence.thresholds for trial in record.trials if trial.evidence is not None]
    first = next((one[0] for one in known if one), None)
    items = "" if first is None else f"{words.format_count(first.items)} "
    own = (
        f"FP32's is {_name_goal(rule)} on the {items}search items, and each variant has its own, above which the same "
        "share of them lies; they"
        if rule.matched
        else f"Each variant has its own, {_name_goal(rule)} on the {items}search items, which"
    )
    text = (
        f"Positive is what scores above the threshold. {own} are no certification items: a certificate holds for the "
        "variant at its threshold and FP32 at its own. Serve a variant at its own threshold."
    )
    return f"{text} {TABLE_SENTENCE}" if tabled else text


def describe_served(trial: Trial) -> str:
    """The thresholds of a trial in words, for a model card; empty where it has none."""
    thresholds = () if trial.evidence is None else trial.evidence.thresholds
    if not thresholds:
        return ""
    if len(thresholds) == 1:
        one = thresholds[0]
        tuned = f", tuned on {words.format_count(one.items)} items" if one.items else ""
        return f"positive above {one.value:.6g}{tuned}"
    told = ", ".join(f"label {one.label} above {one.value:.6g}" for one in thresholds[:MOST_LABELS])
    more = len(thresholds) - MOST_LABELS
    return f"positive: {told}{f' and {more} more in the manifest' if more > 0 else ''}"


def _name_goal(rule: ThresholdRule) -> str:
    """The goal in words."""
    if rule.goal is ThresholdGoal.MAX_F1:
        return "the one with the highest F1"
    if rule.goal is ThresholdGoal.FIXED:
        return f"{rule.amount:g}"
    ends = {ThresholdGoal.RECALL: "the highest one", ThresholdGoal.PRECISION: "the lowest one"}
    return f"{ends[rule.goal]} with a {rule.goal} of at least {rule.amount:g}"


def _describe(one: Threshold) -> tuple[str, ...]:
    return (
        cells.NOTHING if one.label == BINARY_LABEL else str(one.label),
        words.format_significant(one.value),
        f"{words.format_significant(one.low)} to {words.format_significant(one.high)}",
        f"{one.f1:.3f}",
        f"{one.precision:.3f}",
        f"{one.recall:.3f}",
        words.format_points(one.spread),
        f"{words.format_count(one.positives)} of {words.format_count(one.items)}",
    )
