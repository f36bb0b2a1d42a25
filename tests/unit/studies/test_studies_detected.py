"""Pictures without an object are refused as soon as FP32 is scored."""

from __future__ import annotations

import numpy as np
import pytest

from assay.core.errors import MeasurementError
from assay.studies.positives import refuse_no_objects


def test_pictures_without_any_object_are_refused() -> None:
    records = np.zeros((7, 4, 3))
    records[..., 0] = -1
    records[:, 0] = (2, 0.5, 0)  # a detection is no object
    with pytest.raises(MeasurementError, match="none of the 7 pictures") as caught:
        refuse_no_objects(records)
    assert "x0, y0, x1, y1" in caught.value.hint
    records[3, 1] = (2, 0, 0)
    refuse_no_objects(records)
