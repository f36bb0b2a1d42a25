"""A compiled model with the requests that run it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from assay.core.tensor import Array

Tensors = Sequence[tuple[int, Any]]
"""OpenVINO tensors with the index of their input port."""


class Engine:
    """One compiled model; each of its requests runs one call at a time.

    Args:
        compiled: OpenVINO's compiled model.
        dynamic: some size inside the model is known at run time only.

    Attributes:
        compiled: OpenVINO's compiled model.
        idle: requests for overlapping calls that wait for work.
    """

    def __init__(self, compiled: Any, *, dynamic: bool) -> None:  # noqa: ANN401 - the vendor's object has no types
        self.compiled = compiled
        self.idle: deque[Any] = deque()
        self._direct = compiled.create_infer_request()
        self._dynamic = dynamic

    def run(self, tensors: Tensors) -> list[Array]:
        """One call; the outputs are copies, in the order of the model's ports.

        With one thread OpenVINO's synchronous call loses the error of a shape that does not fit, and gives the
        outputs of the call before or reads foreign memory (2026.4); its asynchronous call, some 15 microseconds
        dearer, does not. So models with sizes that are not fixed take that one.
        """
        request = self._direct
        if self._dynamic:
            self.start(request, tensors)
            return self.finish(request)
        for index, tensor in tensors:
            request.set_input_tensor(index, tensor)
        return list(request.infer().values())

    def lend(self, tensors: Tensors) -> list[Array]:
        """One call; the outputs are OpenVINO's own memory, which the next call writes over."""
        self.repeat(tensors)
        return [tensor.data for tensor in self._direct.output_tensors]

    def repeat(self, tensors: Tensors) -> None:
        """One call whose outputs stay in OpenVINO's own memory, which the next call writes over."""
        self.start(self._direct, tensors)
        self._direct.wait()

    def start(self, request: Any, tensors: Tensors) -> None:  # noqa: ANN401 - as above
        """Start a call; the tensors must live until it is finished."""
        for index, tensor in tensors:
            request.set_input_tensor(index, tensor)
        request.start_async()

    def finish(self, request: Any) -> list[Array]:  # noqa: ANN401 - as above
        """Wait for a call and copy its outputs, so that the request can run the next."""
        request.wait()
        return [tensor.data.copy() for tensor in request.output_tensors]

    def prepare_overlap(self) -> None:
        """Make as many requests as OpenVINO finds best to have under way at once."""
        if not self.idle:
            count = int(self.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            self.idle.extend(self.compiled.create_infer_request() for _ in range(count))
