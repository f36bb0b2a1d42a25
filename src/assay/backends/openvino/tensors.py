"""Arrays at the runtime's interface: how they become OpenVINO tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from assay.core.tensor import Array

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def wrap_array(array: Array, module: Any) -> Any:  # noqa: ANN401 - the vendor's module and object have no types
    """An OpenVINO tensor over the array's own memory; a copy where OpenVINO cannot use that memory."""
    if array.dtype == BFLOAT16:
        tensor = module.Tensor(module.Type.bf16, list(array.shape))
        tensor.data.view(np.uint16)[...] = array.view(np.uint16)
        return tensor
    flags = array.flags
    if not (flags.c_contiguous and flags.writeable):
        array = array.copy(order="C")
    return module.Tensor(array, shared_memory=True)
