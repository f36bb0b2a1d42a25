"""The trials of a study as a reader meets them: numbered, ordered, named and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from assay.core.certificate import CertificateStatus
from assay.core.decision import Decision
from assay.core.requirements import Objective, Requirements
from assay.core.trial import Evidence, Trial, TrialStatus
from assay.decide.assess import Loss, assess
from assay.decide.finding import Verdict
from assay.decide.objective import cost_of
from assay.decide.words import describe_form
from assay.report.slices import describe_guilty
from assay.studies.record import StudyRecord


class Standing(StrEnum):
    """What became of a trial, in the words of a badge."""

    CHOSEN = "chosen"
    BEST = "best so far"
    FALLBACK = "fallback"
    MEETS = "meets"
    UNDECIDED = "undecided"
    UNTESTED = "untested"
    FAILS = "misses"
    MISSING = "no result"
    BUILT = "built only"
    REFUSED = "refused"


UNMEASURED = {TrialStatus.BUILT: Standing.BUILT, TrialStatus.REFUSED: Standing.REFUSED}
"""Standings of trials without evidence that did not fail."""


@dataclass(frozen=True, slots=True)
class Row:
    """One trial.

    Attributes:
        number: from 1, the same in every table and chart of a report.
        quality: verdict on the loss alone, or None where nothing was measured.
        loss: positive is worse, or None where it was not measured.
    """

    number: int
    trial: Trial
    standing: Standing
    reason: str
    quality: Verdict | None = None
    loss: Loss | None = None

    @property
    def runtime(self) -> str:
        """Name of the runtime, with the device where it is one that is not here."""
        return self.trial.candidate.place

    @property
    def precision(self) -> str:
        """Number format in capitals."""
        return self.trial.candidate.plan.precision.upper()

    @property
    def form(self) -> str:
        """Form of an INT8 plan, ``reference`` for the reference, else empty."""
        return "reference" if self.trial.reference else describe_form(self.trial.candidate)

    @property
    def short(self) -> str:
        """Precision and runtime."""
        return f"{self.precision} {self.runtime}"

    @property
    def title(self) -> str:
        """Runtime, precision and form on one line."""
        form = self.form.replace(",", "").replace("rest in", "+")
        return f"{self.short} {form}".strip()


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A row whose trial has evidence."""

    row: Row
    evidence: Evidence

    @property
    def ms_per_item(self) -> float:
        """Median latency of one call, divided by its items."""
        return cost_of(self.evidence, Objective.LATENCY)


def list_rows(record: StudyRecord) -> tuple[Row, ...]:
    """All trials: the measured ones by the objective, best first, then those without a result, by id."""
    requirements = record.requirements

    def rank(trial: Trial) -> tuple[bool, float, str]:
        if trial.evidence is None:
            return (True, 0.0, trial.id)
        return (False, cost_of(trial.evidence, requirements.objective, requirements.price_per_hour), trial.id)

    ordered = sorted(record.trials, key=rank)
    return tuple(_make_row(number, trial, requirements, record.decision) for number, trial in enumerate(ordered, 1))


def keep_measured(rows: Sequence[Row]) -> tuple[MeasuredRow, ...]:
    """The rows that have evidence, in their order."""
    return tuple(MeasuredRow(row, row.trial.evidence) for row in rows if row.trial.evidence is not None)


def list_warnings(record: StudyRecord, rows: Sequence[Row]) -> tuple[str, ...]:
    """The study's warnings, then the flags of trials that no warning repeats."""
    flags = [(m.row, flag) for m in keep_measured(rows) for flag in m.evidence.flags]
    told = {f"{row.trial.id}: {flag}" for row, flag in flags} & set(record.warnings)
    extra = [f"{row.title}: {flag}" for row, flag in flags if f"{row.trial.id}: {flag}" not in told]
    return (*record.warnings, *extra)


def _make_row(number: int, trial: Trial, requirements: Requirements, decision: Decision) -> Row:
    """One trial with its standing."""
    assessment = assess(requirements, trial)
    reason = decision.reasons.get(trial.id, trial.reason)
    reason = "; ".join(part for part in (reason, describe_guilty(trial, told=reason)) if part)
    if assessment is None:
        return Row(number, trial, UNMEASURED.get(trial.status, Standing.MISSING), reason)
    standing = {
        Verdict.MEETS: Standing.MEETS,
        Verdict.UNDECIDED: Standing.UNDECIDED,
        Verdict.FAILS: Standing.FAILS,
    }[assessment.verdict]
    certificate = assessment.evidence.certificate
    untested = certificate is not None and certificate.status is CertificateStatus.UNTESTED
    if standing is Standing.UNDECIDED and untested:
        standing = Standing.UNTESTED
    if trial.id == decision.chosen:
        standing = Standing.CHOSEN
    elif trial.id == decision.best:
        standing = Standing.BEST
    elif trial.id in decision.fallbacks:
        standing = Standing.FALLBACK
    return Row(number, trial, standing, reason, assessment.quality.verdict, assessment.loss)
