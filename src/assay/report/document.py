"""The stable JSON of a study, schema version 1: field names and units never change within a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from assay.core.audit import ExecutionAudit
from assay.core.convergence import Convergence
from assay.core.decision import Decision
from assay.core.estimate import Estimate
from assay.core.explanation import Explanation
from assay.core.fitness import Fitness, TensorFitness
from assay.core.precision import Precision
from assay.core.requirements import Requirements
from assay.core.trial import Latency, Quality, Trial
from assay.report.certificate_document import (
    CertificateDocument,
    FlipDocument,
    PlanDocument,
    show_certificate,
    show_flip,
    show_plan,
)
from assay.report.costs import estimate_carbon, estimate_cost
from assay.report.device import HeldDocument, show_held
from assay.report.explanation_document import ExplanationDocument, FaultDocument, show_explanation, show_fault
from assay.report.generation import GenerationDocument, show_generation
from assay.report.lengths import LengthDocument, LengthsDocument, show_item_lengths, show_lengths
from assay.report.mixed_plans import MixedSearchDocument, show_mixed
from assay.report.thresholds import ThresholdDocument, show_thresholds
from assay.studies.record import StudyRecord

SHOW_SCHEMA = 1
MS_PER_S = 1000.0


class DecisionDocument(msgspec.Struct, frozen=True):
    """The answer; ids are those of the trials."""

    status: str
    chosen: str | None
    fallbacks: tuple[str, ...]
    sentence: str
    best: str | None
    items_needed: int | None
    front: tuple[str, ...]
    reasons: dict[str, str]


class QualityDocument(msgspec.Struct, frozen=True):
    """The metric beside the reference's; fractions, not percent."""

    metric: str
    reference: float
    value: float
    difference: float
    low: float
    high: float
    confidence: float
    n: int
    flips_lost: int
    flips_won: int
    agreement: float
    method: str
    asymptotic: bool = False


class PercentileDocument(msgspec.Struct, frozen=True):
    """A percentile that a constraint asked for, in ms, at its own confidence."""

    quantile: float
    value: float
    low: float | None
    high: float | None
    confidence: float
    n: int


class LatencyDocument(msgspec.Struct, frozen=True):
    """Percentiles of one call in ms; a bound is null where the calls are too few for one."""

    p50: float
    p50_low: float | None
    p50_high: float | None
    p95: float
    p95_low: float | None
    p95_high: float | None
    p99: float
    p99_low: float | None
    p99_high: float | None
    confidence: float
    batch: int
    n: int
    asked: tuple[PercentileDocument, ...] = ()
    lengths: tuple[LengthDocument, ...] = ()


class EstimateDocument(msgspec.Struct, frozen=True):
    """A value with its interval."""

    value: float
    low: float | None
    high: float | None
    confidence: float
    n: int


class ExecutedDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """Share of the multiply-accumulates per format; ``stored`` by that of weights, where it is another one."""

    int8: float
    bf16: float
    fp16: float
    fp32: float
    stored: dict[str, float] = msgspec.field(default_factory=dict)
    tf32: float | None = None
    fp8: float | None = None


class TrialDocument(msgspec.Struct, frozen=True):
    """One trial; everything from ``quality`` on is null where nothing was measured."""

    id: str
    runtime: str
    precision: str
    status: str
    reason: str
    reference: bool
    quality: QualityDocument | None = None
    latency_ms: LatencyDocument | None = None
    throughput_per_s: float | None = None
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    load_ms: float | None = None
    executed: ExecutedDocument | None = None
    flags: tuple[str, ...] | None = None
    speedup: EstimateDocument | None = None
    throughput: EstimateDocument | None = None
    model_memory_bytes: int | None = None
    first_run_ms: float | None = None
    cpu_ms_per_item: float | None = None
    energy_j_per_item: float | None = None
    energy_note: str | None = None
    certificate: CertificateDocument | None = None
    served: EstimateDocument | None = None
    served_note: str | None = None
    cost_per_million: EstimateDocument | None = None
    carbon_g_per_million: EstimateDocument | None = None
    faults: tuple[FaultDocument, ...] = ()
    generation: tuple[GenerationDocument, ...] = ()
    thresholds: tuple[ThresholdDocument, ...] = ()
    held: HeldDocument | None = None


class PriceDocument(msgspec.Struct, frozen=True):
    """The price that costs are counted with."""

    per_hour: float
    currency: str
    grid_g_per_kwh: float | None


