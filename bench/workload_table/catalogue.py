"""The examples: their study files, and what ``workload.toml`` states of each."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

STATEMENT = "workload.toml"
STUDIES = "study*.toml"
FETCH = "fetch.py"
DATA_TABLES = ("calibration", "evaluation", "production")
PATH_KEYS = ("model", "prices", "device")
LAST = 1_000_000
"""The place of an example that states none."""


class Stated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model's source states of its FP32 metric.

    Attributes:
        metric: name of a metric of the study's task.
        value: in the metric's own unit; a share is a fraction.
        within: largest difference from a measured value that counts as agreement.
        source: who states it, and where.
        comparable: it was stated for these data.
        note: why it may differ.
    """

    metric: str
    value: float
    within: float
    source: str
    comparable: bool = True
    note: str = ""


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs for one study file of an example; the keys of `Statement`."""

    title: str | None = None
    place: int | None = None
    model: str | None = None
    data: str | None = None
    licence: str | None = None
    stated: Stated | None = None


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``workload.toml``.

    Attributes:
        title: the workload.
        place: where its row stands in the table.
        study: stem of a study file -> what differs for it.
    """

    title: str
    place: int
    model: str
    data: str
    licence: str
    stated: Stated | None = None
    study: dict[str, Changes] = {}


@dataclass(frozen=True, slots=True)
class Example:
    """One study file of an example.

    Attributes:
        key: its name here, such as ``imagenet`` or ``imagenet-p99``.
        study: the study file.
        statement: of the example, with what differs for this study file.
        content: hash of the study file and the statement.
        problem: why the statement cannot be read; empty where it can.
    """

    key: str
    study: Path
    statement: Statement
    content: str
    problem: str = ""

    @property
    def folder(self) -> Path:
        """Of the example."""
        return self.study.parent

    @property
    def fetch(self) -> Path | None:
        """The script that fetches the example's files, where it has one."""
        script = self.folder / FETCH
        return script if script.exists() else None


def list_examples(root: Path) -> list[Example]:
    """Every study file under ``root``, in the order of the table; those without a statement come last."""
    found = [describe_example(study) for study in sorted(root.glob(f"*/{STUDIES}"))]
    return sorted(found, key=lambda example: (example.statement.place, example.key))


def describe_example(study: Path) -> Example:
    """An example from its study file and the statement beside it."""
    path = study.parent / STATEMENT
    suffix = study.stem.removeprefix("study").strip("-_")
    key = f"{study.parent.name}-{suffix}" if suffix else study.parent.name
    try:
        statement = read_statement(path)
    except ValueError as error:
        unknown = Statement(title=key, place=LAST, model="", data="", licence="not stated")
        return Example(key, study, unknown, hashlib.sha256(study.read_bytes()).hexdigest(), str(error))
    changes = statement.study.get(study.stem)
    if changes is not None:
        given = {f.name: getattr(changes, f.name) for f in msgspec.structs.fields(Changes)}
        statement = msgspec.structs.replace(statement, **{name: v for name, v in given.items() if v is not None})
    content = hashlib.sha256(study.read_bytes() + path.read_bytes()).hexdigest()
    return Example(key, study, statement, content)


def read_statement(path: Path) -> Statement:
    """A ``workload.toml``.

    Raises:
        ValueError: it is missing or wrong, naming it.
    """
    try:
        statement = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Statement)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path.parent.name}/{path.name}: {error}") from error
    studies = {study.stem for study in path.parent.glob(STUDIES)}
    if unknown := sorted(statement.study.keys() - studies):
        raise ValueError(
            f"{path.parent.name}/{path.name}: [study.{unknown[0]}], and there is no {unknown[0]}.toml beside it"
        )
    return statement


def list_missing(study: Path) -> list[Path]:
    """Files that a study file names and that are not there; functions are not looked for."""
    keys: dict[str, Any] = tomllib.loads(study.read_text(encoding="utf-8"))
    named = [keys.get(key) for key in PATH_KEYS] + [keys.get(table, {}).get("path") for table in DATA_TABLES]
    paths = [study.parent / name for name in named if name and ":" not in name]
    return [path for path in paths if not path.exists()]


def states_price(study: Path) -> bool:
    """Whether a study file states what the machine costs."""
    keys: dict[str, Any] = tomllib.loads(study.read_text(encoding="utf-8"))
    return "prices" in keys or "price_per_hour" in keys
