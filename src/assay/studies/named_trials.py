"""A trial of a finished study by name, ``STUDY_FOLDER:TRIAL_ID``, and what was stored of it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from assay.core.errors import RequestError, StoreError
from assay.core.session import Scores
from assay.core.trial import Trial
from assay.measure.tasks.thresholds import apply_thresholds
from assay.studies.files import read_arrays, store_errors
from assay.studies.record import StudyRecord
from assay.studies.score_arrays import unpack_scores
from assay.studies.store import load_record

RECORD_NAME = "study.json"


@dataclass(frozen=True, slots=True)
class NamedTrial:
    """A trial and the study that it is of.

    Attributes:
        folder: of the study.
    """

    folder: Path
    record: StudyRecord
    trial: Trial


def split_name(text: str) -> tuple[Path, str]:
    """The study's folder and the trial's id; the id is empty where only a folder is named."""
    folder, separator, name = text.rpartition(":")
    if separator and not Path(text).exists():
        return Path(folder), name
    return Path(text), ""


def is_study(folder: Path) -> bool:
    """Whether a folder holds a finished study."""
    return (folder / RECORD_NAME).is_file()


def find_trial(text: str) -> NamedTrial:
    """The trial that ``FOLDER:TRIAL`` names, or the chosen one of ``FOLDER``.

    Raises:
        StoreError: no finished study is there.
        RequestError: the study has no such trial, or chose none.
    """
    folder, name = split_name(text)
    record = load_record(folder)
    trials = {trial.id: trial for trial in record.trials}
    found = name or record.decision.chosen or record.decision.best or ""
    if not found:
        raise RequestError(f"{folder} chose no trial", f"name one as {folder}:TRIAL, out of {', '.join(trials)}")
    if found not in trials:
        near = difflib.get_close_matches(found, trials, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its trials are {', '.join(trials)}"
        raise RequestError(f"{folder} has no trial {found!r}", hint)
    return NamedTrial(folder, record, trials[found])


def read_pair(named: NamedTrial) -> tuple[Scores, Scores]:
    """Stored item scores of the study's reference and of the trial, on the items that both were scored on.

    Raises:
        StoreError: they are missing.
    """
    folder = find_measurements(named.folder)
    reference = next(trial for trial in named.record.trials if trial.reference)
    pair = [read_trial_scores(folder, trial) for trial in (reference, named.trial)]
    both = slice(0, min(len(scores) for scores in pair))
    return pair[0].select(both), pair[1].select(both)


def find_measurements(study: Path) -> Path:
    """The folder of the measurements that a study's record stands on.

    Raises:
        StoreError: it is missing.
    """
    found = find_finished(study)
    if found is None:
        raise StoreError(f"{study} lacks the measurements of its record", "run the study again")
    return found


def find_finished(study: Path) -> Path | None:
    """The same; None where it is missing.

    Raises:
        StoreError: the study has no record, or a file cannot be read.
    """
    path = study / RECORD_NAME
    with store_errors(path, "read"):
        content = path.read_bytes()
        for finished in sorted((study / "measurements").glob("*/finished.json")):
            if finished.read_bytes() == content:
                return finished.parent
    return None


def read_trial_scores(measurements: Path, trial: Trial) -> Scores:
    """Stored item scores of one trial.

    Raises:
        StoreError: they are missing.
    """
    path = measurements / "scores" / f"{trial.id}.npz"
    if not path.is_file():
        why = trial.reason or "it was not scored"
        raise StoreError(f"{trial.id} has no stored scores: {why}", "name a trial that was measured")
    scores = unpack_scores(read_arrays(path))
    thresholds = () if trial.evidence is None else trial.evidence.thresholds
    return apply_thresholds(scores, [one.value for one in thresholds]) if thresholds else scores
