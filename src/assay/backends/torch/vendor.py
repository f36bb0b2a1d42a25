"""Where torch is looked for: whether it is installed, what it can compile with, and which devices it sees."""

from __future__ import annotations

import shutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from os import environ
from typing import Any

from assay.core.errors import BackendUnavailable
from assay.core.precision import Precision

INSTALL = "pip install 'assay-precision[torch]'"
COMPILERS = ("c++", "g++", "clang++")
TF32_CAPABILITY = (8, 0)
"""First compute capability with TF32 and BF16 in its matrix units (CUDA C++ Programming Guide)."""
INT8_CAPABILITY = (7, 5)
FP16_CAPABILITY = (7, 0)
LEAST = {
    Precision.FP16: FP16_CAPABILITY,
    Precision.BF16: TF32_CAPABILITY,
    Precision.TF32: TF32_CAPABILITY,
    Precision.INT8: INT8_CAPABILITY,
}


@cache
def load_torch() -> Any:  # noqa: ANN401 - the vendor's module has no types
    """The module.

    Raises:
        BackendUnavailable: it is not installed, or does not load.
    """
    try:
        return import_module("torch")
    except (ImportError, OSError) as err:
        raise BackendUnavailable(f"torch cannot be imported: {err}", f"install it: {INSTALL}") from err


def find_device(device: str) -> str:
    """Torch's name of a device: ``cpu``, ``cuda:1``.

    Raises:
        BackendUnavailable: torch is missing, or does not see the device; says why.
    """
    torch = load_torch()
    kind, _, index = device.partition(":")
    if device == "cpu":
        return device
    if kind != "cuda" or (index and not index.isdecimal()):
        raise BackendUnavailable(f"torch has no device {device!r} here", "devices are cpu and cuda:0")
    reason = explain_cuda()
    if reason:
        raise BackendUnavailable(f"torch cannot use {device!r}: {reason}", "use cpu")
    if int(index or 0) >= int(torch.cuda.device_count()):
        raise BackendUnavailable(f"torch sees no device {device!r}", f"it sees {torch.cuda.device_count()}")
    return f"cuda:{int(index or 0)}"


def explain_cuda() -> str:
    """Why torch sees no CUDA device; empty where it does."""
    torch = load_torch()
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} was built without CUDA"
    return "" if torch.cuda.is_available() else "no CUDA device with a driver is here"


@cache
def explain_eager(kind: str) -> str:
    """Why models cannot be compiled for a kind of device, and run eagerly; empty where they can."""
    if kind == "cuda":
        return "" if find_spec("triton") is not None else "Triton is not installed, without which torch cannot compile"
    named = environ.get("CXX", "")
    if named and shutil.which(named):
        return ""
    found = any(shutil.which(name) for name in COMPILERS)
    return "" if found else f"no C++ compiler is here ({', '.join(COMPILERS)}), without which torch cannot compile"


def has_integer_kernels(device: str) -> bool:
    """Whether Triton compiles integer products for a device: from compute capability 8.0 on (seen with 3.9)."""
    if device == "cpu" or find_spec("triton") is None:
        return False
    capability: tuple[int, int] = load_torch().cuda.get_device_capability(device)
    return capability >= TF32_CAPABILITY


def refuse_format(precision: Precision, device: str) -> str:
    """Why a device does not compute in a format, in words; empty where it does."""
    torch = load_torch()
    if device == "cpu":
        return _refuse_on_cpu(torch, precision)
    found, least = torch.cuda.get_device_capability(device), LEAST.get(precision, (0, 0))
    if found < least:
        name = torch.cuda.get_device_name(device)
        return f"{name} has compute capability {found[0]}.{found[1]}, and {precision} begins with {least[0]}.{least[1]}"
    return ""


def _refuse_on_cpu(torch: Any, precision: Precision) -> str:  # noqa: ANN401 - as above
    if precision is Precision.TF32:
        return "TF32 is a format of CUDA devices"
    if precision is Precision.FP16 and not torch.ops.mkldnn._is_mkldnn_fp16_supported():  # noqa: SLF001 - torch's only way
        return "this CPU has no FP16 units: torch would take hundreds of times as long as in FP32"
    if precision is Precision.BF16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 - as above
        return "this CPU has no BF16 units"
    return ""
