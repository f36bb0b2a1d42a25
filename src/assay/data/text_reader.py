"""Texts of a file as token ids: the reader of ``.csv``, ``.tsv``, ``.jsonl``, ``.txt``, Parquet and Arrow texts."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature
from assay.data.batching import Item, collate, number_items
from assay.data.lengths import Lengths, list_open, usual_buckets
from assay.data.source import DataSource
from assay.data.text_options import TextOptions, TokenRole, find_roles
from assay.data.text_table import read_text_table
from assay.data.text_values import read_labels, read_texts, read_values
from assay.data.tokenizing import Tokens, load_tokenizer
from assay.data.validation import find_dtype
from assay.data.windows import divide

Rows = list[Tokens]


class TextReader:
    """Items of a file of texts, tokenized as they are read; the texts are held in memory.

    An item has the tokens of one text, ``[t]`` for each model input, or of several, ``[rows, t]``, the shorter ones
    filled up to the longest.

    Raises:
        DataError: the file or the tokenizer cannot be read, a column is missing, or a text is empty.
        RequestError: the model's inputs do not tell what they take, or no longest text is known.
    """

    def __init__(self, source: DataSource, signature: Signature) -> None:
        if source.preprocess is None or source.preprocess.text is None:
            message = f"{source.path} holds texts, and no tokenizer is declared"
            raise RequestError(message, 'declare [preprocess.text] with tokenizer = "tokenizer.json"')
        self._options: TextOptions = source.preprocess.text
        self._path = Path(source.path)
        self._roles = find_roles(self._options, signature)
        self._dtypes = {spec.name: find_dtype(spec) for spec in signature.inputs}
        self._tokenizer = load_tokenizer(self._options.tokenizer)
        self._longest = self._find_longest(signature)
        self._open = list_open(signature)
        self._apart = source.apart and self._options.rows > 1
        self._calibrates = source.apart
        texts, columns = self._options.columns, source.columns
        table = read_text_table(self._path, (*texts, *columns), (source.target,))
        if not table.count:
            raise DataError(f"{self._path} holds zero items", "give at least one text")
        self._count = table.count
        self._texts = {name: read_texts(table, name) for name in texts}
        labels = source.target in table.columns and not self._apart
        self._targets = read_labels(table, source.target, self._options.classes) if labels else None
        self._columns = {name: read_values(table, name) for name in columns}
        self._target_name = source.target if labels else ""
        self._cut: set[int] = set()

    @property
    def labelled(self) -> bool:
        """Whether there is a column of labels, or the tokens themselves are."""
        return self._targets is not None or (self._options.stride is not None and not self._calibrates)

    @property
    def encoded(self) -> str:
        """Texts are no images."""
        return ""

    def find_lengths(self, declared: Lengths | None) -> Lengths:
        """How the items become batches: as declared, else as usual.

        They are filled up to 16, 32, 64 and so on where an input masks what was filled up. Without one, only texts of
        equally many tokens share a batch, since nothing says that a model leaves what fills them up alone.
        """
        pads = {name: float(self._tokenizer.pad) for name, role in self._roles.items() if role is TokenRole.IDS}
        mask = next((name for name, role in self._roles.items() if role is TokenRole.MASK), "")
        if not self._open:
            buckets: tuple[int, ...] = (self._longest,)
        else:
            buckets = usual_buckets(self._longest) if mask else ()
        if declared is None:
            return Lengths(buckets, tuple(pads.items()), mask)
        pads |= dict(declared.pad)
        return replace(
            declared, buckets=declared.buckets or buckets, pad=tuple(pads.items()), mask=declared.mask or mask
        )

    def __len__(self) -> int:
        """Number of items."""
        return self._count * self._options.rows if self._apart else self._count

    def count_cut(self) -> int:
        """Items read so far whose text was longer than the longest allowed."""
        return len(self._cut)

    def locate(self, item: int) -> str:
        """File and item."""
        return f"{self._path}, item {item // self._options.rows if self._apart else item}"

    def tell(self, item: int) -> str:
        """The texts of an item."""
        if self._apart:
            return self._texts[self._find_column(item)][item // self._options.rows]
        return " | ".join(self._texts[name][item] for name in self._options.columns)

    def digest(self) -> str:
        """SHA-256 over the file, the tokenizer and the name of the label column."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        content = hashlib.sha256(self._path.read_bytes()).hexdigest()
        told = f"{content}\0{self._tokenizer.fingerprint}\0{self._target_name}"
        return hashlib.sha256(told.encode()).hexdigest()

    def read(self, size: int) -> Generator[Batch, None, None]:
        """All items in order, ``size`` at a time; only items of one length fit into a batch.

        Raises:
            DataError: a text has no tokens, is too long, or those of one batch differ in length.
        """
        yield from collate(map(self._encode, range(len(self))), size, self.locate)

    @property
    def seekable(self) -> bool:
        """All texts are in memory."""
        return True

    def read_at(self, items: NDArray[np.int64], size: int) -> Generator[Batch, None, None]:
        """The items at rising indices, ``size`` at a time.

        Raises:
            DataError: as for `read`.
        """
        chosen = (self._encode(item) for item in items.tolist())
        yield from number_items(collate(chosen, size, lambda place: self.locate(int(items[place]))), items)

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of all items; nothing is tokenized."""
        rows = self._options.rows if self._apart else 1
        return {name: np.repeat(values, rows) for name, values in self._columns.items()}

    def read_labels(self) -> Array | None:
        """The labels of all items; nothing is tokenized."""
        return self._targets

    def _find_column(self, item: int) -> str:
        """The column of an item that is one text of several."""
        return (self._options.column, *self._options.beside)[item % self._options.rows]

    def _find_longest(self, signature: Signature) -> int:
        """Most tokens of a text.

        Raises:
            RequestError: nothing tells it, or more is asked for than the model takes.
        """
        fixed = [spec.shape[1] for spec in signature.inputs if spec.shape is not None and len(spec.shape) > 1]
        known = [axis for axis in fixed if isinstance(axis, int)]
        asked = self._options.max_length
        if known and asked is not None and asked > min(known):
            message = f"preprocess.text.max_length is {asked}, and the model takes {min(known)} tokens"
            raise RequestError(message, f"give {min(known)} or less, or leave it out")
        if known:
            # A shorter text is cut at what was asked for, and filled up to what the model fixes.
            return min(known)
        longest = asked or self._tokenizer.longest
        if longest is None:
            message = "nothing says how many tokens the model takes"
            raise RequestError(message, "give its context: preprocess.text.max_length, such as 512")
        return longest

    def _encode(self, item: int) -> Item:
        options = self._options
        row = item // options.rows if self._apart else item
        names = (self._find_column(item),) if self._apart else (options.column, *options.beside)
        target = None if self._targets is None else self._targets[row]
        if options.stride is not None and not self._calibrates:
            rows, target = self._divide(row, options.stride)
        else:
            rows = [self._tokenize(row, name) for name in names]
        columns = {name: np.asarray(values[row]) for name, values in self._columns.items()}
        return Item(feeds=self._arrange(rows), target=target, columns=columns, rows=len(rows))

    def _divide(self, item: int, stride: int) -> tuple[Rows, Array]:
        """A text in windows, and which of its tokens each of them scores, ``[t]`` or ``[windows, t]``."""
        text = self._texts[self._options.column][item]
        tokens = self._tokenizer.encode(text)
        if not len(tokens):
            where = f"{self._path}, item {item}: column {self._options.column!r}"
            raise DataError(f"{where} has no tokens: {text[:40]!r}", "remove the row")
        found = divide(tokens, self._longest, stride)
        return found.rows, found.targets if len(found.rows) > 1 else found.targets[0]

    def _tokenize(self, item: int, column: str) -> Tokens:
        text, pair = self._texts[column][item], self._options.pair
        second = self._texts[pair][item] if pair and column == self._options.column else None
        tokens = self._tokenizer.encode(text, second)
        most = min(self._longest, self._options.max_length or self._longest)
        where = f"{self._path}, item {item}: column {column!r}"
        if not len(tokens):
            raise DataError(f"{where} has no tokens: {text[:40]!r}", "remove the row")
        if len(tokens) <= most:
            return tokens
        if not self._options.truncate:
            message = f"{where} has {len(tokens)} tokens, and the longest allowed has {most}"
            raise DataError(message, "raise preprocess.text.max_length, or declare truncate = true")
        self._cut.add(item)
        return self._tokenizer.encode(text, second, most=most)

    def _arrange(self, rows: Rows) -> dict[str, Array]:
        """What each input takes, ``[t]``, or ``[rows, t]`` where an item has several texts."""
        found: dict[str, Array] = {}
        for name, role in self._roles.items():
            parts = [_select(role, tokens) for tokens in rows]
            length = max(len(part) for part in parts)
            number = self._tokenizer.pad if role is TokenRole.IDS else 0
            filled = [np.pad(part, (0, length - len(part)), constant_values=number) for part in parts]
            array = np.stack(filled) if len(rows) > 1 else filled[0]
            found[name] = array.astype(self._dtypes[name])
        return found


def _select(role: TokenRole, tokens: Tokens) -> NDArray[np.int64]:
    if role is TokenRole.IDS:
        return tokens.ids
    if role is TokenRole.TYPES:
        return tokens.types
    return np.ones(len(tokens), np.int64) if role is TokenRole.MASK else np.arange(len(tokens))
