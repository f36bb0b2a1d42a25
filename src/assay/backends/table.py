"""Every runtime that Assay knows: name -> ``module:class``, imported only when asked for.

An installed package adds one by an entry point of the group ``assay.backends``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from assay.backends.backend import Backend
from assay.core.errors import BackendUnavailable, RequestError
from assay.core.target import ServingMode, Target

GROUP = "assay.backends"
BACKENDS = {
    "onnxruntime": "assay.backends.onnxruntime.adapter:OnnxRuntimeBackend",
    "onnxruntime-cuda": "assay.backends.onnxruntime.adapter:OnnxRuntimeCuda",
    "onnxruntime-tensorrt": "assay.backends.onnxruntime.adapter:OnnxRuntimeTensorRt",
    "onnxruntime-rtx": "assay.backends.onnxruntime.adapter:OnnxRuntimeRtx",
    "openvino": "assay.backends.openvino.adapter:OpenVinoBackend",
    "reference": "assay.backends.reference.adapter:ReferenceBackend",
    "torch": "assay.backends.torch.adapter:TorchBackend",
    "torch-cuda": "assay.backends.torch.adapter:TorchCudaBackend",
    "tensorrt": "assay.backends.tensorrt.adapter:TensorRtBackend",
    "tvm": "assay.backends.tvm.adapter:TvmBackend",
}
"""Those that come with Assay; nobody else's may take their names."""
GPUS = ("tensorrt", "torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime-rtx")
DEVICES: Mapping[str, str] = dict.fromkeys(GPUS, "cuda:0")
"""Runtime -> device that it runs on; the CPU for those that are not here."""


def find_backends() -> Mapping[str, str]:
    """Name -> ``module:class`` of every runtime: Assay's own, then those of installed packages."""
    return {**{entry.name: entry.value for entry in entry_points(group=GROUP)}, **BACKENDS}


def list_backends() -> tuple[str, ...]:
    """Names of all runtimes: Assay's own, then those of installed packages."""
    return (*BACKENDS, *sorted(set(find_backends()) - set(BACKENDS)))


def load_backend(name: str) -> Backend:
    """The adapter of a runtime.

    Raises:
        RequestError: no runtime has this name.
        BackendUnavailable: the package that adds it cannot be imported.
    """
    path = BACKENDS.get(name) or find_backends().get(name)
    if path is None:
        raise RequestError(f"runtime {name!r} is unknown", f"runtimes are {', '.join(list_backends())}")
    module, _, attribute = path.partition(":")
    try:
        return cast("Backend", getattr(import_module(module), attribute)())
    except (ImportError, AttributeError) as error:
        if name in BACKENDS:
            raise
        raise BackendUnavailable(
            f"the adapter of {name}, {path}, cannot be loaded: {error}", "mend its package"
        ) from error


def make_target(runtime: str, *, threads: int = 1, batch: int = 1, mode: ServingMode = ServingMode.LATENCY) -> Target:
    """A deployment on the device that a runtime is for: ``cpu``, or the first of its kind (``cuda:0``).

    Args:
        runtime: its name in the table.
        threads: compute threads that it may use.
        batch: items per call.
        mode: one call at a time, or as many as the device takes.
    """
    return Target(runtime, DEVICES.get(runtime, Target(runtime).device), threads, batch, mode)
