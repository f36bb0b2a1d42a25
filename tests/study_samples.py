"""A small trained-like model with data, made once, and the command line to run on it."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper, numpy_helper

from assay.cli.program import main

CLASSES = 6


@dataclass(frozen=True)
class Files:
    """What a study of the small model needs."""

    folder: Path
    model: Path
    calibration: Path
    evaluation: Path


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """Standard output as JSON."""
        found: dict[str, object] = json.loads(self.out)
        return found


def run_assay(*arguments: str | Path, cwd: Path | None = None, limit_s: float = 300) -> Ran:
    """Run the command line in a process of its own, for as long as it may take: real models take longer."""
    command = [sys.executable, "-m", "assay", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=limit_s)
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def call_assay(*arguments: str | Path, cwd: Path | None = None) -> Ran:
    """Run the command line in this process, for all that a process of its own would not show better: it is faster."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(sys, "argv", ["assay", *map(str, arguments)])
        patch.chdir(cwd or Path.cwd())
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        with pytest.raises(SystemExit) as left:
            main()
    assert isinstance(left.value.code, int)
    return Ran(left.value.code, out.getvalue(), err.getvalue())


def write_model(path: Path, rng: np.random.Generator) -> None:
    """Conv, Relu, residual Conv, pool, Gemm: class scores of a picture of 3x12x12."""

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["a"], name="add"),
        helper.make_node("Relu", ["a"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], name="head"),
    ]
    weights = [weight("w1", 8, 3, 3, 3), weight("b1", 8), weight("w2", 8, 8, 3, 3), weight("b2", 8)]
    weights += [weight("w3", 8, CLASSES), weight("b3", CLASSES)]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 12, 12])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "small", [image], [logits], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def label(
    model: Path, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The FP32 model's own answers, so that its accuracy is 1 and every flip is a loss."""
    evaluator = onnx.reference.ReferenceEvaluator(str(model))
    logits = evaluator.run(None, {"image": images})[0]
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = np.argmax(logits, axis=1).astype(np.int64)
    return found


def study_arguments(files: Files, output: Path) -> list[str | Path]:
    """The arguments of a quick study."""
    return [
        "study",
        files.model,
        "--task",
        "classification",
        "--calibration",
        files.calibration,
        "--evaluation",
        files.evaluation,
        "--tolerance",
        "top1: 20pp",
        "--minimize",
        "size",
        "--latency-seconds",
        "0.5",
        "--output",
        output,
    ]
