"""A stored calibration set: what it says of itself, the proof that it is as it was written, and its reader.

A set is a folder that never changes: ``set.json`` (the description), ``items.npz`` (model inputs, and labels where the
source had them) and ``SHA256SUMS`` over both. ``statistics/`` beside them may grow; it is no part of the content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import msgspec

from assay.core.convergence import Convergence
from assay.core.errors import DataError, RequestError
from assay.core.tensor import Signature
from assay.data.lengths import Lengths, list_open
from assay.data.npz import NpzReader
from assay.data.source import DataSource, Preprocess

SET_FORMAT = 1
SET_FILE = "set.json"
ITEMS_FILE = "items.npz"
SUMS_FILE = "SHA256SUMS"
STATISTICS_FOLDER = "statistics"
_CHUNK_BYTES = 1 << 20
_MAKE_ANOTHER = "copy the set again, or make another one with `assay calibration create`"


class SelectionMethod(StrEnum):
    """How items are chosen from a pool."""

    FIRST = "first"
    RANDOM = "random"
    SPREAD = "spread"


class StoredArray(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array of the items: its name, NumPy element type, and the shape of one item."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the items were chosen.

    Attributes:
        pool: items that were there to choose from.
        asked: at most so many were wanted; None for as many as the data need.
        seed: of the random choice; None where nothing was random.
        convergence: how the ranges settled; None where the number of items was given.
    """

    method: SelectionMethod
    pool: int
    asked: int | None
    seed: int | None
    convergence: Convergence | None = None


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the items of a set come from.

    Attributes:
        path: as it was given.
        kind: of the source, such as ``npz``.
        fingerprint: content hash of the whole source, prepared.
        preprocess: how its items became model inputs; None where they were stored so.
    """

    path: str
    kind: str
    fingerprint: str
    selection: Selection
    preprocess: Preprocess | None


class SetDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a set says of itself.

    Attributes:
        format: version of this description.
        address: SHA-256 over the items in their order: names, types, shapes, values and labels.
        target: the array of labels, or None where there are none.
        origin: what the items were chosen from; None for a set merged from others.
        parts: the sets that this one was made of.
        created: ISO 8601, UTC.
        versions: of the tools that wrote it.
    """

    format: int
    address: str
    items: int
    inputs: tuple[StoredArray, ...]
    target: StoredArray | None
    origin: Origin | None
    parts: tuple[Part, ...]
    licence: str
    note: str
    created: str
    versions: Mapping[str, str]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set that another one was made of, and how many of its items that one kept."""

    kept: int
    description: SetDescription


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A set whose files are as they were written."""

    folder: Path
    description: SetDescription

    @property
    def items_path(self) -> Path:
        """The file of the items."""
        return self.folder / ITEMS_FILE

    @property
    def statistics_folder(self) -> Path:
        """Where statistics of models over this set lie, if any do."""
        return self.folder / STATISTICS_FOLDER


class _Version(msgspec.Struct, frozen=True):
    format: int


def is_set(path: Path) -> bool:
    """Whether a path is the folder of a calibration set, whole or damaged."""
    try:
        return (path / SET_FILE).is_file() or ((path / SUMS_FILE).is_file() and (path / ITEMS_FILE).is_file())
    except PermissionError:
        # whoever reads the folder next says so
        return False


def open_set(folder: Path) -> StoredSet:
    """Open a set and prove that its files are as they were written; reads every byte of them once.

    Raises:
        DataError: there is no set, it is from a newer version, or a file of it is missing or was changed.
    """
    if not folder.exists():
        raise DataError(f"{folder} does not exist", "name the folder of a calibration set")
    if not is_set(folder):
        message = f"{folder} is no calibration set: it holds no {SET_FILE}"
        raise DataError(message, "`assay calibration create` makes one")
    sums = _read_sums(folder / SUMS_FILE)
    for name in (SET_FILE, ITEMS_FILE):
        if hash_stored(folder / name) != sums[name]:
            message = f"{folder / name} was changed: it does not have the hash that {folder / SUMS_FILE} holds"
            raise DataError(message, _MAKE_ANOTHER)
    return StoredSet(folder, _read_description(folder / SET_FILE))


def hash_stored(path: Path) -> str:
    """SHA-256 of a file of a set, hexadecimal.

    Raises:
        DataError: it is missing or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}", _MAKE_ANOTHER) from err
    return digest.hexdigest()


def encode_description(description: SetDescription) -> bytes:
    """The description as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(description, order="deterministic"), indent=1) + b"\n"


def encode_sums(folder: Path) -> bytes:
    """Hashes of the set's files in the form that ``sha256sum --check`` reads."""
    return "".join(f"{hash_stored(folder / name)}  {name}\n" for name in (SET_FILE, ITEMS_FILE)).encode()


def list_origins(description: SetDescription) -> Iterator[Origin]:
    """Where the items come from first of all, through all parts."""
    for part in description.parts:
        yield from list_origins(part.description)
    if description.origin is not None and not description.parts:
        yield description.origin


