"""Opens a data source: chooses the reader from what the path names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature
from assay.data.bucketing import BucketedDataset
from assay.data.calibration_set import is_set
from assay.data.completing import Completion, Label
from assay.data.dataset import StreamedDataset
from assay.data.derived import find_derived, read_for
from assay.data.lengths import list_fillable
from assay.data.reader import Cutting, Measured, OpenReader
from assay.data.source import DataSource, Preprocess
from assay.data.stored_names import OF_TEXTS, list_stored
from assay.data.text_table import TEXT_SUFFIXES

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class SourceKind(StrEnum):
    """Forms in which items can be given."""

    NPZ = "npz"
    PARQUET = "parquet"
    ARROW = "arrow"
    FOLDER = "image folder"
    FUNCTION = "function"
    SET = "calibration set"
    TEXT = "texts"


_SUFFIXES: Mapping[str, SourceKind] = {
    ".npz": SourceKind.NPZ,
    ".parquet": SourceKind.PARQUET,
    ".arrow": SourceKind.ARROW,
    ".feather": SourceKind.ARROW,
    **dict.fromkeys(TEXT_SUFFIXES, SourceKind.TEXT),
}
_READERS: Mapping[SourceKind, str] = {
    SourceKind.NPZ: "assay.data.npz:NpzReader",
    SourceKind.PARQUET: "assay.data.table:open_parquet",
    SourceKind.ARROW: "assay.data.table:open_arrow",
    SourceKind.FOLDER: "assay.data.folder:FolderReader",
    SourceKind.FUNCTION: "assay.data.function:FunctionReader",
    SourceKind.SET: "assay.data.calibration_set:open_stored_set",
    SourceKind.TEXT: "assay.data.text_reader:TextReader",
}


def open_dataset(source: DataSource, signature: Signature, label: Label | None = None) -> Dataset:
    """Open labelled inputs for a model.

    The first item is read and held against the signature, so that what does not fit is refused at once. Items of
    different lengths, which texts have, come in batches of one length each: see `bucketing.BucketedDataset`. Inputs
    of a language model that the data does not have are made up: see `derived.find_derived`.

    Args:
        source: what the user declares.
        signature: the model's interface.
        label: makes targets out of what is fed, for a task whose targets are that.

    Raises:
        DataError: the data cannot be read or does not fit the model.
        RequestError: the declaration is wrong, or an extra is not installed.
    """
    kind, source = settle_kind(source)
    module, _, name = _READERS[kind].partition(":")
    open_reader = cast("OpenReader", getattr(_import_reader(module, source.path), name))
    model, signature = signature, read_for(signature, list_present(kind, source.path, signature))
    reader = open_reader(source, signature)
    declared = None if source.preprocess is None else source.preprocess.lengths
    if isinstance(reader, Measured):
        declared = reader.find_lengths(declared)
    if kind is SourceKind.SET:
        # its items are model-ready, and the reader has held what is declared against what they went through
        source = replace(source, preprocess=None)
    dataset = StreamedDataset(reader, source, signature, declared, Completion(model, label))
    dataset.peek()
    if declared is None:
        return dataset
    count_cut = reader.count_cut if isinstance(reader, Cutting) else int
    return BucketedDataset(dataset, declared, list_fillable(declared, signature), count_cut)


def list_present(kind: SourceKind, path: str, signature: Signature) -> Collection[str]:
    """Names of what a source has for a model; looked for only where the model takes something that can be made up."""
    wanted = find_derived(signature, ())
    if kind is SourceKind.TEXT:
        # A tokenizer gives all that belongs to the tokens; what belongs to a cache it does not know.
        return OF_TEXTS & wanted.keys()
    return list_stored(path) if wanted else ()


def settle_kind(source: DataSource) -> tuple[SourceKind, DataSource]:
    """What a source is, and the source without what is declared for texts where it holds token ids already.

    Raises:
        DataError: nothing is there.
        RequestError: it is of no known kind, or images are declared as texts.
    """
    kind = find_kind(source.path)
    text = None if source.preprocess is None else source.preprocess.text
    if text is None or kind is SourceKind.TEXT:
        return kind, source
    if kind in (SourceKind.PARQUET, SourceKind.ARROW):
        return SourceKind.TEXT, source
    if kind is SourceKind.FOLDER:
        raise RequestError(f"{source.path} is a folder of images, and preprocess.text is declared", "name texts")
    if kind is SourceKind.SET:
        return kind, source
    rest = replace(source.preprocess or Preprocess(), text=None)
    return kind, replace(source, preprocess=None if rest == Preprocess() else rest)


def _import_reader(module: str, path: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] != "pyarrow":
            raise
        message = f"{path} needs pyarrow, which is not installed"
        raise RequestError(message, "pip install 'assay-precision[parquet]'") from err


def find_kind(path: str) -> SourceKind:
    """What a path names.

    Raises:
        DataError: nothing is there.
        RequestError: it is of no known kind.
    """
    file = Path(path)
    if file.is_dir():
        return SourceKind.SET if is_set(file) else SourceKind.FOLDER
    if file.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[file.suffix.lower()]
    if _FUNCTION.fullmatch(path):
        return SourceKind.FUNCTION
    if not file.exists():
        raise DataError(
            f"{path} does not exist", "name a file, a folder of images, a calibration set or module:function"
        )
    message = f"{path} is of no known kind"
    raise RequestError(
        message, f"give {', '.join(_SUFFIXES)}, a folder of images, a calibration set or module:function"
    )
