"""The one place that imports TensorRT, in whichever form is installed.

TensorRT proper builds for the GPU of the machine alone. TensorRT-RTX builds for any compute capability, without a GPU
or a driver, and compiles the last step where the engine is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from assay.backends.tensorrt.capability import Capability, parse_device
from assay.backends.tensorrt.cuda import Gpu, list_gpus
from assay.core.errors import BackendUnavailable

INSTALL = "pip install 'assay-precision[tensorrt]'"
FORMS = (("tensorrt", "TensorRT", False), ("tensorrt_rtx_bindings", "TensorRT-RTX", True))
"""Module, name, and whether it builds for GPUs that are not here; the one that is taken first where a GPU is."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A form of TensorRT.

    Attributes:
        module: the vendor's module, which has no types.
        title: its name.
        ahead: it builds for GPUs that are not here.
    """

    module: Any
    title: str
    ahead: bool

    @property
    def version(self) -> str:
        """Such as ``1.7.1.116``."""
        return str(self.module.__version__)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """Compute capabilities that it builds for without a GPU, ascending; none for TensorRT proper."""
        names = getattr(self.module, "ComputeCapability", None) if self.ahead else None
        found = (parse_device(str(name).lower()) for name in getattr(names, "__members__", ()))
        return tuple(sorted(capability for capability in found if capability is not None))

    def runs_on(self, gpu: Gpu) -> bool:
        """Whether it has kernels for a GPU; TensorRT proper itself tells when it builds."""
        return not self.ahead or gpu.capability in self.capabilities


@cache
def load_vendor() -> Vendor:
    """The form to use: TensorRT where there is a GPU, else TensorRT-RTX.

    Raises:
        BackendUnavailable: none can be imported.
    """
    return choose_vendor(import_forms(), list_gpus()[0])


def choose_vendor(found: Sequence[Vendor], gpus: Sequence[Gpu]) -> Vendor:
    """The first form that runs on a GPU here; without one, the first that builds for GPUs elsewhere.

    Args:
        found: at least one form, the preferred first.
        gpus: of this machine.
    """
    for vendor in found:
        if any(vendor.runs_on(gpu) for gpu in gpus):
            return vendor
    return next((vendor for vendor in found if vendor.ahead), found[0])


def import_forms() -> tuple[Vendor, ...]:
    """Every form that is installed, the preferred first.

    Raises:
        BackendUnavailable: none is, or its libraries do not load.
    """
    found, failures = [], []
    for name, title, ahead in FORMS:
        try:
            found.append(Vendor(import_module(name), title, ahead))
        except (ImportError, OSError, RuntimeError) as err:
            failures.append(f"{title} cannot be imported: {err}")
    if not found:
        raise BackendUnavailable("; ".join(failures), f"install it: {INSTALL}")
    return tuple(found)
