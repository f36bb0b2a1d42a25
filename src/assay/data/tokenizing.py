"""Texts into token ids by a ``tokenizer.json`` (the file format of the library ``tokenizers``, an extra)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>")
"""Tokens that fill texts up, in the order in which they are looked for where the file names none."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as a model takes it.

    Attributes:
        ids: ``[t] int64``.
        types: ``[t] int64``: 0 for the first text, 1 for the second one of a pair.
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.ids)


class TextTokenizer:
    """A tokenizer as its file declares it, but for the padding and the truncation that the file may ask for.

    Args:
        path: of the file, for messages.
        content: of the file.
        tokenizer: of the library.

    Attributes:
        fingerprint: SHA-256 of the file, hexadecimal.
        pad: id that fills texts up: the file's own, else that of a token known for it, else 0.
        longest: tokens at which the file truncates; None where it does not.
    """

    def __init__(self, path: Path, content: bytes, tokenizer: Tokenizer) -> None:
        self.path = path
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self._tokenizer = tokenizer
        declared, truncation = tokenizer.padding, tokenizer.truncation
        known = (tokenizer.token_to_id(name) for name in PADS)
        self.pad = int(declared["pad_id"]) if declared else next((found for found in known if found is not None), 0)
        self.longest = int(truncation["max_length"]) if truncation else None
        tokenizer.no_padding()
        tokenizer.no_truncation()

    @property
    def vocabulary(self) -> int:
        """Number of tokens, those added to the vocabulary among them."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str, pair: str | None = None, *, special: bool = True, most: int | None = None) -> Tokens:
        """Token ids of a text, or of two that belong together.

        Args:
            text: of any length.
            pair: a second text behind it.
            special: with the tokens that the tokenizer puts around texts, such as ``[CLS]``.
            most: cut to so many tokens, special ones kept; of a pair the longer text is cut.
        """
        if most is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(most)
        found = self._tokenizer.encode(text, pair, add_special_tokens=special)
        return Tokens(np.array(found.ids, np.int64), np.array(found.type_ids, np.int64))

    def decode(self, ids: Sequence[int] | NDArray[np.int64]) -> str:
        """The text of some tokens, special ones among them."""
        return str(self._tokenizer.decode([int(one) for one in ids], skip_special_tokens=False))

    def find_id(self, token: str) -> int | None:
        """Id of a token such as ``<|endoftext|>``; None where there is none."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)


def load_tokenizer(path: str | Path) -> TextTokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        DataError: the file cannot be read, or is no tokenizer.
        RequestError: the library is not installed.
    """
    try:
        vendor = import_module("tokenizers")
    except ModuleNotFoundError as err:
        message = f"{path} needs the library tokenizers, which is not installed"
        raise RequestError(message, "pip install 'assay-precision[text]'") from err
    file = Path(path)
    hint = "name the tokenizer.json that lies beside the model's weights"
    try:
        content = file.read_bytes()
        text = content.decode("utf-8")
    except OSError as err:
        raise DataError(f"the tokenizer {path} cannot be read: {err.strerror}", hint) from err
    except UnicodeDecodeError as err:
        raise DataError(f"{path} is no tokenizer: it is not UTF-8 text", hint) from err
    try:
        tokenizer = vendor.Tokenizer.from_str(text)
    except Exception as err:  # the library raises no narrower type
        raise DataError(f"{path} is no tokenizer: {err}", hint) from err
    return TextTokenizer(file, content, tokenizer)
