"""Olive's search over the settings of ONNX Runtime's quantizer; run by the Python of an environment with ``olive-ai``.

Run: ``PYTHON olive_search.py MODEL FEEDS.npz FOLDER GOAL LIMIT THREADS``, where the archive has ``calibration/INPUT``,
``evaluation/INPUT`` and ``reference``, FP32's classes. Olive searches the pass ``OnnxQuantization`` with its own
default space (static or dynamic, calibrator, per channel, range, signedness, format) by TPE until the time is over:
told to stop where the goal is met, 0.13.0 stops after its first trial, met or not. The agreement is its metric
``accuracy_score`` with FP32's classes as labels: a metric of one's own it cannot write into its log, and fails. Imports
nothing of Assay. Writes ``olive-result.json`` and ``olive.onnx`` into the folder.
"""

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry
from olive.workflows import run

GRACE = 30
"""Seconds past the limit after which a trial under way is given up: Olive looks at its clock between trials."""


class Search:
    """What the search has reached."""

    def __init__(self, arguments: list[str]) -> None:
        self.model, self.feeds, folder, goal, limit, threads = arguments
        self.folder = Path(folder)
        self.goal, self.limit, self.threads = float(goal), float(limit), int(threads)
        with np.load(self.feeds) as stored:
            self.arrays = {name: stored[name] for name in stored.files}
        self.trials: list[list[float]] = []
        self.said: list[int] = []
        self.began = time.perf_counter()

    def items(self, part: str) -> list[dict[str, np.ndarray]]:
        """Feeds of one item each, without the axis of the batch, which Olive adds."""
        named = {name.split("/")[1]: array for name, array in self.arrays.items() if name.startswith(f"{part}/")}
        count = len(next(iter(named.values())))
        return [{name: array[i] for name, array in named.items()} for i in range(count)]

    def count(self, said: int) -> None:
        """One item is evaluated; the items of a trial come in their order."""
        self.said.append(said)
        if len(self.said) == len(self.arrays["reference"]):
            metric = float((np.array(self.said) == self.arrays["reference"]).mean())
            self.trials.append([round(time.perf_counter() - self.began, 2), metric])
            self.said.clear()
            self.write(finished=False)

    def write(self, *, finished: bool, remark: str = "") -> None:
        """Keep what was reached; the first trial is the float model itself."""
        result = {
            "seconds": time.perf_counter() - self.began,
            "finished": finished,
            "trials": self.trials,
            "best": max((metric for _, metric in self.trials[1:]), default=0.0),
            "remark": remark,
        }
        (self.folder / "olive-result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")

    def stop_late(self) -> None:
        """End the process when a trial goes on for too long."""
        time.sleep(self.limit + GRACE)
        self.write(finished=False, remark="a trial was still under way")
        os._exit(0)


SEARCH = Search(sys.argv[1:]) if __name__ == "__main__" else None


@Registry.register_dataset()
def labelled_items(part: str, **kwargs: object) -> BaseDataset:
    """Items for Olive: pairs of feeds and FP32's class, which calibration does not read."""
    del kwargs
    items = SEARCH.items(part)
    labels = SEARCH.arrays["reference"] if part == "evaluation" else np.zeros(len(items), np.int64)
    return BaseDataset([(one, int(label)) for one, label in zip(items, labels, strict=True)])


@Registry.register_post_process()
def say_class(output: object, **kwargs: object) -> torch.Tensor:
    """The class of an item."""
    del kwargs
    scores = next(iter(output.values())) if hasattr(output, "values") and not torch.is_tensor(output) else output
    found = torch.as_tensor(scores).argmax(dim=-1)
    for one in found.reshape(-1):
        SEARCH.count(int(one))
    return found


def describe_data(part: str) -> dict[str, object]:
    """A data source in Olive's words."""
    return {
        "name": part,
        "load_dataset_config": {"type": "labelled_items", "params": {"part": part}},
        "post_process_data_config": {"type": "say_class"},
        "pre_process_data_config": {"type": "skip_pre_process"},
        "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 1, "shuffle": False}},
    }


def describe_metric(classes: int) -> dict[str, object]:
    """The agreement with FP32 as an accuracy."""
    score = {
        "name": "accuracy_score",
        "priority": 1,
        "higher_is_better": True,
        "goal": {"type": "threshold", "value": SEARCH.goal},
        "metric_config": {"task": "multiclass", "num_classes": classes},
    }
    settings = {"onnx": {"session_options": {"intra_op_num_threads": SEARCH.threads}}}
    return {
        "name": "agreement",
        "type": "accuracy",
        "data_config": "evaluation",
        "sub_types": [score],
        "user_config": {"inference_settings": settings},
    }


def main() -> None:
    """Search."""
    threading.Thread(target=SEARCH.stop_late, daemon=True).start()
    accelerators = [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}]
    found = run(
        {
            "input_model": {"type": "OnnxModel", "model_path": SEARCH.model},
            "systems": {"local": {"type": "LocalSystem", "accelerators": accelerators}},
            "data_configs": [describe_data("calibration"), describe_data("evaluation")],
            "evaluators": {"agreement": {"metrics": [describe_metric(int(SEARCH.arrays["classes"]))]}},
            "passes": {"quantize": {"type": "OnnxQuantization", "data_config": "calibration"}},
            "search_strategy": {
                "execution_order": "joint",
                "sampler": "tpe",
                "max_time": int(SEARCH.limit),
            },
            "evaluator": "agreement",
            "host": "local",
            "target": "local",
            "cache_dir": str(SEARCH.folder / "olive-cache"),
            "output_dir": str(SEARCH.folder / "olive-output"),
        }
    )
    seconds = time.perf_counter() - SEARCH.began
    best = found.get_best_candidate()
    if best is not None:
        shutil.copyfile(best.model_path, SEARCH.folder / "olive.onnx")
    in_time = seconds < SEARCH.limit
    SEARCH.write(finished=True, remark="" if in_time else "stopped at the limit")


if __name__ == "__main__":
    main()
