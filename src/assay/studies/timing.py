"""Timing all artifacts of a study against each other, in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.core.estimate import Estimate
from assay.core.generation import Generation
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.requirements import Requirements
from assay.core.stability import Stability, Symptom, SymptomKind
from assay.core.trial import HeldRun, Latency, TrialStatus
from assay.measure.interference import find_interference
from assay.measure.latency import (
    ROUNDS,
    LatencySamples,
    describe_calls,
    estimate_cpu_seconds,
    estimate_speedup,
    summarise,
)
from assay.measure.memory import read_available_bytes
from assay.measure.stability import FALSE_ALARMS, judge_stability
from assay.measure.statistics.quantile import count_needed
from assay.measure.traffic import describe_lengths, estimate_call_speedup, level_lengths
from assay.studies.attempt import Attempt, check_reference, fail_attempt
from assay.studies.holding import hold_attempts
from assay.studies.isolation import Limits
from assay.studies.serving import ServedRate, serve_attempts
from assay.studies.timing_apart import Culprit, name_entry, run_timing
from assay.studies.timing_worker import TimingJob
from assay.studies.workspace import Workspace

MEMORY_SHARE = 0.5
"""Share of the free memory that artifacts opened together may take."""

THROUGHPUT_SECONDS = 1.5
"""Of each artifact's throughput, and of its energy; less where the rounds themselves have a smaller budget."""
LEAST_THROUGHPUT_SECONDS = 0.3
FURTHER_STEPS = 4
"""Of each artifact besides the rounds: opened twice, warmed up, and loaded."""
MOST_ALIKE = 2
"""Artifacts with the same finding that are named one by one; of more, only the worst is."""
P99 = 0.99


@dataclass(frozen=True, slots=True)
class Timing:
    """What timing showed of one artifact.

    Attributes:
        samples_ms: every timed call.
        stability: whether the machine held still; None where it was timed before that was judged.
        wanted: calls that the percentiles asked for need.
        held: how it ran held to the limits of a device; None where not asked for.
        served: items per second that keep the latency constraint; None where not asked for, or ``served_note``.
        energy: joules per item, None where the machine cannot tell; ``energy_note`` says why.
        generation: of a language model, at each context and batch.
    """

    latency: Latency
    throughput: Estimate
    speedup: Estimate
    cpu_seconds: Estimate
    samples_ms: tuple[float, ...]
    energy: Estimate | None = None
    energy_note: str = ""
    stability: Stability | None = None
    wanted: int = 0
    served: Estimate | None = None
    served_note: str = ""
    held: HeldRun | None = None
    generation: tuple[Generation, ...] = ()


def time_attempts(space: Workspace, attempts: Sequence[Attempt]) -> tuple[tuple[Attempt, ...], Mapping[str, Timing]]:
    """Latency, throughput and CPU time of every artifact, or what an earlier run measured of the same ones.

    An artifact that brings the measurement down fails its trial; the others are timed without it.

    Returns:
        The attempts, some of them failed now, and the timings by trial id.

    Raises:
        BackendError: no FP32 model is left to compare with.
        MeasurementError: the clock is unstable.
    """
    while True:
        check_reference(attempts)
        running = [attempt for attempt in attempts if attempt.status is TrialStatus.OK]
        found = time_running(space, running)
        if not isinstance(found, Culprit):
            return tuple(attempts), found
        attempts = [
            fail_attempt(space, attempt, found.reason) if attempt.candidate.id == found.name else attempt
            for attempt in attempts
        ]


def time_running(space: Workspace, running: Sequence[Attempt]) -> Mapping[str, Timing] | Culprit:
    """Timings of artifacts that run, or the one that brought it down."""
    requirements, batch = space.request.requirements, space.request.batch
    rates = serve_attempts(space, running)
    if isinstance(rates, Culprit):
        return rates
    held = hold_attempts(space, running)
    stored = space.store.read("timings", dict[str, Timing])
    if stored is not None and suffices(stored, running, requirements):
        anew = {name: describe_anew(timing, requirements, batch) for name, timing in stored.items()}
        return add_held(add_rates(anew, rates), held)
    reference = next(a for a in running if a.candidate.plan == Plan(Precision.FP32))
    groups = tuple(group_by_memory(running, reference))
    timings: dict[str, Timing] = {}
    for group in groups:
        found = time_group(space, group, reference, len(groups))
        if isinstance(found, Culprit):
            return found
        timings = {**found, **timings}
    space.store.write("timings", timings)
    return add_held(add_rates(timings, rates), held)


