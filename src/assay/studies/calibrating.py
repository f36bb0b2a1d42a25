"""Observing the FP32 model over the calibration items, once per study."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir

from assay.backends.backend import Backend
from assay.calibrate.observe import observe
from assay.core.calibration import Calibration, TensorStatistics
from assay.core.errors import DataError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Dataset, Session
from assay.core.target import Target
from assay.core.tensor import Array
from assay.data.subset import first
from assay.graph.expose import expose, observable_tensors
from assay.graph.save import save_model
from assay.studies.progress import Progress
from assay.studies.store import StudyStore
from assay.studies.workspace import count_cores

ACTIVATION_BYTES = 64 << 20
LARGEST_BATCH = 32
BINS = 1 << 16


def calibrate_model(
    prepared: ir.Model,
    dataset: Dataset,
    backend: Backend,
    store: StudyStore,
    fixed_batch: int | None,
    progress: Progress,
) -> Calibration:
    """Statistics of every activation, observed or read from the store.

    Args:
        prepared: the model whose activations are observed.
        dataset: calibration items.
        backend: runs the FP32 model with its activations as outputs.
        store: keeps the statistics.
        fixed_batch: items per call where the model fixes it.
        progress: is told of every item.

    Raises:
        DataError: an activation is not finite, naming it.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    stored = store.read_arrays("calibration")
    if stored is not None:
        return unpack(stored)
    dataset = dataset if fixed_batch is None else take_whole_batches(dataset, fixed_batch)
    tensors = observable_tensors(prepared)
    target = Target(runtime=backend.name, threads=count_cores())
    progress.start("calibrating", len(dataset))
    with tempfile.TemporaryDirectory(prefix=".exposed.", dir=store.measurements) as name:
        model, built = Path(name, "exposed.onnx"), Path(name, "built")
        built.mkdir()
        save_model(expose(prepared, tensors), model)
        backend.build(model, built, Plan(Precision.FP32), target)
        with backend.open(built, target) as session:
            batch = fixed_batch or fit_batch(session, dataset)
            calibration = observe(session, dataset, tensors, batch, lambda _items: progress.advance(batch))
    progress.finish()
    store.write_arrays("calibration", pack(calibration))
    return calibration


def take_whole_batches(dataset: Dataset, batch: int) -> Dataset:
    """As many items as fill whole batches of a model that fixes its batch.

    Raises:
        DataError: there are fewer items than one batch.
    """
    usable = len(dataset) // batch * batch
    if not usable:
        message = f"the model fixes its batch at {batch}, and there are {len(dataset)} calibration items"
        raise DataError(message, "give more items, or export the model with a dynamic batch axis")
    return dataset if usable == len(dataset) else first(dataset, usable)


def fit_batch(session: Session, dataset: Dataset) -> int:
    """Items per call that keep all exposed activations within a fixed memory."""
    first = next(iter(dataset.batches(1)))
    item_bytes = sum(array.nbytes for array in session.run(first.feeds).values())
    return max(1, min(LARGEST_BATCH, ACTIVATION_BYTES // max(1, item_bytes)))


def pack(calibration: Calibration) -> dict[str, Array]:
    """Statistics as arrays; of the histograms only the bins that are not empty."""
    statistics = list(calibration.tensors.values())
    filled = [np.flatnonzero(one.histogram) for one in statistics]
    none = np.zeros(0, np.int64)
    return {
        "names": np.array(list(calibration.tensors), dtype=np.str_),
        "bins": np.concatenate([none, *filled]),
        "counts": np.concatenate([none, *(s.histogram[b] for s, b in zip(statistics, filled, strict=True))]),
        "lengths": np.array([len(bins) for bins in filled], np.int64),
        "floats": np.array([(s.low, s.high, s.total, s.total_squares) for s in statistics], np.float64),
        "integers": np.array([(s.count, s.zeros, s.nonfinite) for s in statistics], np.int64),
        "data": np.array([calibration.data], dtype=np.str_),
        "items": np.array([calibration.items], np.int64),
    }


def unpack(arrays: dict[str, Array]) -> Calibration:
    """Statistics from arrays."""
    tensors: dict[str, TensorStatistics] = {}
    ends = np.cumsum(arrays["lengths"])
    for index, name in enumerate(arrays["names"]):
        part = slice(int(ends[index] - arrays["lengths"][index]), int(ends[index]))
        histogram = np.zeros(BINS, np.int64)
        histogram[arrays["bins"][part]] = arrays["counts"][part]
        low, high, total, squares = (float(value) for value in arrays["floats"][index])
        count, zeros, nonfinite = (int(value) for value in arrays["integers"][index])
        tensors[str(name)] = TensorStatistics(histogram, low, high, count, total, squares, zeros, nonfinite)
    return Calibration(tensors=tensors, data=str(arrays["data"][0]), items=int(arrays["items"][0]))
