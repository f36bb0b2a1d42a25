"""Calls of ONNX Runtime whose inputs and outputs stay in its own memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort

from assay.core.tensor import Feeds

CPU = "cpu"


def bind_call(
    session: ort.InferenceSession, names: Sequence[str], feeds: Feeds, device: str = CPU
) -> Callable[[], None]:
    """A call with these feeds; the outputs are written over what the last call left.

    On a GPU both lie in its memory, and a call has ended when it returns.

    Args:
        session: of ONNX Runtime.
        names: of the outputs.
        feeds: inputs by name; their memory is kept.
        device: of the target.
    """
    binding = session.io_binding()
    kind, _, index = device.partition(":")
    kept = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    for name, array in kept.items():
        if kind == CPU:
            binding.bind_cpu_input(name, array)
        else:
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, kind, int(index or 0)))
    for name in names:
        binding.bind_output(name, kind, int(index or 0))

    def run() -> None:
        session.run_with_iobinding(binding)
        if kind != CPU:
            binding.synchronize_outputs()

    return run
