"""Every error of ONNX Runtime becomes one of Assay's, with the node named."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import parser
from onnxruntime.capi import onnxruntime_pybind11_state as state

from assay.backends.onnxruntime.errors import (
    HINTS,
    VENDOR_ERRORS,
    describe,
    name_node,
    to_build_error,
    to_run_error,
)
from assay.core.errors import BuildFailed, RunFailed, UnsupportedPlan

CLASSES = {
    name: value for name, value in vars(state).items() if isinstance(value, type) and issubclass(value, Exception)
}


def test_the_runtime_has_exception_classes() -> None:
    assert {"Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented"} <= set(
        CLASSES
    )


@pytest.mark.parametrize("name", CLASSES)
def test_every_exception_class_is_mapped(name: str) -> None:
    assert CLASSES[name] in VENDOR_ERRORS
    error = CLASSES[name]("[ONNXRuntimeError] : 1 : FAIL : it broke")
    built, ran = to_build_error(error, "model.onnx"), to_run_error(error, "")
    assert isinstance(built, UnsupportedPlan if name == "NotImplemented" else BuildFailed)
    assert isinstance(ran, RunFailed)
    assert "model.onnx" in built.message
    assert "it broke" in built.message
    assert "it broke" in ran.message
    assert HINTS[name]
    assert built.hint == HINTS[name]


def test_no_hint_is_for_a_class_that_never_was() -> None:
    assert set(HINTS) == set(CLASSES)


MESSAGES = {
    'This is an invalid model. In Node, ("a/b", Foo, "", -1) : ("x": tensor(float),) -> ("y",)': "node 'a/b' (Foo)",
    "Could not find an implementation for MatMul(13) node with name 'proj'": "node 'proj' (MatMul)",
    "Could not find an implementation for MatMul(13) node with name ''": "node '' (MatMul)",
    "Non-zero status code returned while running Add node. Name:'sum_3' Status Message: 2 by 5": "node 'sum_3' (Add)",
    "Node (conv1) Op (Conv) [ShapeInferenceError] Input tensor must have at least 2 dimensions": "node 'conv1' (Conv)",
    "Type Error: Type parameter (T) of Optype (Add) bound to different types": "",
}


@pytest.mark.parametrize("text", MESSAGES)
def test_nodes_are_found_in_messages(text: str) -> None:
    assert name_node(text) == MESSAGES[text]


def load_error(text: str) -> Exception:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    with pytest.raises(VENDOR_ERRORS) as caught:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return caught.value


def test_the_runtime_s_own_messages_name_the_node() -> None:
    unknown = load_error("g (float[2] x) => (float[2] y) { a = Relu(x)  y = Frobnicate(a) }")
    assert name_node(str(unknown)) == "node 'n1' (Frobnicate)"
    missing = load_error("g (bfloat16[2,2] x) => (bfloat16[2,2] y) { y = MatMul(x, x) }")
    assert name_node(str(missing)) == "node 'n0' (MatMul)"
    assert isinstance(to_build_error(missing, "m"), UnsupportedPlan)
    misshaped = load_error("g (float[2,3] x) => (float[2,3] y) { y = MatMul(x, x) }")
    assert name_node(str(misshaped)) == "node 'n0' (MatMul)"


def test_a_failed_run_names_the_node() -> None:
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[N,3] x, float[M,3] z) => (float[K,3] y) { y = Add(x, z) }'
    )
    model.graph.node[0].name = "sum"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(VENDOR_ERRORS) as caught:
        session.run(None, {"x": np.zeros((2, 3), np.float32), "z": np.zeros((5, 3), np.float32)})
    assert "node 'sum' (Add)" in to_run_error(caught.value, "").message


def test_a_mismatch_is_the_message_of_a_failed_run() -> None:
    assert to_run_error(ValueError("vendor text"), "input 'x' is missing").message == "input 'x' is missing"


def test_the_runtime_s_words_come_on_one_line() -> None:
    assert describe(ValueError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : a\n b ")) == "INVALID_ARGUMENT : a b"
