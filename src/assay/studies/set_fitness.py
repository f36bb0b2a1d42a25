"""Judging a calibration set by a sample of other items, under the model that it is for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from assay.core.errors import RequestError
from assay.core.fitness import Fitness
from assay.data.calibration_set import STATISTICS_FOLDER, SetDescription, is_set, list_origins, open_set
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.studies.calibration_sets import open_observation
from assay.studies.judging import draw_sample, judge_items
from assay.studies.progress import Progress
from assay.studies.request import DEFAULT_RUNTIMES
from assay.studies.set_statistics import provide_statistics


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A set to judge.

    Attributes:
        folder: of the set.
        against: items to judge it by, such as a sample of production.
        model: the ONNX file that the set is for.
        sample: so many of the other items are observed, drawn at random where there are more.
        prepare: bring the other items into the model's form the way that the set records.
    """

    folder: Path
    against: DataSource
    model: Path
    sample: int
    prepare: bool
    runtimes: tuple[str, ...] = DEFAULT_RUNTIMES

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            RequestError: naming the value.
        """
        if self.sample < 1:
            raise RequestError(f"a sample of {self.sample} items is asked for", "give 1 or more")


def check_set(request: CheckRequest, progress: Progress) -> Fitness:
    """Observe a set and the items it is judged by, and judge it.

    Statistics that a set holds are read, and those that it does not hold are kept in it.

    Raises:
        InputError: the set, the data or the model is wrong, or they do not fit each other.
        BackendError: the runtime cannot run the model.
    """
    progress.start("reading the model and the data", None)
    stored = open_set(request.folder)
    against = prepare_alike(request.against, stored.description) if request.prepare else request.against
    observation = open_observation(request.model, request.runtimes)
    signature = observation.subject.signature
    items = open_dataset(DataSource(str(request.folder)), signature)
    sample = draw_sample(open_dataset(against, signature), request.sample)
    progress.finish()
    beside = Path(against.path) / STATISTICS_FOLDER if is_set(Path(against.path)) else None
    calibration = provide_statistics(stored.statistics_folder, observation.model, items, progress)
    other = provide_statistics(beside, observation.model, sample, progress)
    return judge_items(observation.model, observation.subject.traits, calibration, other)


def prepare_alike(source: DataSource, description: SetDescription) -> DataSource:
    """A source of raw items, prepared the way that a set records.

    Raises:
        RequestError: the source has a preprocessing of its own, or the set records none or several.
    """
    recorded = {origin.preprocess for origin in list_origins(description)}
    if source.preprocess is not None:
        raise RequestError("--preprocess and a declared preprocess contradict each other", "keep one of them")
    if len(recorded) != 1 or None in recorded:
        told = "no preprocess" if recorded == {None} else "several"
        raise RequestError(f"--preprocess applies what the set records, and it records {told}", "declare it in --study")
    return replace(source, preprocess=recorded.pop())
