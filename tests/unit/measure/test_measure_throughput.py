from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from measure_samples import FunctionSession, SteppingClock, write_linear_model

from assay.backends.table import load_backend
from assay.core.errors import MeasurementError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.target import ServingMode, Target
from assay.core.tensor import Feeds, Outputs
from assay.measure.throughput import MOST_BLOCKS, measure_throughput

FEEDS = {"x": np.zeros((8, 4), np.float32)}
MS = 1_000_000


class Pipeline(FunctionSession):
    """Runs ``width`` calls at once, which end together after 10 ms."""

    def __init__(self, clock: SteppingClock, width: int, ns: int = 10 * MS) -> None:
        super().__init__(lambda x: {"y": x}, width=width)
        self._clock, self._ns = clock, ns
        self.calls = 0
        self.first_ns = 0

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        waiting = []
        for feeds in batches:
            waiting.append(self.run(feeds))
            self.calls += 1
            if len(waiting) == self._width:
                self._clock.wait(self._ns + (self.first_ns if self.calls == self._width else 0))
                yield from waiting
                waiting.clear()
        if waiting:
            self._clock.wait(self._ns)
        yield from waiting


@pytest.mark.parametrize("width", [1, 2, 8])
def test_items_are_counted_per_second(width: int) -> None:
    clock = SteppingClock()
    estimate = measure_throughput(Pipeline(clock, width), FEEDS, seconds=10.0, clock=clock)
    assert estimate.value == pytest.approx(8 * width / 0.010, rel=0.03)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high
    assert (estimate.n, estimate.unit) == (MOST_BLOCKS, "items/s")


def test_a_slow_model_gets_time_for_an_interval() -> None:
    clock = SteppingClock()
    session = Pipeline(clock, 1, ns=300 * MS)
    estimate = measure_throughput(session, FEEDS, seconds=1.0, clock=clock)
    assert session.calls == 12
    assert estimate.low is not None
    assert estimate.value == pytest.approx(8 / 0.3)


def test_filling_the_pipeline_does_not_count() -> None:
    clock = SteppingClock()
    session = Pipeline(clock, 2, ns=100 * MS)
    session.first_ns = 1000 * MS
    estimate = measure_throughput(session, FEEDS, seconds=1.0, clock=clock)
    assert estimate.low == pytest.approx(160)
    assert estimate.high == pytest.approx(160)


def test_a_very_slow_model_has_a_value_without_an_interval() -> None:
    clock = SteppingClock()
    session = Pipeline(clock, 1, ns=3000 * MS)
    estimate = measure_throughput(session, FEEDS, seconds=1.0, clock=clock)
    assert session.calls == 2
    assert estimate.value == pytest.approx(8 / 3)
    assert (estimate.low, estimate.high) == (None, None)


def test_a_stream_without_outputs_is_an_error() -> None:
    class Mute(FunctionSession):
        def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
            for _, _feeds in zip(range(3), batches, strict=False):
                pass
            return iter(())

    with pytest.raises(MeasurementError, match="0 outputs for"):
        measure_throughput(Mute(lambda x: {"y": x}), FEEDS, seconds=0.01)


def test_a_real_runtime_is_driven(tmp_path: Path) -> None:
    write_linear_model(tmp_path / "model.onnx")
    (tmp_path / "built").mkdir()
    backend = load_backend("onnxruntime")
    target = Target("onnxruntime", threads=2, mode=ServingMode.THROUGHPUT)
    backend.build(tmp_path / "model.onnx", tmp_path / "built", Plan(Precision.FP32), target)
    with backend.open(tmp_path / "built", target) as session:
        estimate = measure_throughput(session, FEEDS, seconds=0.3)
    assert estimate.value > 100
    assert estimate.n >= 5
