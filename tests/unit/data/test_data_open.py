from __future__ import annotations

from pathlib import Path

import pytest

from assay.core.errors import DataError, RequestError
from assay.core.tensor import Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import DataSource

MODEL = Signature((TensorSpec("x", "float32", ("n", 2)),), ())


@pytest.mark.parametrize("name", ["missing.npz", "missing.parquet", "missing.feather", "missing.xyz", "missing"])
def test_what_does_not_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} does not exist"):
        open_dataset(DataSource(str(tmp_path / name)), MODEL)


def test_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "data.xls"
    path.write_text("x\n1\n")
    with pytest.raises(RequestError, match=r"data\.xls is of no known kind .give \.npz, \.parquet"):
        open_dataset(DataSource(str(path)), MODEL)


def test_a_file_of_texts_asks_for_a_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text\ngood\n")
    with pytest.raises(RequestError, match=r"data\.csv holds texts, and no tokenizer is declared"):
        open_dataset(DataSource(str(path)), MODEL)
