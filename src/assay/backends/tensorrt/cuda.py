"""CUDA through ``cuda-bindings``: NVIDIA's own binding, which needs no toolkit, and loads without a driver.

Every call gives its error first, then its values; ``call`` raises the one and gives the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from assay.backends.tensorrt.capability import Capability
from assay.core.errors import BackendUnavailable

NON_BLOCKING = 1
"""Flag of a stream that does not wait for the default one (cudaStreamNonBlocking)."""


class CudaError(RuntimeError):
    """A call of the CUDA runtime failed; the text names the call and the error."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        name: as the driver names it.
        memory_bytes: of the device.
    """

    index: int
    name: str
    capability: Capability
    memory_bytes: int

    @property
    def device(self) -> str:
        """Such as ``cuda:0``."""
        return f"cuda:{self.index}"


@cache
def load_cuda() -> Any:  # noqa: ANN401 - the vendor's module has no types
    """The binding of the CUDA runtime.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return import_module("cuda.bindings.runtime")
    except (ImportError, OSError, RuntimeError) as err:
        hint = "install it: pip install 'cuda-bindings>=13,<14'"
        raise BackendUnavailable(f"cuda-bindings cannot be imported: {err}", hint) from err


def call(name: str, *arguments: Any) -> Any:  # noqa: ANN401 - as above
    """Call a function of the CUDA runtime.

    Args:
        name: such as ``cudaMalloc``.
        arguments: as the function takes them.

    Returns:
        None, its one value, or a tuple of them.

    Raises:
        CudaError: it failed.
        BackendUnavailable: cuda-bindings is not installed.
    """
    cuda = load_cuda()
    error, *values = getattr(cuda, name)(*arguments)
    if error != cuda.cudaError_t.cudaSuccess:
        raise CudaError(f"{name}: {_describe(cuda, error)}")
    return values[0] if len(values) == 1 else tuple(values) or None


def _describe(cuda: Any, error: Any) -> str:  # noqa: ANN401 - as above
    """An error in the runtime's words."""
    _, text = cuda.cudaGetErrorString(error)
    return text.decode() if isinstance(text, bytes) else str(text)


@cache
def list_gpus() -> tuple[tuple[Gpu, ...], str]:
    """GPUs of this machine, and where there are none the reason in words; never raises."""
    try:
        count = int(call("cudaGetDeviceCount"))
        gpus = tuple(_read_gpu(index) for index in range(count))
    except CudaError as err:
        return (), f"no GPU: {err}"
    except BackendUnavailable as err:
        return (), f"no GPU: {err.message}"
    return gpus, "" if gpus else "no GPU"


def _read_gpu(index: int) -> Gpu:
    """What the runtime says of a GPU."""
    properties = call("cudaGetDeviceProperties", index)
    name = properties.name.decode(errors="replace").rstrip("\0") if isinstance(properties.name, bytes) else ""
    capability = Capability(int(properties.major), int(properties.minor))
    return Gpu(index, name or f"GPU {index}", capability, int(properties.totalGlobalMem))
