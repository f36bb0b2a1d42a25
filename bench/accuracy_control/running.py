"""Models opened in OpenVINO for calls of one item, all alike, whoever made them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from assay.core.tensor import Array, Feeds


def properties(compute: str, threads: int) -> dict[str, object]:
    """How every model is compiled.

    Args:
        compute: ``f32`` or ``bf16``: the format of what is not in integers.
        threads: of a call.
    """
    return {
        "INFERENCE_PRECISION_HINT": compute,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }


def read_for_one(path: Path) -> Any:  # noqa: ANN401 - the vendor's object has no types
    """A model with its batch fixed to one, which is faster than an open one."""
    model = ov.Core().read_model(str(path))
    model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
    return model


def open_model(source: Any, compute: str, threads: int) -> Any:  # noqa: ANN401 - the vendor's objects
    """Compile a path or a model; a ``.blob`` was compiled before and is only loaded."""
    if isinstance(source, Path) and source.suffix == ".blob":
        return ov.Core().import_model(io.BytesIO(source.read_bytes()), "CPU", properties(compute, threads))
    model = read_for_one(source) if isinstance(source, Path) else source
    return ov.Core().compile_model(model, "CPU", properties(compute, threads))


def say_all(compiled: Any, feeds: Iterable[Feeds]) -> Array:  # noqa: ANN401 - as above
    """First output of every item, ``[n, ...]``."""
    request = compiled.create_infer_request()
    said = [np.array(next(iter(request.infer(dict(one), share_inputs=True).values()))) for one in feeds]
    return np.concatenate(said)
