"""Observing sets of a subject, and forcing a set through: an INT8 model built from it on ONNX Runtime, and its loss."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.backends.table import load_backend
from assay.calibrate.observe import Observation, merge_calibrations
from assay.calibrate.ranges.solve import solve_ranges
from assay.core.calibration import Calibration
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.session import Batch
from assay.core.target import Target
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.quantize import list_quantized
from assay.graph.realise import realise
from assay.graph.save import save_model
from assay.studies.exposing import open_exposed

from poor.subjects import Pixels, Subject  # isort: skip
from zoo.pair import Judged  # isort: skip

RUNTIME = "onnxruntime"
THREADS = 2
BATCH = 20


class Forcing(AbstractContextManager["Forcing"]):
    """A subject's float model, open for observation, and what is built from what it shows."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._backend = load_backend(RUNTIME)
        self._target = Target(RUNTIME, threads=THREADS, batch=subject.pair.batch)
        self._dialect = self._backend.dialects(self._target)[0]
        self._prepared = prepare(load_model(subject.pair.model))
        self._input = str(self._prepared.graph.inputs[0].name)
        self._tensors = tuple(sorted(list_quantized(self._prepared, self.scheme(RangeMethod.MSE))))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open."""
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-bench-")))
        self._session = self._stack.enter_context(open_exposed(self._prepared, self._tensors, self._backend, scratch))
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._stack.close()

    def scheme(self, method: RangeMethod) -> Scheme:
        """The runtime's first dialect."""
        return Scheme(self._dialect, Placement.CHAIN, method)

    def observe(self, inputs: NDArray[np.float32]) -> Calibration:
        """Statistics of the tensors that the scheme quantizes."""
        observation = Observation(self._tensors, (self._input,), threads=THREADS)
        for start in range(0, len(inputs), BATCH):
            batch = Batch({self._input: inputs[start : start + BATCH]}, None, start)
            observation.add(batch, self._session.run(batch.feeds))
        return observation.build("bench")

    def observe_shards(self, pixels: Pixels, size: int) -> list[Calibration]:
        """Statistics of consecutive shards of so many items."""
        inputs = self.subject.prepare(pixels)
        return [self.observe(inputs[start : start + size]) for start in range(0, len(inputs), size)]

    def force(self, calibration: Calibration, method: RangeMethod, evaluated: Pixels) -> Judged:
        """What the pair's judge says of the INT8 model built from a set."""
        plan = Plan(Precision.INT8, scheme=self.scheme(method))
        ranges = solve_ranges(calibration, self.scheme(method))
        return self._run(realise(self._prepared, plan, calibration, ranges), plan, evaluated)

    def run_float(self, evaluated: Pixels) -> Judged:
        """What the pair's judge says of the FP32 model."""
        return self._run(self._prepared, Plan(Precision.FP32), evaluated)

    def _run(self, model: ir.Model, plan: Plan, evaluated: Pixels) -> Judged:
        """Build a model and judge its outputs."""
        with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
            path, built = Path(scratch, "model.onnx"), Path(scratch, "built")
            built.mkdir()
            save_model(model, path)
            self._backend.build(path, built, plan, self._target)
            with self._backend.open(built, self._target) as session:
                parts = ((session.run(part.feeds), part) for part in self._batches(evaluated))
                return self.subject.pair.judge.judge(parts)

    def _batches(self, pixels: Pixels) -> Iterator[Batch]:
        targets, size = self.subject.targets, self.subject.pair.batch
        for start in range(0, len(pixels), size):
            part = slice(start, start + size)
            feeds = {self._input: self.subject.prepare(pixels[part])}
            yield Batch(feeds, None if targets is None else targets[part], start)


def merge(parts: list[Calibration]) -> Calibration:
    """One set from shards."""
    return merge_calibrations(parts)
