"""Calls of ONNX Runtime whose inputs and outputs stay in its own memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort

from assay.core.tensor import Feeds

DEVICE = "cpu"


def bind_call(session: ort.InferenceSession, names: Sequence[str], feeds: Feeds) -> Callable[[], None]:
    """A call with these feeds; the outputs are written over what the last call left.

    Args:
        session: of ONNX Runtime.
        names: of the outputs.
        feeds: inputs by name; their memory is kept.
    """
    binding = session.io_binding()
    kept = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    for name, array in kept.items():
        binding.bind_cpu_input(name, array)
    for name in names:
        binding.bind_output(name, DEVICE)

    def run() -> None:
        session.run_with_iobinding(binding)

    return run
