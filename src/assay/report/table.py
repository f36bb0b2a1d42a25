"""The trials of a study as flat rows, for data frames."""

from __future__ import annotations

from typing import TypeAlias

from assay.core.certificate import Certificate
from assay.core.precision import ARITHMETIC, Precision
from assay.core.trial import Trial
from assay.report.costs import estimate_cost
from assay.report.slices import name_slice
from assay.studies.record import StudyRecord

Cell: TypeAlias = str | float | int | bool | None
Row: TypeAlias = dict[str, Cell]


def tabulate_trials(record: StudyRecord) -> list[Row]:
    """One row per trial, every row with the same columns; what was not measured is None."""
    return [
        {**describe_trial(record, trial), **describe_evidence(trial), **describe_cost(record, trial)}
        for trial in record.trials
    ]


def describe_trial(record: StudyRecord, trial: Trial) -> Row:
    """What every trial has."""
    return {
        "id": trial.id,
        "runtime": trial.candidate.runtime,
        "precision": str(trial.candidate.plan.precision),
        "status": str(trial.status),
        "chosen": trial.id == record.decision.chosen,
        "reference": trial.reference,
        "reason": record.decision.reasons.get(trial.id, trial.reason),
    }


def describe_evidence(trial: Trial) -> Row:
    """Measured columns, and the size also of what was only built."""
    evidence = trial.evidence
    quality = evidence.quality if evidence else None
    latency = evidence.latency if evidence else None
    footprint = evidence.footprint if evidence else None
    row: Row = {
        "metric": quality.metric if quality else None,
        "value": quality.value if quality else None,
        "difference": quality.difference if quality else None,
        "difference_low": quality.low if quality else None,
        "difference_high": quality.high if quality else None,
        "items": quality.n if quality else None,
        "flips_lost": quality.flips_lost if quality else None,
        "flips_won": quality.flips_won if quality else None,
        "agreement": quality.agreement if quality else None,
        "p50_ms": latency.p50.value if latency else None,
        "p95_ms": latency.p95.value if latency else None,
        "p99_ms": latency.p99.value if latency else None,
        "speedup": evidence.speedup.value if evidence else None,
        "throughput_per_s": evidence.throughput.value if evidence else None,
        "cpu_s_per_item": evidence.cpu_seconds.value if evidence else None,
        "size_bytes": footprint.size_bytes if footprint else trial.size_bytes or None,
        "peak_memory_bytes": footprint.peak_memory_bytes if footprint else None,
        "load_ms": footprint.load_ms if footprint else None,
    }
    row |= describe_certificate(evidence.certificate if evidence else None)
    shares = evidence.audit.shares() if evidence else {}
    executed: Row = {f"executed_{precision}": shares.get(precision) for precision in ARITHMETIC}
    stored = evidence.audit.stored_shares() if evidence else {}
    executed |= {f"stored_{p}": stored.get(p, 0.0) if evidence else None for p in (Precision.INT8, Precision.INT4)}
    return row | executed | {"flags": "; ".join(evidence.flags) if evidence else None}


def describe_cost(record: StudyRecord, trial: Trial) -> Row:
    """Money per million items and the rate that it buys."""
    evidence = trial.evidence
    cost = None if evidence is None else estimate_cost(record.requirements, evidence)
    served = None if evidence is None else evidence.served
    return {
        "cost_per_million": cost.value if cost else None,
        "cost_per_million_low": cost.low if cost else None,
        "cost_per_million_high": cost.high if cost else None,
        "served_per_s": served.low if served else None,
    }


def describe_certificate(certificate: Certificate | None) -> Row:
    """What was certified."""
    return {
        "certificate": str(certificate.status) if certificate else None,
        "certified_loss": certificate.loss if certificate else None,
        "certified_loss_low": certificate.low if certificate else None,
        "certified_loss_high": certificate.high if certificate else None,
        "tolerated_loss": certificate.margin if certificate else None,
        "certification_items": certificate.n if certificate else None,
        "worst_slice": name_slice(certificate.slices[0]) if certificate and certificate.slices else None,
    }
