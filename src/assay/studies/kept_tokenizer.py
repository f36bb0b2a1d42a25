"""The tokenizer of a study or a release in its own folder, so that either takes texts wherever it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from assay.data.source import Preprocess
from assay.studies.files import store_errors, write_bytes

TOKENIZER_NAME = "tokenizer.json"


def keep_tokenizer(preprocess: Preprocess | None, folder: Path) -> Preprocess | None:
    """Copy the tokenizer into a folder; the preprocessing with its name there.

    Raises:
        StoreError: the tokenizer cannot be read, or the folder cannot be written.
    """
    if preprocess is None or preprocess.text is None:
        return preprocess
    path = Path(preprocess.text.tokenizer)
    with store_errors(path, "read"):
        content = path.read_bytes()
    write_bytes(folder / TOKENIZER_NAME, content)
    return replace(preprocess, text=replace(preprocess.text, tokenizer=TOKENIZER_NAME))


def find_tokenizer(preprocess: Preprocess | None, folder: Path) -> Preprocess | None:
    """The preprocessing that a folder's record or manifest tells, with the path of the tokenizer kept there."""
    if preprocess is None or preprocess.text is None:
        return preprocess
    return replace(preprocess, text=replace(preprocess.text, tokenizer=str(folder / TOKENIZER_NAME)))
