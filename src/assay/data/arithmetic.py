"""The numeric half of preprocessing: layout, scale, mean, std and element type, on batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError
from assay.core.tensor import Array
from assay.data.source import Layout, Preprocess


def prepare_array(
    array: Array, preprocess: Preprocess, stored: Layout, dtype: np.dtype[np.generic], where: str
) -> Array:
    """``(x / scale - mean) / std`` of a batch in the model's layout and type.

    Computed in float32 (float64 where that is the type), in the order written, so that it equals what training
    pipelines compute.

    Args:
        array: ``[n, ...]``; channels are axis 1 of an NCHW array, the last axis of an NHWC one.
        preprocess: what is declared.
        stored: layout of ``array``.
        dtype: type to cast to.
        where: the file and item, for messages.

    Raises:
        DataError: the channels do not fit mean or std, or the cast would change values.
    """
    array = _move_channels(array, stored, preprocess.layout)
    if preprocess.arithmetic:
        array = _normalise(array, preprocess, dtype, where)
    return cast(array, dtype, where)


def cast(array: Array, dtype: np.dtype[np.generic], where: str) -> Array:
    """The array as ``dtype``, unless integers would change their value. Contiguous.

    Floats round to a smaller float type; what overflows becomes infinite and is refused with the items' check.

    Raises:
        DataError: float to integer, or an integer that does not fit.
    """
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    hint = "declare another preprocess.dtype, or convert the stored array"
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise DataError(f"{where}: {array.dtype} cannot become {dtype} without loss", hint)
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, dtype=dtype)
    if dtype.kind in "iu" and not np.array_equal(result, array):
        raise DataError(f"{where}: holds integers that {dtype} cannot", hint)
    return result


def _move_channels(array: Array, stored: Layout, wanted: Layout) -> Array:
    if stored is wanted or array.ndim < 3:  # noqa: PLR2004 - nothing to move without a channel and another axis
        return array
    return np.moveaxis(array, -1, 1) if wanted is Layout.NCHW else np.moveaxis(array, 1, -1)


def _normalise(array: Array, preprocess: Preprocess, dtype: np.dtype[np.generic], where: str) -> Array:
    wide = dtype == np.float64
    values: NDArray[np.float64] | NDArray[np.float32]
    values = np.array(array, dtype=np.float64) if wide else np.array(array, dtype=np.float32)
    if preprocess.scale != 1:
        values /= values.dtype.type(preprocess.scale)
    if preprocess.mean:
        values -= _per_channel("mean", preprocess.mean, array.shape, preprocess.layout, where).astype(values.dtype)
    if preprocess.std:
        values /= _per_channel("std", preprocess.std, array.shape, preprocess.layout, where).astype(values.dtype)
    return values


def _per_channel(
    key: str, numbers: tuple[float, ...], shape: tuple[int, ...], layout: Layout, where: str
) -> NDArray[np.float64]:
    if len(numbers) == 1:
        return np.array(numbers[0])
    axis = 1 if layout is Layout.NCHW else len(shape) - 1
    channels = shape[axis] if 1 <= axis < len(shape) else 1
    if channels != len(numbers):
        message = (
            f"{where}: preprocess.{key} has {len(numbers)} channels, an item of shape {list(shape[1:])} {channels}"
        )
        raise DataError(message, f"the layout is {layout}; give one number, or one per channel")
    aligned = [1] * len(shape)
    aligned[axis] = channels
    return np.array(numbers).reshape(aligned)
