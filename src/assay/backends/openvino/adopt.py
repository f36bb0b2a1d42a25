"""A model that somebody else stored in OpenVINO's form, brought into a built folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from assay.backends.openvino.compilation import read_model
from assay.backends.openvino.errors import mapped_errors
from assay.backends.openvino.settings import MODEL_FILE, Settings
from assay.backends.openvino.tensors import BFLOAT16
from assay.backends.openvino.vendor import load_openvino
from assay.core.errors import BuildFailed
from assay.core.tensor import TensorSpec


def adopt_ir(model: Path, into: Path) -> None:
    """Write an OpenVINO IR into an existing empty folder as ``build`` would, unchanged.

    It computes in what OpenVINO chooses, which on a CPU with BF16 units is BF16 for its floats.

    Args:
        model: the ``.xml`` file, its weights beside it.
        into: the folder, for ``OpenVinoBackend.open``.

    Raises:
        BackendUnavailable: OpenVINO is missing.
        BuildFailed: OpenVINO cannot read the file, or its weights are missing.
    """
    module = load_openvino()
    read = read_model(model)
    settings = Settings(
        inputs=tuple(describe_port(port, f"input{index}") for index, port in enumerate(read.inputs)),
        outputs=tuple(describe_port(port, f"output{index}") for index, port in enumerate(read.outputs)),
        compute=None,
    )
    with mapped_errors(BuildFailed, f"OpenVINO cannot write {model} as IR", "is the disk full?"):
        module.save_model(read, str(into / MODEL_FILE), compress_to_fp16=False)
    settings.write(into)


def describe_port(port: Any, otherwise: str) -> TensorSpec:  # noqa: ANN401 - the vendor's object has no types
    """Specification of one input or output.

    Args:
        port: of the model.
        otherwise: its name, where it has none.
    """
    names = sorted(port.get_names())
    kind = port.get_element_type()
    dtype = BFLOAT16.name if kind.get_type_name() == "bf16" else np.dtype(kind.to_dtype()).name
    shape = port.get_partial_shape()
    axes: tuple[int | None, ...] | None = None
    if shape.rank.is_static:
        axes = tuple(axis.get_length() if axis.is_static else None for axis in shape)
    return TensorSpec(names[0] if names else otherwise, dtype, axes)
