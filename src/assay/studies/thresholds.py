"""The thresholds of a study: fixed, or tuned for each variant on its search items, before any other item is looked at.

Scores are stored as the model gave them; thresholds are applied wherever scores are read. So another rule is decided
from stored scores. A variant's threshold is a function of its scores on the search items alone: a certificate, which
comes from the other items, holds for the variant served at that threshold.
"""

from __future__ import annotations

import numpy as np

from assay.core.errors import RequestError
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.session import Dataset, Scores, Task
from assay.core.threshold import BINARY_LABEL, Threshold, ThresholdRule
from assay.core.trial import Evidence
from assay.measure.tasks.thresholds import ThresholdedTask, apply_thresholds
from assay.measure.tuning import find_thresholds, tune_thresholds
from assay.studies.score_arrays import unpack_scores
from assay.studies.workspace import Workspace

SEED = 0
"""Of the draws that tell how far a threshold would move."""
SCORES_FOLDER = "scores"
"""Where the store has the scores of the candidates."""


def apply_rule(space: Workspace, scores: Scores) -> Scores:
    """Scores of the first items of the evaluation order, at the thresholds of their variant.

    Raises:
        RequestError: the task keeps no scores, or tuning lacks targets.
        MeasurementError: too few tuning items of a kind.
    """
    rule = space.request.threshold
    return scores if rule is None else apply_thresholds(scores, find_values(space, rule, scores))


def find_values(space: Workspace, rule: ThresholdRule, scores: Scores) -> tuple[float, ...]:
    """The threshold of a variant, or one for each label."""
    apart = slice(0, space.split.search)
    return tuple(value for _, value in find_thresholds(rule, scores.select(apart), find_reference(space, rule)))


def find_reference(space: Workspace, rule: ThresholdRule) -> Scores | None:
    """What FP32 says of the tuning items, for a rule that matches it: that of the first runtime that was scored.

    None where the rule matches nothing, or FP32 is not scored yet and is about to be.
    """
    if not rule.matched:
        return None
    for runtime in space.backends:
        arrays = space.store.read_arrays(f"{SCORES_FOLDER}/{Candidate(runtime, Plan(Precision.FP32)).id}")
        if arrays is not None:
            return unpack_scores(arrays).select(slice(0, space.split.search))
    return None


def describe_thresholds(space: Workspace, scores: Scores) -> tuple[Threshold, ...]:
    """The thresholds of a variant with what they find on the tuning items; none where the task's own are kept.

    Args:
        space: the study.
        scores: of the variant, as it gave them.
    """
    rule = space.request.threshold
    if rule is None:
        return ()
    apart = slice(0, space.split.search)
    return tune_thresholds(rule, scores.select(apart), np.random.default_rng(SEED), find_reference(space, rule))


def describe_missed(rule: ThresholdRule | None, evidence: Evidence) -> list[str]:
    """Goals that no threshold of an artifact reaches on the tuning items, in words."""
    missed = [one for one in evidence.thresholds if not one.met]
    if rule is None or not missed:
        return []
    names = "" if missed[0].label == BINARY_LABEL else f" of label {', '.join(str(one.label) for one in missed)}"
    return [f"no threshold{names} has {rule.text} on the {missed[0].items} tuning items; the nearest one is taken"]


def thresholded(space: Workspace, scores: Scores) -> Task:
    """The study's task at the thresholds of one variant, for outputs that are not stored.

    Args:
        space: the study.
        scores: of the variant, as it gave them.
    """
    rule = space.request.threshold
    return space.task if rule is None else ThresholdedTask(space.task, find_values(space, rule, scores))


def check_rule(rule: ThresholdRule | None, task: Task, evaluation: Dataset) -> Task:
    """What to check a model with: the task, and that it keeps what a threshold is held against.

    Raises:
        RequestError: thresholds are to be tuned, and the data has no targets.
    """
    if rule is None:
        return task
    if rule.is_tuned and not evaluation.labelled:
        message = f"threshold {rule.text!r} is tuned on labelled items, and the data has no targets"
        raise RequestError(message, "add an array 'target', or give a number as the threshold")
    return ThresholdedTask(task, (rule.amount,))
