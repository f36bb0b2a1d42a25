"""Reads Parquet and Arrow files: a column per model input, a row per item. Needs pyarrow.

Held in memory at a time: what the file holds in one Parquet page or one Arrow record batch, and one batch of items.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature, TensorSpec
from assay.data.batching import rebatch, stack_rows
from assay.data.columns import is_encoded, read_encoded, read_numbers
from assay.data.image import decode_image
from assay.data.reader import Reader
from assay.data.source import DataSource
from assay.data.validation import Locate, check_names

_CHUNK_BYTES = 1 << 20


class RowFile(Protocol):
    """A file of rows, opened anew by every call."""

    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        ...

    def count(self) -> int:
        """Number of rows."""
        ...

    def read(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """All rows in order, at most ``size`` at a time."""
        ...


def open_parquet(source: DataSource, signature: Signature) -> Reader:
    """Open a Parquet file.

    Raises:
        DataError: the file cannot be read, or its columns do not fit the model.
        RequestError: images are stored and no preprocessing is declared for them.
    """
    return TableReader(ParquetRows(Path(source.path)), source, signature)


def open_arrow(source: DataSource, signature: Signature) -> Reader:
    """Open an Arrow or Feather file (IPC, as a file or as a stream).

    Raises:
        DataError: the file cannot be read, or its columns do not fit the model.
        RequestError: images are stored and no preprocessing is declared for them.
    """
    return TableReader(ArrowRows(Path(source.path)), source, signature)


class ParquetRows:
    """Rows of a Parquet file, decoded page by page."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        with parquet.ParquetFile(self._path) as file:
            return file.schema_arrow

    def count(self) -> int:
        """Number of rows, from the footer."""
        with parquet.ParquetFile(self._path) as file:
            count: int = file.metadata.num_rows
            return count

    def read(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """All rows in order, at most ``size`` at a time."""
        # buffering ahead would hold a whole row group
        with parquet.ParquetFile(self._path, buffer_size=_CHUNK_BYTES, pre_buffer=False) as file:
            yield from file.iter_batches(batch_size=size, columns=columns, use_threads=False)


class ArrowRows:
    """Rows of an Arrow IPC file or stream, one record batch in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        with pa.OSFile(str(self._path)) as file:
            return self._open(file).schema

    def count(self) -> int:
        """Number of rows, counted through the file."""
        with pa.OSFile(str(self._path)) as file:
            return sum(batch.num_rows for batch in self._record_batches(file))

    def read(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """All rows in order, at most ``size`` at a time."""
        with pa.OSFile(str(self._path)) as file:
            for batch in self._record_batches(file):
                chosen = batch.select(columns)
                for low in range(0, chosen.num_rows, size):
                    yield chosen.slice(low, size)

    @staticmethod
    def _open(file: pa.NativeFile) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
        magic = b"ARROW1"
        is_file = file.read(len(magic)) == magic
        file.seek(0)
        return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)

    def _record_batches(self, file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
        reader = self._open(file)
        if isinstance(reader, pa.RecordBatchFileReader):
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)
        else:
            yield from reader


class TableReader:
    """Items of a table. Columns that are neither inputs nor the target are passed over: tables carry keys and notes.

    Raises:
        DataError: the file cannot be read, or its columns do not fit the model.
        RequestError: images are stored and no preprocessing is declared for them.
    """

    def __init__(self, rows: RowFile, source: DataSource, signature: Signature) -> None:
        self._rows = rows
        self._path = Path(source.path)
        self._source = source
        self._specs = signature.inputs
        if not self._path.is_file():
            raise DataError(f"{self._path} does not exist or is no file")
        with self._name_damage():
            schema = rows.schema()
            self._count = rows.count()
        check_names(schema.names, signature, source.target, str(self._path), extra=True)
        self._labelled = source.target in schema.names
        self._encoded = self._find_encoded(schema)
        if self._count == 0:
            raise DataError(f"{self._path} holds zero items", "give at least one row")

    @property
    def labelled(self) -> bool:
        """Whether there is a target column."""
        return self._labelled

    @property
    def encoded(self) -> str:
        """The input whose column holds encoded images, or empty."""
        return self._encoded

    def __len__(self) -> int:
        """Number of rows."""
        return self._count

    def locate(self, item: int) -> str:
        """File and row."""
        return f"{self._path}, item {item}"

    def digest(self) -> str:
        """SHA-256 over the file and the name of the target column."""
        return self._digest

    def read(self, size: int) -> Generator[Batch, None, None]:
        """All rows in order, ``size`` at a time.

        Raises:
            DataError: the file is damaged, or a row does not hold what its column promises.
        """
        yield from rebatch(self._read_batches(size), size)

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256((self._source.target if self._labelled else "").encode())
        with self._name_damage(), self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                total.update(chunk)
        return total.hexdigest()

    def _find_encoded(self, schema: pa.Schema) -> str:
        names = [spec.name for spec in self._specs if is_encoded(schema.field(spec.name).type)]
        if not names:
            return ""
        declared = self._source.preprocess
        if declared is None or (declared.input or self._specs[0].name) != names[0] or len(names) > 1:
            message = f"{self._path} holds encoded images for {', '.join(names)}, not all with preprocessing declared"
            raise RequestError(message, "declare preprocess for the one input that takes images")
        return names[0]

    def _read_batches(self, size: int) -> Iterator[Batch]:
        columns = [spec.name for spec in self._specs] + ([self._source.target] if self._labelled else [])
        start = 0
        rows = self._rows.read(columns, size)
        while True:
            with self._name_damage():
                batch = next(rows, None)
            if batch is None:
                return
            if batch.num_rows:
                yield self._convert(batch, start)
            start += batch.num_rows

    def _convert(self, batch: pa.RecordBatch, start: int) -> Batch:
        feeds = {spec.name: self._convert_input(batch.column(spec.name), spec, start) for spec in self._specs}
        targets = None
        if self._labelled:
            name = self._source.target
            targets = read_numbers(batch.column(name), start, self._locate_in(name))
        return Batch(feeds=feeds, targets=targets, start=start)

    def _convert_input(self, column: pa.Array, spec: TensorSpec, start: int) -> Array:
        locate = self._locate_in(spec.name)
        preprocess = self._source.preprocess
        if spec.name != self._encoded or preprocess is None:
            return _restore_shape(read_numbers(column, start, locate), spec)
        contents = read_encoded(column, start, locate)
        pixels: list[Array] = [
            decode_image(content, preprocess, locate(start + row)) for row, content in enumerate(contents)
        ]
        return stack_rows(spec.name, pixels, start, self.locate)

    def _locate_in(self, column: str) -> Locate:
        return lambda item: f"{self.locate(item)}: column {column!r}"

    @contextmanager
    def _name_damage(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as err:
            raise DataError(f"{self._path} cannot be read: {err}", "copy or write the file again") from err


def _restore_shape(array: Array, spec: TensorSpec) -> Array:
    """Tensors that were stored as one flat list, in the model's shape where that is fixed."""
    fixed = [axis for axis in (spec.shape or ())[1:] if isinstance(axis, int)]
    complete = spec.shape is not None and len(fixed) == len(spec.shape) - 1
    flat = array.ndim == 2 and len(fixed) > 1  # noqa: PLR2004 - items and their elements
    if complete and flat and math.prod(fixed) == array.shape[1]:
        return np.reshape(array, (len(array), *fixed))
    return array
