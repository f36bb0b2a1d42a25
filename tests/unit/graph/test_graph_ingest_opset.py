from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from graph_samples import refuse, write
from onnx import TensorProto, helper, numpy_helper

from assay.core.tensor import TensorSpec
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature

IMAGE = "float[N, 2, 4, 4] x"
ROI = "<float[1, 4] r = {0.2, 0.3, 2.9, 3.1}, int64[1] b = {0}>"
SCAN = (
    "g (float[1, 3, 2] x, float[1, 2] i) => (float y, float z) { y, z = Scan<num_scan_inputs = 1, body = "
    'b (float[2] a, float[2] c) => (float[2] d, float[2] e) { d = Add(a, c) e = Identity(d) }>("", i, x) }'
)


@pytest.mark.parametrize("opset", [7, 9, 11, 12])
def test_old_opsets_are_raised(tmp_path: Path, opset: int) -> None:
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Squeeze", ["p"], ["y"], axes=[2, 3], name="squeeze"),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    inputs = [image, helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3, 1, 1])]
    graph = helper.make_graph(nodes, "g", inputs, [result], [weight])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    model = load_model(write(tmp_path, proto))
    assert model.opset_imports == {"": 17}
    assert [node.name for node in model.graph] == ["conv", "relu", "pool", "", "squeeze"]
    assert describe_signature(model).inputs == (TensorSpec("x", "float32", ("n", 3, 4, 4)),)


@pytest.mark.parametrize(
    ("opset", "body"),
    [
        (9, f'g ({IMAGE}) => (float y) <float[4] s = {{1, 1, 2, 3}}> {{ y = Upsample<mode = "linear">(x, s) }}'),
        (9, f'g ({IMAGE}) => (float y) <float[4] s = {{1, 1, 2, 3}}> {{ y = Upsample<mode = "nearest">(x, s) }}'),
        (7, f'g ({IMAGE}) => (float y) {{ y = Upsample<mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]>(x) }}'),
        (10, f'g ({IMAGE}) => (float y) <float[4] s = {{1, 1, 0.6, 1.7}}> {{ y = Resize<mode = "linear">(x, s) }}'),
        (10, f'g ({IMAGE}) => (float y) <float[4] s = {{1, 1, 1.3, 1.7}}> {{ y = Resize<mode = "nearest">(x, s) }}'),
        (11, f'g ({IMAGE}) => (float y) <float[4] s = {{1, 1, 2, 2}}> {{ y = Resize<mode = "linear">(x, s, s) }}'),
        (11, f"g ({IMAGE}) => (float y) {{ y = Softmax<axis = 1>(x) }}"),
        (12, f"g ({IMAGE}) => (float y) {{ y = LogSoftmax<axis = 2>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y = Clip<min = -0.5, max = 0.5>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y = Pad<pads = [0, 0, 1, 2, 0, 0, 3, 0], value = 1.5>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y = Slice<axes = [2, 3], starts = [1, 0], ends = [3, -1]>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ d, m = Dropout<ratio = 0.4>(x) y = Neg(d) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y = ReduceMean<axes = [2, 3], keepdims = 0>(x) }}"),
        (11, f"g ({IMAGE}) => (float y) {{ y = ReduceSum<axes = [1], keepdims = 1>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y, i = TopK<k = 2, axis = -1>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y = AveragePool<kernel_shape = [2, 2], pads = [1, 1, 0, 0]>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ a, b = Split<axis = 2>(x) y = Sub(a, b) }}"),
        (9, f"g ({IMAGE}) => (float y) {{ y = Flatten<axis = 2>(x) }}"),
        (9, f"g ({IMAGE}) => (float y) <float[2] c = {{1, 2}}> {{ y = BatchNormalization(x, c, c, c, c) }}"),
        (10, f"g ({IMAGE}) => (float y) {ROI} {{ y = RoiAlign<output_height = 2, output_width = 2>(x, r, b) }}"),
    ],
)
def test_raising_the_opset_changes_no_output(tmp_path: Path, opset: int, body: str) -> None:
    path = write(tmp_path, f'<ir_version: 4, opset_import: ["": {opset}]> {body}')
    raised = tmp_path / "raised.onnx"
    ir.save(load_model(path), raised)
    feeds = {"x": np.random.default_rng(3).standard_normal((3, 2, 4, 4)).astype(np.float32)}
    before, after = (
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(["y"], feeds)[0]
        for file in (path, raised)
    )
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("opset", "body"),
    [
        (7, "g (float[1, 2, 2, 2] x, float[2] s) => (float y) { y = BatchNormalization<spatial = 0>(x, s, s, s, s) }"),
        (8, SCAN),
    ],
)
def test_an_old_opset_that_cannot_be_raised_is_refused(tmp_path: Path, opset: int, body: str) -> None:
    path = write(tmp_path, f'<ir_version: 3, opset_import: ["": {opset}]> {body}')
    assert f"opset {opset}" in refuse(path).message
