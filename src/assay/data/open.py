"""Opens a data source: chooses the reader from what the path names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from assay.core.errors import DataError, RequestError
from assay.core.session import Dataset
from assay.core.tensor import Signature
from assay.data.dataset import StreamedDataset
from assay.data.reader import OpenReader
from assay.data.source import DataSource

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

_READERS: Mapping[str, str] = {
    ".npz": "assay.data.npz:NpzReader",
    ".parquet": "assay.data.table:open_parquet",
    ".arrow": "assay.data.table:open_arrow",
    ".feather": "assay.data.table:open_arrow",
}


def open_dataset(source: DataSource, signature: Signature) -> Dataset:
    """Open labelled inputs for a model.

    The first item is read and held against the signature, so that what does not fit is refused at once.

    Args:
        source: what the user declares.
        signature: the model's interface.

    Raises:
        DataError: the data cannot be read or does not fit the model.
        RequestError: the declaration is wrong, or an extra is not installed.
    """
    module, _, name = _find_reader(source.path).partition(":")
    open_reader = cast("OpenReader", getattr(_import_reader(module, source.path), name))
    dataset = StreamedDataset(open_reader(source, signature), source, signature)
    dataset.peek()
    return dataset


def _import_reader(module: str, path: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] != "pyarrow":
            raise
        message = f"{path} needs pyarrow, which is not installed"
        raise RequestError(message, "pip install 'assay-precision[parquet]'") from err


def _find_reader(path: str) -> str:
    file = Path(path)
    if file.is_dir():
        return "assay.data.folder:FolderReader"
    if file.suffix.lower() in _READERS:
        return _READERS[file.suffix.lower()]
    if _FUNCTION.fullmatch(path):
        return "assay.data.function:FunctionReader"
    if not file.exists():
        raise DataError(f"{path} does not exist", "name a file, a folder of images or module:function")
    message = f"{path} is of no known kind"
    raise RequestError(message, f"give {', '.join(_READERS)}, a folder of images or module:function")