class TensorFitnessDocument(msgspec.Struct, frozen=True):
    """How well the calibrated range of one tensor suits other items; rates are fractions."""

    tensor: str
    excess_noise_db: EstimateDocument
    clip_rate: EstimateDocument
    unused: EstimateDocument
    distance: EstimateDocument


class FitnessDocument(msgspec.Struct, frozen=True):
    """Verdict on the calibration items: ``fit``, ``doubtful`` or ``unfit``; tensors and items the worst first."""

    verdict: str
    score: EstimateDocument
    shift_p: float
    reasons: tuple[str, ...]
    calibration_items: int
    distinct_items: int
    sample_items: int
    tensors: tuple[TensorFitnessDocument, ...]
    items: dict[int, str]


class ConvergenceDocument(msgspec.Struct, frozen=True):
    """How the ranges settled; one entry of each list per look."""

    converged: bool
    items: int
    looks: tuple[int, ...]
    excess_noise_db: tuple[float, ...]
    range_change: tuple[float, ...]


class ShowDocument(msgspec.Struct, frozen=True):
    """A study, as ``assay show --json`` prints it and ``report.json`` holds it."""

    schema: int
    title: str
    decision: DecisionDocument
    trials: tuple[TrialDocument, ...]
    warnings: tuple[str, ...]
    fitness: FitnessDocument | None = None
    convergence: ConvergenceDocument | None = None
    plan: PlanDocument | None = None
    flips: dict[str, tuple[FlipDocument, ...]] = {}
    price: PriceDocument | None = None
    explanations: tuple[ExplanationDocument, ...] = ()
    mixed: tuple[MixedSearchDocument, ...] = ()
    lengths: LengthsDocument | None = None


def show_document(record: StudyRecord, explanations: Sequence[Explanation] = ()) -> ShowDocument:
    """The study as the stable JSON's structs, with what was explained of it."""
    known = {trial.id for trial in record.trials}
    return ShowDocument(
        schema=SHOW_SCHEMA,
        title=record.title,
        decision=_show_decision(record.decision),
        trials=tuple(_show_trial(trial, record.decision.reasons, record.requirements) for trial in record.trials),
        warnings=record.warnings,
        fitness=None if record.fitness is None else show_fitness(record.fitness),
        convergence=None if record.convergence is None else _show_convergence(record.convergence),
        plan=None if record.plan is None else show_plan(record.plan),
        flips={name: tuple(show_flip(flip) for flip in flips) for name, flips in record.flips.items()},
        price=_show_price(record.requirements),
        explanations=tuple(show_explanation(one) for one in explanations if one.trial in known),
        mixed=show_mixed(record),
        lengths=show_item_lengths(record.lengths),
    )


def encode_document(record: StudyRecord, explanations: Sequence[Explanation] = ()) -> bytes:
    """The study as indented UTF-8 JSON that ends in a line feed."""
    return msgspec.json.format(msgspec.json.encode(show_document(record, explanations)), indent=2) + b"\n"


def _show_decision(decision: Decision) -> DecisionDocument:
    """The answer."""
    return DecisionDocument(
        status=str(decision.status),
        chosen=decision.chosen,
        fallbacks=decision.fallbacks,
        sentence=decision.sentence,
        best=decision.best,
        items_needed=decision.items_needed,
        front=decision.front,
        reasons=dict(decision.reasons),
    )


def _show_price(requirements: Requirements) -> PriceDocument | None:
    """The price, where one was stated."""
    if requirements.price_per_hour is None:
        return None
    return PriceDocument(requirements.price_per_hour, requirements.currency, requirements.grid_g_per_kwh)


def _show_trial(trial: Trial, reasons: Mapping[str, str], requirements: Requirements) -> TrialDocument:
    """One trial with its evidence, or without."""
    bare = TrialDocument(
        id=trial.id,
        runtime=trial.candidate.runtime,
        precision=str(trial.candidate.plan.precision),
        status=str(trial.status),
        reason=reasons.get(trial.id, trial.reason),
        reference=trial.reference,
        faults=tuple(show_fault(fault) for fault in trial.faults),
        size_bytes=trial.size_bytes or None,
    )
    evidence = trial.evidence
    if evidence is None:
        return bare
    return msgspec.structs.replace(
        bare,
        quality=None if evidence.quality is None else _show_quality(evidence.quality),
        latency_ms=_show_latency(evidence.latency),
        throughput_per_s=evidence.throughput.value,
        size_bytes=evidence.footprint.size_bytes,
        peak_memory_bytes=evidence.footprint.peak_memory_bytes,
        load_ms=evidence.footprint.load_ms,
        executed=_show_executed(evidence.audit),
        flags=evidence.flags,
        speedup=_show_estimate(evidence.speedup),
        throughput=_show_estimate(evidence.throughput),
        model_memory_bytes=evidence.footprint.model_memory_bytes,
        first_run_ms=evidence.footprint.first_run_ms,
        cpu_ms_per_item=evidence.cpu_seconds.value * MS_PER_S,
        energy_j_per_item=None if evidence.energy is None else evidence.energy.value,
        energy_note=evidence.energy_note,
        certificate=None if evidence.certificate is None else show_certificate(evidence.certificate),
        served=_show_known(evidence.served),
        served_note=evidence.served_note,
        cost_per_million=_show_known(estimate_cost(requirements, evidence)),
        carbon_g_per_million=_show_known(estimate_carbon(requirements, evidence)),
        generation=show_generation(evidence.generation),
        thresholds=show_thresholds(evidence.thresholds),
        held=show_held(evidence.held),
    )


