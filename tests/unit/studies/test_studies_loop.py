"""What the loop tells the proposer of a quantized attempt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from trial_samples import make_plan, make_requirements

from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.core.session import Metric
from assay.core.trial import TrialStatus
from assay.studies.attempt import Attempt
from assay.studies.loop import is_strained
from assay.studies.split import split_items
from assay.studies.store import StudyStore
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
    store = StudyStore(tmp_path, "0" * 16)
    reference = Attempt(Candidate("onnxruntime", make_plan(Precision.FP32)), TrialStatus.OK)
    attempt = Attempt(Candidate("onnxruntime", make_plan(Precision.INT8)), TrialStatus.OK)
    for one, right in ((reference, 500), (attempt, 500 - lost)):
        scores = (np.arange(ITEMS) < right).astype(np.float64)
        arrays = {"predictions": np.zeros(ITEMS, np.int64), "metric.top1": scores}
        store.write_arrays(f"scores/{one.candidate.id}", arrays)
    metric = Metric("top1", higher_is_better=higher_is_better, labelled=True)
    request = SimpleNamespace(requirements=make_requirements("top1: 0.5pp"), threshold=None)
    split = split_items(5 * ITEMS)
    space = cast("Workspace", SimpleNamespace(store=store, metric=metric, request=request, split=split))
    assert is_strained(space, attempt, reference) is strained
