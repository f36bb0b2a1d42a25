"""Olive's search over the settings of ONNX Runtime's quantizer; run by the Python of an environment with ``olive-ai``.

Run: ``PYTHON olive_search.py MODEL FEEDS.npz FOLDER GOAL LIMIT THREADS``, where the archive has ``calibration/INPUT``,
``evaluation/INPUT`` and ``reference``, FP32's classes. Olive searches the pass ``OnnxQuantization`` with its own
default space (static or dynamic, calibrator, per channel, range, signedness, format) by TPE, until the agreement with
FP32 reaches the goal or the time is over. It imports nothing of Assay. Writes ``olive-result.json`` into the folder.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry
from olive.model import ONNXModelHandler
from olive.workflows import run

GRACE = 30
"""Seconds past the limit after which a trial under way is given up: Olive looks at its clock between trials."""


class Search:
    """What the search has reached."""

    def __init__(self, arguments: list[str]) -> None:
        model, feeds, folder, goal, limit, threads = arguments
        self.model, self.feeds, self.folder = model, feeds, Path(folder)
        self.goal, self.limit, self.threads = float(goal), float(limit), int(threads)
        with np.load(feeds) as stored:
            self.arrays = {name: stored[name] for name in stored.files}
        self.trials, self.best, self.began = [], (-1.0, ""), time.perf_counter()

    def items(self, part: str) -> list[dict[str, np.ndarray]]:
        """Feeds of one item each."""
        named = {name.split("/")[1]: array for name, array in self.arrays.items() if name.startswith(f"{part}/")}
        count = len(next(iter(named.values())))
        return [{name: array[i : i + 1] for name, array in named.items()} for i in range(count)]

    def evaluate(self, path: str) -> float:
        """Agreement with FP32 over all evaluation items, in ONNX Runtime."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        said = np.concatenate([session.run(None, one)[0] for one in self.items("evaluation")]).argmax(axis=1)
        metric = float((said == self.arrays["reference"]).mean())
        self.trials.append([round(time.perf_counter() - self.began, 2), metric, str(path)])
        # The first is the float model itself, which is no result.
        if len(self.trials) > 1 and metric > self.best[0]:
            self.best = metric, str(path)
        self.write(finished=False)
        return metric

    def write(self, *, finished: bool, error: str = "") -> None:
        """Keep what was reached."""
        seconds = time.perf_counter() - self.began
        result = {"seconds": seconds, "finished": finished, "trials": self.trials, "best": self.best, "error": error}
        (self.folder / "olive-result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")

    def stop_late(self) -> None:
        """End the process when a trial goes on for too long."""
        time.sleep(self.limit + GRACE)
        self.write(finished=False, error="a trial was still under way")
        os._exit(0)


SEARCH = Search(sys.argv[1:]) if __name__ == "__main__" else None


@Registry.register_dataset()
def calibration_items(**kwargs: object) -> BaseDataset:
    """Calibration items for Olive: pairs of feeds and a label that nothing reads."""
    del kwargs
    return BaseDataset([({name: array[0] for name, array in one.items()}, 0) for one in SEARCH.items("calibration")])


def agreement(model: ONNXModelHandler, device: object, execution_providers: object) -> float:
    """Olive's custom metric."""
    del device, execution_providers
    return SEARCH.evaluate(str(model.model_path))


def main() -> None:
    """Search."""
    threading.Thread(target=SEARCH.stop_late, daemon=True).start()
    metric = {
        "name": "agreement",
        "type": "custom",
        "sub_types": [
            {
                "name": "agreement",
                "priority": 1,
                "higher_is_better": True,
                "goal": {"type": "threshold", "value": SEARCH.goal},
            }
        ],
        "user_config": {"evaluate_func": agreement},
    }
    calibration = {
        "name": "calibration",
        "load_dataset_config": {"type": "calibration_items"},
        "dataloader_config": {"params": {"batch_size": 1}},
    }
    run(
        {
            "input_model": {"type": "OnnxModel", "model_path": SEARCH.model},
            "systems": {
                "local": {
                    "type": "LocalSystem",
                    "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
                }
            },
            "data_configs": [calibration],
            "evaluators": {"common": {"metrics": [metric]}},
            "passes": {"quantize": {"type": "OnnxQuantization", "data_config": "calibration"}},
            "search_strategy": {
                "execution_order": "joint",
                "sampler": "tpe",
                "stop_when_goals_met": True,
                "max_time": int(SEARCH.limit),
            },
            "evaluator": "common",
            "host": "local",
            "target": "local",
            "cache_dir": str(SEARCH.folder / "olive-cache"),
            "output_dir": str(SEARCH.folder / "olive-output"),
        }
    )
    SEARCH.write(finished=True)


if __name__ == "__main__":
    main()
