"""The model card of a release, in Markdown."""

from __future__ import annotations

from assay.core.trial import Quality, Trial
from assay.studies.record import StudyRecord


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
