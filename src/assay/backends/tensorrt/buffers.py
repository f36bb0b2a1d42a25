"""Memory on the GPU, each piece with pinned memory of the host beside it."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from assay.backends.tensorrt.cuda import call, load_cuda
from assay.core.tensor import Array

LEAST_BYTES = 256
"""A tensor without elements has an address, too."""


class Buffer:
    """Memory of one tensor; grows where a call needs more.

    Attributes:
        device: address on the GPU.
        host: address of the pinned memory.
        size: in bytes, of both pieces.
    """

    def __init__(self) -> None:
        self.device = 0
        self.size = 0
        self.host = 0

    def reserve(self, size: int) -> int:
        """The address on the GPU of at least so many bytes.

        Raises:
            CudaError: there is not enough memory.
        """
        if size > self.size or not self.device:
            self.free()
            self.device = int(call("cudaMalloc", max(size, LEAST_BYTES)))
            self.host = int(call("cudaHostAlloc", max(size, LEAST_BYTES), 0))
            self.size = max(size, LEAST_BYTES)
        return self.device

    def view(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """The host's piece as an array, without a copy."""
        count = math.prod(shape)
        memory = memoryview((ctypes.c_uint8 * self.size).from_address(self.host)).cast("B")
        array: Array = np.frombuffer(memory, dtype, count).reshape(shape)
        return array

    def upload(self, size: int, stream: Any) -> None:  # noqa: ANN401 - the vendor's handle
        """Copy the first bytes to the GPU, in the stream's order."""
        kind = load_cuda().cudaMemcpyKind.cudaMemcpyHostToDevice
        call("cudaMemcpyAsync", self.device, self.host, size, kind, stream)

    def download(self, size: int, stream: Any) -> None:  # noqa: ANN401 - as above
        """Copy the first bytes from the GPU, in the stream's order."""
        kind = load_cuda().cudaMemcpyKind.cudaMemcpyDeviceToHost
        call("cudaMemcpyAsync", self.host, self.device, size, kind, stream)

    def free(self) -> None:
        """Give both pieces back; freeing twice does nothing."""
        device, host = self.device, self.host
        self.device, self.host, self.size = 0, 0, 0
        if device:
            call("cudaFree", device)
        if host:
            call("cudaFreeHost", host)


def count_bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    """Size of a tensor."""
    return math.prod(shape) * dtype.itemsize
