"""What a finished study tells of a variant's flips, for planning the next one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.core.errors import RequestError
from assay.core.session import Metric
from assay.measure.statistics.losses import item_losses, reference_scores
from assay.measure.statistics.trinomial import confine_rate
from assay.measure.tasks.table import find_metric, load_task
from assay.studies.named_trials import NamedTrial, find_trial, read_pair
from assay.studies.planning import Supposed


@dataclass(frozen=True, slots=True)
class Pilot:
    """Flips of one trial against its study's reference.

    Attributes:
        trial: its id.
        n: items that both were scored on.
        flips_lost: items that got worse.
        flips_won: items that got better.
        flip_rate: share of both; for scores between 0 and 1 the mean square of an item's difference.
        flip_rate_high: upper bound of the share of items that changed, at one-sided ``confidence``.
        loss: mean loss, positive is worse.
        reference: value of the reference's metric.
        bounded: scores are not 0 or 1 only.
    """

    study: str
    trial: str
    metric: str
    n: int
    flips_lost: int
    flips_won: int
    flip_rate: float
    flip_rate_high: float
    loss: float
    reference: float
    confidence: float
    bounded: bool

    @property
    def supposed(self) -> Supposed:
        """The same flips and the same loss, where it is one: a gain counts as none."""
        loss = max(0.0, self.loss)
        return Supposed(self.metric, max(self.flip_rate, loss**2 if self.bounded else loss), loss, self.bounded)

    @property
    def cautious(self) -> Supposed:
        """The same loss with as many flips as there may be."""
        scale = self.flip_rate_high * self.n / max(1, self.flips_lost + self.flips_won)
        rate = min(1.0, self.flip_rate * scale) if self.bounded else self.flip_rate_high
        return Supposed(self.metric, max(rate, self.supposed.flip_rate), self.supposed.loss, self.bounded)


def read_pilot(text: str, metric: str, confidence: float) -> Pilot:
    """Flips of the trial that ``STUDY_FOLDER[:TRIAL]`` names, from its stored scores.

    Args:
        text: of the option.
        metric: name of the metric; empty for that of the study's tolerance.
        confidence: one-sided, of the upper bound.

    Raises:
        StoreError: there is no finished study, or it has no scores.
        RequestError: no such trial or metric, the reference itself, or a metric that is no mean of item scores.
    """
    named = find_trial(text)
    chosen = find_study_metric(named, metric)
    reference, variant = read_pair(named)
    losses = item_losses(chosen, reference, variant)
    lost, won = int(np.count_nonzero(losses > 0)), int(np.count_nonzero(losses < 0))
    n = len(losses)
    return Pilot(
        study=str(named.folder),
        trial=named.trial.id,
        metric=chosen.name,
        n=n,
        flips_lost=lost,
        flips_won=won,
        flip_rate=float(np.mean(losses**2)),
        flip_rate_high=confine_rate(lost + won, n, 2 * (1 - confidence))[1],
        loss=float(np.mean(losses)),
        reference=float(np.mean(reference_scores(chosen, reference))),
        confidence=confidence,
        bounded=bool(((losses != 0) & (np.abs(losses) != 1)).any()),
    )


def find_study_metric(named: NamedTrial, name: str) -> Metric:
    """The metric to plan for, as the study's task has it.

    Raises:
        RequestError: the task has none of that name, it is no mean of item scores, or the trial is the reference.
    """
    metric = find_metric(load_task(named.record.task), name or named.record.requirements.tolerance.metric)
    if metric.functional:
        message = f"metric {metric.name!r} is no mean of item scores, so flips do not tell how many items it takes"
        raise RequestError(message, "plan for a metric such as top1")
    if named.trial.reference:
        others = ", ".join(trial.id for trial in named.record.trials if trial.evidence and not trial.reference)
        message = f"{named.trial.id} is the reference of {named.folder}: it flips nothing"
        raise RequestError(message, f"name another trial as {named.folder}:TRIAL, out of {others or 'none'}")
    return metric