def open_stored_set(source: DataSource, signature: Signature) -> NpzReader:
    """A reader of the items of a set, model-ready: what the source declares is held against what the set records.

    Raises:
        DataError: the set is damaged or does not fit the model.
        RequestError: the source declares another preprocessing than the set was made with.
    """
    stored = open_set(Path(source.path))
    for origin in list_origins(stored.description):
        hold_preprocess(source.preprocess, origin.preprocess, stored)
    target = stored.description.target
    ready = replace(source, path=str(stored.items_path), preprocess=None, target=target.name if target else "target")
    rules = [origin.preprocess.lengths for origin in list_origins(stored.description) if origin.preprocess is not None]
    rule = next((rule for rule in rules if rule is not None), None)
    return StoredReader(ready, signature, stored.description.address, rule)


class StoredReader(NpzReader):
    """Items of a set; their content hash is the set's address.

    Args:
        source: of the file of the items.
        signature: the model's interface.
        address: of the set.
        rule: by which items differed in length before they were filled up to one, if they did.
    """

    def __init__(self, source: DataSource, signature: Signature, address: str, rule: Lengths | None = None) -> None:
        super().__init__(source, signature)
        self._address = address
        self._rule = rule if rule is not None and list_open(signature) else None

    def find_lengths(self, declared: Lengths | None) -> Lengths | None:
        """The rule that the set records, where the model takes items of different lengths."""
        del declared  # what is declared was held against what the set records
        return self._rule

    def digest(self) -> str:
        """The set's content address, proven when it was opened."""
        return self._address


def hold_preprocess(declared: Preprocess | None, recorded: Preprocess | None, stored: StoredSet) -> None:
    """Refuse a declared preprocessing that contradicts what the items of a set went through.

    The items are model-ready, so nothing is applied to them; what is declared for them can only be the same. Keys that
    say how a source lies on the disk do not contradict: ``stored_layout``, and those of encoded images where one of
    the two sources holds arrays.

    Raises:
        RequestError: they differ, naming the keys.
    """
    if declared is None:
        return
    inputs = stored.description.inputs
    ours = _settle(declared, inputs)
    theirs = _settle(recorded or Preprocess(layout=declared.layout, input=declared.input), inputs)
    keys = set(ours)
    if recorded is None or not (declared.pictorial and recorded.pictorial):
        keys -= {"resize", "resample", "crop", "channels", "background"}
    wrong = sorted(key for key in keys if ours[key] != theirs[key])
    if wrong:
        told = ", ".join(f"{key} = {_word(ours[key])} against {_word(theirs[key])}" for key in wrong)
        message = f"the declared preprocess contradicts the one that {stored.folder} was made with: {told}"
        hint = "a set is model-ready: declare none for it, such as by [evaluation.preprocess] in place of [preprocess]"
        raise RequestError(message, hint)


def _settle(preprocess: Preprocess, inputs: tuple[StoredArray, ...]) -> Mapping[str, object]:
    """The keys that decide what an item becomes, in one spelling for each meaning."""
    names = [array.name for array in inputs]
    name = preprocess.input or (names[0] if len(names) == 1 else "")
    dtypes = {array.name: array.dtype for array in inputs}
    return {
        "input": name,
        "resize": preprocess.resize,
        "resample": preprocess.resample if preprocess.resize is not None else None,
        "crop": (preprocess.crop, preprocess.crop) if isinstance(preprocess.crop, int) else preprocess.crop,
        "channels": preprocess.channels or "rgb",
        "background": preprocess.background,
        "layout": preprocess.layout,
        "scale": float(preprocess.scale),
        "mean": _spread(preprocess.mean, 0.0),
        "std": _spread(preprocess.std, 1.0),
        "dtype": preprocess.dtype or dtypes.get(name, ""),
    }


def _spread(numbers: tuple[float, ...], default: float) -> tuple[float, ...]:
    """Numbers per channel; one number where all channels have the same."""
    distinct = set(numbers) or {default}
    return tuple(distinct) if len(distinct) == 1 else tuple(float(number) for number in numbers)


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(f'{number:g}' for number in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value) if value not in (None, "") else "nothing"


def _read_sums(path: Path) -> Mapping[str, str]:
    try:
        lines = path.read_bytes().decode("ascii").split("\n")
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}", _MAKE_ANOTHER) from err
    except UnicodeDecodeError as err:
        raise DataError(f"{path} was changed: it is no list of hashes", _MAKE_ANOTHER) from err
    sums = {name: content for content, _, name in (line.partition("  ") for line in lines)}
    if [line[64:] for line in lines] != [f"  {SET_FILE}", f"  {ITEMS_FILE}", ""]:
        raise DataError(f"{path} was changed: it does not list {SET_FILE} and {ITEMS_FILE}", _MAKE_ANOTHER)
    return sums


def _read_description(path: Path) -> SetDescription:
    content = path.read_bytes()
    try:
        version = msgspec.json.decode(content, type=_Version)
        if version.format != SET_FORMAT:
            message = f"{path} has format {version.format}; this version reads {SET_FORMAT}"
            raise DataError(message, "install the version of assay that wrote the set")
        return msgspec.json.decode(content, type=SetDescription)
    except msgspec.DecodeError as err:
        raise DataError(f"{path} is not the description of a set: {err}", _MAKE_ANOTHER) from err
