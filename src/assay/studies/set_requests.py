"""From the options of ``assay calibration`` and a study file to checked requests."""

from __future__ import annotations

from pathlib import Path

from assay.backends.table import list_backends
from assay.core.errors import RequestError
from assay.data.calibration_set import SelectionMethod
from assay.data.source import DataSource
from assay.studies.compose import choose_names, compose_source, require
from assay.studies.config import DataSection, StudyFile, anchor, override, read_study_file
from assay.studies.request import DEFAULT_RUNTIMES
from assay.studies.set_choice import SetRequest
from assay.studies.set_fitness import CheckRequest

AUTO = "auto"


def read_keys(study: Path | None, model: Path | None, key: str, data: str | None) -> StudyFile:
    """Keys of a study file, if one is given, under the paths that options give.

    Args:
        study: the study file.
        model: takes the place of the file's model.
        key: the data table that ``data`` belongs to.
        data: takes the place of that table's path.

    Raises:
        RequestError: the study file is wrong, naming the key.
    """
    file = StudyFile() if study is None else anchor(read_study_file(study), study.parent)
    section = {} if data is None else {key: DataSection(path=data)}
    return override(file, StudyFile(model=None if model is None else str(model), **section))  # type: ignore[arg-type] # the key is a table's


def compose_set_request(  # noqa: PLR0913 - one argument per option
    *,
    data: str | None,
    model: Path | None,
    output: Path,
    items: str | None,
    select: str | None,
    seed: int,
    licence: str,
    note: str,
    study: Path | None,
    created: str,
) -> SetRequest:
    """A set to make.

    Raises:
        RequestError: an option or a key of the study file is missing or wrong.
    """
    keys = read_keys(study, model, "calibration", data)
    declared = keys.calibration.items if keys.calibration else None
    return SetRequest(
        model=find_model(keys),
        source=find_source(keys, "calibration", "give DATA, or --study with [calibration] path"),
        output=output,
        items=parse_items(items, declared),
        method=SelectionMethod(select or SelectionMethod.RANDOM),
        seed=seed,
        licence=licence,
        note=note,
        created=created,
        runtimes=find_runtimes(keys),
    )


def find_model(keys: StudyFile) -> Path:
    """The model's path.

    Raises:
        RequestError: none is named.
    """
    return Path(require(keys.model, "model", "--model, or --study with model"))


def find_source(keys: StudyFile, key: str, hint: str) -> DataSource:
    """A data table as a source.

    Raises:
        RequestError: none is named.
    """
    source = compose_source(key, getattr(keys, key), keys.preprocess)
    if source is None:
        raise RequestError("no data is named", hint)
    return source


def find_runtimes(keys: StudyFile) -> tuple[str, ...]:
    """Runtimes by preference.

    Raises:
        RequestError: a name is unknown.
    """
    return choose_names("runtime", keys.runtimes, list_backends()) or DEFAULT_RUNTIMES


def parse_items(text: str | None, declared: int | None) -> int | None:
    """How many items are wanted; None for as many as the data need.

    Args:
        text: of the option: a number or ``auto``.
        declared: in the study file.

    Raises:
        RequestError: it is neither.
    """
    if text is None:
        return declared
    if text == AUTO:
        return None
    if not text.isdigit():
        raise RequestError(f"--items {text!r} is no number", f"give a number of items, or {AUTO}")
    return int(text)


def compose_check_request(
    *,
    folder: Path,
    against: str | None,
    model: Path | None,
    sample: int,
    prepare: bool,
    study: Path | None,
) -> CheckRequest:
    """A set to judge.

    Raises:
        RequestError: an option or a key of the study file is missing or wrong.
    """
    file = read_keys(study, model, "production", against)
    key = "evaluation" if file.production is None else "production"
    return CheckRequest(
        folder=folder,
        against=find_source(file, key, "give --against, or --study with [production] or [evaluation]"),
        model=find_model(file),
        sample=sample,
        prepare=prepare,
        runtimes=find_runtimes(file),
    )
