"""Reads Parquet and Arrow files: a column per model input, a row per item. Needs pyarrow.

Held in memory at a time: what the file holds in one Parquet page or one Arrow record batch, and one batch of items.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature, TensorSpec
from assay.data.batching import join_labels, rebatch, stack_rows
from assay.data.columns import is_encoded, read_column, read_encoded, read_numbers
from assay.data.image import decode_image
from assay.data.reader import Reader
from assay.data.rows import ArrowRows, ParquetRows, RowFile
from assay.data.source import DataSource
from assay.data.validation import Locate, check_names

_CHUNK_BYTES = 1 << 20
_CHUNK_ROWS = 1 << 14


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
        check_names(schema.names, signature, source.target, str(self._path), extra=True, columns=source.columns)
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
        yield from rebatch(self._convert_all(self._rows.read(self._names, size), self.locate), size)

    @property
    def seekable(self) -> bool:
        """Row groups and record batches without a wanted row are passed over, and no other row is decoded."""
        return True

    def read_at(self, items: NDArray[np.int64], size: int) -> Generator[Batch, None, None]:
        """The rows at rising indices, ``size`` at a time.

        Raises:
            DataError: as for `read`.
        """
        rows = self._rows.read_at(self._names, size, items)
        yield from rebatch(self._convert_all(rows, lambda place: self.locate(int(items[place]))), size)

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of all rows; no others are read.

        Raises:
            DataError: the file is damaged, or a row is empty.
        """
        names = list(self._source.columns)
        parts: dict[str, list[Array]] = {name: [] for name in names}
        start = 0
        with self._name_damage():
            for batch in self._rows.read(names, _CHUNK_ROWS) if names else ():
                for name in names:
                    parts[name].append(self._read_column(batch, name, start, self.locate))
                start += batch.num_rows
        return {name: np.concatenate(part) for name, part in parts.items()}

    def read_labels(self) -> Array | None:
        """The target of all rows; no other column is read.

        Raises:
            DataError: the file is damaged, a row is empty, or the values are no numbers.
        """
        if not self._labelled:
            return None
        parts: list[Array] = []
        limit, start = self._source.limit, 0
        with self._name_damage():
            for batch in self._rows.read([self._source.target], _CHUNK_ROWS):
                wanted = batch.slice(0, self._count - start if limit is None else max(0, limit - start))
                parts.append(self._read_targets(wanted, start, self.locate))
                start += batch.num_rows
        return join_labels(parts)

    def _read_targets(self, batch: pa.RecordBatch, start: int, locate: Locate) -> Array:
        name = self._source.target
        return read_numbers(batch.column(name), start, lambda item: f"{locate(item)}: column {name!r}")

    @staticmethod
    def _read_column(batch: pa.RecordBatch, name: str, start: int, locate: Locate) -> Array:
        return read_column(batch.column(name), start, lambda item: f"{locate(item)}: column {name!r}")

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

    @property
    def _names(self) -> list[str]:
        """All columns to read, each once."""
        labels = [self._source.target] if self._labelled else []
        return list(dict.fromkeys([*(spec.name for spec in self._specs), *labels, *self._source.columns]))

    def _convert_all(self, rows: Iterator[pa.RecordBatch], locate: Locate) -> Iterator[Batch]:
        start = 0
        while True:
            with self._name_damage():
                batch = next(rows, None)
            if batch is None:
                return
            if batch.num_rows:
                yield self._convert(batch, start, locate)
            start += batch.num_rows

    def _convert(self, batch: pa.RecordBatch, start: int, locate: Locate) -> Batch:
        def locate_in(name: str) -> Locate:
            return lambda item: f"{locate(item)}: column {name!r}"

        feeds = {
            spec.name: self._convert_input(batch.column(spec.name), spec, start, (locate, locate_in(spec.name)))
            for spec in self._specs
        }
        targets = self._read_targets(batch, start, locate) if self._labelled else None
        columns = {name: self._read_column(batch, name, start, locate) for name in self._source.columns}
        return Batch(feeds=feeds, targets=targets, start=start, columns=columns)

    def _convert_input(self, column: pa.Array, spec: TensorSpec, start: int, places: tuple[Locate, Locate]) -> Array:
        locate, locate_in = places
        preprocess = self._source.preprocess
        if spec.name != self._encoded or preprocess is None:
            return _restore_shape(read_numbers(column, start, locate_in), spec)
        contents = read_encoded(column, start, locate_in)
        pixels: list[Array] = [
            decode_image(content, preprocess, locate_in(start + row)) for row, content in enumerate(contents)
        ]
        return stack_rows(spec.name, pixels, start, locate)

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
