"""Items that a function of the user yields, one by one.

``module:function`` is called without arguments, once per pass, and gives an iterable of mappings: every model input by
name, without the item axis, and optionally the label under the target's name, and columns: one number or text each,
by which items are divided into slices. Every pass must give the same items.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature
from assay.data.batching import Item, collate, gather_columns, join_labels, pick_items, rebatch
from assay.data.source import DataSource
from assay.data.validation import check_names, list_spare_columns

_AT_ONCE = 256
"""Items per batch where only their columns are wanted."""


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a pass through all items tells: their number, their SHA-256, and their labels ``[n, ...]``."""

    count: int
    digest: str
    labels: Array | None


class FunctionReader:
    """Items of ``module:function``. The first question for their number or hash runs through all of them.

    Raises:
        RequestError: the module cannot be imported or has no such function.
    """

    def __init__(self, source: DataSource, signature: Signature) -> None:
        self._name = source.path
        self._signature = signature
        self._target = source.target
        self._columns = source.columns
        self._limit = source.limit
        self._roles = {self._target, *(spec.name for spec in signature.inputs)}
        self._function = find_function(source.path, "name one that yields items")
        self._surveyed: _Survey | None = None

    @property
    def labelled(self) -> bool:
        """Whether the first item has a label."""
        return self._first_labelled

    @property
    def encoded(self) -> str:
        """Functions yield arrays, never encoded images."""
        return ""

    def __len__(self) -> int:
        """Number of items, counted in a pass of its own."""
        return self._survey().count

    def locate(self, item: int) -> str:
        """Function and item."""
        return f"{self._name}, item {item}"

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and values of all items."""
        return self._survey().digest

    def read(self, size: int) -> Generator[Batch, None, None]:
        """All items in order, ``size`` at a time.

        Raises:
            DataError: the function failed, gave something else than items, or gave other items than before.
        """
        digest = hashlib.sha256()
        held: Batch | None = None
        for batch in collate(self._items(digest.update), size, self.locate):
            if held is not None:
                yield held
            held = batch
        # before the last batch, because nobody asks for one more after it
        if self._surveyed is not None and self._surveyed.digest != digest.hexdigest():
            message = f"{self._name} gave other items than the first time"
            raise DataError(message, "yield the same items in the same order on every call: shuffle with a fixed seed")
        if held is not None:
            yield held

    @property
    def seekable(self) -> bool:
        """A function yields its items from the first one on."""
        return False

    def read_at(self, items: NDArray[np.int64], size: int) -> Generator[Batch, None, None]:
        """The items at rising indices; the function yields all up to the last of them.

        Raises:
            DataError: as for `read`.
        """
        yield from rebatch(pick_items(self.read(size), items), size)

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of all items, from a pass of its own.

        Raises:
            DataError: as for `read`.
        """
        return gather_columns(self.read(_AT_ONCE)) if self._columns else {}

    def read_labels(self) -> Array | None:
        """The labels of all items, kept by the pass that counts them; None where not every item has one."""
        return self._survey().labels

    @cached_property
    def _first_labelled(self) -> bool:
        return any(item.target is not None for item in islice(self._items(lambda _: None), 1))

    def _survey(self) -> _Survey:
        if self._surveyed is None:
            digest = hashlib.sha256()
            targets = [item.target for item in self._items(digest.update)]
            known = [target[np.newaxis] for target in targets if target is not None]
            labels = join_labels(known) if len(known) == len(targets) else None
            self._surveyed = _Survey(len(targets), digest.hexdigest(), labels)
        return self._surveyed

    def _items(self, update: Callable[[bytes], None]) -> Iterator[Item]:
        for index, given in enumerate(islice(self._call(), self._limit)):
            where = self.locate(index)
            if not isinstance(given, Mapping):
                message = f"{where} is {type(given).__name__}, not a mapping"
                raise DataError(message, "yield {input name: array, 'target': label}")
            arrays = {str(name): _convert(value, f"{where}: {name!r}") for name, value in given.items()}
            spare = list_spare_columns({name: array.shape for name, array in arrays.items()}, (), self._target)
            allowed = (*self._columns, *spare)
            check_names(arrays, self._signature, self._target, where, columns=self._columns, allowed=allowed)
            for name in sorted(self._roles & arrays.keys()):
                array = arrays[name]
                role = "" if name == self._target else name
                update(f"{role}:{array.dtype.str}:{array.shape}".encode())
                update(array.tobytes())
            yield Item(
                feeds={name: arrays[name] for name in arrays if name in self._roles and name != self._target},
                target=arrays.get(self._target),
                columns={name: arrays[name] for name in self._columns},
            )

    def _call(self) -> Iterator[object]:
        count = 0
        try:
            for item in self._function():
                yield item
                count += 1
        except Exception as err:
            message = f"{self.locate(count)}: {type(err).__name__}: {err}"
            raise DataError(message, "the function raised this") from err


def list_yielded(path: str) -> frozenset[str]:
    """Names of what the first item of ``module:function`` has; none where it yields nothing.

    Raises:
        DataError: the function failed.
        RequestError: the module cannot be imported or has no such function.
    """
    function = find_function(path, "name one that yields items")
    try:
        first = next(iter(function()), None)
    except Exception as err:
        raise DataError(f"{path}, item 0: {type(err).__name__}: {err}", "the function raised this") from err
    return frozenset(map(str, first)) if isinstance(first, Mapping) else frozenset()


def find_function(path: str, hint: str) -> Callable[[], Iterable[object]]:
    """The function that ``module:function`` names; the module lies in the working directory or is installed.

    Args:
        path: module and function.
        hint: what the function should be, where there is none.

    Raises:
        RequestError: the module cannot be imported, or has no such function.
    """
    module_name, _, name = path.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        # an installed command does not look into the working directory, where the user's module lies
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except Exception as err:
        message = f"{path}: module {module_name!r} cannot be imported: {type(err).__name__}: {err}"
        raise RequestError(message, "it must lie in the working directory or be installed") from err
    finally:
        if added:
            sys.path.remove(here)
    function = getattr(module, name, None)
    if not callable(function):
        raise RequestError(f"{path}: module {module_name!r} has no function {name!r}", hint)
    found: Callable[[], Iterable[object]] = function
    return found


def _convert(value: object, where: str) -> Array:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as err:
        raise DataError(f"{where} is no array: {err}", "yield numbers or NumPy arrays") from err
    if array.dtype.hasobject:
        raise DataError(f"{where} is {type(value).__name__}, no array of numbers", "yield numbers or NumPy arrays")
    return array
