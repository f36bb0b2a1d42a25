"""The one place that imports TVM, so that a machine without it can still be told so."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

from assay.core.errors import BackendUnavailable

INSTALL = "pip install 'assay-precision[tvm]'"
RUNTIME_ONLY = "TVM_USE_RUNTIME_LIB"
"""Environment variable of TVM: with the value 1 it loads no compiler."""


@cache
def load_tvm() -> Any:  # noqa: ANN401 - the vendor's module has no types
    """The vendor's module.

    TVM pins its worker threads to cores when they first start, and with them whatever the process starts later; two
    opened artifacts then share a core while another idles. So that is switched off before it loads.

    Raises:
        BackendUnavailable: it is not installed, or its libraries do not load.
    """
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    try:
        return import_module("tvm")
    except (ImportError, OSError, RuntimeError, AttributeError) as err:
        text = " ".join(str(err).split())
        raise BackendUnavailable(f"TVM cannot be imported: {text}", f"install it: {INSTALL}") from err


@cache
def load_compiler(name: str) -> Any:  # noqa: ANN401 - as above
    """One of TVM's modules that need its compiler, such as ``relax``.

    Args:
        name: below ``tvm``.

    Raises:
        BackendUnavailable: TVM is missing, or was loaded without its compiler.
    """
    load_tvm()
    if os.environ.get(RUNTIME_ONLY) == "1":
        message = f"TVM's compiler is switched off by {RUNTIME_ONLY}=1"
        raise BackendUnavailable(message, "unset it, or feed the shapes that the artifact was built for")
    try:
        return import_module(f"tvm.{name}")
    except (ImportError, OSError, RuntimeError, AttributeError) as err:
        text = " ".join(str(err).split())
        raise BackendUnavailable(f"TVM's compiler cannot be imported: {text}", f"install it: {INSTALL}") from err


def hash_module(module: Any) -> str:  # noqa: ANN401 - as above
    """Hash of a module of TVM's, equal for modules that differ in nothing but the names of variables."""
    return str(import_module("tvm_ffi").structural_hash(module))


def load_virtual_machine() -> Any:  # noqa: ANN401 - as above
    """TVM's module of the virtual machine that runs compiled models, which needs its runtime alone.

    Raises:
        BackendUnavailable: TVM is missing.
    """
    load_tvm()
    return import_module("tvm.runtime.vm")
