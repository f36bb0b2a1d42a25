"""What the user declares about texts: the tokenizer, the columns, the longest text, and what each input takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from assay.core.errors import RequestError
from assay.core.tensor import Signature, TensorSpec


class TokenRole(StrEnum):
    """What a model input takes of a text."""

    IDS = "ids"
    MASK = "mask"
    TYPES = "types"
    POSITIONS = "positions"


_USUAL: Mapping[str, TokenRole] = {
    "input_ids": TokenRole.IDS,
    "attention_mask": TokenRole.MASK,
    "token_type_ids": TokenRole.TYPES,
    "position_ids": TokenRole.POSITIONS,
}
_PARTS: Mapping[str, TokenRole] = {
    "mask": TokenRole.MASK,
    "type": TokenRole.TYPES,
    "segment": TokenRole.TYPES,
    "position": TokenRole.POSITIONS,
    "ids": TokenRole.IDS,
    "token": TokenRole.IDS,
}
"""Parts of a name that tell the role, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How texts become model inputs.

    Attributes:
        tokenizer: path of a ``tokenizer.json``.
        column: of the texts.
        pair: column of a second text behind each, encoded with it as a pair; empty for none.
        beside: columns of further texts of an item, each encoded and run on its own, in a row behind the first: the
            other sentence of a pair, the candidates for a query.
        max_length: most tokens of a text, special ones among them; None for what the model fixes, else the
            tokenizer file.
        truncate: longer texts are cut; else they are refused.
        stride: longer texts are neither, but read in windows of ``max_length`` tokens that start so many tokens apart,
            for a language model: see `windows.divide`. A text in windows is one item.
        classes: names of the classes, where labels are names: the place in this list is the class index.
        inputs: role -> model input, where the inputs' names do not tell.

    Raises:
        RequestError: a value is impossible, naming its key.
    """

    tokenizer: str
    column: str = "text"
    pair: str = ""
    beside: tuple[str, ...] = ()
    max_length: int | None = None
    truncate: bool = True
    stride: int | None = None
    classes: tuple[str, ...] = ()
    inputs: tuple[tuple[TokenRole, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not self.tokenizer:
            raise RequestError("preprocess.text.tokenizer is empty", "name the model's tokenizer.json")
        if not self.column:
            raise RequestError("preprocess.text.column is empty", "name the column that holds the texts")
        if self.max_length is not None and self.max_length < 1:
            raise RequestError(f"preprocess.text.max_length is {self.max_length}", "give tokens, 1 or more")
        if self.stride is not None:
            self._check_stride(self.stride)
        columns = self.columns
        if len(set(columns)) != len(columns):
            raise RequestError(f"preprocess.text names a column twice: {', '.join(columns)}", "name each once")
        if len(set(self.classes)) != len(self.classes):
            raise RequestError(f"preprocess.text.classes repeats a name: {', '.join(self.classes)}", "name each once")

    def _check_stride(self, stride: int) -> None:
        if self.max_length is None or not 1 <= stride <= self.max_length:
            message = f"preprocess.text.stride is {stride}, and max_length is {self.max_length or 'not given'}"
            raise RequestError(message, "give the window as max_length, and a stride from 1 to max_length")
        if len(self.columns) > 1:
            raise RequestError("preprocess.text.stride is for one text per item", "leave pair and beside out")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that hold texts."""
        return (self.column, *((self.pair,) if self.pair else ()), *self.beside)

    @property
    def rows(self) -> int:
        """Texts of an item that are run, each in a row of its own."""
        return 1 + len(self.beside)


def find_roles(options: TextOptions, signature: Signature) -> dict[str, TokenRole]:
    """Input -> what it takes of a text.

    Raises:
        RequestError: an input has no role, two have the same one, or none takes the ids.
    """
    named = {name: role for role, name in options.inputs}
    names = [spec.name for spec in signature.inputs]
    hint = "say which input takes what: preprocess.text.inputs = { ids = ..., mask = ..., types = ... }"
    for name in named:
        if name not in names:
            raise RequestError(f"preprocess.text.inputs names {name!r}; the inputs are {', '.join(names)}", hint)
    roles: dict[str, TokenRole] = {}
    for spec in signature.inputs:
        role = named.get(spec.name) or _guess_role(spec, len(names))
        if role is None:
            raise RequestError(f"nothing of a text is known to go into the model's input {spec.name!r}", hint)
        if role in roles.values():
            raise RequestError(f"two inputs of the model look like {role} of a text: {', '.join(names)}", hint)
        roles[spec.name] = role
    if TokenRole.IDS not in roles.values():
        raise RequestError(f"no input of the model takes token ids: {', '.join(names)}", hint)
    return roles


def _guess_role(spec: TensorSpec, inputs: int) -> TokenRole | None:
    name = spec.name.lower()
    if name in _USUAL:
        return _USUAL[name]
    if inputs == 1:
        return TokenRole.IDS
    return next((role for part, role in _PARTS.items() if part in name), None)
