"""The data set made of a reader: limited, prepared, checked, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature
from assay.data.arithmetic import prepare_array
from assay.data.batching import check_size, number_items, slice_batch
from assay.data.completing import Completion
from assay.data.lengths import Fitter, Lengths
from assay.data.reader import Reader
from assay.data.source import DataSource, Layout, Preprocess
from assay.data.telling import Told
from assay.data.validation import ItemCheck, Locate, find_dtype


class StreamedDataset:
    """A `Dataset` that reads its items anew on every pass.

    Args:
        reader: of the stored items.
        source: what the user declares.
        signature: the model's interface.
        lengths: of items that differ in length; they can be read in batches of 1 only.
        completion: what is added to items after they were read; the signature is then that of what is stored.

    Raises:
        DataError: the first item cannot be read or does not fit the model.
        RequestError: the preprocessing does not say which input it is for, or does not fit arrays.
    """

    def __init__(
        self,
        reader: Reader,
        source: DataSource,
        signature: Signature,
        lengths: Lengths | None = None,
        completion: Completion | None = None,
    ) -> None:
        self._reader = reader
        self._limit = source.limit
        self._completion = completion or Completion(signature)
        self._check = ItemCheck(self._completion.signature)
        self._preprocess = source.preprocess
        self._lengths = lengths
        self._fitter = None if lengths is None else Fitter(lengths, signature)
        arrays = source.preprocess is not None and source.preprocess.takes_arrays
        self._prepared = find_prepared_input(source.preprocess if arrays else None, signature)
        _refuse_unused(source, encoded=bool(reader.encoded))
        specs = {spec.name: spec for spec in signature.inputs}
        declared = source.preprocess.dtype if source.preprocess is not None else ""
        dtype = find_dtype(specs[self._prepared]) if self._prepared else None
        self._dtype = np.dtype(declared) if dtype is not None and declared else dtype

    @property
    def labelled(self) -> bool:
        """Whether batches carry targets."""
        return self._reader.labelled or (self._completion.label is not None and self._labels_itself)

    @cached_property
    def _labels_itself(self) -> bool:
        """Whether the targets are made of what is fed."""
        return self.peek().targets is not None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content, the preprocessing and the number of items; not over the path."""
        declared = None if self._preprocess is None else describe_preprocess(self._preprocess)
        told = [self._reader.digest(), declared, len(self)]
        if self._lengths is not None:
            told.append(asdict(self._lengths))
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        """Number of items."""
        stored = len(self._reader)
        return stored if self._limit is None else min(stored, self._limit)

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in order, ``size`` at a time; the last batch may be smaller.

        Raises:
            DataError: an item cannot be read or does not fit, naming the file and the item.
        """
        check_size(size)
        return self._stream(size)

    def peek(self) -> Batch:
        """The first item as a batch of one.

        Raises:
            DataError: there is none, or it cannot be read or does not fit.
        """
        for batch in islice(self._stream(1), 1):
            return batch
        raise DataError(f"{self._reader.locate(0)}: there are no items", "give at least one item")

    @property
    def seekable(self) -> bool:
        """Whether the format gives some items without those between them."""
        return self._reader.seekable

    def take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Items at strictly rising indices, ``size`` at a time, numbered anew from 0.

        Raises:
            DataError: an item cannot be read or does not fit, naming the file and the item.
        """
        check_size(size)
        return self._take(items, size)

    def read_columns(self) -> Mapping[str, Array]:
        """The declared columns of all items, each ``[n]``.

        Raises:
            DataError: they cannot be read.
        """
        return {name: values[: len(self)] for name, values in self._reader.read_columns().items()}

    def read_labels(self) -> Array | None:
        """The stored labels of all items, ``[n, ...]``; None where there are none.

        Raises:
            DataError: they cannot be read.
        """
        labels = self._reader.read_labels()
        return None if labels is None else labels[: len(self)]

    def tell(self, item: int) -> str:
        """An item as a person reads it; empty where the data have no words for it."""
        return self._reader.tell(item) if isinstance(self._reader, Told) else ""

    def _take(self, items: NDArray[np.int64], size: int) -> Iterator[Batch]:
        with closing(self._reader.read_at(items, size)) as stored:
            for batch in number_items(stored, items):
                yield self._finish(batch, lambda place: self._reader.locate(int(items[place])))

    def _stream(self, size: int) -> Iterator[Batch]:
        with closing(self._reader.read(size)) as stored:
            for batch in stored:
                whole = self._limit is None or batch.start + batch.size <= self._limit
                kept = batch if whole else slice_batch(batch, 0, (self._limit or 0) - batch.start)
                yield self._finish(kept, self._reader.locate)
                if self._limit is not None and kept.start + kept.size >= self._limit:
                    return

    def _finish(self, batch: Batch, locate: Locate) -> Batch:
        """Stored items as the model takes them, checked."""
        ready = replace(batch, feeds=self._prepare(batch, locate))
        if self._fitter is not None:
            ready = replace(ready, feeds=self._fitter.fit(ready, locate))
        ready = self._completion.complete(ready)
        self._check.check(ready, locate)
        return ready

    def _prepare(self, batch: Batch, locate: Locate) -> Mapping[str, Array]:
        name = self._prepared
        if self._preprocess is None or self._dtype is None or name not in batch.feeds:
            return batch.feeds
        stored = Layout.NHWC if self._reader.encoded == name else self._preprocess.stored_layout
        where = f"{locate(batch.start)}: input {name!r}"
        array = prepare_array(
            batch.feeds[name], self._preprocess, stored or self._preprocess.layout, self._dtype, where
        )
        return {**batch.feeds, name: array}


def describe_preprocess(preprocess: Preprocess) -> dict[str, object]:
    """The keys that decide what an item becomes; a tokenizer counts by its content, which its reader tells."""
    keys: dict[str, object] = asdict(preprocess)
    text, _ = keys.pop("text"), keys.pop("lengths")
    if isinstance(text, dict):
        keys["text"] = {name: value for name, value in text.items() if name != "tokenizer"}
    return keys


def find_prepared_input(preprocess: Preprocess | None, signature: Signature) -> str:
    """Name of the model input that the preprocessing is for; empty where none is declared.

    Raises:
        RequestError: the declared input does not exist, or none is declared and there are several.
    """
    if preprocess is None:
        return ""
    names = [spec.name for spec in signature.inputs]
    if preprocess.input in names:
        return preprocess.input
    if preprocess.input:
        nearest = get_close_matches(preprocess.input, names, n=1) or names
        message = f"preprocess.input is {preprocess.input!r}, which is no input of the model"
        raise RequestError(message, f"did you mean {nearest[0]!r}?" if nearest else "")
    if len(names) != 1:
        raise RequestError(f"the model has the inputs {names}", "say which one is prepared: preprocess.input")
    return names[0]


def _refuse_unused(source: DataSource, *, encoded: bool) -> None:
    declared = source.preprocess
    if declared is None:
        return
    if declared.pictorial and not encoded:
        message = f"{source.path} holds arrays, and resize, crop, channels and background are for encoded images"
        raise RequestError(message, "store the arrays in the model's size, or the images in a folder")
    if declared.stored_layout is not None and encoded:
        raise RequestError(f"preprocess.stored_layout is for arrays, and {source.path} holds images", "leave it out")
