"""What a record tells about the items: how many the certificates take, and which ones a variant breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from assay.core.certificate import CertificateStatus
from assay.core.decision import Decision
from assay.core.flip import Flip
from assay.core.precision import Precision
from assay.core.sample_plan import SamplePlan
from assay.core.session import Metric
from assay.core.trial import Quality, Trial
from assay.measure.statistics.losses import item_losses
from assay.studies.flipped import show_flips
from assay.studies.planning import Supposed, count_study_items, plan_quality, plan_study, refuse_unresolvable
from assay.studies.request import StudyRequest
from assay.studies.scoring import read_scores
from assay.studies.workspace import Workspace

BINARY = (-1.0, 0.0, 1.0)


def refuse_hopeless(request: StudyRequest, items: int, metric: Metric) -> None:
    """Refuse a tolerance that so many evaluation items cannot resolve, whatever they show.

    A metric that is no mean of item scores has a method that refuses by itself.

    Raises:
        MeasurementError: with the number of items that would do.
    """
    if metric.functional or set(request.precisions) <= {Precision.FP32}:
        return
    requirements = request.requirements
    # The reference is not measured yet: at its largest value the margin of a relative tolerance is largest.
    margin = requirements.tolerance.margin(1.0)
    if margin < 1:
        plan = plan_study(items, Supposed(metric.name, 0.0), margin, requirements.confidence)
        refuse_unresolvable(plan, accepted=request.accept_unresolvable)


def pick_shown(trials: Sequence[Trial], decision: Decision) -> Trial | None:
    """The trial whose items are worth showing: the chosen one, else the one tested first, else the best so far."""
    by_id = {trial.id: trial for trial in trials}
    tested = [t for t in trials if t.evidence is not None and t.evidence.certificate is not None]
    placed = sorted((t for t in tested if order_of(t)), key=order_of)
    named = [by_id[name] for name in (decision.chosen, decision.best) if name is not None]
    return next((trial for trial in (*named, *placed, *tested) if trial in tested), None)


def order_of(trial: Trial) -> int:
    """Place in the sequence of tests, 0 for none."""
    certificate = None if trial.evidence is None else trial.evidence.certificate
    return 0 if certificate is None else certificate.order


def plan_items(quality: Quality, margin: float, confidence: float) -> int | None:
    """Evaluation items of a study that would probably settle a quality, the search items among them."""
    needed = plan_quality(quality, margin, confidence)
    return None if needed is None else count_study_items(needed)


def plan_record(space: Workspace, reference: Trial, trial: Trial | None) -> SamplePlan | None:
    """The items that a certificate like that of a trial takes, by its flips; None for a metric that is no mean."""
    certificate = None if trial is None or trial.evidence is None else trial.evidence.certificate
    if trial is None or certificate is None or space.metric.functional:
        return None
    variant = read_scores(space, trial.candidate)
    known = read_scores(space, reference.candidate).select(slice(0, len(variant)))
    losses = item_losses(space.metric, known, variant)
    supposed = Supposed(
        space.metric.name,
        flip_rate=float(np.mean(losses**2)),
        loss=max(0.0, float(losses.mean())),
        bounded=not bool(np.isin(losses, BINARY).all()),
    )
    return plan_study(len(space.split), supposed, certificate.margin, certificate.confidence)


def collect_flips(
    space: Workspace, trials: Sequence[Trial], reference: Trial, shown: Trial | None
) -> Mapping[str, tuple[Flip, ...]]:
    """Items that broke: of the trial that is shown, and of the one that failed its test."""
    failed = next(
        (t for t in sorted(trials, key=order_of) if order_of(t) and status_of(t) is CertificateStatus.WORSE), None
    )
    found: dict[str, tuple[Flip, ...]] = {}
    for trial in (shown, failed):
        if trial is None or trial.id in found:
            continue
        variant = read_scores(space, trial.candidate)
        known = read_scores(space, reference.candidate).select(slice(0, len(variant)))
        positions = space.split.order[: len(variant)]
        found[trial.id] = show_flips(space.evaluation, known, variant, space.metric, positions)
    return found


def status_of(trial: Trial) -> CertificateStatus | None:
    """What the certification says of a trial."""
    certificate = None if trial.evidence is None else trial.evidence.certificate
    return None if certificate is None else certificate.status
