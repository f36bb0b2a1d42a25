"""Olive's part: its search in an environment of its own, and what it found opened in OpenVINO."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from accuracy_control.cases import Case, holds
from accuracy_control.peers import score
from accuracy_control.results import Row

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
    np.savez(feeds, reference=reference.argmax(axis=1), **arrays)
    for name in ("olive-cache", "olive-output"):
        shutil.rmtree(folder / name, ignore_errors=True)
    goal = 1 - case.tolerance
    command = [str(python), str(SCRIPT), str(case.model), str(feeds), str(folder), str(goal), str(limit), str(threads)]
    environment = {**os.environ, "OLIVE_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    feeds.unlink()
    if done.returncode:
        raise SystemExit(f"Olive's search ended with {done.returncode}")
    row: Row = json.loads((folder / "olive-result.json").read_text(encoding="utf-8"))
    metric, path = row["best"]
    trials = max(len(row["trials"]) - 1, 0)
    held = "holds" if holds(case, metric) else "does not hold"
    row["said"] = (
        f"{trials} trials{'' if row['finished'] else ', unfinished'}; best {metric:.4f} in ONNX Runtime, {held}"
    )
    if path:
        model = folder / "olive.onnx"
        shutil.copyfile(path, model)
        row |= {"model": model.name, **score(case, model, reference, threads)}
    return row
