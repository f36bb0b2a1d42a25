"""Certifying the candidates that the search items leave: the safest first, each as far as its items have to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from assay.core.certificate import Certificate, CertificateStatus, Design
from assay.core.errors import BackendError, MeasurementError
from assay.core.plan import Candidate
from assay.core.requirements import CLASS_COLUMN
from assay.core.session import Scores
from assay.core.trial import Quality, Trial
from assay.data.seeking import read_columns
from assay.decide.sequence import order_tests
from assay.decide.words import name_candidate
from assay.measure.certification import Certified, Question, certify, losses_of
from assay.measure.statistics.influence import describe_functional
from assay.measure.statistics.paired import compare
from assay.studies.scoring import ItemScorer, read_scores
from assay.studies.workspace import Workspace


def make_question(space: Workspace) -> Question:
    """What every candidate of a study is asked."""
    requirements = space.request.requirements
    return Question(
        metric=space.metric,
        tolerance=requirements.tolerance,
        confidence=requirements.confidence,
        slices=requirements.slices,
        sequential=space.request.sequential,
    )


def compare_search(space: Workspace, reference: Candidate, candidate: Candidate) -> Quality:
    """The metric of a candidate beside the reference's on the search items; without an interval where they are few."""
    before, after = (read_scores(space, one).select(slice(0, space.split.search)) for one in (reference, candidate))
    return describe_pair(space, before, after)


def describe_pair(space: Workspace, before: Scores, after: Scores) -> Quality:
    """The metric under two models beside each other on the same items; without an interval where they are few."""
    confidence = space.request.requirements.confidence
    try:
        return compare(space.metric, before, after, confidence)
    except MeasurementError:
        if space.metric.functional:
            return describe_functional(space.metric, before, after, confidence)
        raise


def certify_trials(space: Workspace, trials: Sequence[Trial]) -> tuple[Mapping[str, Certified], Mapping[str, str]]:
    """Certificates of the candidates, by trial id; FP32 needs none, and what has no quality gets none.

    A candidate that crashes, hangs or fails on a certification item can no longer be chosen: nothing is claimed of it,
    so it leaves the sequence, and the others are tested as if it had never stood there.

    Args:
        space: the study.
        trials: all of them, with their quality on the search items.

    Returns:
        Certificates, and why candidates, or the reference, failed on the certification items, by trial id.

    Raises:
        MeasurementError: too few items for the metric's method.
    """
    reference = next(trial for trial in trials if trial.reference)
    failures: dict[str, str] = {}
    while True:
        found, failed = certify_sequence(space, [trial for trial in trials if trial.id not in failures])
        failures |= failed
        if not failed or reference.id in failed:
            return found, failures


def certify_sequence(space: Workspace, trials: Sequence[Trial]) -> tuple[Mapping[str, Certified], Mapping[str, str]]:
    """Certificates as far as nothing fails on an item, and what did with its reason: a candidate or the reference."""
    by_id = {trial.id: trial for trial in trials}
    reference = next(trial for trial in trials if trial.reference)
    measured = [trial for trial in trials if trial.evidence is not None]
    tests = order_tests(space.request.requirements, measured)
    found: dict[str, Certified] = {}
    for reasons, status in ((tests.worse, CertificateStatus.WORSE), (tests.untested, CertificateStatus.UNTESTED)):
        for name, reason in reasons.items():
            found |= keep_search(space, by_id[name], status, reason)
    blocked = ""
    with ExitStack() as stack:
        scorer = stack.enter_context(open_scorer(space, reference))
        for place, name in enumerate(tests.order, 1):
            if blocked:
                found |= keep_search(space, by_id[name], CertificateStatus.UNTESTED, blocked, place)
                continue
            try:
                certified = certify_trial(space, scorer, by_id[name], place)
            except BackendError as error:
                return found, {reference.id if scorer.broken else name: str(error)}
            found[name] = certified
            space.progress.say(describe(by_id[name], certified.certificate))
            if certified.certificate.status is not CertificateStatus.CERTIFIED:
                named = name_candidate(by_id[name].candidate)
                blocked = f"{named}, which is safer on the search items, was not certified"
    return found, {}


def certify_trial(space: Workspace, reference: ItemScorer, trial: Trial, place: int) -> Certified:
    """Certify one candidate on the certification items."""
    question, search = make_question(space), space.split.search
    available = space.split.certification
    seen = reference.score(search), read_scores(space, trial.candidate).select(slice(0, search))
    with open_scorer(space, trial) as variant:

        def draw(count: int) -> tuple[Scores, Scores]:
            rows = slice(search, search + count)
            known = add_columns(space, reference.score(search + count))
            return known.select(rows), variant.score(search + count).select(rows)

        space.progress.start(f"{trial.id}: certifying", None)
        try:
            certified = certify(question, draw, available, seen)
        finally:
            space.progress.finish()
    return replace(certified, certificate=replace(certified.certificate, order=place))


def add_columns(space: Workspace, scores: Scores) -> Scores:
    """Scores with the columns that the slices name, as the data has them now, whatever an earlier run has kept.

    Raises:
        DataError: the data has no such column, or it cannot be read.
    """
    wanted = {rule.column for rule in space.request.requirements.slices} - {CLASS_COLUMN}
    if not wanted:
        return scores
    found = read_columns(space.evaluation)
    order = space.split.order[: len(scores)]
    return replace(scores, columns={**scores.columns, **{name: found[name][order] for name in wanted}})


def keep_search(
    space: Workspace, trial: Trial, status: CertificateStatus, reason: str, place: int = 0
) -> dict[str, Certified]:
    """What the search items say of a candidate that no certification item was spent on; nothing without a quality."""
    quality = None if trial.evidence is None else trial.evidence.quality
    if quality is None:
        return {}
    question = make_question(space)
    margin = question.tolerance.margin(quality.reference)
    loss, low, high = losses_of(quality)
    certificate = Certificate(
        status=status,
        metric=quality.metric,
        margin=margin,
        loss=loss,
        low=low,
        high=high,
        confidence=quality.confidence,
        n=quality.n,
        available=space.split.certification,
        design=Design.FIXED,
        method=quality.method,
        asymptotic=quality.asymptotic,
        reason=reason,
        order=place,
    )
    return {trial.id: Certified(certificate, quality)}


def open_scorer(space: Workspace, trial: Trial) -> ItemScorer:
    """What scores the artifact of a trial."""
    return ItemScorer(space, trial.candidate, space.store.artifact(trial.artifact))


def describe(trial: Trial, certificate: Certificate) -> str:
    """One line on a certificate."""
    used = f"{certificate.n:,} of {certificate.available:,} items"
    return f"{trial.id}: {certificate.status} after {used}{f': {certificate.reason}' * bool(certificate.reason)}"
