"""The model at fixed shapes, loaded: its memory for inputs, and its calls. Needs TVM's runtime alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assay.backends.tvm.errors import mapped_errors
from assay.backends.tvm.vendor import load_tvm, load_virtual_machine
from assay.core.errors import BuildFailed, RunFailed
from assay.core.tensor import Array, Outputs, Signature

Shapes = tuple[tuple[int, ...], ...]
"""Sizes of all inputs, in the model's order."""
DEFAULT_CORES = 0
"""TVM's mode of its thread pool that takes no notice of big and little cores."""


@dataclass(slots=True)
class ThreadPool:
    """TVM's threads, of which the process has one pool for all artifacts.

    Attributes:
        threads: that it is set to.
    """

    threads: int = 0

    def use(self, threads: int) -> None:
        """Set it to so many, where it is not."""
        if self.threads != threads:
            load_tvm().get_global_func("runtime.config_threadpool")(DEFAULT_CORES, threads)
            self.threads = threads


@cache
def find_pool() -> ThreadPool:
    """The pool of this process."""
    return ThreadPool()


class Engine:
    """Compiled code with memory for its inputs.

    Args:
        module: of TVM's, that holds a virtual machine's code.
        signature: of the model.
        shapes: of the inputs.

    Raises:
        BuildFailed: TVM cannot start it.
    """

    def __init__(self, module: Any, signature: Signature, shapes: Shapes) -> None:  # noqa: ANN401 - TVM has no types
        tvm = load_tvm()
        self._names = tuple(spec.name for spec in signature.outputs)
        with mapped_errors(BuildFailed, "TVM cannot start the compiled model", "build it again"):
            device = tvm.cpu()
            machine = load_virtual_machine().VirtualMachine(module, device)
            self._machine, self._call = machine, machine["main"]
            self._inputs = {
                spec.name: tvm.runtime.empty(shape, spec.dtype, device)
                for spec, shape in zip(signature.inputs, shapes, strict=True)
            }
            self._arguments = tuple(self._inputs.values())

    def fill(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs into TVM's memory, which is aligned as compiled code wants it."""
        for name, tensor in self._inputs.items():
            tensor.copyfrom(np.ascontiguousarray(feeds[name]))

    def repeat(self) -> Any:  # noqa: ANN401 - as above
        """One call with the inputs that were filled in last; the outputs are TVM's."""
        return self._call(*self._arguments)

    def run(self, feeds: Mapping[str, Array]) -> Outputs:
        """One call; the outputs are copies.

        Raises:
            RunFailed: TVM failed.
        """
        with mapped_errors(RunFailed, "TVM failed"):
            self.fill(feeds)
            found = self.repeat()
            tensors = (found,) if hasattr(found, "numpy") else tuple(found)
            return {name: tensor.numpy() for name, tensor in zip(self._names, tensors, strict=True)}


def load_library(path: Path) -> Any:  # noqa: ANN401 - as above
    """A linked library.

    Raises:
        BuildFailed: it is missing, damaged, or for another processor.
    """
    with mapped_errors(BuildFailed, f"TVM cannot load {path}", "build it again on this machine"):
        return load_tvm().runtime.load_module(str(path))
