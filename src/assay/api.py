"""The Python interface: what the command line does, for a program."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypedDict, Unpack

import msgspec

from assay.core.decision import Decision
from assay.core.errors import RequestError
from assay.core.explanation import Explanation
from assay.core.tensor import Array
from assay.data.source import Preprocess
from assay.graph.export_torch import export_module
from assay.report.card import render_card
from assay.report.table import Row, tabulate_trials
from assay.report.write import write_report
from assay.studies.compose import compose_request
from assay.studies.config import DataSection, StudyFile, explain_mistake
from assay.studies.explaining import ITEMS, explain_study
from assay.studies.explanations import load_explanations
from assay.studies.files import make_folder, write_arrays
from assay.studies.ingesting import ingest_model
from assay.studies.loaded import LoadedRelease
from assay.studies.loop import run_study
from assay.studies.manifest import Manifest
from assay.studies.progress import Progress, Silent
from assay.studies.record import StudyRecord
from assay.studies.release import make_release
from assay.studies.store import load_record
from assay.studies.text_keys import declare_preprocess

PathLike: TypeAlias = str | os.PathLike[str]
Data: TypeAlias = PathLike | Mapping[str, Array]


class Study:
    """A finished study.

    Attributes:
        folder: where everything is kept.
        record: all that was measured and decided.
    """

    def __init__(self, folder: Path, record: StudyRecord) -> None:
        self.folder = folder
        self.record = record

    @property
    def decision(self) -> Decision:
        """The chosen trial or none, its fallbacks, and the reasons."""
        return self.record.decision

    @property
    def trials(self) -> list[Row]:
        """One flat row per trial, such as ``pandas.DataFrame`` and ``polars.DataFrame`` take."""
        return tabulate_trials(self.record)

    def report(self, folder: PathLike | None = None) -> tuple[Path, ...]:
        """Write ``report.html``, ``report.md`` and ``report.json``; gives their paths.

        Raises:
            StoreError: the folder cannot be written, or a kept explanation is damaged.
        """
        explanations = load_explanations(self.folder)
        return write_report(self.record, self.folder if folder is None else Path(folder), explanations)

    def explain(self, trial: str = "", items: int = ITEMS, progress: Progress | None = None) -> Explanation:
        """Rank the groups of nodes of an INT8 trial by how much of the loss they cause, and say what may mend them.

        The explanation is kept with the study; ``report`` draws it from then on.

        Args:
            trial: id of an INT8 trial; empty for the chosen one, else the fastest.
            items: search items to measure on, at most.
            progress: is told of every step.

        Raises:
            RequestError: the study has no such trial, or none in INT8; or items is not positive.
            ModelError: the model is not the one that was studied.
            DataError: the data are not those of the study.
            BackendError: the model cannot be run.
            StoreError: another run writes to the folder, or it cannot be written.
        """
        return explain_study(self.folder, trial, items, progress or Silent())

    def release(self, folder: PathLike, trial: str | None = None) -> Manifest:
        """Write the deployable folder of the decision, or of another trial.

        Raises:
            RequestError: nothing was chosen, or the folder is not empty.
            StoreError: the folder cannot be written.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return make_release(self.folder, Path(folder), created, render_card, trial)

    def __repr__(self) -> str:
        """The decision's status and sentence."""
        return f"<Study {self.folder}: {self.decision.status}: {self.decision.sentence}>"


class StudyOptions(TypedDict, total=False):
    """Optional keys of a study, as in a study file.

    Attributes:
        minimize: ``latency``, ``memory``, ``size`` or ``cost``.
        maximize: ``throughput``.
        constraints: such as ``p99 <= 10ms``.
        confidence: one-sided confidence of every bound.
        price_per_hour: of the serving machine.
        prices: a price file, instead.
        machine: of the price file.
        runtimes: names of runtimes, in order of preference.
        precisions: number formats to try.
        ranges: range methods to try.
        repairs: what may be done to a model that INT8 damages.
        accept_unfit: build INT8 from calibration items that are judged unfit, too.
        accept_unresolvable: go on with too few items for the tolerance.
        sequential: certify only until the items tell (default), or on all of them.
        slices: what every slice is held to, such as ``class: 5pp``.
        decoder: what reads a detector's raw head, such as ``yolov8``.
        decoding: what that head holds besides, as in the table ``[decoding]`` of a study file.
        device: a device profile (TOML), whose threads and limits hold where nothing else is said.
        threshold: what counts as positive: a number, ``max-f1``, ``recall >= 0.9`` or ``precision >= 0.95``.
        tuning_items: evaluation items that thresholds are tuned on, at least.
        batch: items per call at which latency is measured.
        threads: compute threads of the deployment.
        latency_seconds: budget of the latency measurement.
        trial_seconds: what gives no answer for longer fails its trial.
        trial_memory: what takes more memory fails its trial, such as ``4GiB``.
        mixed_plans: most mixed plans that are built for an INT8 form which strains the tolerance; 0 for none.
        mixed_seconds: wall time of that search, after which no further plan is begun.
        title: heading of the report.
    """

    minimize: str
    maximize: str
    constraints: Sequence[str]
    confidence: float
    price_per_hour: float
    prices: str
    machine: str
    runtimes: Sequence[str]
    precisions: Sequence[str]
    ranges: Sequence[str]
    repairs: Sequence[str]
    accept_unfit: bool
    accept_unresolvable: bool
    sequential: bool
    slices: Sequence[str]
    decoder: str
    decoding: Mapping[str, object]
    device: str
    threshold: str | float
    tuning_items: int
    batch: int
    threads: int
    latency_seconds: float
    trial_seconds: float
    trial_memory: str
    mixed_plans: int
    mixed_seconds: float
    title: str


