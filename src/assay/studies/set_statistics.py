"""Statistics of models: read from a stored calibration set where it holds them, observed where it does not."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from assay.backends.backend import Backend
from assay.calibrate.observe import observe
from assay.core.calibration import Calibration
from assay.core.errors import StoreError
from assay.core.session import Dataset
from assay.graph.channels import list_channel_axes
from assay.graph.expose import observable_tensors
from assay.graph.fingerprint import hash_model
from assay.studies.cores import count_cores
from assay.studies.exposing import fit_batch, open_exposed, take_whole_batches
from assay.studies.progress import Progress
from assay.studies.statistics_files import Observer, read_statistics, write_statistics


@dataclass(frozen=True, slots=True)
class ObservedModel:
    """A model that is observed, and the runtime that runs it for that.

    Attributes:
        name: the file's name, for people.
        prepared: the model whose activations are observed.
        backend: runs it in FP32 with its activations as outputs.
        fixed_batch: items per call where the model fixes it.
    """

    name: str
    prepared: ir.Model
    backend: Backend
    fixed_batch: int | None

    def identify(self) -> Observer:
        """What this is called among the statistics of a set; hashes the model's weights."""
        versions = " ".join(f"{name} {version}" for name, version in sorted(self.backend.versions().items()))
        return Observer(self.name, hash_model(self.prepared), self.backend.name, versions)

    def fit(self, dataset: Dataset) -> Dataset:
        """The items that are observed: all, or as many as fill whole batches.

        Raises:
            DataError: there are fewer items than one batch that the model fixes.
        """
        return dataset if self.fixed_batch is None else take_whole_batches(dataset, self.fixed_batch)


def observe_model(model: ObservedModel, dataset: Dataset, progress: Progress) -> Calibration:
    """Statistics of every activation of a model over a data set.

    Args:
        model: what is observed.
        dataset: the items; what fills no whole batch of a model that fixes its batch is left out.
        progress: is told of every item.

    Raises:
        DataError: an activation is not finite, naming it; or there are fewer items than one fixed batch.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    dataset = model.fit(dataset)
    tensors = observable_tensors(model.prepared)
    progress.start("observing", len(dataset))
    with (
        tempfile.TemporaryDirectory(prefix="assay-") as scratch,
        open_exposed(model.prepared, tensors, model.backend, Path(scratch)) as session,
    ):
        batch = model.fixed_batch or fit_batch(session, dataset)
        calibration = observe(
            session,
            dataset,
            tensors,
            batch,
            lambda _items: progress.advance(batch),
            channels=list_channel_axes(model.prepared),
            threads=count_cores(),
        )
    progress.finish()
    return calibration


def provide_statistics(folder: Path | None, model: ObservedModel, dataset: Dataset, progress: Progress) -> Calibration:
    """Statistics read from a set where it holds them, else observed and kept there.

    A folder that cannot be written is no reason to fail: that is said, and the statistics are given all the same.

    Args:
        folder: of the set's statistics; None where the items are no stored set.
        model: what is observed.
        dataset: the items.
        progress: is told of every item.

    Raises:
        DataError: kept statistics are damaged, or an activation is not finite.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    dataset = model.fit(dataset)
    if folder is None:
        return observe_model(model, dataset, progress)
    observer = model.identify()
    kept = read_statistics(folder, observer, dataset.fingerprint)
    if kept is not None:
        return kept
    calibration = observe_model(model, dataset, progress)
    try:
        write_statistics(folder, observer, calibration)
    except StoreError as error:
        progress.say(f"the statistics are not kept: {error}")
    return calibration
