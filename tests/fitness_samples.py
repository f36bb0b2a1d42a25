"""Statistics of made-up items, as an observation gives them, for tests of fitness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.observe import Observation
from assay.core.calibration import Calibration
from assay.core.plan import IntegerDialect, Scheme
from assay.core.precision import IntegerFormat, Placement, RangeMethod
from assay.core.session import Batch

U8S8 = IntegerDialect(IntegerFormat.U8, symmetric=False)
S8S8 = IntegerDialect(IntegerFormat.S8, symmetric=True)
MIN_MAX = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)
LEAST_SQUARES = Scheme(U8S8, Placement.CHAIN, RangeMethod.MSE)
SYMMETRIC = Scheme(S8S8, Placement.CHAIN, RangeMethod.MIN_MAX)

Values = NDArray[np.float32]


def observe_items(tensors: Mapping[str, Values]) -> Calibration:
    """Statistics of tensors ``[N, ...]``, of which the first is the model's input."""
    name, values = next(iter(tensors.items()))
    observation = Observation(tuple(tensors), ())
    observation.add(Batch({name: values}, None, 0), dict(tensors))
    return observation.build("made up")
