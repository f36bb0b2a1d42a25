"""An engine that was opened on a GPU of this machine."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from assay.backends.feeds import explain_mismatch
from assay.backends.tensorrt.arithmetic import find_products
from assay.backends.tensorrt.audit import join_layers, read_layers
from assay.backends.tensorrt.cuda import call
from assay.backends.tensorrt.errors import make_logger, mapped_errors
from assay.backends.tensorrt.lane import Lane
from assay.backends.tensorrt.place import Place
from assay.backends.tensorrt.profile import describe_times, make_profiler
from assay.backends.tensorrt.profiles import explain_outside
from assay.backends.tensorrt.settings import GRAPH_FILE, Settings
from assay.backends.tensorrt.vendor import Vendor
from assay.core.audit import ExecutionAudit
from assay.core.errors import BuildFailed, RunFailed
from assay.core.mixing import NodeTime
from assay.core.target import ServingMode, Target
from assay.core.tensor import Array, Feeds, Outputs, Signature

OVERLAPPING = 2
"""Calls under way at once in throughput mode: one computes while the other is copied."""


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """What a call takes, medians in milliseconds.

    Attributes:
        compute_ms: between events around the engine, on the GPU's own clock.
        transfers_ms: the same with the copies to the GPU and back.
        wall_ms: on the host's clock, with the copies.
    """

    compute_ms: float
    transfers_ms: float
    wall_ms: float


class TensorRtSession:
    """Runs one engine, one call at a time; not to be shared between threads.

    Args:
        folder: built by ``TensorRtBackend.build``.
        settings: of the folder.
        vendor: form of TensorRT that built it.
        place: the GPU, of this machine.
        target: mode to open it for.

    Raises:
        BuildFailed: what was built cannot be loaded.
    """

    def __init__(self, folder: Path, settings: Settings, vendor: Vendor, place: Place, target: Target) -> None:
        self._folder, self._settings, self._vendor = folder, settings, vendor
        self._signature = Signature(settings.inputs, settings.outputs)
        self._path = folder / settings.engine
        self._overlapping = target.mode is ServingMode.THROUGHPUT
        self._logger, self._messages = make_logger(vendor.module)
        hint = "build it again on this machine"
        with mapped_errors(BuildFailed, f"{self._path} cannot be opened", self._messages):
            call("cudaSetDevice", 0 if place.gpu is None else place.gpu.index)
            self._runtime: Any = vendor.module.Runtime(self._logger)
            self._engine: Any = self._runtime.deserialize_cuda_engine(self._path.read_bytes())
        if self._engine is None:
            raise BuildFailed(f"{self._path} cannot be opened: {self._messages.summarize()}", hint)
        self._lanes = [self._make_lane()]

    @property
    def signature(self) -> Signature:
        """Inputs and outputs under the ONNX model's names."""
        return self._signature

    def run(self, feeds: Feeds) -> Outputs:
        """One call, copies to the GPU and back included; the outputs are copies.

        Raises:
            RunFailed: the feeds do not fit the model or the engine, or TensorRT failed.
        """
        with self._failing():
            lane = self._begin(feeds, self._lane(0))
            return lane.collect()

    def bind(self, feeds: Feeds) -> Callable[[], None]:
        """A call to make again and again with these feeds, whose inputs and outputs stay on the GPU.

        Raises:
            RunFailed: as ``run``.
        """
        arrays = self._accept(feeds)
        lane = self._lane(0)
        with self._failing():
            lane.prepare(arrays)
            lane.upload(arrays)
            lane.wait()

        def run() -> None:
            with self._failing():
                lane.launch()
                lane.wait()

        return run

    def stream(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Outputs of many calls in the order of the calls; in throughput mode two are under way at once.

        Raises:
            RunFailed: as ``run``.
        """
        return self._overlap(batches) if self._overlapping else map(self.run, batches)

    def executed(self, feeds: Feeds) -> ExecutionAudit:
        """Precision and kernel per layer, as the engine inspector tells after running these feeds.

        Raises:
            RunFailed: as ``run``, or the inspector's answer cannot be read.
        """
        self.run(feeds)
        products = find_products(self._folder / GRAPH_FILE, {name: array.shape for name, array in feeds.items()})
        layers = read_layers(self._inspect(), [product.name for product in products])
        return join_layers(layers, products, self._settings.rest)

    def profile(self, feeds: Feeds, calls: int) -> tuple[NodeTime, ...]:
        """What each layer takes, from a context of its own that launches no graphs.

        Args:
            feeds: inputs by name.
            calls: to take the median over.

        Raises:
            RunFailed: as ``run``.
        """
        lane = Lane(self._vendor.module, self._engine, self._signature, graphs=False)
        profiler, taken = make_profiler(self._vendor.module)
        with self._failing():
            self._begin(feeds, lane).collect()
            lane.context.profiler = profiler
            for _ in range(calls):
                taken.begin_call()
                self._begin(feeds, lane).collect()
            layers = read_layers(self._inspect())
            lane.close()
        return describe_times(taken, layers)

    def clock(self, feeds: Feeds, calls: int) -> DeviceTimes:
        """What a call takes by the GPU's clock and by the host's.

        Args:
            feeds: inputs by name.
            calls: to take medians over.

        Raises:
            RunFailed: as ``run``.
        """
        arrays, lane = self._accept(feeds), self._lane(0)
        compute, transfers, wall = [], [], []
        with self._failing():
            lane.prepare(arrays)
            events = [call("cudaEventCreate") for _ in range(4)]
            for _ in range(calls):
                began = time.perf_counter_ns()
                lane.record(events[0])
                lane.upload(arrays)
                lane.record(events[1])
                lane.launch()
                lane.record(events[2])
                lane.download()
                lane.record(events[3])
                lane.collect()
                wall.append((time.perf_counter_ns() - began) / 1e6)
                compute.append(float(call("cudaEventElapsedTime", events[1], events[2])))
                transfers.append(float(call("cudaEventElapsedTime", events[0], events[3])))
            for event in events:
                call("cudaEventDestroy", event)
        return DeviceTimes(statistics.median(compute), statistics.median(transfers), statistics.median(wall))

    def close(self) -> None:
        """Give the engine and its memory back; closing twice does nothing."""
        with self._failing():
            for lane in self._lanes:
                lane.close()
        self._lanes.clear()
        self._engine = self._runtime = None

    def __enter__(self) -> Self:
        """Enter the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _failing(self) -> Any:  # noqa: ANN401 - a context manager
        """Maps what the bindings raise."""
        return mapped_errors(RunFailed, f"{self._vendor.title} failed while running {self._path}", self._messages)

    def _make_lane(self) -> Lane:
        """Another way through the engine."""
        with mapped_errors(BuildFailed, f"{self._path} cannot be opened", self._messages):
            return Lane(self._vendor.module, self._engine, self._signature)

    def _lane(self, index: int) -> Lane:
        """One of the ways through the engine, made when it is first needed."""
        if self._engine is None:
            raise RunFailed(f"the session of {self._path} is closed", "open the artifact again")
        while len(self._lanes) <= index:
            self._lanes.append(self._make_lane())
        return self._lanes[index]

    def _accept(self, feeds: Feeds) -> dict[str, Array]:
        """The arrays by name, checked.

        Raises:
            RunFailed: naming the input and what is wrong with it.
        """
        trouble = explain_mismatch(self._signature, feeds)
        trouble = trouble or explain_outside(self._settings.ranges, {name: a.shape for name, a in feeds.items()})
        if trouble:
            raise RunFailed(f"{self._path} cannot run: {trouble}", "make the feeds fit, or build for such shapes")
        return dict(feeds)

    def _begin(self, feeds: Feeds, lane: Lane) -> Lane:
        """Begin a call; the lane it is on."""
        arrays = self._accept(feeds)
        lane.prepare(arrays)
        lane.upload(arrays)
        lane.launch()
        lane.download()
        return lane

    def _inspect(self) -> str:
        """The engine inspector's JSON."""
        with self._failing():
            inspector = self._engine.create_engine_inspector()
            inspector.execution_context = self._lane(0).context
            return str(inspector.get_engine_information(self._vendor.module.LayerInformationFormat.JSON))

    def _overlap(self, batches: Iterable[Feeds]) -> Iterator[Outputs]:
        """Keep two calls under way; wait for the older first, so that the order is kept."""
        pending: deque[Lane] = deque()
        with self._failing():
            for index, feeds in enumerate(batches):
                if len(pending) == OVERLAPPING:
                    yield pending.popleft().collect()
                pending.append(self._begin(feeds, self._lane(index % OVERLAPPING)))
            while pending:
                yield pending.popleft().collect()
