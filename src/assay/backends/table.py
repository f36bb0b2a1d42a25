"""Every runtime that Assay knows: name -> ``module:class``, imported only when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from assay.backends.backend import Backend
from assay.core.errors import RequestError

BACKENDS = {
    "onnxruntime": "assay.backends.onnxruntime.adapter:OnnxRuntimeBackend",
    "openvino": "assay.backends.openvino.adapter:OpenVinoBackend",
    "reference": "assay.backends.reference.adapter:ReferenceBackend",
}


def load_backend(name: str) -> Backend:
    """The adapter of a runtime.

    Raises:
        RequestError: no runtime has this name.
    """
    path = BACKENDS.get(name)
    if path is None:
        raise RequestError(f"runtime {name!r} is unknown", f"runtimes are {', '.join(BACKENDS)}")
    module, _, attribute = path.partition(":")
    return cast("Backend", getattr(import_module(module), attribute)())
