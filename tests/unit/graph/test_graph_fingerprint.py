from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from study_samples import write_model

from assay.graph.fingerprint import hash_model
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "model.onnx", np.random.default_rng(0))
    return tmp_path / "model.onnx"


def test_the_hash_is_the_same_in_every_process(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from assay.graph.fingerprint import hash_model; "
        "from assay.graph.ingest import load_model; from assay.graph.prepare import prepare; "
        "print(hash_model(prepare(load_model(Path(sys.argv[1])))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == hash_model(prepare(load_model(path)))


def test_where_weights_lie_does_not_matter(path: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart" / "renamed.onnx"
    apart.parent.mkdir()
    onnx.save(onnx.load(path), apart, save_as_external_data=True, size_threshold=0, location="weights.bin")
    assert hash_model(load_model(apart)) == hash_model(load_model(path))


def test_a_changed_weight_changes_the_hash(path: Path) -> None:
    model = load_model(path)
    before = hash_model(model)
    weight = model.graph.initializers["w2"]
    assert weight.const_value is not None
    values = weight.const_value.numpy().copy()
    values.reshape(-1)[-1] += np.float32(1e-6)
    weight.const_value = ir.tensor(values, name="w2")
    assert hash_model(model) != before


def test_a_changed_node_changes_the_hash(path: Path) -> None:
    model = load_model(path)
    before = hash_model(model)
    node = next(node for node in model.graph if node.op_type == "Conv")
    node.attributes["pads"] = ir.AttrInt64s("pads", [0, 0, 2, 2])
    assert hash_model(model) != before


def test_the_model_is_left_as_it_is(path: Path) -> None:
    model = load_model(path)
    assert hash_model(model) == hash_model(model)
    assert all(value.const_value is not None for value in model.graph.initializers.values())
