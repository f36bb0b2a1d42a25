"""The model card of a release, in Markdown."""

from __future__ import annotations

from assay.core.trial import Quality, Trial
from assay.report.certificates import CertifiedRow, explain_guarantee, list_certified
from assay.report.charts.units import find_loss_unit
from assay.report.flips import pick_galleries
from assay.report.markdown import escape
from assay.report.rows import keep_measured, list_rows
from assay.report.sample_plans import explain_plan, summarise_plan
from assay.report.slices import STATUS_WORDS
from assay.report.thresholds import describe_served, explain_thresholds
from assay.studies.record import StudyRecord

WORST_FLIPS = 5
"""Flips that a card shows of a trial."""
WORST_SLICES = 3
"""Parts of the items that a card shows of a trial."""


def render_card(record: StudyRecord, chain: tuple[Trial, ...]) -> str:
    """What this release is, what was shown of it, on what, and what takes over when it fails.

    Args:
        record: of the study.
        chain: the released trials, the one that serves first.
    """
    head = chain[0]
    sections = [
        f"# {record.title}",
        record.decision.sentence,
        f"Serves `{head.id}`; measured {record.created} with {record.threads} threads at batch {record.batch}.",
        "## Artifacts\n\n" + render_chain(chain),
        "## Quality\n\n" + "\n".join(f"- `{trial.id}`: {describe_quality(trial)}" for trial in chain),
        *describe_thresholds(record, chain),
        *describe_certificates(record, chain),
        "## Intended use and limits\n\n" + describe_limits(record),
        "## Provenance\n\n" + describe_provenance(record),
    ]
    if record.warnings:
        sections.insert(3, "## Warnings\n\n" + "\n".join(f"- {warning}" for warning in record.warnings))
    return "\n\n".join(sections) + "\n"


def render_chain(chain: tuple[Trial, ...]) -> str:
    """The artifacts in the order they take over, as a table."""
    rows = [
        "| order | artifact | runtime | p50 ms | speed-up | size MB | peak memory MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for order, trial in enumerate(chain, 1):
        evidence = trial.evidence
        if evidence is None:
            continue
        latency, footprint = evidence.latency, evidence.footprint
        rows.append(
            f"| {order} | `{trial.id}` | {trial.candidate.runtime} | {latency.p50.value:.3f} "
            f"| {evidence.speedup.value:.2f}x | {footprint.size_bytes / 1e6:.2f} "
            f"| {footprint.peak_memory_bytes / 1e6:.0f} |"
        )
    return "\n".join(rows)


def describe_quality(trial: Trial) -> str:
    """The metric beside the reference's, with the interval of the difference."""
    quality: Quality | None = trial.evidence.quality if trial.evidence else None
    if quality is None:
        return "not measured"
    if trial.reference:
        return f"{quality.metric} {quality.value:.4f} over {quality.n} items; the reference"
    return (
        f"{quality.metric} {quality.value:.4f}, difference {quality.difference:+.4f} "
        f"[{quality.low:+.4f}, {quality.high:+.4f}] at {quality.confidence:.0%} one-sided, {quality.n} paired items, "
        f"{quality.flips_lost} flips lost and {quality.flips_won} won"
    )


def describe_thresholds(record: StudyRecord, chain: tuple[Trial, ...]) -> list[str]:
    """What counts as positive under each of the released artifacts."""
    lines = [f"- `{trial.id}`: {told}" for trial in chain if (told := describe_served(trial))]
    return ["## Thresholds\n\n" + explain_thresholds(record, tabled=False) + "\n\n" + "\n".join(lines)] if lines else []


def describe_certificates(record: StudyRecord, chain: tuple[Trial, ...]) -> list[str]:
    """What was certified of the released artifacts, on which parts of the items, by which plan, and what broke."""
    released = {trial.id for trial in chain}
    certified = list_certified(record)
    rows = [row for row in certified if row.measured.row.trial.id in released]
    sections = []
    if rows:
        lines = [line for row in rows for line in describe_certificate(row)]
        sections.append("## Certificates\n\n" + explain_guarantee(record, certified) + "\n\n" + "\n".join(lines))
    if record.plan is not None:
        unit = find_loss_unit(record.requirements.tolerance.metric, keep_measured(list_rows(record)))
        plan = f"{explain_plan(record.plan, unit)} {summarise_plan(record.plan, unit)}."
        sections.append("## Sample plan\n\n" + plan)
    flips = [
        f"- `{gallery.row.trial.id}`, {escape(flip.words)}{f'; {flip.remark}' if flip.remark else ''}"
        for gallery in pick_galleries(record, list_rows(record))
        if gallery.row.trial.id in released
        for flip in gallery.flips[:WORST_FLIPS]
    ]
    if flips:
        sections.append("## What broke\n\n" + "\n".join(flips))
    return sections


def describe_certificate(row: CertifiedRow) -> list[str]:
    """One certificate and its worst parts, as lines of a list."""
    lines = [f"- `{row.measured.row.trial.id}`: {escape(row.statement)}"]
    for part in row.slices[:WORST_SLICES]:
        told = f"loss {part.loss} ({part.bounds}), tolerated {part.margin}, over {part.part.n} items"
        told += f"; {escape(part.part.reason)}" if part.part.reason else ""
        lines.append(f"  - {escape(part.name)}: {STATUS_WORDS[part.part.status]}, {told}")
    return lines


def describe_limits(record: StudyRecord) -> str:
    """What the evidence does not cover."""
    return (
        f"The statement holds for inputs like the {record.evaluation.items} evaluation items, for the task "
        f"{record.task}, and for the machine named below. On other inputs or another machine, study again."
    )


def describe_provenance(record: StudyRecord) -> str:
    """Fingerprints and versions."""
    facts = {
        "model": f"{record.model.file}, SHA-256 `{record.model.sha256}`, opset {record.model.opset}",
        "inputs": "; ".join(record.model.inputs),
        "outputs": "; ".join(record.model.outputs),
        "evaluation": f"{record.evaluation.items} items, fingerprint `{record.evaluation.fingerprint}`",
    }
    if record.calibration is not None:
        facts["calibration"] = f"{record.calibration.items} items, fingerprint `{record.calibration.fingerprint}`"
    facts |= {f"machine: {name}": value for name, value in record.machine.items()}
    facts |= {f"version of {name}": value for name, value in record.versions.items()}
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
