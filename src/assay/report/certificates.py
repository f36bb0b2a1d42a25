"""What was certified, as a reader meets it: rows in the order of testing, and what a certificate promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.certificate import NEVER_ENOUGH, Certificate, CertificateStatus, Design, SliceCertificate
from assay.decide import words
from assay.report import cells
from assay.report.charts.units import LossUnit, find_loss_unit
from assay.report.rows import MeasuredRow, keep_measured, list_rows
from assay.report.slices import Outcome, judge, list_guilty, name_slice
from assay.studies.record import StudyRecord

MOST_SLICES = 8
"""Slices of one trial that a report shows; the JSON has all."""


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice as cells of a table."""

    part: SliceCertificate
    unit: LossUnit

    @property
    def name(self) -> str:
        """Column and value."""
        return name_slice(self.part)

    @property
    def values(self) -> tuple[str, str]:
        """Metric of the reference and of the variant."""
        return self._value(self.part.reference), self._value(self.part.variant)

    @property
    def loss(self) -> str:
        """How much worse."""
        return self.unit.say(self.part.loss) if math.isfinite(self.part.loss) else cells.NOTHING

    @property
    def bounds(self) -> str:
        """Bounds of the loss; says so where the method gives none."""
        return self.unit.say_between(self.part.low, self.part.high) if self.part.bounded else "no bounds"

    @property
    def margin(self) -> str:
        """Tolerated loss."""
        return self.unit.say(self.part.margin) if math.isfinite(self.part.margin) else cells.NOTHING

    @property
    def least(self) -> str:
        """Fewest items that could certify it, if any number could."""
        if not self.part.bounded:
            return cells.NOTHING
        return (
            "no number does" if self.part.items_needed >= NEVER_ENOUGH else words.format_count(self.part.items_needed)
        )

    def _value(self, value: float) -> str:
        if not math.isfinite(value):
            return cells.NOTHING
        return f"{value * 100:.1f}%" if self.unit.suffix else words.format_significant(value)


@dataclass(frozen=True, slots=True)
class CertifiedRow:
    """A trial with its certificate."""

    measured: MeasuredRow
    certificate: Certificate
    unit: LossUnit

    @property
    def outcome(self) -> Outcome:
        """What the certificate comes to."""
        return judge(self.certificate)

    @property
    def tested(self) -> bool:
        """Certification items were spent on it."""
        return self.certificate.status is not CertificateStatus.UNTESTED

    @property
    def on_search(self) -> bool:
        """What is known of it comes from the search items alone."""
        return not self.tested or not self.certificate.order

    @property
    def known(self) -> bool:
        """There are bounds of the loss."""
        return self.certificate.n > 0

    @property
    def loss(self) -> str:
        """Mean loss over the items used."""
        return self.unit.say(self.certificate.loss) if self.known else cells.NOTHING

    @property
    def bounds(self) -> str:
        """Bounds of the loss."""
        return self.unit.say_between(self.certificate.low, self.certificate.high) if self.known else ""

    @property
    def most(self) -> str:
        """Upper bound of the loss."""
        return self.unit.say(self.certificate.high) if self.known else cells.NOTHING

    @property
    def margin(self) -> str:
        """Tolerated loss."""
        return self.unit.say(self.certificate.margin)

    @property
    def items(self) -> str:
        """Items used of those at hand, or of the search."""
        used, available = (words.format_count(n) for n in (self.certificate.n, self.certificate.available))
        if not self.on_search:
            return f"{used} of {available}"
        return f"{used} of the search" if self.known else cells.NOTHING

    @property
    def method(self) -> str:
        """How the bounds were made; says where they hold in the limit only."""
        if not self.known:
            return cells.NOTHING
        looks = len(self.certificate.looks)
        parts = [self.certificate.method]
        if self.certificate.design is Design.SEQUENTIAL and looks:
            parts.append(f"{looks} look{'s' if looks != 1 else ''}")
        if self.certificate.asymptotic:
            parts.append("asymptotic")
        return ", ".join(parts)

    @property
    def order(self) -> str:
        """Place in the sequence of tests."""
        return str(self.certificate.order) if self.certificate.order else cells.NOTHING

    @property
    def slices(self) -> tuple[SliceRow, ...]:
        """The worst slices."""
        return tuple(SliceRow(part, self.unit) for part in self.certificate.slices[:MOST_SLICES])

    @property
    def statement(self) -> str:
        """The certificate as one sentence."""
        parts = [self.outcome.words]
        if self.known:
            confidence = words.format_confidence(self.certificate.confidence)
            parts[0] += f": loss {self.loss} ({self.bounds} at {confidence} one-sided), tolerated {self.margin}"
            parts[0] += f", over {self.items} items" if not self.on_search else f", over {self.items}"
            parts.append(f"method: {self.method}")
        if self.certificate.reason:
            parts.append(self.certificate.reason)
        return "; ".join(parts)


