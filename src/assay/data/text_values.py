"""Texts, labels and columns out of the values of a file of texts."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from assay.core.errors import DataError
from assay.core.tensor import Array
from assay.data.text_table import TextTable


def read_texts(table: TextTable, name: str) -> Sequence[str]:
    """The texts of a column.

    Raises:
        DataError: a value is no text, or an empty one, naming the item.
    """
    found: list[str] = []
    for item, value in enumerate(table.columns[name]):
        where = f"{table.path}, item {item}: column {name!r}"
        if not isinstance(value, str):
            raise DataError(f"{where} is {type(value).__name__}, no text", "give a text in every row")
        if not value.strip():
            raise DataError(f"{where} is an empty text", "remove the row")
        found.append(value)
    return found


def read_labels(table: TextTable, name: str, classes: Sequence[str]) -> Array:
    """Labels, ``[n, ...]``: numbers, lists of numbers, or names of classes by their place in ``classes``.

    Raises:
        DataError: a label is none of these, naming the item.
    """
    values = list(table.columns[name])
    if classes:
        return np.array([_find_class(table, name, item, classes) for item in range(len(values))], np.int64)
    numbers = [_read_number(value) for value in values]
    for item, number in enumerate(numbers):
        if number is None:
            message = f"{table.path}, item {item}: the label {values[item]!r} in column {name!r} is no number"
            raise DataError(message, 'name the classes in their order: preprocess.text.classes = ["...", "..."]')
    shapes = {np.shape(number) for number in numbers if number is not None}
    if len(shapes) > 1:
        raise DataError(f"{table.path}: labels in column {name!r} differ in length", "give each row as many numbers")
    return _narrow(np.array(numbers, np.float64), numbers)


def read_values(table: TextTable, name: str) -> Array:
    """A column by which items are divided, ``[n]``: numbers where all values are, else texts."""
    values = table.columns[name]
    numbers = [_read_number(value) for value in values]
    if all(number is not None and np.ndim(number) == 0 for number in numbers):
        return _narrow(np.array(numbers, np.float64), numbers)
    return np.array([str(value) for value in values], np.str_)


def _find_class(table: TextTable, name: str, item: int, classes: Sequence[str]) -> int:
    value = str(table.columns[name][item]).strip()
    if value in classes:
        return list(classes).index(value)
    nearest = get_close_matches(value, classes, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"the classes are {', '.join(classes)}"
    raise DataError(f"{table.path}, item {item}: the label {value!r} is none of preprocess.text.classes", hint)


Number = int | float | list[int | float]


def _read_number(value: object) -> Number | None:
    """A value as a number or a list of numbers, or None."""
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, int | float)]
        return parts if parts and len(parts) == len(value) else None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return None


def _narrow(array: Array, numbers: Sequence[Number | None]) -> Array:
    """Whole numbers as int64."""
    flat = [part for number in numbers for part in (number if isinstance(number, list) else [number])]
    return array.astype(np.int64) if all(isinstance(part, int) for part in flat) else array
