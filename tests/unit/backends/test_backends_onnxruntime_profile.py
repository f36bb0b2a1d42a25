"""Nodes that ONNX Runtime executed, found again in the graph that was built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.onnxruntime.profile import WARM_UP_CALLS, find_origins, read_times
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Profiled
from assay.core.target import Target

BUILT = [
    helper.make_node("Conv", ["x", "w"], ["a"], "first"),
    helper.make_node("Relu", ["a"], ["b"], "clip"),
    helper.make_node("Conv", ["b", "v"], ["c"], "second"),
    helper.make_node("Add", ["c", "b"], ["d"], "sum"),
    helper.make_node("Relu", ["d"], ["e"], "clip_sum"),
    helper.make_node("MatMul", ["e", "m"], ["f"], "product"),
    helper.make_node("Add", ["f", "n"], ["y"], "bias"),
]


def node(name: str, operator: str, inputs: list[str], outputs: list[str]) -> NodeProto:
    return helper.make_node(operator, inputs, outputs, name)


def test_a_node_is_found_by_its_name_its_results_and_its_neighbours() -> None:
    executed = [
        node("ReorderInput", "ReorderInput", ["x"], ["r0"]),
        node("b_nchwc", "Conv", ["r0", "w"], ["r1"]),  # called after its result
        node("second_nchwc", "Conv", ["r1", "v", "r1"], ["r2"]),
        node("ReorderOutput", "ReorderOutput", ["r2"], ["e"]),
        node("gemm_token_7", "Gemm", ["e", "m", "n"], ["y"]),
    ]
    found = find_origins(BUILT, executed, [one.name for one in executed])
    assert set(found["b_nchwc"]) == {"clip", "first"}  # a product whose name is gone goes with what follows
    assert set(found["second_nchwc"]) == {"second", "sum"}  # anything else with what comes before
    assert found["ReorderOutput"] == ["clip_sum"]
    assert set(found["gemm_token_7"]) == {"bias", "product"}
    assert set(found["ReorderInput"]) == {"clip", "first"}  # what is there for another is that one's


def test_a_name_that_only_begins_like_another_is_not_it() -> None:
    executed = [node("first2", "Conv", ["x", "w"], ["z"])]
    assert find_origins(BUILT, executed, ["first2"])["first2"] == []


def event(name: str, operator: str, microseconds: float) -> dict[str, object]:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": operator}}


def test_a_time_is_the_median_of_calls_after_the_first_ones() -> None:
    executed = [node("first", "Conv", ["x", "w"], ["a"]), node("loop", "Loop", ["a"], ["y"])]
    events = []
    for call in range(WARM_UP_CALLS + 3):
        slow = 9000.0 if call < WARM_UP_CALLS else 0.0
        events += [event("first", "Conv", 100.0 + slow + call)]
        events += [event("inner", "Mul", 5.0)] * 4  # inside of what comes next, which takes their time as well
        events += [event("loop", "Loop", 30.0 + slow)]
        events += [{"cat": "Session", "name": "model_run", "dur": 1e6}]
    found = read_times(events, 3, BUILT, executed)
    assert [(one.name, one.milliseconds) for one in found] == [("first", 0.104), ("loop", 0.03)]


def test_runs_of_one_node_in_a_call_are_added() -> None:
    executed = [node("first", "Conv", ["x", "w"], ["a"])]
    events = [event("first", "Conv", 10.0), event("first", "Conv", 30.0)] * (WARM_UP_CALLS + 2)
    (found,) = read_times(events, 2, BUILT, executed)
    assert found.milliseconds == pytest.approx(0.04)


def test_profiling_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], "clip")],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n"])],
    )
    model, built = tmp_path / "m.onnx", tmp_path / "built"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), model)
    built.mkdir()
    target = Target("onnxruntime")
    OnnxRuntimeBackend().build(model, built, Plan(Precision.FP32), target)
    before = sorted(tmp_path.rglob("*"))
    with OnnxRuntimeBackend().open(built, target) as session:
        assert isinstance(session, Profiled)
        (found,) = session.profile({"x": np.zeros(5, np.float32)}, 2)
    assert found.origins == ("clip",)
    assert sorted(tmp_path.rglob("*")) == before
