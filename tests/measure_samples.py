"""Sessions, data and clocks that tests of measuring share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from assay.core.audit import ExecutionAudit
from assay.core.session import Batch
from assay.core.tensor import Array, Feeds, Outputs, Signature, TensorSpec


class FunctionSession:
    """A session that runs a Python function."""

    def __init__(self, function: Callable[[Array], Outputs], batch: int | None = None, width: int = 1) -> None:
        self._function, self._width = function, width
        self.signature = Signature((TensorSpec("x", "float32", (batch, 4)),), (TensorSpec("y", "float32", None),))
        self.sizes: list[int] = []

    def run(self, feeds: Feeds) -> Outputs:
        self.sizes.append(len(feeds["x"]))
        return self._function(feeds["x"])

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """As many calls as ``width`` are taken before the first output is given."""
        waiting: list[Outputs] = []
        for feeds in batches:
            waiting.append(self.run(feeds))
            if len(waiting) == self._width:
                yield waiting.pop(0)
        yield from waiting

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        del feeds
        return ExecutionAudit(())

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ArrayDataset:
    """Items in memory."""

    fingerprint = "arrays"

    def __init__(self, items: Array, targets: Array | None) -> None:
        self._items, self._targets = items, targets

    @property
    def labelled(self) -> bool:
        return self._targets is not None

    def __len__(self) -> int:
        return len(self._items)

    def batches(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self._items), size):
            part = slice(start, start + size)
            yield Batch({"x": self._items[part]}, None if self._targets is None else self._targets[part], start)


class SteppingClock:
    """Time that moves by what it is told."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def wait(self, ns: int) -> None:
        self.now += ns


def write_linear_model(path: Path, classes: int = 3, seed: int = 0, width: int = 4) -> Array:
    """An ONNX file ``y = x W`` with a dynamic batch; returns W ``[width, classes] float32``."""
    weight = np.random.default_rng(seed).standard_normal((width, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weight, "w")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return weight
