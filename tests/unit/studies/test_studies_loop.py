"""What the loop tells the proposer of a quantized attempt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from trial_samples import make_plan, make_requirements

from assay.core.audit import ExecutionAudit
from assay.core.plan import Candidate, Plan, WeightScheme
from assay.core.precision import Precision, WeightStyle
from assay.core.session import Metric
from assay.core.trial import TrialStatus
from assay.studies.attempt import Attempt
from assay.studies.loop import is_strained, screen
from assay.studies.split import split_items
from assay.studies.store import StudyStore
from assay.studies.worker import Probe
from assay.studies.workspace import Workspace

ITEMS = 1000


@pytest.mark.parametrize(
    ("lost", "higher_is_better", "strained"),
    [(2, True, False), (3, True, True), (-9, True, False), (3, False, False), (-3, False, True)],
)
def test_a_loss_of_over_half_the_tolerance_strains_it(
    tmp_path: Path, lost: int, *, higher_is_better: bool, strained: bool
) -> None:
    """The tolerance of 0.5 pp is 5 of 1,000 items; where lower is better, a rise is the loss."""
    reference = Attempt(Candidate("onnxruntime", make_plan(Precision.FP32)), TrialStatus.OK)
    attempt = Attempt(Candidate("onnxruntime", make_plan(Precision.INT8)), TrialStatus.OK)
    space = make_space(tmp_path, [(reference, 500), (attempt, 500 - lost)], higher_is_better=higher_is_better)
    assert is_strained(space, attempt, reference) is strained


@pytest.mark.parametrize(
    ("plan", "strained"),
    [
        (make_plan(Precision.INT8), True),
        (Plan(Precision.INT8, weights=WeightScheme(WeightStyle.WEIGHTS, group=64)), True),
        (Plan(Precision.INT4, weights=WeightScheme(WeightStyle.WEIGHTS, block=32)), True),
        (make_plan(Precision.BF16), False),
    ],
)
def test_every_plan_with_integers_is_held_against_the_tolerance(tmp_path: Path, plan: Plan, *, strained: bool) -> None:
    """Stored weights too: where they strain it, their refinement is proposed. A 16-bit format has none."""
    probe = Probe(1.0, 1.0, 2.0, 1, 1, ExecutionAudit(()))
    reference, attempt = (
        Attempt(Candidate("onnxruntime", one), TrialStatus.OK, probe=probe) for one in (make_plan(Precision.FP32), plan)
    )
    space = make_space(tmp_path, [(reference, 500), (attempt, 400)])
    screened = screen(space, attempt, [reference, attempt])
    assert (screened.candidate, screened.latency_ms, screened.strained) == (attempt.candidate, 2.0, strained)


def make_space(folder: Path, right: Sequence[tuple[Attempt, int]], *, higher_is_better: bool = True) -> Workspace:
    """A study whose attempts have so many of 1,000 search items right."""
    store = StudyStore(folder, "0" * 16)
    for attempt, count in right:
        scores = (np.arange(ITEMS) < count).astype(np.float64)
        arrays = {"predictions": np.zeros(ITEMS, np.int64), "metric.top1": scores}
        store.write_arrays(f"scores/{attempt.candidate.id}", arrays)
    metric = Metric("top1", higher_is_better=higher_is_better, labelled=True)
    request = SimpleNamespace(requirements=make_requirements("top1: 0.5pp"), threshold=None)
    split = split_items(5 * ITEMS)
    return cast("Workspace", SimpleNamespace(store=store, metric=metric, request=request, split=split))
