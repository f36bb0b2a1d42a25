"""Timing the chosen artifact anew: the fastest of many looks faster than it is, as the best of many looks better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from assay.core.decision import Decision
from assay.core.errors import RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.trial import Trial
from assay.decide.conclude import conclude
from assay.studies.attempt import Attempt, fail_attempt
from assay.studies.showing import plan_items
from assay.studies.timing import Timing, describe_anew, suffices, time_group
from assay.studies.timing_apart import Culprit
from assay.studies.workspace import Workspace

MOST_CHOICES = 3
"""A choice that does not stand up to fresh calls gives way to the next one, so often at most."""
SHARE = 4
"""The fresh calls take this part of the latency budget."""


def confirm_choice(
    space: Workspace, attempts: Sequence[Attempt], trials: tuple[Trial, ...]
) -> tuple[Decision, tuple[Trial, ...], Mapping[str, Timing]]:
    """Decide, time what was chosen against the reference once more, and let the decision stand on those calls.

    The calls that chose a candidate are partly why it was chosen; those that its percentiles and its speed-up are
    reported from are taken afterwards.

    Returns:
        Decision, trials, and the timings that were taken anew, by trial id.

    A choice that fails in them fails its trial, and the next one takes its place.

    Raises:
        BackendError: the FP32 reference fails now.
        MeasurementError: the clock is unstable.
    """
    requirements = space.request.requirements
    fresh: dict[str, Timing] = {}
    decision = conclude(requirements, trials, plan_items)
    while len(fresh) < MOST_CHOICES and is_new_choice(decision, trials, fresh):
        name = str(decision.chosen)
        timing = time_anew(space, attempts, name)
        if isinstance(timing, Culprit):
            trials = fail_trial(space, attempts, trials, timing.name, timing.reason)
        else:
            fresh[name] = timing
            trials = tuple(retime(trial, timing) if trial.id == name else trial for trial in trials)
        decision = conclude(requirements, trials, plan_items)
    return decision, trials, fresh


def is_new_choice(decision: Decision, trials: Sequence[Trial], fresh: Mapping[str, Timing]) -> bool:
    """Whether something was chosen over FP32 by calls that helped to choose it."""
    chosen = next((trial for trial in trials if trial.id == decision.chosen), None)
    return chosen is not None and chosen.candidate.plan != Plan(Precision.FP32) and chosen.id not in fresh


def fail_trial(
    space: Workspace, attempts: Sequence[Attempt], trials: tuple[Trial, ...], name: str, reason: str
) -> tuple[Trial, ...]:
    """The trials without what was known of one that has failed after all.

    Raises:
        RunFailed: it is the reference; the next run compares with another one.
    """
    failed = fail_attempt(space, next(a for a in attempts if a.candidate.id == name), reason)
    if any(trial.reference and trial.id == name for trial in trials):
        hint = "run the same command again: it compares with the next runtime that runs FP32"
        raise RunFailed(f"the FP32 reference {name} failed: {reason}", hint)
    return tuple(withdraw(trial, failed) if trial.id == name else trial for trial in trials)


def withdraw(trial: Trial, failed: Attempt) -> Trial:
    """A trial that has failed after all."""
    return replace(trial, status=failed.status, reason=failed.reason, evidence=None)


def time_anew(space: Workspace, attempts: Sequence[Attempt], name: str) -> Timing | Culprit:
    """Fresh calls of one artifact beside the reference, or what an earlier run took of them; or who failed in them."""
    chosen = next(attempt for attempt in attempts if attempt.candidate.id == name)
    requirements, batch = space.request.requirements, space.request.batch
    stored = space.store.read(f"timings-{name}", Timing)
    if stored is not None and suffices({name: stored}, [chosen], requirements):
        return describe_anew(stored, requirements, batch)
    reference = next(a for a in attempts if a.candidate.plan == Plan(Precision.FP32) and a.probe is not None)
    found = time_group(space, (reference, chosen), reference, SHARE)
    if isinstance(found, Culprit):
        return found
    timing = found[name]
    space.store.write(f"timings-{name}", timing)
    return timing


def retime(trial: Trial, timing: Timing) -> Trial:
    """A trial with its fresh timing; the rate that keeps a latency constraint has its own calls."""
    evidence = trial.evidence
    if evidence is None:
        return trial
    return replace(
        trial,
        evidence=replace(
            evidence,
            latency=timing.latency,
            throughput=timing.throughput,
            speedup=timing.speedup,
            cpu_seconds=timing.cpu_seconds,
            energy=timing.energy,
            energy_note=timing.energy_note,
            retimed=True,
        ),
    )
