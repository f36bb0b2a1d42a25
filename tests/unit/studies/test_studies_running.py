"""The written outputs of a release tell which rows are which item's, also where an output has rows of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from study_samples import run_assay

from assay.core.errors import StoreError
from assay.studies.progress import Silent
from assay.studies.running import name_offsets, run_file

ITEMS = 41


def write_finder(path: Path, weights: np.ndarray) -> None:
    """A linear classifier that also lists the classes above zero, ``hits [k, 2]``: item of the call, and class."""
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["logits"], name="product"),
        helper.make_node("Greater", ["logits", "zero"], ["above"], name="greater"),
        helper.make_node("NonZero", ["above"], ["places"], name="list"),
        helper.make_node("Transpose", ["places"], ["hits"], name="rows", perm=[1, 0]),
    ]
    graph = helper.make_graph(
        nodes,
        "finder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("hits", TensorProto.INT64, ["k", 2]),
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)


@pytest.mark.parametrize("batch", [1, 8])
def test_rows_of_an_open_output_are_those_of_their_item(tmp_path: Path, batch: int) -> None:
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(4, 3)).astype(np.float32)
    write_finder(tmp_path / "model.onnx", weights)
    x = rng.normal(size=(ITEMS, 4)).astype(np.float32)
    x[:2] = 0  # items without a row
    np.savez(tmp_path / "evaluation.npz", x=x, target=(x @ weights).argmax(axis=1))
    flags = "--task classification --tolerance top1:50pp --precisions fp32 --runtimes onnxruntime --latency-seconds 0.2"
    ran = run_assay(
        *("study", tmp_path / "model.onnx", *flags.split(), "--batch", str(batch)),
        *("--evaluation", tmp_path / "evaluation.npz", "--output", tmp_path / "STUDY"),
    )
    assert ran.status == 0, ran.err
    assert run_assay("release", tmp_path / "STUDY", tmp_path / "release").status == 0
    np.savez(tmp_path / "items.npz", x=x)
    ran = run_assay(
        *("run", tmp_path / "release", "--input", tmp_path / "items.npz", "--output", tmp_path / "out.npz", "--json")
    )
    assert ran.status == 0, ran.err
    outcome = json.loads(ran.out)
    assert (outcome["offsets"], outcome["call_items"]) == ({"hits": "hits.offsets"}, 1)
    with np.load(tmp_path / "out.npz") as stored:
        logits, hits, offsets = stored["logits"], stored["hits"], stored["hits.offsets"]
        assert set(stored.files) == {"logits", "hits", "hits.offsets"}
    assert (offsets.shape, offsets.dtype) == ((ITEMS + 1,), np.int64)
    assert (offsets[0], offsets[2], offsets[-1]) == (0, 0, len(hits))
    for item in range(ITEMS):
        own = hits[offsets[item] : offsets[item + 1]]
        np.testing.assert_array_equal(own[:, 1], np.flatnonzero(logits[item] > 0))


@pytest.mark.parametrize("taken", ["missing/out.npz", "folder.npz"])
def test_outputs_that_could_not_be_written_are_refused_before_anything_runs(tmp_path: Path, taken: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        run_file(tmp_path / "no release", "items.npz", tmp_path / taken, preprocess=False, progress=Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]
    with pytest.raises(StoreError, match="is not a release"):
        run_file(tmp_path / "no release", "items.npz", tmp_path / "out.npz", preprocess=False, progress=Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]


def test_an_output_named_like_offsets_is_left_as_it_is() -> None:
    assert name_offsets("found", ["found"]) == "found.offsets"
    assert name_offsets("found", ["found", "found.offsets"]) == "found.offsets_"
