"""What ``build`` tells ``open`` beside the model: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from assay.backends.settings import BuiltSettings
from assay.core.precision import Precision


class Settings(BuiltSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is run.

    Attributes:
        compiled: by ``torch.compile``, where this machine can; else eagerly, operator by operator.
        graphs: calls of one shape are captured as a CUDA graph, on devices that have them.
        integers: products between quantize/dequantize pairs run on integers; off computes the pairs as they stand.
        rest: float that other products of such a graph compute in.
        tf32: products in FP32 may round their operands to TF32.
    """

    compiled: bool = True
    graphs: bool = True
    integers: bool = True
    rest: Precision = Precision.FP32
    tf32: bool = False
