"""A study without calibration data: weights in integers are tried where products hold most of the model."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from study_samples import Files, call_assay, run_assay

WIDTHS = (64, 256, 256, 8)


def write_perceptron(path: Path, rng: np.random.Generator) -> None:
    """Three layers; the class scores of 64 features."""
    weights, nodes, value = [], [], "x"
    for index, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        matrix = rng.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{index}")]
        weights += [numpy_helper.from_array(np.zeros(outputs, np.float32), f"b{index}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [f"h{index}"], transB=1))
        nodes.append(helper.make_node("Relu", [f"h{index}"], [f"r{index}"]))
        value = f"r{index}"
    nodes[-2].output[0] = "y"
    shapes = {"x": ["n", WIDTHS[0]], "y": ["n", WIDTHS[-1]]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph(nodes[:-1], "perceptron", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def test_weights_are_tried_without_calibration(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    model, data, output = tmp_path / "m.onnx", tmp_path / "data.npz", tmp_path / "STUDY"
    write_perceptron(model, rng)
    x = rng.normal(0, 1, (400, WIDTHS[0])).astype(np.float32)
    scores = onnx.reference.ReferenceEvaluator(onnx.load(model)).run(None, {"x": x})[0]
    np.savez(data, x=x, target=scores.argmax(axis=1))
    ran = run_assay(
        "study", model, "--task", "classification", "--evaluation", data, "--tolerance", "top1: 5pp",
        "--precisions", "fp32,int8,int4", "--runtimes", "onnxruntime", "--latency-seconds", "0.5",
        "--output", output, "--json",
    )  # fmt: skip
    assert ran.status in {0, 11}, ran.err
    trials = {trial["id"]: trial for trial in ran.document["trials"]}  # type: ignore[attr-defined]
    assert set(trials) == {
        "onnxruntime.fp32",
        "onnxruntime.int8-dynamic",
        "onnxruntime.int8-weights-group128",
        "onnxruntime.int4-weights-block32-group32",
        "onnxruntime.int4-weights-block128-group128",
    }
    for name, trial in trials.items():
        assert trial["status"] == "ok", name
        assert (trial["executed"]["int8"] > 0.9) is (name != "onnxruntime.fp32"), name
        assert not trial["flags"], name
        assert ("stored" in trial["executed"]) is ("int4" in name), name
    sizes = {name: trial["size_bytes"] for name, trial in trials.items()}
    assert sizes["onnxruntime.int8-dynamic"] < 0.4 * sizes["onnxruntime.fp32"]
    assert "weights stored in INT4" in (output / "report.md").read_text(encoding="utf-8")


def test_a_convolutional_net_without_calibration_is_refused(files: Files, tmp_path: Path) -> None:
    ran = call_assay(
        "study", files.model, "--task", "classification", "--evaluation", files.evaluation, "--tolerance", "top1: 5pp",
        "--output", tmp_path / "STUDY",
    )  # fmt: skip
    assert ran.status == 2
    assert "INT8 needs calibration data for this model" in ran.err
    assert "--calibration" in ran.err
