from __future__ import annotations

import numpy as np
import pytest

from assay.core.session import Scores
from assay.core.tensor import Array
from assay.studies.one_class import describe_classes


def scored(labels: Array) -> Scores:
    return Scores({}, np.zeros(len(labels), np.int64), columns={"class": labels})


def test_labels_that_are_all_the_same_are_told_with_their_number() -> None:
    (told,) = describe_classes(scored(np.full(1200, 3)))
    assert "all 1,200 labels" in told
    assert "are 3" in told


@pytest.mark.parametrize("labels", [np.arange(12) % 2, np.full(9, 3), np.array([], np.int64)])
def test_labels_that_differ_or_are_few_are_not(labels: Array) -> None:
    assert describe_classes(scored(labels)) == []


def test_what_has_no_classes_has_no_warning() -> None:
    assert describe_classes(None) == []
    assert describe_classes(Scores({}, np.zeros(50, np.int64))) == []
