"""The request of a study, kept with its measurements, so that a later command finds the model and the data again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from assay.core.errors import StoreError
from assay.data.source import DataSource
from assay.studies.files import store_errors
from assay.studies.named_trials import find_measurements
from assay.studies.request import StudyRequest
from assay.studies.store import StudyStore

NAME = "request"


def keep_request(store: StudyStore, request: StudyRequest) -> None:
    """Store a request with its paths made absolute.

    Raises:
        StoreError: the folder cannot be written.
    """
    absolute = replace(
        request,
        model=request.model.resolve(),
        output=request.output.resolve(),
        calibration=_anchor(request.calibration),
        evaluation=_anchor(request.evaluation) or request.evaluation,
        production=_anchor(request.production),
    )
    store.write(NAME, msgspec.to_builtins(absolute, enc_hook=str))


def read_request(study: Path) -> StudyRequest:
    """The request of a finished study.

    Raises:
        StoreError: the study is not finished, is older than this, or was damaged.
    """
    path = find_measurements(study) / f"{NAME}.json"
    if not path.is_file():
        raise StoreError(f"{study} does not say where its model and data lie", "run the study again: it only adds that")
    with store_errors(path, "read"):
        content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=StudyRequest, dec_hook=_decode)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is damaged or from another version: {error}", "run the study again") from error


def _anchor(source: DataSource | None) -> DataSource | None:
    """The source with an absolute path; a function's name stays as it is."""
    if source is None or not Path(source.path).exists():
        return source
    return replace(source, path=str(Path(source.path).resolve()))


def _decode(kind: type, value: Any) -> Any:  # noqa: ANN401 - the signature that msgspec asks for
    """A path from its text."""
    return kind(value)
