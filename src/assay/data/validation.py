"""The one place that holds items against the model's signature: names, element types, shapes, finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches

import numpy as np

from assay.core.errors import DataError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature, TensorSpec

Locate = Callable[[int], str]
"""Item index -> where it lies, in words."""


def check_names(
    present: Iterable[str],
    signature: Signature,
    target: str,
    where: str,
    *,
    extra: bool = False,
    columns: Collection[str] = (),
    allowed: Collection[str] = (),
) -> None:
    """Hold the names of stored arrays against the model's inputs.

    Args:
        present: names in the file.
        signature: the model's interface.
        target: name of the labels.
        where: the file, for messages.
        columns: names of the columns that divide items into slices.
        allowed: names of arrays that may be there without a use.
        extra: names that are neither inputs nor the target are welcome, unless one looks like a missing target.

    Raises:
        DataError: an input is missing, or an array has no use.
    """
    names = list(present)
    inputs = [spec.name for spec in signature.inputs]
    if target in inputs:
        message = f"{target!r} is an input of the model and the name of the labels in {where}"
        raise DataError(message, "give the labels another name and declare it as target")
    check_columns(columns, [name for name in names if name not in inputs], where)
    unused = [name for name in names if name not in inputs and name not in {target, *columns, *allowed}]
    for name in inputs:
        if name not in names:
            nearest = get_close_matches(name, unused, n=1)
            hint = f"rename {nearest[0]!r} to {name!r}" if nearest else f"store the input under the name {name!r}"
            message = f"{where} has nothing for the model's input {name!r}; it holds {_enumerate(names)}"
            raise DataError(message, hint)
    if extra:
        unused = [] if target in names else get_close_matches(target, unused, n=1)
    if unused:
        known = [*inputs, target]
        nearest = get_close_matches(unused[0], known, n=1)
        hint = f"leave it out; the names in use are {_enumerate(known)}"
        if nearest:
            hint = f"is it a typo of {nearest[0]!r}?"
        elif target not in names:
            hint += f". Are {unused[0]!r} the labels? Declare target = {unused[0]!r} under [evaluation]"
        raise DataError(f"{where} holds {_enumerate(unused)}, neither an input of the model nor the target", hint)


def list_spare_columns(shapes: Mapping[str, tuple[int, ...]], shape: tuple[int, ...], target: str) -> tuple[str, ...]:
    """Names of what can be columns, of use or not: one value per item beside the labels.

    Without labels such an array is rather a misspelt target.

    Args:
        shapes: of all arrays by name.
        shape: of a column.
        target: name of the labels.
    """
    return tuple(name for name, own in shapes.items() if own == shape) if target in shapes else ()


def check_columns(columns: Iterable[str], present: Iterable[str], where: str) -> None:
    """Refuse a column that the data do not have.

    Args:
        columns: those asked for.
        present: names of all columns there are.
        where: the file, for messages.

    Raises:
        DataError: naming the columns that there are.
    """
    names = list(present)
    for column in columns:
        if column not in names:
            nearest = get_close_matches(column, names, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "slices are made by a column of the data"
            raise DataError(f"{where} has no column {column!r}; its columns are {_enumerate(names)}", hint)


def check_column(name: str, form: tuple[tuple[int, ...], np.dtype[np.generic]], items: int, where: str) -> None:
    """Refuse a column that does not hold one number or text per item.

    Args:
        name: of the column.
        form: its shape and element type.
        items: that there are.
        where: the file or item, for messages.

    Raises:
        DataError: naming the column.
    """
    shape, dtype = form
    if shape != (items,):
        message = f"column {name!r} of {where} has the shape {list(shape)} for {items} items"
        raise DataError(message, "a column holds one number or one text per item")
    if dtype.kind not in "fiubU":
        raise DataError(f"column {name!r} of {where} has the type {dtype}", "a column holds numbers or texts")


def check_targets(targets: Array, start: int, locate: Locate) -> None:
    """Refuse labels that are no finite numbers.

    Raises:
        DataError: naming the first item.
    """
    if targets.dtype.kind not in "fiub":
        message = f"the target of {locate(start)} has the type {targets.dtype}"
        raise DataError(message, "labels are numbers, such as class indices")
    _check_finite("the target", targets, start, locate)


class ItemCheck:
    """Holds batches against a model's inputs.

    Raises:
        DataError: the model has an input that stored items cannot feed.
    """

    def __init__(self, signature: Signature) -> None:
        self._specs = {spec.name: (spec, find_dtype(spec)) for spec in signature.inputs}
        for spec in signature.inputs:
            if spec.shape is not None and not spec.shape:
                message = f"the model's input {spec.name!r} is a scalar, without an axis for items"
                raise DataError(message, "export the model with a batch axis on every input")

    def check(self, batch: Batch, locate: Locate) -> None:
        """Refuse a batch that does not fit.

        Raises:
            DataError: wrong names, element type or shape, or numbers that are not finite, naming file, input and item.
        """
        sizes: dict[str, tuple[int, str]] = {}
        locate_row = locate if batch.rows == 1 else _locate_rows(batch, locate)
        if batch.feeds.keys() != self._specs.keys():
            message = (
                f"{locate(batch.start)} holds {_enumerate(batch.feeds)}, the model takes {_enumerate(self._specs)}"
            )
            raise DataError(message, "give one array per model input under the input's name")
        for name, (spec, dtype) in self._specs.items():
            array = batch.feeds[name]
            _check_dtype(spec, dtype, array, locate(batch.start))
            _check_shape(spec, array, locate(batch.start), sizes)
            _check_finite(f"input {name!r}", array, batch.start, locate_row)
            _check_rows(spec, array, batch.start, locate_row)
        if batch.targets is not None:
            if len(batch.targets) != batch.size:
                raise DataError(f"{locate(batch.start)}: {len(batch.targets)} labels for {batch.size} items")
            check_targets(batch.targets, batch.start, locate)
        for name, values in batch.columns.items():
            check_column(name, (values.shape, values.dtype), batch.size, locate(batch.start))
            _check_finite(f"column {name!r}", values, batch.start, locate)


def _locate_rows(batch: Batch, locate: Locate) -> Locate:
    """Row of the feeds, counted from the batch's start -> where its item lies."""
    return lambda row: locate(batch.start + (row - batch.start) // batch.rows)


def find_dtype(spec: TensorSpec) -> np.dtype[np.generic]:
    """NumPy's element type of a model input.

    Raises:
        DataError: NumPy has no such number type.
    """
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiubc":
        message = f"the model's input {spec.name!r} takes {spec.dtype}, which data files cannot hold"
        raise DataError(message, "export the model with a float32 or integer input")
    return dtype


def _check_dtype(spec: TensorSpec, dtype: np.dtype[np.generic], array: Array, where: str) -> None:
    if array.dtype != dtype:
        message = f"{where}: input {spec.name!r} has the type {array.dtype}, the model takes {dtype}"
        hint = f'store it as {dtype}, or declare the conversion: preprocess.dtype = "{dtype}"'
        raise DataError(message, hint)


def _check_shape(spec: TensorSpec, array: Array, where: str, sizes: dict[str, tuple[int, str]]) -> None:
    if spec.shape is None:
        return
    item = array.shape[1:]
    wanted = spec.shape[1:]
    fits = len(item) == len(wanted) and all(
        not isinstance(axis, int) or axis == size for axis, size in zip(wanted, item, strict=True)
    )
    if not fits:
        text = "[" + ", ".join("?" if axis is None else str(axis) for axis in wanted) + "]"
        message = f"{where}: an item of input {spec.name!r} has the shape {list(item)}, the model takes {text}"
        raise DataError(message, _hint_layout(item, wanted))
    for axis, size in zip(wanted, item, strict=True):
        if not isinstance(axis, str) or axis == spec.shape[0]:
            continue
        known, owner = sizes.setdefault(axis, (size, spec.name))
        if known != size:
            message = f"{where}: axis {axis!r} has {known} elements in {owner!r} and {size} in {spec.name!r}"
            raise DataError(message, "the model gives both axes one name, so they must be equally long")


def _check_rows(spec: TensorSpec, array: Array, start: int, locate: Locate) -> None:
    """Refuse numbers that look up a row which the model's table does not have; negative ones count from its end."""
    if spec.rows is None or not array.size:
        return
    if -spec.rows <= int(array.min()) and int(array.max()) < spec.rows:
        return
    flat = array.reshape(len(array), -1).astype(np.int64)
    wrong = (flat < -spec.rows) | (flat >= spec.rows)
    row = int(np.argmax(wrong.any(axis=1)))
    message = f"{locate(start + row)}: input {spec.name!r} holds {flat[row][wrong[row]][0]}"
    hint = "check that the tokenizer, or whatever numbered them, is the one that the model was trained with"
    raise DataError(f"{message}, and the model's table has {spec.rows} rows (0 to {spec.rows - 1})", hint)


def _hint_layout(item: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> str:
    def fits(shape: tuple[int, ...]) -> bool:
        return all(not isinstance(axis, int) or axis == size for axis, size in zip(wanted, shape, strict=True))

    if len(item) == len(wanted) == 3:  # noqa: PLR2004 - height, width and channels
        if fits((item[2], *item[:2])):
            return 'declare preprocess.stored_layout = "nhwc" and preprocess.layout = "nchw"'
        if fits((*item[1:], item[0])):
            return 'declare preprocess.stored_layout = "nchw" and preprocess.layout = "nhwc"'
    return "store the items in the model's shape, with one more axis in front for the items"


def _check_finite(what: str, array: Array, start: int, locate: Locate) -> None:
    if array.dtype.kind not in "fc":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    row = int(np.argmin(finite.reshape(len(array), -1).all(axis=1)))
    values = array[row : row + 1].ravel()
    value = values[~np.isfinite(values)][0]
    raise DataError(f"{locate(start + row)}: {what} holds {value}", "remove or repair the item")


def _enumerate(names: Iterable[str]) -> str:
    quoted = [repr(name) for name in names]
    shown = ", ".join(quoted[:20]) or "nothing"
    return shown if len(quoted) <= 20 else f"{shown} and {len(quoted) - 20} more"  # noqa: PLR2004 - a readable line