def add_held(timings: Mapping[str, Timing], held: Mapping[str, HeldRun]) -> Mapping[str, Timing]:
    """Timings with the runs under a device's limits, where those were asked for."""
    return {name: replace(timing, held=held.get(name)) for name, timing in timings.items()}


def add_rates(timings: Mapping[str, Timing], rates: Mapping[str, ServedRate]) -> Mapping[str, Timing]:
    """Timings with the rates that keep the latency constraint, where those were asked for."""
    return {
        name: replace(timing, served=rates[name].estimate, served_note=rates[name].reason) if name in rates else timing
        for name, timing in timings.items()
    }


def list_asked(requirements: Requirements) -> tuple[tuple[float, float], ...]:
    """Quantiles that constraints bound, each with the confidence that is asked for."""
    bounds = ((c.quantity.quantile, c.confidence or requirements.confidence) for c in requirements.constraints)
    return tuple((quantile, confidence) for quantile, confidence in bounds if quantile is not None)


def count_wanted(requirements: Requirements) -> int:
    """Calls that give a bound of every percentile: 299 for p99 at 95%, 459 at 99%."""
    asked = ((P99, requirements.confidence), *list_asked(requirements))
    return max(count_needed(quantile, confidence) for quantile, confidence in asked)


def suffices(stored: Mapping[str, Timing], running: Sequence[Attempt], requirements: Requirements) -> bool:
    """Whether stored timings are of the same artifacts, and were taken for as many calls as are wanted now."""
    wanted = count_wanted(requirements)
    same = set(stored) == {attempt.candidate.id for attempt in running}
    return same and all(max(timing.wanted, len(timing.samples_ms)) >= wanted for timing in stored.values())


def describe_anew(timing: Timing, requirements: Requirements, batch: int) -> Timing:
    """A stored timing with the percentiles that are asked for now."""
    calls = np.array(timing.samples_ms)
    latency = describe_calls(calls, batch, requirements.confidence, list_asked(requirements))
    return replace(timing, latency=replace(latency, lengths=timing.latency.lengths))


def list_timing_warnings(timings: Mapping[str, Timing], requirements: Requirements) -> tuple[str, ...]:
    """What makes timings doubtful: too few calls, and a machine that did not hold still; each kind said once."""
    wanted = count_wanted(requirements)
    short = {name: timing.latency.n for name, timing in timings.items() if timing.latency.n < wanted}
    found: list[str] = []
    if short:
        fewest = min(short.values())
        found.append(
            f"{len(short)} of {len(timings)} artifacts were timed in fewer calls than the {wanted} that the asked "
            f"percentiles need (as few as {fewest}): raise latency_seconds"
        )
    judged = {name: timing.stability for name, timing in timings.items() if timing.stability is not None}
    machine: dict[SymptomKind, list[Symptom]] = {}
    calls: dict[SymptomKind, list[tuple[str, Symptom]]] = {}
    for name, stability in judged.items():
        shared = () if stability.interference is None else find_interference(stability.interference)
        for symptom in shared:
            machine.setdefault(symptom.kind, []).append(symptom)
        for symptom in stability.findings:
            if symptom not in shared:
                calls.setdefault(symptom.kind, []).append((name, symptom))
    worst = (max(symptoms, key=lambda symptom: symptom.gravity) for symptoms in machine.values())
    found += [f"latency is doubtful: {symptom.words}" for symptom in worst]
    for alike in calls.values():
        found += summarise_alike(alike)
    return tuple(found)


def summarise_alike(alike: Sequence[tuple[str, Symptom]]) -> list[str]:
    """A line for each artifact with a finding; for more than two of one kind, one line that names the worst.

    Args:
        alike: artifacts with their findings, all of one kind.
    """
    if len(alike) <= MOST_ALIKE:
        return [f"{name}: {symptom.words}" for name, symptom in alike]
    name, worst = max(alike, key=lambda pair: pair[1].gravity)
    return [f"{name}: {worst.words}; {len(alike) - 1} other artifacts show the same, none of them worse"]


