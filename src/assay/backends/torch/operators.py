"""What an ONNX operator is to the torch graph: a function of tensors, and what of its inputs the host must know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from onnx import TensorProto

Tensor: TypeAlias = torch.Tensor
Host = tuple[Any, ...]
"""Elements of a tensor that shapes or axes are made of, in order."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Attributes:
        function: takes the inputs in order, None for those left out, and the attributes by name; gives one tensor, or a
            tuple of them.
        host: indices of the inputs that it takes as a tuple of numbers, because shapes or axes depend on them.
        loose: the shape of its outputs depends on the values of its inputs.
        versioned: it also takes the version of the operator set, as ``opset``.
        counted: it also takes the number of its outputs, as ``outputs``.
    """

    function: Callable[..., Any]
    host: frozenset[int] = frozenset()
    loose: bool = False
    versioned: bool = False
    counted: bool = False


Table = Mapping[str, Operator]

DTYPES: Mapping[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BOOL: torch.bool,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.INT4: torch.int8,
    TensorProto.UINT4: torch.uint8,
}
"""ONNX element type -> torch's; integers of 4 bits are held in 8."""


def to_tensor(array: np.ndarray) -> Tensor:
    """A CPU tensor of an array, which it copies; bfloat16 and integers of 4 bits as ``ml_dtypes`` has them."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array.view(np.int16), order="C")).view(torch.bfloat16)
    if array.dtype.name in {"int4", "uint4"}:
        array = array.astype(array.dtype.name.replace("4", "8"))
    return torch.from_numpy(np.array(array, order="C"))


def to_host(tensor: Tensor) -> Host:
    """Elements of a tensor, in order."""
    return tuple(tensor.reshape(-1).tolist())


def simple(function: Callable[..., Any], *host: int) -> Operator:
    """An operator of which nothing is special but the inputs that the host must know."""
    return Operator(function, frozenset(host))
