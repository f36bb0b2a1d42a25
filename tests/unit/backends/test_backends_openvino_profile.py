"""Nodes that OpenVINO executed, found again in the ONNX graph that was built."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from openvino_models import Network

from assay.backends.openvino.adapter import OpenVinoBackend
from assay.backends.openvino.profile import trace_operator
from assay.backends.openvino.settings import Settings
from assay.core.mixing import NodeTime
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Profiled
from assay.core.target import ServingMode, Target

X = np.random.default_rng(1).random((2, 3, 12, 12), dtype=np.float32)


def save(path: Path) -> Path:
    """``n0`` to ``n5``: a convolution, a skip around another, a pool, a linear head whose node is not called ``y``."""
    net = Network()
    stem = net.add("Relu", net.conv("x", 3, 16))
    joined = net.add("Add", net.conv(stem, 16, 16), stem)
    pooled = net.add("Flatten", net.add("GlobalAveragePool", joined))
    net.add("Gemm", pooled, net.weight(16, 5), net.weight(5), outputs=["y"])
    return net.save(path, {"x": ["N", 3, 12, 12]}, {"y": ["N", 5]})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    into = folder / "built"
    into.mkdir()
    OpenVinoBackend().build(save(folder / "model.onnx"), into, Plan(Precision.FP32), Target("openvino"))
    return into


def profile(built: Path, target: Target) -> tuple[NodeTime, ...]:
    with OpenVinoBackend().open(built, target) as session:
        assert isinstance(session, Profiled)
        return session.profile({"x": X}, 3)


@pytest.mark.parametrize(
    "target",
    [
        Target("openvino", batch=2),
        Target("openvino", batch=7),  # the feeds have another batch: compiled with the batch left open
        Target("openvino", batch=2, threads=2, mode=ServingMode.THROUGHPUT),
    ],
)
def test_every_executed_node_has_nodes_of_the_model(built: Path, target: Target) -> None:
    found = profile(built, target)
    origins = {origin for node in found for origin in node.origins}
    assert origins <= {f"n{index}" for index in range(7)}
    assert {"n0", "n2", "n6"} <= origins  # both convolutions, and the head, whose operator is called y
    assert all(node.origins for node in found)
    assert any({"n0", "n1"} <= set(node.origins) for node in found)  # the activation runs with the convolution
    assert sum(node.milliseconds for node in found) > 0


def test_what_is_called_after_a_tensor_is_written_down(built: Path) -> None:
    assert ("y", "n6") in Settings.read(built).renamed


def test_an_operator_that_a_rewrite_added_belongs_to_the_one_it_is_named_after() -> None:
    origins = {"a/MatMul": "product", "a/MatMul/WithoutBiases": "biased"}
    assert trace_operator("a/MatMul/DequantizationMultiply", origins) == "product"
    assert trace_operator("a/MatMul/WithoutBiases/DequantizationMultiply", origins) == "biased"
    assert trace_operator("a/MatMul2", origins) is None
    assert trace_operator("", origins) is None


def test_an_older_artifact_can_be_profiled(built: Path, tmp_path: Path) -> None:
    for file in built.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    msgspec.structs.replace(Settings.read(built), renamed=()).write(tmp_path)
    assert {"n0", "n2"} <= {origin for node in profile(tmp_path, Target("openvino")) for origin in node.origins}