def group_by_memory(attempts: Sequence[Attempt], reference: Attempt) -> Iterator[list[Attempt]]:
    """Artifacts that fit into memory together; the reference is in every group, so that ratios stay paired."""
    room = read_available_bytes() * MEMORY_SHARE - need(reference)
    group, used = [reference], 0.0
    for attempt in attempts:
        if attempt is reference:
            continue
        if len(group) > 1 and used + need(attempt) > room:
            yield group
            group, used = [reference], 0.0
        group.append(attempt)
        used += need(attempt)
    yield group


def need(attempt: Attempt) -> float:
    """Bytes that an opened artifact takes."""
    return float(attempt.probe.model_memory_bytes) if attempt.probe else 0.0


def time_group(
    space: Workspace, group: Sequence[Attempt], reference: Attempt, groups: int
) -> Mapping[str, Timing] | Culprit:
    """Time the artifacts of one group in interleaved rounds, then each one's throughput; or say who made it fail."""
    requirements, request = space.request.requirements, space.request
    confidence, wanted = requirements.confidence, count_wanted(requirements)
    job = TimingJob(
        entries=tuple(name_entry(space, attempt) for attempt in group),
        budget_s=request.latency_seconds / groups,
        needed=wanted,
        confidence=confidence,
        throughput_s=max(LEAST_THROUGHPUT_SECONDS, min(THROUGHPUT_SECONDS, request.latency_seconds)),
        held=space.held,
    )
    memory = None if request.trial_memory is None else request.trial_memory * len(group)
    space.progress.start(f"timing {len(group)} artifacts in rounds", len(group) * (ROUNDS + FURTHER_STEPS))
    limits = Limits(request.trial_seconds, memory)
    reply = run_timing(job, space.calls, limits, request.trial_seconds, space.progress.advance)
    space.progress.finish()
    if isinstance(reply, Culprit):
        return reply
    samples = {name: timed.samples for name, timed in reply.timed.items()}
    readings = read_times(space, samples, reference.candidate.id, np.array(reply.order, np.int64))
    return {
        name: Timing(
            latency=readings[name].latency,
            throughput=timed.throughput,
            speedup=readings[name].speedup,
            cpu_seconds=estimate_cpu_seconds(samples[name], request.batch, confidence),
            samples_ms=keep_samples(samples[name]),
            energy=timed.energy,
            energy_note=timed.energy_note,
            stability=judge_stability(
                readings[name].levelled_ms, reply.interference, false_alarms=FALSE_ALARMS / len(group)
            ),
            wanted=wanted,
        )
        for name, timed in reply.timed.items()
    }


@dataclass(frozen=True, slots=True)
class Reading:
    """What the times of an artifact say.

    Attributes:
        levelled_ms: ``[n]``, times from which it is judged whether the machine held still.
    """

    latency: Latency
    speedup: Estimate
    levelled_ms: NDArray[np.float64]


def read_times(
    space: Workspace, samples: Mapping[str, LatencySamples], reference: str, order: NDArray[np.int64]
) -> Mapping[str, Reading]:
    """Percentiles and speed-ups; where items differ in length, also apart for each length.

    Args:
        space: the study.
        samples: of each artifact.
        reference: name of the FP32 model.
        order: which call each sample is of, where calls differ.
    """
    requirements, batch, traffic = space.request.requirements, space.request.batch, space.traffic
    confidence, before = requirements.confidence, samples[reference]
    found: dict[str, Reading] = {}
    for name, own in samples.items():
        latency = summarise(own, batch, confidence, list_asked(requirements))
        if traffic is None:
            found[name] = Reading(latency, estimate_speedup(before, own, confidence), own.calls_ms)
            continue
        lengths = traffic.measure(order)
        parts = describe_lengths(before, own, lengths, traffic.shares, confidence)
        speedup = estimate_call_speedup(before, own, confidence)
        found[name] = Reading(replace(latency, lengths=parts), speedup, level_lengths(own, lengths))
    return found


def keep_samples(samples: LatencySamples) -> tuple[float, ...]:
    """Every timed call in milliseconds, to the microsecond's tenth."""
    return tuple(round(float(value), 4) for value in samples.calls_ms)
