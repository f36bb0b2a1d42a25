"""A running reference evaluator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from assay.backends.feeds import explain_mismatch
from assay.backends.model_files import describe_interface
from assay.backends.reference.audit import audit_values
from assay.backends.reference.errors import EVALUATOR_ERRORS, to_build_error, to_run_error
from assay.backends.reference.operators import OPERATORS
from assay.core.audit import ExecutionAudit
from assay.core.errors import RunFailed
from assay.core.tensor import Array, Feeds, Outputs, Signature


class ReferenceSession:
    """An ONNX file in the reference evaluator.

    Args:
        model: the ONNX file.

    Raises:
        BuildFailed: the file is no valid ONNX model, or has an operator without a definition.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        try:
            onnx.checker.check_model(model)
            self._graph = onnx.load(model)
            self._evaluator: ReferenceEvaluator | None = ReferenceEvaluator(self._graph, new_ops=list(OPERATORS))
        except EVALUATOR_ERRORS as err:
            raise to_build_error(err, model) from err
        self._signature = describe_interface(self._graph.graph)

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the model states them."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call.

        Raises:
            RunFailed: the session is closed, the feeds do not fit, or an operator failed.
        """
        values = self._evaluate(feeds)
        return {spec.name: values[spec.name].copy() for spec in self._signature.outputs}  # may be views of the feeds

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls, one after the other."""
        return map(self.run, batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and operator per node, from the arrays that NumPy gave for these feeds.

        Raises:
            RunFailed: the session is closed, the feeds do not fit, or an operator failed.
        """
        return audit_values(self._graph.graph, self._evaluate(feeds))

    def close(self) -> None:
        """Give the memory back; closing twice does nothing."""
        self._evaluator = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _evaluate(self, feeds: Feeds) -> dict[str, Array]:
        """Every tensor of the graph by name; the evaluator checks no feeds, so that is done here."""
        evaluator = self._evaluator
        if evaluator is None:
            raise RunFailed(f"the session of {self._model} is closed", "open the artifact again")
        mismatch = explain_mismatch(self._signature, feeds)
        if mismatch:
            raise RunFailed(mismatch, "give the inputs that the model expects")
        try:
            with np.errstate(all="ignore"):  # overflow and NaN are results here, not accidents
                values = dict(evaluator.run(None, dict(feeds), intermediate=True))
        except EVALUATOR_ERRORS as err:
            raise to_run_error(err, self._model) from err
        return {name: np.asarray(value) for name, value in values.items() if value is not None}
