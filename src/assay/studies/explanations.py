"""Explanations kept with the measurements that they are of, one file for each trial.

They are no part of the record, which stays as it was decided. Numbers that are not finite are written as texts.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from assay.core.errors import StoreError
from assay.core.explanation import Explanation
from assay.studies.files import make_folder, store_errors, write_bytes
from assay.studies.named_trials import find_finished
from assay.studies.store import StudyStore

FOLDER = "explanations"
SCHEMA = 1


class _Kept(msgspec.Struct, frozen=True):
    """A file."""

    schema: int
    explanation: msgspec.Raw


def keep_explanation(store: StudyStore, explanation: Explanation) -> Path:
    """Store an explanation with the measurements of a study, in place of an earlier one of the same trial.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = make_folder(store.measurements / FOLDER) / f"{explanation.trial}.json"
    content = {"schema": SCHEMA, "explanation": _spell(msgspec.to_builtins(explanation, order="deterministic"))}
    write_bytes(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    return path


def load_explanations(study: Path) -> tuple[Explanation, ...]:
    """What is kept of a finished study, by trial; nothing where its measurements were removed.

    Raises:
        StoreError: a file is damaged or from another version.
    """
    measurements = find_finished(study)
    files = [] if measurements is None else sorted((measurements / FOLDER).glob("*.json"))
    return tuple(read_explanation(path) for path in files)


def read_explanation(path: Path) -> Explanation:
    """One file.

    Raises:
        StoreError: it is damaged or from another version.
    """
    hint = f"delete it, then run `assay explain STUDY {path.stem}`"
    with store_errors(path, "read"):
        content = path.read_bytes()
    try:
        kept = msgspec.json.decode(content, type=_Kept)
        if kept.schema != SCHEMA:
            raise StoreError(f"{path} has schema {kept.schema}; this version reads {SCHEMA}", hint)
        # Not strict, so that the texts of infinite numbers become numbers again.
        return msgspec.json.decode(kept.explanation, type=Explanation, strict=False)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is damaged or from another version: {error}", hint) from error


def _spell(value: object) -> object:
    """The same with texts for numbers that JSON has no way to write."""
    if isinstance(value, dict):
        return {key: _spell(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_spell(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
