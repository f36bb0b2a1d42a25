"""Runs a followed model: eagerly, compiled where a shape comes again, and as a CUDA graph on devices that have them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from assay.backends.torch.operators import Tensor
from assay.backends.torch.program import Program
from assay.backends.torch.settings import Settings
from assay.backends.torch.tracing import Model, Tracer
from assay.backends.torch.vendor import explain_eager

MOST_COMPILED = 8
"""Shapes that are compiled for; others run eagerly."""
MOST_KEPT = 64
"""Shapes whose torch graph is kept."""
WARM_UP_CALLS = 3
Outputs = tuple[Tensor, ...]
Key = tuple[tuple[tuple[int, ...], torch.dtype], ...]
LOCK = threading.RLock()
"""Torch's settings are the process's."""


@dataclass
class Shape:
    """A set of input shapes.

    Attributes:
        program: of these shapes.
        fast: compiled; None where it is not.
        tried: compiling was tried.
        note: why it runs eagerly; empty where it is compiled.
        captured: as a CUDA graph; None where it is not.
    """

    program: Program
    fast: Callable[..., Outputs] | None = None
    tried: bool = False
    note: str = ""
    captured: Captured | None = None


@dataclass
class Captured:
    """A CUDA graph with its inputs and outputs, which stay where they are.

    Attributes:
        graph: of torch.
        inputs: to copy into.
        outputs: overwritten by each replay.
    """

    graph: Any
    inputs: Outputs
    outputs: Outputs


class Engine:
    """Runs one model.

    Args:
        model: to follow.
        settings: how.
        threads: of the CPU.
    """

    def __init__(self, model: Model, settings: Settings, threads: int) -> None:
        self._model, self._settings, self._threads = model, settings, threads
        self._shapes: OrderedDict[Key, Shape] = OrderedDict()
        self._eager = "" if settings.compiled else "it was built to run eagerly"
        self._eager = self._eager or explain_eager(model.device.partition(":")[0])
        self._compiled = 0

    def call(self, inputs: Outputs) -> Outputs:
        """Outputs for inputs on the device; overwritten by the next call of the same shape."""
        with self.arithmetic():
            shape = self._shapes.get(_key(inputs))
            if shape is None:
                return self._trace(inputs)[0]
            self._shapes.move_to_end(_key(inputs))
            return self._run(self._prepare(shape, inputs), inputs)

    def bind(self, inputs: Outputs) -> Callable[[], Outputs]:
        """A call with these inputs, made as fast as it can be before the first one."""
        with self.arithmetic():
            key = _key(inputs)
            if key not in self._shapes:
                self._trace(inputs)
            shape = self._prepare(self._shapes[key], inputs)
            self._run(shape, inputs)
        if shape.captured is not None:
            graph, outputs = shape.captured.graph, shape.captured.outputs
            for place, value in zip(shape.captured.inputs, inputs, strict=True):
                place.copy_(value)

            def replay() -> Outputs:
                graph.replay()
                return outputs

            return replay

        def run() -> Outputs:
            with self.arithmetic():
                return self._run(shape, inputs)

        return run

    def trace(self, inputs: Outputs) -> Program:
        """Follow the model with these inputs, step by step."""
        with self.arithmetic():
            return self._follow(inputs)[1]

    def describe(self, inputs: Outputs) -> str:
        """How calls of this shape run: ``compiled``, ``captured``, or why eagerly."""
        shape = self._shapes.get(_key(inputs))
        if shape is None or (shape.fast is None and shape.captured is None):
            return "eager: " + (shape.note if shape is not None and shape.note else self._eager or "not yet compiled")
        how = "compiled" if shape.fast is not None else "eager"
        return how if shape.captured is None else f"{how}, captured as a CUDA graph"

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Torch set up for this model: threads, TF32, no gradients; one model of the process at a time."""
        with LOCK, torch.inference_mode(mode=False), torch.no_grad():
            if self._model.device == "cpu":
                if torch.get_num_threads() != self._threads:
                    torch.set_num_threads(self._threads)
                yield
                return
            set_tf32(on=self._settings.tf32)
            with torch.cuda.device(self._model.device):
                yield

    def close(self) -> None:
        """Forget what was compiled."""
        self._shapes.clear()

    def _follow(self, inputs: Outputs) -> tuple[Outputs, Program]:
        return Tracer(self._model, dict(zip(self._model.inputs, inputs, strict=True))).run()

    def _trace(self, inputs: Outputs) -> tuple[Outputs, Shape]:
        """Follow the model for a shape that is new."""
        outputs, program = self._follow(inputs)
        shape = self._shapes[_key(inputs)] = Shape(program)
        if len(self._shapes) > MOST_KEPT:
            self._shapes.popitem(last=False)
        return outputs, shape

    def _prepare(self, shape: Shape, inputs: Outputs) -> Shape:
        """Compile and capture what comes again, once."""
        if shape.tried or shape.program.module is None:
            return shape
        shape.tried, shape.note = True, self._eager
        if self._compiled >= MOST_COMPILED:
            shape.note = f"{MOST_COMPILED} other shapes are compiled already"
            return shape
        self._compiled += 1
        if not self._eager:
            try:
                shape.fast = compile_module(shape.program.module)
                shape.fast(*inputs)
            except COMPILE_ERRORS as err:
                shape.fast, shape.note = None, f"torch cannot compile it: {type(err).__name__}"
        if self._model.device != "cpu" and self._settings.graphs:
            shape.captured = capture(shape.fast or shape.program.module, inputs)
        return shape

    def _run(self, shape: Shape, inputs: Outputs) -> Outputs:
        if shape.captured is not None:
            for place, value in zip(shape.captured.inputs, inputs, strict=True):
                place.copy_(value)
            shape.captured.graph.replay()
            return shape.captured.outputs
        if shape.fast is not None:
            return tuple(shape.fast(*inputs))
        if shape.program.module is None:
            return self._follow(inputs)[0]
        return tuple(shape.program.module(*inputs))


COMPILE_ERRORS = (RuntimeError, AssertionError, LookupError, TypeError, ValueError, OSError)
"""What compiling raises (torch's own are RuntimeErrors); the model then runs eagerly."""


def compile_module(module: Any) -> Callable[..., Outputs]:  # noqa: ANN401 - a torch module
    """A torch graph compiled for the shapes that it is called with first, its constants frozen."""
    compiled: Callable[..., Outputs] = torch.compile(
        module, dynamic=False, fullgraph=True, options={"freezing": True, "triton.cudagraphs": False}
    )
    return compiled


def capture(function: Callable[..., Outputs], inputs: Outputs) -> Captured | None:
    """A CUDA graph of a call; None where something in it cannot be captured."""
    kept = tuple(value.clone() for value in inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            function(*kept)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            outputs = tuple(function(*kept))
    except RuntimeError:
        torch.cuda.synchronize()
        return None
    return Captured(graph, kept, outputs)


def set_tf32(*, on: bool) -> None:
    """Whether products in FP32 round their operands to TF32 on CUDA devices."""
    # The older of two ways to say it: torch itself still reads this one, and refuses a mixture.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def _key(inputs: Sequence[Tensor]) -> Key:
    return tuple((tuple(value.shape), value.dtype) for value in inputs)