def list_certified(record: StudyRecord) -> tuple[CertifiedRow, ...]:
    """Every trial that has a certificate: in the order of testing, then those outside it as in the other tables."""
    measured = keep_measured(list_rows(record))
    unit = find_loss_unit(record.requirements.tolerance.metric, measured)
    rows = [CertifiedRow(m, m.evidence.certificate, unit) for m in measured if m.evidence.certificate is not None]
    return tuple(sorted(rows, key=lambda row: (not row.tested, row.certificate.order or len(rows) + 1)))


def list_sliced(record: StudyRecord, rows: Sequence[CertifiedRow]) -> tuple[CertifiedRow, ...]:
    """Rows whose slices a report shows: of the chosen one or the best so far, and of those that a slice rejected."""
    leaders = {record.decision.chosen, record.decision.best}
    sliced = [row for row in rows if row.certificate.slices]
    leading = [row for row in sliced if row.measured.row.trial.id in leaders]
    guilty = [row for row in sliced if row not in leading and list_guilty(row.certificate)]
    return (*leading, *guilty)


def say_margins(rows: Sequence[CertifiedRow]) -> str:
    """The tolerated loss, or its range: a relative tolerance depends on the reference's value on the items used."""
    unit = rows[0].unit
    margins = sorted({row.margin: row.certificate.margin for row in rows}.values())
    return unit.say(margins[0]) if len(margins) == 1 else unit.say_between(margins[0], margins[-1])


def explain_guarantee(record: StudyRecord, rows: Sequence[CertifiedRow]) -> str:
    """What the certificates promise, and why neither the choice nor the peeking weakens it, in plain words."""
    first = rows[0]
    confidence = first.certificate.confidence
    metric = first.certificate.metric
    wrong = f"{round(100 * (1 - confidence), 6):g}"
    meaning = (
        f"Certified means that on items like these the variant loses at most {say_margins(rows)} of {metric}; "
        f"the chance that a study certifies one that loses more is at most {wrong}%."
    )
    sentences = [meaning]
    searched = record.evaluation.items - first.certificate.available
    if any(row.certificate.order for row in rows):
        apart = f"on {words.format_count(searched)} items set apart" if searched > 0 else "beforehand"
        sentences.append(
            f"Choosing among {len(rows)} candidates does not weaken this: they were compared {apart} and then tested "
            f"one after the other, the safest first, on {words.format_count(first.certificate.available)} items that "
            "no choice had seen, and a certificate counts only while all those tested before it hold."
        )
    if any(row.certificate.design is Design.SEQUENTIAL for row in rows):
        sentences.append(
            "The bounds of a sequential test hold at all its looks together, so that stopping early does not weaken it."
        )
    if any(row.certificate.asymptotic for row in rows):
        sentences.append("Methods marked asymptotic hold in the limit of many items; the others at every number.")
    return " ".join(sentences)
