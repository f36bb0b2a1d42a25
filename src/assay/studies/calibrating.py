"""Observing the FP32 model over the calibration items, once per study."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from assay.backends.backend import Backend
from assay.calibrate.observe import observe
from assay.core.calibration import Calibration, TensorStatistics
from assay.core.session import Dataset
from assay.core.tensor import Array
from assay.graph.expose import observable_tensors
from assay.studies.exposing import fit_batch, open_exposed, take_whole_batches
from assay.studies.progress import Progress
from assay.studies.store import StudyStore

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
    progress.start("calibrating", len(dataset))
    with open_exposed(prepared, tensors, backend, store.measurements) as session:
        batch = fixed_batch or fit_batch(session, dataset)
        calibration = observe(session, dataset, tensors, batch, lambda _items: progress.advance(batch))
    progress.finish()
    store.write_arrays("calibration", pack(calibration))
    return calibration


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
