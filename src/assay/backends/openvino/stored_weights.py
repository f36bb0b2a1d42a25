"""Whether OpenVINO rounds activations where they meet weights that are stored in integers: asked with a tiny product.

Its kernels keep the names of floats (``brgemm_avx512_f32``) whether they multiply floats or groups of activations that
were rounded to 8 bits (2026.4), and no property of a node tells. But what rounding loses shows in a result.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from assay.backends.openvino.vendor import load_core, load_openvino, load_opset
from assay.core.precision import Precision

STORED = {"i8": Precision.INT8, "u8": Precision.INT8, "i4": Precision.INT4, "u4": Precision.INT4}
"""OpenVINO's element type of a weight -> format that it lies in."""
INPUTS, OUTPUTS = 256, 64
LARGE_EVERY = 16
"""Every so many activations one is large, so that each group has one: groups are multiples of 16."""
SMALL = 1e-3
"""The other activations: beside a large one of 1.0 they round to 0 in 8 bits."""


@cache
def rounds_activations(device: str, hint: str, group: int, stored: Precision) -> bool:
    """Whether a product with a stored weight multiplies integers.

    Args:
        device: as OpenVINO spells it.
        hint: value of INFERENCE_PRECISION_HINT.
        group: value of DYNAMIC_QUANTIZATION_GROUP_SIZE.
        stored: format of the weight.
    """
    if group == 0:
        return False
    properties = {"INFERENCE_PRECISION_HINT": hint, "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
    compiled = load_core().compile_model(_make_product(stored), device, properties)
    activations = np.full((2, INPUTS), SMALL, np.float32)
    activations[:, ::LARGE_EVERY] = 1.0
    result = next(iter(compiled(activations).values()))
    return not np.any(result)


def _make_product(stored: Precision) -> Any:  # noqa: ANN401 - the vendor's object has no types
    """A product with a weight that takes the small activations alone."""
    module, opset = load_openvino(), load_opset()
    codes = np.ones((OUTPUTS, INPUTS), np.int8)
    codes[:, ::LARGE_EVERY] = 0
    kind = module.Type.i4 if stored is Precision.INT4 else module.Type.i8
    constant = module.op.Constant(kind, module.Shape([OUTPUTS, INPUTS]), codes.ravel().tolist())
    weight = opset.multiply(opset.convert(constant, "f32"), opset.constant(np.ones((OUTPUTS, 1), np.float32)))
    taken = opset.parameter([-1, INPUTS], np.float32)
    return module.Model([opset.matmul(taken, weight, False, True)], [taken])  # noqa: FBT003 - the vendor's signature
