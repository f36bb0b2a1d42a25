from __future__ import annotations

import numpy as np
import pytest

from assay.core.errors import MeasurementError
from assay.measure.tasks.table import find_metric, load_task
from assay.studies.positives import require_truth

CASES = [("binary-probability", "f1", 1), ("multi-label", "f1-micro", 4), ("multi-label", "f1-macro", 4)]


@pytest.mark.parametrize(("task", "name", "labels"), CASES)
def test_labels_none_of_which_is_positive_are_refused_with_their_number(task: str, name: str, labels: int) -> None:
    metric = find_metric(load_task(task, name), name)
    with pytest.raises(MeasurementError, match="none of the 60 items is positive"):
        require_truth(metric, np.zeros((60, labels)))


@pytest.mark.parametrize(("task", "name", "labels"), CASES)
def test_one_positive_label_is_enough_to_go_on(task: str, name: str, labels: int) -> None:
    metric = find_metric(load_task(task, name), name)
    truth = np.zeros((60, labels))
    truth[7, -1] = 1
    assert len(require_truth(metric, truth)) == 60
