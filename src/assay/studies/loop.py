"""The loop of a study: check everything, propose, try, time together, decide, record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from assay.core.errors import RequestError
from assay.core.mixing import MixedSearch
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.trial import Trial, TrialStatus
from assay.decide.mixed import STRAINED
from assay.decide.propose import Screened, propose
from assay.measure.certification import losses_of
from assay.studies.asked import keep_request
from assay.studies.attempt import Attempt, attempt_candidate, check_reference, is_whole, read_attempt
from assay.studies.capabilities import allowed_traits, describe_runtime, list_elsewhere
from assay.studies.certifying import compare_search
from assay.studies.concluding import conclude_study, find_reference
from assay.studies.generating import add_generation, measure_generation
from assay.studies.guarding import guard_attempt, list_guilty
from assay.studies.judging import needs_items
from assay.studies.mixing import search_mixed
from assay.studies.opening import open_workspace
from assay.studies.positives import refuse_few_positives
from assay.studies.progress import Progress
from assay.studies.quick_times import list_quick_times
from assay.studies.record import StudyRecord
from assay.studies.request import StudyRequest
from assay.studies.store import locked
from assay.studies.timing import time_attempts
from assay.studies.workspace import Workspace


def run_study(request: StudyRequest, progress: Progress) -> StudyRecord:
    """Run a study, or what is left of it, to its decision.

    Raises:
        InputError: the model, the data or the request is wrong.
        BackendError: the FP32 reference cannot be run.
        StoreError: the folder cannot be written; what was finished is kept.
    """
    started = time.monotonic()
    with locked(request.output):
        space = open_workspace(request, progress)
        check_calibration(space)
        keep_request(space.store, request)
        known = find_finished(space)
        if known is not None:
            progress.say("nothing to do: this study is finished, its record stands")
            space.store.finish(known)
            return known
        tried, searches = try_and_search(space)
        attempts, timings = time_attempts(space, tried)
        timings = add_generation(timings, measure_generation(space, attempts))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        record = conclude_study(space, attempts, timings, created, time.monotonic() - started)
        record = replace(record, mixed_budget=request.mixed, mixed=searches)
        space.store.write("finished", record)
        space.store.finish(record)
        return record


def find_finished(space: Workspace) -> StudyRecord | None:
    """The record of an earlier run of the very same study, or None."""
    known = space.store.read("finished", StudyRecord)
    if known is None or not all(space.store.artifact(t.artifact).is_dir() for t in known.trials if t.artifact):
        return None
    if not all(is_settled(space, trial) for trial in known.trials):
        space.progress.say("what failed under other limits is tried again")
        return None
    if not all(is_refused_alike(space, trial) for trial in known.trials):
        space.progress.say("what calibration items may be used for has changed: trying what that changes")
        return None
    request = space.request
    asked = (request.requirements, space.title, request.sequential, request.mixed, request.threshold)
    if (known.requirements, known.title, known.sequential, known.mixed_budget, known.threshold) == asked:
        # As this version writes it: whoever looks for a study's measurements compares the two files letter by letter.
        space.store.write("finished", known)
        return known
    space.progress.say("all is measured: deciding anew for the new requirements")
    return None


def is_settled(space: Workspace, trial: Trial) -> bool:
    """Whether a trial has no reason to be tried again: it did not fail, or did so under the limits that are asked."""
    if trial.status is not TrialStatus.FAILED:
        return True
    stored = read_attempt(space, trial.candidate)
    return stored is not None and is_whole(space, stored)


def is_refused_alike(space: Workspace, trial: Trial) -> bool:
    """Whether a trial that needs calibration items was refused as it would be now; others never are."""
    return not needs_items(trial.candidate.plan) or (trial.status is TrialStatus.REFUSED) == bool(space.refusal)


def check_calibration(space: Workspace) -> None:
    """Refuse a study of INT8 that neither has calibration data nor a model whose weights alone are worth quantizing.

    FP8 always needs the data.

    Raises:
        RequestError: INT8 or FP8 is asked for and cannot be tried.
    """
    if Precision.FP8 in space.request.precisions and space.request.calibration is None:
        hint = "give --calibration, or leave fp8 out of --precisions"
        raise RequestError("FP8 needs calibration data and none is named", hint)
    if Precision.INT8 not in space.request.precisions or space.request.calibration is not None:
        return
    if not space.subject.traits.has_products:
        hint = "give --calibration, or leave int8 out of --precisions"
        raise RequestError("INT8 needs calibration data for this model and none is named", hint)
    space.progress.say("no calibration data is named: INT8 is tried without, by weights and by ranges of every call")


class Trier:
    """Tries candidates one by one, and adds them to what was tried.

    Args:
        space: the study.
        attempts: all so far, extended here.
    """

    def __init__(self, space: Workspace, attempts: list[Attempt]) -> None:
        self._space, self._attempts = space, attempts

    def __call__(self, candidate: Candidate) -> Attempt:
        """How a candidate went."""
        attempt = guard_attempt(self._space, attempt_candidate(self._space, candidate), self._attempts)
        self._attempts.append(attempt)
        if attempt.probe is not None:
            refuse_few_positives(self._space, candidate)
        self._space.progress.say(describe_attempt(attempt))
        return attempt


def try_and_search(space: Workspace) -> tuple[list[Attempt], tuple[MixedSearch, ...]]:
    """Try everything that is proposed, and mixed plans where the INT8 forms strain the tolerance.

    Mixed plans come before the neighbours of the fastest forms, which cost time and seldom change what is mixed; they
    are searched for again where the neighbours do change it.

    Raises:
        BackendError: no runtime can run the FP32 model.
        StoreError: the store cannot be written.
    """
    attempts = [lack(name, reason) for name, reason in space.missing.items()]
    searches: tuple[MixedSearch, ...] = ()
    for hurried in (True, False):
        try_candidates(space, attempts, hurried=hurried)
        reference = find_reference(attempts).candidate
        searches += search_mixed(space, attempts, reference, Trier(space, attempts), searches)
    for candidate in list_elsewhere(space):
        Trier(space, attempts)(candidate)
    return attempts, searches


def try_candidates(space: Workspace, attempts: list[Attempt], *, hurried: bool) -> None:
    """Try what is proposed, round by round; the reference comes first.

    Args:
        space: the study.
        attempts: all so far, extended here.
        hurried: leave out what a search over mixed plans need not wait for.

    Raises:
        BackendError: no runtime can run the FP32 model.
    """
    try_candidate = Trier(space, attempts)
    request = space.request
    capabilities = [
        describe_runtime(backend, space.target(name), request.precisions) for name, backend in space.backends.items()
    ]
    traits = allowed_traits(space)
    while fresh := propose(
        capabilities,
        traits,
        request.precisions,
        request.ranges if space.calibrator is not None else (),
        [screen(space, attempt, attempts) for attempt in attempts],
        hurried=hurried,
    ):
        for candidate in sorted(fresh, key=lambda c: c.plan.precision is not Precision.FP32):
            try_candidate(candidate)
        check_reference(attempts)


def lack(runtime: str, reason: str) -> Attempt:
    """The attempt of a runtime that is not here."""
    return Attempt(Candidate(runtime, Plan(Precision.FP32)), TrialStatus.UNSUPPORTED, reason)


def screen(space: Workspace, attempt: Attempt, attempts: Sequence[Attempt]) -> Screened:
    """What the proposer is told of an attempt."""
    if attempt.faults:
        return Screened(attempt.candidate, None, guilty=list_guilty(space, attempt))
    latency_ms = list_quick_times(attempts).get(attempt.candidate.id)
    if attempt.probe is None or not attempt.candidate.plan.quantizes:
        return Screened(attempt.candidate, latency_ms)
    return Screened(attempt.candidate, latency_ms, is_strained(space, attempt, find_reference(attempts)))


def is_strained(space: Workspace, attempt: Attempt, reference: Attempt) -> bool:
    """Whether the loss on the search items takes more than half of the tolerance."""
    quality = compare_search(space, reference.candidate, attempt.candidate)
    return losses_of(quality)[0] > STRAINED * space.request.requirements.tolerance.margin(quality.reference)


def describe_attempt(attempt: Attempt) -> str:
    """One line on an attempt."""
    if attempt.probe is None:
        return f"{attempt.candidate.id}: {attempt.status}: {attempt.reason}"
    shares = {str(p): share for p, share in attempt.probe.audit.shares().items() if share > 0}
    ran = ", ".join(f"{share:.0%} {name}" for name, share in shares.items()) or "no multiplications"
    ran += "".join(f", weights stored in {stored}" for stored in attempt.probe.audit.stored_shares())
    return f"{attempt.candidate.id}: about {attempt.probe.quick_ms:.2f} ms a call; executed {ran}"
