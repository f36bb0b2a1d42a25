"""One way through an engine: an execution context with its stream and its memory, for one call at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.backends.tensorrt.buffers import Buffer, count_bytes
from assay.backends.tensorrt.cuda import NON_BLOCKING, CudaError, call, load_cuda
from assay.core.errors import RunFailed
from assay.core.tensor import Array, Outputs, Signature

Shape = tuple[int, ...]


class Lane:
    """Runs an engine.

    Inputs are copied to pinned memory and from there to the GPU, results the way back, all in one stream. From the
    second call with the same shapes on the engine is launched as a CUDA graph, where it can be captured: by
    TensorRT-RTX itself, or here.

    Args:
        module: the vendor's.
        engine: the vendor's.
        signature: inputs and outputs under the ONNX model's names, which are the engine's.
        graphs: launch CUDA graphs.

    Attributes:
        context: the vendor's execution context.
    """

    def __init__(self, module: Any, engine: Any, signature: Signature, *, graphs: bool = True) -> None:  # noqa: ANN401 - the vendor's have no types
        self._signature = signature
        self._types = {spec.name: np.dtype(spec.dtype) for spec in (*signature.inputs, *signature.outputs)}
        self._buffers = {name: Buffer() for name in self._types}
        self._stream = call("cudaStreamCreateWithFlags", NON_BLOCKING)
        self.context, captures_itself = make_context(module, engine, graphs=graphs)
        if self.context is None:
            raise RunFailed("the engine gives no execution context", "is the GPU's memory used up?")
        self._captures = graphs and not captures_itself
        self._allocators = {spec.name: make_allocator(module, self._buffers[spec.name]) for spec in signature.outputs}
        self._shapes: dict[str, Shape] = {}
        self._results: dict[str, Shape | None] = {}
        self._graph: Any = None
        self._launched = False

    def prepare(self, arrays: Mapping[str, Array]) -> None:
        """Tell the context the shapes of a call, and where everything lies.

        Raises:
            RunFailed: the engine refuses a shape.
        """
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes == self._shapes:
            return
        self._drop_graph()
        self._shapes = {}
        for name, shape in shapes.items():
            if not self.context.set_input_shape(name, shape):
                raise RunFailed(f"the engine refuses input {name!r} of shape {list(shape)}", "build for such shapes")
            self.context.set_tensor_address(name, self._reserve(name, shape))
        missing = self.context.infer_shapes()
        if missing:
            raise RunFailed(f"the engine does not know the shapes of {', '.join(missing)}", "give every input")
        for spec in self._signature.outputs:
            self._place_output(spec.name)
        self._shapes = shapes

    def _reserve(self, name: str, shape: Shape) -> int:
        """Address of a tensor on the GPU."""
        return self._buffers[name].reserve(count_bytes(shape, self._types[name]))

    def _place_output(self, name: str) -> None:
        """Memory for a result: at once where its shape is known, else when the engine asks for it."""
        shape = tuple(int(size) for size in self.context.get_tensor_shape(name))
        if -1 in shape:
            self._results[name] = None
            self.context.set_output_allocator(name, self._allocators[name])
        else:
            self._results[name] = shape
            self.context.set_tensor_address(name, self._reserve(name, shape))

    def upload(self, arrays: Mapping[str, Array]) -> None:
        """Begin to copy the inputs to the GPU."""
        for name, array in arrays.items():
            self._buffers[name].view(array.shape, array.dtype)[...] = array
            self._buffers[name].upload(array.nbytes, self._stream)

    def launch(self) -> None:
        """Begin to compute.

        Raises:
            RunFailed: the engine refuses to run.
            CudaError: the GPU failed.
        """
        if self._graph is None and self._launched and self._captures and None not in self._results.values():
            self._capture()
        if self._graph is not None:
            call("cudaGraphLaunch", self._graph, self._stream)
            return
        if not self.context.execute_async_v3(int(self._stream)):
            raise RunFailed("the engine does not run", "see what it logged")
        self._launched = True

    def download(self) -> None:
        """Begin to copy the results back, as far as their shapes are known."""
        for name, shape in self._results.items():
            if shape is not None:
                self._buffers[name].download(count_bytes(shape, self._types[name]), self._stream)

    def wait(self) -> None:
        """Until everything that was begun is done."""
        call("cudaStreamSynchronize", self._stream)

    def collect(self) -> Outputs:
        """Wait, and copy the results out of the pinned memory."""
        self.wait()
        late = {name: self._allocators[name].shape for name, shape in self._results.items() if shape is None}
        for name, shape in late.items():
            self._buffers[name].download(count_bytes(shape, self._types[name]), self._stream)
        if late:
            self.wait()
        shapes = {name: late[name] if shape is None else shape for name, shape in self._results.items()}
        return {name: self._buffers[name].view(shape, self._types[name]).copy() for name, shape in shapes.items()}

    def record(self, event: Any) -> None:  # noqa: ANN401 - the vendor's handle
        """Put an event behind all that was begun."""
        call("cudaEventRecord", event, self._stream)

    def close(self) -> None:
        """Give memory, graph, context and stream back; closing twice does nothing."""
        if self.context is None:
            return
        self._drop_graph()
        self.context = None
        for buffer in self._buffers.values():
            buffer.free()
        call("cudaStreamDestroy", self._stream)

    def _capture(self) -> None:
        """Record what the engine launches, to launch it at once; an engine that cannot be recorded runs as before."""
        mode = load_cuda().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._captures = False
        try:
            call("cudaStreamBeginCapture", self._stream, mode)
            recorded = self.context.execute_async_v3(int(self._stream))
            graph = call("cudaStreamEndCapture", self._stream)
            if recorded:
                self._graph = call("cudaGraphInstantiate", graph, 0)
                self._captures = True
            call("cudaGraphDestroy", graph)
        except CudaError:
            self._graph = None

    def _drop_graph(self) -> None:
        """Forget a recording: it is of other shapes."""
        if self._graph is not None:
            call("cudaGraphExecDestroy", self._graph)
        self._graph, self._launched = None, False


def make_context(module: Any, engine: Any, *, graphs: bool) -> tuple[Any, bool]:  # noqa: ANN401 - as above
    """An execution context, and whether it makes CUDA graphs by itself, as TensorRT-RTX does.

    Kernels for new shapes are compiled at the first call with them and not beside later ones, so that times are those
    of the kernels that stay.
    """
    strategies = getattr(module, "CudaGraphStrategy", None)
    if strategies is None or not hasattr(engine, "create_runtime_config"):
        return engine.create_execution_context(), False
    config = engine.create_runtime_config()
    config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if graphs else strategies.DISABLED
    kernels = getattr(module, "DynamicShapesKernelSpecializationStrategy", None)
    if kernels is not None:
        config.dynamic_shapes_kernel_specialization_strategy = kernels.EAGER
    return engine.create_execution_context(config), True


def make_allocator(module: Any, buffer: Buffer) -> Any:  # noqa: ANN401 - as above
    """Gives memory for a result whose size is known only when it is computed, and hears its shape."""

    class Allocator(module.IOutputAllocator):  # type: ignore[misc]  # the vendor's class has no types
        """For one tensor."""

        def __init__(self) -> None:
            module.IOutputAllocator.__init__(self)
            self.shape: Shape = ()

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            """Address of at least so many bytes."""
            del name, memory, alignment
            return buffer.reserve(size)

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            """As ``reallocate_output``; nothing else in the stream uses the old memory."""
            del stream
            return self.reallocate_output(name, memory, size, alignment)

        def notify_shape(self, name: str, shape: Sequence[int]) -> None:
            """Hear the shape."""
            del name
            self.shape = tuple(int(size) for size in shape)

    return Allocator()
