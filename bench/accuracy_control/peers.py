"""NNCF's contenders: plain INT8, and the accuracy control, stopped where it takes longer than a limit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from accuracy_control.cases import Case
from accuracy_control.results import Row, write_row
from accuracy_control.running import open_model, read_for_one, say_all
from assay.core.tensor import Array, Feeds

STOPPED = 0
"""Exit status of a process that reached its limit and kept what it had."""


def choose_model_type(case: Case) -> dict[str, Any]:
    """What NNCF's documentation advises: transformers are named, all else is left to its defaults."""
    import nncf  # noqa: PLC0415 - slow to import

    return {"model_type": nncf.ModelType.TRANSFORMER} if case.transformer else {}


def run_plain(case: Case, folder: Path, threads: int) -> Row:
    """``nncf.quantize`` with its defaults: how far from the tolerance plain INT8 is."""
    import nncf  # noqa: PLC0415 - the same

    reference = np.load(folder / "reference.npy")
    items = [dict(one) for one in case.calibration_feeds]
    began = time.perf_counter()
    model = read_for_one(case.model)
    quantized = nncf.quantize(model, nncf.Dataset(items), subset_size=len(items), **choose_model_type(case))
    seconds = time.perf_counter() - began
    path = folder / "nncf-plain.xml"
    ov.save_model(quantized, str(path), compress_to_fp16=False)
    return {"seconds": seconds, "model": path.name, **score(case, path, reference, threads)}


def score(case: Case, path: Path, reference: Array, threads: int, computes: Sequence[str] = ("f32", "bf16")) -> Row:
    """The metric over all items, with what is not in integers in FP32 and in BF16."""
    said = {one: say_all(open_model(path, one, threads), case.evaluation_feeds) for one in computes}
    return {"metric": {one: case.judge(values, reference)[0] for one, values in said.items()}}


@dataclass
class Watch:
    """What the accuracy control has reached, seen by its own validation function.

    Attributes:
        trials: seconds and metric of each validation over all items.
        best: compiled model of the highest metric so far; its metric; seconds.
    """

    case: Case
    reference: Array
    began: float
    trials: list[tuple[float, float]] = field(default_factory=list)
    best: tuple[float, bytes] | None = None

    def validate(self, compiled: Any, items: Iterable[Any]) -> tuple[float, list[float]]:  # noqa: ANN401 - the vendor's
        """The metric and a value for each item, as NNCF asks for; items carry their place."""
        request = compiled.create_infer_request()
        said, places = [], []
        for place, feeds in items:
            places.append(place)
            said.append(np.array(next(iter(request.infer(feeds, share_inputs=True).values()))))
        metric, values = self.case.judge(np.concatenate(said), self.reference[places])
        if len(places) == len(self.reference):
            # The first is the float model itself, which is no result.
            if self.trials and (self.best is None or metric >= self.best[0]):
                self.best = metric, compiled.export_model().getvalue()
            self.trials.append((time.perf_counter() - self.began, metric))
        return metric, values


def run_accuracy_control(case: Case, folder: Path, threads: int, limit: float) -> Row:
    """``nncf.quantize_with_accuracy_control`` until it returns, or until the limit."""
    import nncf  # noqa: PLC0415 - the same

    reference = np.load(folder / "reference.npy")
    calibration: Sequence[Feeds] = [dict(one) for one in case.calibration_feeds]
    validation = [(place, dict(one)) for place, one in enumerate(case.evaluation_feeds)]
    watch = Watch(case, reference, time.perf_counter())
    done = threading.Event()
    threading.Thread(target=stop_late, args=(watch, folder, limit, done), daemon=True).start()
    model = nncf.quantize_with_accuracy_control(
        read_for_one(case.model),
        nncf.Dataset(calibration),
        nncf.Dataset(validation, lambda item: item[1]),
        watch.validate,
        max_drop=case.tolerance,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(calibration),
        **choose_model_type(case),
    )
    seconds = time.perf_counter() - watch.began
    done.set()
    path = folder / "nncf-accuracy-control.xml"
    ov.save_model(model, str(path), compress_to_fp16=False)
    row = describe(watch, seconds, finished=True) | {"limit": limit, "model": path.name}
    return row | score(case, path, reference, threads)


def describe(watch: Watch, seconds: float, *, finished: bool) -> Row:
    """What was reached."""
    trials = list(watch.trials)
    return {
        "seconds": seconds,
        "finished": finished,
        # After the float model and plain INT8 each trial has one more group reverted, or one taken back.
        "reverts": max(len(trials) - 2, 0),
        "best": max((metric for _, metric in trials[1:]), default=None),
        "trials": [[round(at, 2), metric] for at, metric in trials],
    }


def stop_late(watch: Watch, folder: Path, limit: float, done: threading.Event) -> None:
    """Keep what was reached at the limit and end the process: NNCF cannot be asked to stop."""
    if done.wait(limit):
        return
    row = describe(watch, time.perf_counter() - watch.began, finished=False) | {"limit": limit}
    if watch.best is not None:
        metric, blob = watch.best
        path = folder / "nncf-accuracy-control.blob"
        path.write_bytes(blob)
        row |= {"model": path.name, "metric": {"f32": metric}}
    write_row(folder, "nncf-accuracy-control", row)
    os._exit(STOPPED)
