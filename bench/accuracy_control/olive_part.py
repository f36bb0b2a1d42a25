"""Olive's part: its search in an environment of its own. Its models run in ONNX Runtime: OpenVINO does not read them.

Of the formats that Olive searches, OpenVINO has no rule for the integer operators of ONNX Runtime's own (`QOperator`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime

from accuracy_control.cases import Case, holds
from accuracy_control.results import Row
from assay.core.tensor import Array, Feeds, Outputs

SCRIPT = Path(__file__).with_name("olive_search.py")


def run_olive(case: Case, folder: Path, python: Path, threads: int, limit: float) -> Row:
    """The search until its goal or the limit, and the metric of its best model in ONNX Runtime and in OpenVINO.

    Raises:
        SystemExit: the search failed.
    """
    reference = np.load(folder / "reference.npy")
    feeds = folder / "olive-feeds.npz"
    parts = {"calibration": case.calibration_feeds, "evaluation": case.evaluation_feeds}
    arrays = {
        f"{part}/{name}": np.concatenate([one[name] for one in items])
        for part, items in parts.items()
        for name in items[0]
    }
    np.savez(feeds, reference=reference.argmax(axis=1), classes=reference.shape[1], **arrays)
    (folder / "olive.onnx").unlink(missing_ok=True)
    for name in ("olive-cache", "olive-output"):
        shutil.rmtree(folder / name, ignore_errors=True)
    goal = 1 - case.tolerance
    command = [str(python), str(SCRIPT), str(case.model), str(feeds), str(folder), str(goal), str(limit), str(threads)]
    environment = {**os.environ, "PYTHONPATH": "", "OLIVE_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    feeds.unlink()
    if done.returncode:
        raise SystemExit(f"Olive's search ended with {done.returncode}")
    row: Row = json.loads((folder / "olive-result.json").read_text(encoding="utf-8"))
    trials = max(len(row["trials"]) - 1, 0)
    held = "holds" if holds(case, row["best"]) else "does not hold"
    first = next((at for at, metric in row["trials"][1:] if holds(case, metric)), None)
    row |= {"searched": row["seconds"], "seconds": row["seconds"] if first is None else first}
    ended = "" if row["finished"] and not row["remark"] else f", {row['remark'] or 'unfinished'}"
    row["said"] = f"{trials} trials{ended}; best {row['best']:.4f} in ONNX Runtime, which {held}"
    model = folder / "olive.onnx"
    if model.exists():
        row |= {"model": model.name, "metric": {"onnxruntime": score_there(case, model, reference, threads)}}
    return row


class OnnxRuntimeModel:
    """A model opened in ONNX Runtime."""

    def __init__(self, model: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Feeds) -> Outputs:
        """One call."""
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))


def score_there(case: Case, model: Path, reference: Array, threads: int) -> float:
    """The metric over all items, in ONNX Runtime."""
    opened = OnnxRuntimeModel(model, threads)
    said = [next(iter(opened.run(one).values())) for one in case.evaluation_feeds]
    return case.judge(np.concatenate(said), reference)[0]
