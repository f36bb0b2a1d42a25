"""Rows of Parquet and Arrow files, all of them or some. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

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

    def read_at(self, columns: list[str], size: int, wanted: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """The rows at rising indices, at most ``size`` at a time; the parts of the file without any are passed over."""
        ...


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

    def read_at(self, columns: list[str], size: int, wanted: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """The rows at rising indices, at most ``size`` at a time; row groups without any are not read."""
        with parquet.ParquetFile(self._path, buffer_size=_CHUNK_BYTES, pre_buffer=False) as file:
            start = 0
            for group in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                chosen = _within(wanted, start, count)
                if chosen.size:
                    batches = file.iter_batches(size, row_groups=[group], columns=columns, use_threads=False)
                    yield from _pick(batches, chosen)
                start += count


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
        return self._starts[-1]

    def read(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """All rows in order, at most ``size`` at a time."""
        with pa.OSFile(str(self._path)) as file:
            for batch in self._record_batches(file):
                chosen = batch.select(columns)
                for low in range(0, chosen.num_rows, size):
                    yield chosen.slice(low, size)

    def read_at(self, columns: list[str], size: int, wanted: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """The rows at rising indices, at most ``size`` at a time; a file's record batches without any are not read."""
        with pa.OSFile(str(self._path)) as file:
            for start, batch in self._visit(file, wanted):
                chosen = _within(wanted, start, batch.num_rows)
                for low in range(0, len(chosen), size):
                    yield batch.select(columns).take(pa.array(chosen[low : low + size]))
                if start + batch.num_rows > wanted[-1]:
                    return

    def _visit(self, file: pa.NativeFile, wanted: NDArray[np.int64]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """First row and content of the record batches: of a stream all, of a file those with a wanted row."""
        reader = self._open(file)
        if not isinstance(reader, pa.RecordBatchFileReader):
            yield from zip(self._starts, reader, strict=False)
            return
        for number, (low, high) in enumerate(pairwise(self._starts)):
            if _within(wanted, low, high - low).size:
                yield low, reader.get_batch(number)

    @cached_property
    def _starts(self) -> list[int]:
        """First row of every record batch, and the number of rows."""
        with pa.OSFile(str(self._path)) as file:
            return [0, *accumulate(batch.num_rows for batch in self._record_batches(file))]

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


def _within(wanted: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """The wanted rows of a part of the file, counted from its start."""
    low, high = np.searchsorted(wanted, [start, start + count])
    return wanted[low:high] - start


def _pick(batches: Iterable[pa.RecordBatch], wanted: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        chosen = _within(wanted, start, batch.num_rows)
        if chosen.size:
            yield batch.take(pa.array(chosen))
        start += batch.num_rows
        if start > wanted[-1]:
            return
