"""Columns of files of texts: CSV, TSV, JSON lines, plain lines, Parquet and Arrow."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from assay.core.errors import DataError

LINES_COLUMN = "text"
"""The only column of a file of plain lines."""
TABLES = (".parquet", ".arrow", ".feather")
SEPARATORS: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
PLAIN = (".txt",)
TEXT_SUFFIXES = (*SEPARATORS, *JSON_LINES, *PLAIN)


@dataclass(frozen=True, slots=True)
class TextTable:
    """Values of some columns of a file, row by row.

    Attributes:
        names: of all columns of the file.
        columns: name -> value of every row, as stored: texts where the format has nothing else.
        count: rows.
    """

    path: Path
    names: tuple[str, ...]
    columns: Mapping[str, Sequence[object]]
    count: int


def read_text_table(path: Path, wanted: Sequence[str], optional: Sequence[str] = ()) -> TextTable:
    """Read some columns of a file of texts.

    Args:
        path: of the file; its suffix tells the format.
        wanted: columns that must be there.
        optional: columns that are read where they are there.

    Raises:
        DataError: the file cannot be read, a row is damaged, or a column is missing.
    """
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _read_table(path, wanted, optional)
    try:
        if suffix in SEPARATORS:
            names, rows = _read_separated(path, SEPARATORS[suffix])
        elif suffix in JSON_LINES:
            names, rows = _read_json(path)
        else:
            with path.open(encoding="utf-8-sig") as file:
                names, rows = (LINES_COLUMN,), [(line.rstrip("\r\n"),) for line in file]
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise DataError(f"{path} is not UTF-8 text", "save it as UTF-8") from err
    check_present(path, names, wanted)
    kept = [name for name in names if name in {*wanted, *optional}]
    columns = {name: [row[names.index(name)] for row in rows] for name in kept}
    return TextTable(path, names, columns, len(rows))


def check_present(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a file without a wanted column.

    Raises:
        DataError: naming the column, and the nearest one that is there.
    """
    for column in wanted:
        if column not in names:
            nearest = get_close_matches(column, names, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "name it: preprocess.text.column, target"
            raise DataError(f"{path} has no column {column!r}; its columns are {', '.join(map(repr, names))}", hint)


def _read_separated(path: Path, separator: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 30))  # a document can be longer than the usual 128 KiB
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        rows: list[tuple[object, ...]] = []
        try:
            names = tuple(next(reader, ()))
            for row in reader:
                if len(row) != len(names):
                    message = (
                        f"{path}, line {reader.line_num}: {len(row)} fields, and the first line names {len(names)}"
                    )
                    raise DataError(message, "put texts that hold separators or line ends in double quotes")
                rows.append(tuple(row))
        except csv.Error as err:
            raise DataError(f"{path}, line {reader.line_num}: {err}", "write the file anew, with quotes") from err
    if not names:
        raise DataError(f"{path} is empty", "its first line names the columns, such as text,target")
    return names, rows


def _read_json(path: Path) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    names: tuple[str, ...] = ()
    rows: list[tuple[object, ...]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as err:
                raise DataError(f"{path}, line {number}: no JSON: {err}", "give one JSON object a line") from err
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number} is no JSON object", 'write {"text": "...", "target": 1}')
            names = names or tuple(row)
            missing = [name for name in names if name not in row]
            if missing:
                raise DataError(f"{path}, line {number} has no {missing[0]!r}", "give every line the same keys")
            rows.append(tuple(row[name] for name in names))
    return names, rows


def _read_table(path: Path, wanted: Sequence[str], optional: Sequence[str]) -> TextTable:
    if not path.is_file():
        raise DataError(f"{path} does not exist or is no file")
    rows = import_module("assay.data.rows")
    damage = import_module("pyarrow").ArrowException
    file = rows.ParquetRows(path) if path.suffix.lower() == ".parquet" else rows.ArrowRows(path)
    try:
        names = tuple(file.schema().names)
        check_present(path, names, wanted)
        kept = [name for name in names if name in {*wanted, *optional}]
        batches = list(file.read(kept, 1 << 14))
    except (damage, OSError) as err:
        raise DataError(f"{path} cannot be read: {err}", "copy or write the file again") from err
    columns = {name: list(_chain(batch.column(name).to_pylist() for batch in batches)) for name in kept}
    return TextTable(path, names, columns, sum(batch.num_rows for batch in batches))


def _chain(parts: Iterator[list[object]]) -> Iterator[object]:
    for part in parts:
        yield from part