def study(  # noqa: PLR0913 - one argument per noun of a study
    model: object,
    *,
    task: str,
    evaluation: Data,
    tolerance: str,
    calibration: Data | None = None,
    output: PathLike | None = None,
    preprocess: Preprocess | None = None,
    example_inputs: tuple[object, ...] | Mapping[str, object] | None = None,
    progress: Progress | None = None,
    **options: Unpack[StudyOptions],
) -> Study:
    """Find the cheapest number format of a model that is good enough.

    Args:
        model: path of an ONNX file; with PyTorch (extra ``torch``) also of a ``.pt2`` file, ``module:function`` that
            gives a module and example inputs, a module, or an ``ExportedProgram``.
        task: such as ``classification``.
        evaluation: labelled items: a path, ``module:function``, or arrays by input name with ``target``.
        tolerance: such as ``top1: 0.5pp``.
        calibration: items for INT8 ranges, in the same forms.
        output: the study's folder; a new temporary one where None.
        preprocess: how stored items become model inputs.
        example_inputs: of a PyTorch module, for its export: in order, or by the name of the argument.
        progress: is told what happens.
        options: see ``StudyOptions``.

    Raises:
        InputError: the model, the data or the request is wrong.
        BackendError: the FP32 reference cannot be run.
        StoreError: the folder cannot be written.
    """
    folder = Path(tempfile.mkdtemp(prefix="assay-")) if output is None else Path(output)
    named: dict[str, object] = {
        **options,
        "model": str(find_model(model, folder, example_inputs)),
        "output": str(folder),
        "task": task,
        "tolerance": tolerance,
        "calibration": None if calibration is None else place_data(calibration, folder, "calibration"),
        "evaluation": place_data(evaluation, folder, "evaluation"),
        "preprocess": None if preprocess is None else declare_preprocess(preprocess),
    }
    listener = progress or Silent()
    return Study(folder, run_study(ingest_model(compose_request(compose_keys(named)), listener), listener))


def compose_keys(named: Mapping[str, object]) -> StudyFile:
    """The keys of a study file from arguments.

    Raises:
        RequestError: an argument is unknown or of the wrong type.
    """
    lists = {key: tuple(value) for key, value in named.items() if isinstance(value, list | tuple)}
    try:
        return msgspec.convert({**named, **lists}, StudyFile)
    except msgspec.ValidationError as error:
        raise explain_mistake("the arguments of assay.study", str(error)) from error


def open_study(folder: PathLike) -> Study:
    """A study that was run before.

    Raises:
        StoreError: no finished study is there.
    """
    return Study(Path(folder), load_record(Path(folder)))


def load(folder: PathLike) -> LoadedRelease:
    """Open a release for running: ``assay.load(folder).run({"image": array})``.

    Raises:
        StoreError: the folder is no release.
        BackendError: no artifact of the chain can be opened.
    """
    return LoadedRelease(Path(folder))


def find_model(model: object, folder: Path, example_inputs: tuple[object, ...] | Mapping[str, object] | None) -> Path:
    """The ONNX file of a path, or of a PyTorch module after its export into the study's folder."""
    if isinstance(model, str | os.PathLike):
        return Path(model)
    if not hasattr(model, "graph_signature") and not hasattr(model, "state_dict"):
        raise RequestError(
            f"the model is a {type(model).__name__}", "give a path, a PyTorch module or an ExportedProgram"
        )
    if example_inputs is None and not hasattr(model, "graph_signature"):
        raise RequestError("a PyTorch module needs example_inputs for its export", "give a tuple of tensors")
    return export_module(model, example_inputs or (), make_folder(folder) / "exported.onnx")


def place_data(data: Data, folder: Path, name: str) -> DataSection:
    """A data table for a path, or for arrays after writing them into the study's folder."""
    if isinstance(data, str | os.PathLike):
        return DataSection(path=str(data))
    path = make_folder(folder / "data") / f"{name}.npz"
    write_arrays(path, data)
    return DataSection(path=str(path))
