"""What ``build`` tells ``open`` beside the model: the file ``settings.json`` of a built folder."""

from __future__ import annotations

from assay.backends.settings import BuiltSettings
from assay.core.precision import Precision
from assay.core.tensor import TensorSpec

MODEL_FILE = "model.xml"


class Settings(BuiltSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a built model that its IR does not hold.

    Attributes:
        inputs: as the ONNX model names them, in its order.
        outputs: as the ONNX model names them, in its order.
        compute: format that OpenVINO is asked to compute in; None leaves it to OpenVINO, whose default
            on a CPU with BF16 is BF16 and not FP32.
        group: activations that it rounds by one scale where they meet weights stored in integers, 0 for none; None
            leaves it to OpenVINO.
        renamed: operators that are not called after their ONNX node, with its name; others are.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    compute: Precision | None
    group: int | None = None
    renamed: tuple[tuple[str, str], ...] = ()
