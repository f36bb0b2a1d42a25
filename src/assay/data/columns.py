"""Arrow columns into arrays whose first axis is the item. Needs pyarrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from assay.core.errors import DataError
from assay.core.tensor import Array
from assay.data.validation import Locate


def is_encoded(kind: pa.DataType) -> bool:
    """Whether a column holds encoded images: binary, or a struct with a binary field ``bytes``."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and is_encoded(kind.field("bytes").type)
    binary: bool = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return binary


def read_encoded(column: pa.Array, start: int, locate: Locate) -> list[bytes]:
    """Contents of encoded images.

    Raises:
        DataError: a row is empty, naming it.
    """
    _refuse_nulls(column, start, locate)
    if pa.types.is_struct(column.type):
        column = column.field("bytes")
        _refuse_nulls(column, start, locate)
    values: list[bytes] = column.to_pylist()
    return values


def read_numbers(column: pa.Array, start: int, locate: Locate) -> Array:
    """Numbers, or equally long (nested) lists of them, as a writable array ``[n, ...]``.

    Args:
        column: numbers, lists, fixed-size lists or tensors of a fixed shape.
        start: item of its first row.
        locate: for messages.

    Raises:
        DataError: a row is empty, lists differ in length, or the values are no numbers.
    """
    _refuse_nulls(column, start, locate)
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return np.array(column.to_numpy_ndarray())
    if pa.types.is_dictionary(kind):
        return read_numbers(column.dictionary_decode(), start, locate)
    if pa.types.is_fixed_size_list(kind):
        return _read_lists(column, kind.list_size, start, locate)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = column.value_lengths().to_numpy()
        if (lengths != lengths[:1]).any():
            row = int(np.argmax(lengths != lengths[0]))
            message = f"{locate(start + row)} has {lengths[row]} elements, {locate(start)} {lengths[0]}"
            raise DataError(message, "pad the lists to one length, or use batches of 1")
        return _read_lists(column, int(lengths[0]) if len(lengths) else 0, start, locate)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return np.array(column.to_numpy(zero_copy_only=False))
    raise DataError(f"{locate(start)} has the type {kind}", "store numbers, lists of numbers, or encoded images")


def read_column(column: pa.Array, start: int, locate: Locate) -> Array:
    """Texts or numbers, ``[n]``.

    Raises:
        DataError: a row is empty, or the values are neither.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_column(column.dictionary_decode(), start, locate)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _refuse_nulls(column, start, locate)
        return np.array(column.to_pylist(), dtype=np.str_)
    return read_numbers(column, start, locate)


def _read_lists(column: pa.Array, length: int, start: int, locate: Locate) -> Array:
    inner = read_numbers(column.flatten(), 0, lambda element: locate(start + element // max(length, 1)))
    return inner.reshape(len(column), length, *inner.shape[1:])


def _refuse_nulls(column: pa.Array, start: int, locate: Locate) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"{locate(start + row)} is empty (null)", "fill or remove the row")