def _show_quality(quality: Quality) -> QualityDocument:
    """The metric beside the reference's."""
    return QualityDocument(
        metric=quality.metric,
        reference=quality.reference,
        value=quality.value,
        difference=quality.difference,
        low=quality.low,
        high=quality.high,
        confidence=quality.confidence,
        n=quality.n,
        flips_lost=quality.flips_lost,
        flips_won=quality.flips_won,
        agreement=quality.agreement,
        method=quality.method,
        asymptotic=quality.asymptotic,
    )


def _show_latency(latency: Latency) -> LatencyDocument:
    """Percentiles with their bounds."""
    return LatencyDocument(
        p50=latency.p50.value,
        p50_low=latency.p50.low,
        p50_high=latency.p50.high,
        p95=latency.p95.value,
        p95_low=latency.p95.low,
        p95_high=latency.p95.high,
        p99=latency.p99.value,
        p99_low=latency.p99.low,
        p99_high=latency.p99.high,
        confidence=latency.p50.confidence,
        batch=latency.batch,
        n=latency.n,
        asked=tuple(
            PercentileDocument(one.quantile, e.value, e.low, e.high, e.confidence, e.n)
            for one in latency.asked
            for e in [one.estimate]
        ),
        lengths=show_lengths(latency),
    )


def _show_executed(audit: ExecutionAudit) -> ExecutedDocument:
    """Shares of the arithmetic."""
    share, stored = audit.shares(), {str(held): part for held, part in audit.stored_shares().items()}
    int8, bf16, fp16, fp32 = (share[kind] for kind in (Precision.INT8, Precision.BF16, Precision.FP16, Precision.FP32))
    return ExecutedDocument(int8, bf16, fp16, fp32, stored, share[Precision.TF32] or None, share[Precision.FP8] or None)


def show_fitness(fitness: Fitness) -> FitnessDocument:
    """The verdict on the calibration items."""
    return FitnessDocument(
        verdict=str(fitness.verdict),
        score=_show_estimate(fitness.score),
        shift_p=fitness.shift_p,
        reasons=fitness.reasons,
        calibration_items=fitness.calibration_items,
        distinct_items=fitness.distinct_items,
        sample_items=fitness.sample_items,
        tensors=tuple(_show_tensor(tensor) for tensor in fitness.tensors),
        items={item.position: item.reason for item in fitness.items},
    )


def _show_convergence(convergence: Convergence) -> ConvergenceDocument:
    """How the ranges settled."""
    return ConvergenceDocument(
        converged=convergence.converged,
        items=convergence.items,
        looks=tuple(point.items for point in convergence.points),
        excess_noise_db=tuple(point.excess_noise_db for point in convergence.points),
        range_change=tuple(point.range_change for point in convergence.points),
    )


def _show_tensor(tensor: TensorFitness) -> TensorFitnessDocument:
    """One tensor's fitness."""
    return TensorFitnessDocument(
        tensor=tensor.tensor,
        excess_noise_db=_show_estimate(tensor.excess_noise_db),
        clip_rate=_show_estimate(tensor.clip_rate),
        unused=_show_estimate(tensor.unused),
        distance=_show_estimate(tensor.distance),
    )


def _show_known(estimate: Estimate | None) -> EstimateDocument | None:
    """A value with its interval, where there is one."""
    return None if estimate is None else _show_estimate(estimate)


def _show_estimate(estimate: Estimate) -> EstimateDocument:
    """A value with its interval."""
    return EstimateDocument(estimate.value, estimate.low, estimate.high, estimate.confidence, estimate.n)
