"""What the layers of an engine take, as TensorRT reports it to a profiler."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from assay.backends.tensorrt.audit import Layer
from assay.core.mixing import NodeTime


class Taken:
    """Times of every layer, call by call."""

    def __init__(self) -> None:
        self.calls: list[dict[str, float]] = []

    def begin_call(self) -> None:
        """What is reported from now on is of another call."""
        self.calls.append({})

    def add(self, name: str, milliseconds: float) -> None:
        """Hear of a layer; one that runs several times in a call adds up."""
        if self.calls:
            self.calls[-1][name] = self.calls[-1].get(name, 0.0) + milliseconds


def make_profiler(module: Any) -> tuple[Any, Taken]:  # noqa: ANN401 - the vendor's module and object have no types
    """A profiler for an execution context, and what it hears."""
    taken = Taken()

    class Profiler(module.IProfiler):  # type: ignore[misc]  # the vendor's class has no types
        """Collects."""

        def __init__(self) -> None:
            module.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Hear of a layer."""
            taken.add(str(layer_name), float(ms))

    return Profiler(), taken


def describe_times(taken: Taken, layers: Sequence[Layer]) -> tuple[NodeTime, ...]:
    """Median of every layer over the calls, with the nodes of the model that it was made of."""
    origins = {layer.name: layer.origins for layer in layers}
    names = dict.fromkeys(name for one in taken.calls for name in one)
    return tuple(
        NodeTime(name, origins.get(name, ()), statistics.median(one.get(name, 0.0) for one in taken.calls))
        for name in names
    )
