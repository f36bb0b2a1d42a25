"""A trial: one candidate with its evidence, or the reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from assay.core.audit import ExecutionAudit
from assay.core.certificate import Certificate
from assay.core.estimate import Estimate
from assay.core.fault import Fault
from assay.core.generation import Generation
from assay.core.plan import Candidate
from assay.core.threshold import Threshold

WIDEST = 1e9
"""Bound of a difference that has none, where the metric has none either: stored numbers are finite."""
WHOLE_SHARE = 1.0
"""The same of a share."""


class TrialStatus(StrEnum):
    """How a trial ended."""

    OK = "ok"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    BUILT = "built"
    """For a device that is not here: there is an artifact, and nothing of it was measured."""
    REFUSED = "refused"
    """Nothing was built, since what it would be built from is known to do harm."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The metric of a variant beside the reference's, on the same items.

    Attributes:
        metric: name of the metric (``top1``).
        higher_is_better: direction of the metric.
        reference: the reference's value.
        value: the variant's value.
        difference: ``value - reference``, in the metric's own unit (fraction, not percent).
        low: lower bound of the difference at one-sided ``confidence``.
        high: upper bound of the difference at one-sided ``confidence``.
        n: paired items.
        flips_lost: items right under the reference and wrong under the variant.
        flips_won: items wrong under the reference and right under the variant.
        agreement: share of items on which both predict the same.
        method: name of the interval's method.
        asymptotic: the method holds in the limit of many items only.
    """

    metric: str
    higher_is_better: bool
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

    @property
    def allows_anything(self) -> bool:
        """Whether too few items were measured for the method, so that its bounds are those of any difference."""
        is_share = self.higher_is_better and 0 <= self.reference <= 1
        return min(self.high, -self.low) >= (WHOLE_SHARE if is_share else WIDEST)


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile of the time of one call, at the confidence that a constraint asked for.

    Attributes:
        quantile: 0.99 for p99.
        estimate: in milliseconds, with its confidence.
    """

    quantile: float
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class LengthLatency:
    """The time of calls whose items have one length.

    Attributes:
        length: of the items, as they are run.
        share: of all items that have it.
        n: timed calls.
        p50: median in milliseconds.
        speedup: median of the reference's time over this one's, call by call.
    """

    length: int
    share: float
    n: int
    p50: Estimate
    speedup: Estimate


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of the time of one call, in milliseconds, each with a distribution-free interval.

    Attributes:
        asked: what constraints asked for besides the three.
        lengths: apart for each length, where items differ in length and the calls were drawn from them.
    """

    p50: Estimate
    p95: Estimate
    p99: Estimate
    batch: int
    n: int
    asked: tuple[Percentile, ...] = ()
    lengths: tuple[LengthLatency, ...] = ()

    def at(self, quantile: float, confidence: float | None = None) -> Estimate | None:
        """The estimate of a quantile at a confidence; None where it was not made.

        Args:
            quantile: 0.99 for p99.
            confidence: of each bound; None for that of the three.
        """
        three = (Percentile(0.5, self.p50), Percentile(0.95, self.p95), Percentile(0.99, self.p99))
        wanted = self.p50.confidence if confidence is None else confidence
        for found in (*three, *self.asked):
            if found.quantile == quantile and math.isclose(found.estimate.confidence, wanted):
                return found.estimate
        return None


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an artifact costs to keep and to open, measured in a fresh process.

    Attributes:
        size_bytes: files on disk.
        peak_memory_bytes: highest resident set of the process minus nothing: runtime included.
        model_memory_bytes: rise of the resident set from before the artifact was opened to the peak.
        load_ms: from files to a session that can run, compile included.
        first_run_ms: the first call after loading.
    """

    size_bytes: int
    peak_memory_bytes: int
    model_memory_bytes: int
    load_ms: float
    first_run_ms: float


@dataclass(frozen=True, slots=True)
class HeldRun:
    """How an artifact ran alone, one frame after another, in a process that is held to a device's limits.

    Attributes:
        frames: that it ran.
        cores: that the process was held to.
        peak_memory_bytes: highest resident set of the process, or what its control group was charged with at most; the
            runtime and Python included.
        limit_bytes: what the process was held to; None where it was not.
        means: by which it was held, in words.
        failure: what it did instead of running; empty where it ran.
        fps: rate that nine of ten runs of consecutive frames keep, in frames/s; None where it was not asked for.
        watts: mean power of machine or board while frames ran; None where it was not asked for.
    """

    frames: int
    cores: int
    peak_memory_bytes: int
    limit_bytes: int | None = None
    means: str = ""
    failure: str = ""
    fps: Estimate | None = None
    watts: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was measured of an artifact.

    Attributes:
        throughput: items per second with the runtime's throughput mode at the study's batch.
        speedup: ratio of the FP32 reference's latency to this one's, paired by round.
        cpu_seconds: CPU time per item.
        energy: joules per item, or None where the machine cannot tell.
        energy_note: why energy is None.
        flags: disagreements between what was asked and what ran, in words.
        retimed: latency, throughput and speed-up are of calls taken after the choice.
        certificate: what the certification items say; None in records of before there were certificates.
        served: items per second at which calls that arrive at random keep the latency constraint, its lower bound
            certified; None where it was not asked for or not found.
        served_note: why served is None, where it was asked for.
        held: how it ran held to the limits of a device, where constraints ask for that.
        generation: of a language model, at each context and batch; latency, throughput and speed-up are then of one
            step at the first context, where it has a cache.
        thresholds: what counts as positive under this artifact; none where the task's own are kept.
    """

    quality: Quality | None
    latency: Latency
    throughput: Estimate
    speedup: Estimate
    footprint: Footprint
    audit: ExecutionAudit
    cpu_seconds: Estimate
    energy: Estimate | None = None
    energy_note: str = ""
    flags: tuple[str, ...] = ()
    certificate: Certificate | None = None
    retimed: bool = False
    served: Estimate | None = None
    served_note: str = ""
    held: HeldRun | None = None
    generation: tuple[Generation, ...] = ()
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate with its evidence (status ``ok``), or the reason why it has none.

    Attributes:
        artifact: content address of the built files, empty where nothing was built.
        versions: name -> version of the tools that built and ran it.
        reference: this trial is the FP32 model that the others are compared with.
        faults: outputs that are broken whatever the metric says; a trial with one has failed.
        size_bytes: files of what was built and not measured; 0 for all others, whose evidence tells.
    """

    candidate: Candidate
    status: TrialStatus
    reason: str = ""
    evidence: Evidence | None = None
    artifact: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    reference: bool = False
    faults: tuple[Fault, ...] = ()
    size_bytes: int = 0

    @property
    def id(self) -> str:
        """Identifier, unique in a study."""
        return self.candidate.id
