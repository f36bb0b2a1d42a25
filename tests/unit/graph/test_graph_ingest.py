from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import BRANCHES, GOOD, HEADER, parse, refuse, write
from onnx import TensorProto, helper, numpy_helper

from assay.core.errors import ModelError
from assay.core.tensor import TensorSpec
from assay.graph.ingest import load_model
from assay.graph.signature import describe_signature


def test_a_model_is_loaded_with_inferred_shapes(tmp_path: Path) -> None:
    model = load_model(write(tmp_path, HEADER + "g (float[N, 3] x) => (float[N, 3] y) { t = Relu(x) y = Exp(t) }"))
    hidden = next(iter(model.graph)).outputs[0]
    assert hidden.dtype is ir.DataType.FLOAT
    assert str(hidden.shape) == "[N,3]"


def test_signature_names_types_and_axes(tmp_path: Path) -> None:
    text = HEADER + "g (float[N, 3] x, int64[?, 4] ids) => (float[N, 3] y, int64[?, 4] z) { y = Relu(x) z = Abs(ids) }"
    signature = describe_signature(load_model(write(tmp_path, text)))
    assert signature.inputs == (TensorSpec("x", "float32", ("N", 3)), TensorSpec("ids", "int64", (None, 4)))
    assert signature.outputs == (TensorSpec("y", "float32", ("N", 3)), TensorSpec("z", "int64", (None, 4)))


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    proto = parse(GOOD)
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2]))
    model = load_model(write(tmp_path, proto))
    assert [spec.name for spec in describe_signature(model).inputs] == ["x"]
    assert "w" in model.graph.initializers
    assert [spec.name for spec in describe_signature(ir.from_proto(proto)).inputs] == ["x"]


def test_sequence_inputs_have_no_signature(tmp_path: Path) -> None:
    text = HEADER + "g (float[3] x) => (seq(float[3]) y) { y = SequenceConstruct(x) }"
    model = load_model(write(tmp_path, text))
    with pytest.raises(ModelError, match="output 'y'"):
        describe_signature(model)


def test_contrib_operators_are_let_through(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>'
    text += "g (float[N, 3] x) => (float[N, 3] y) { t = com.microsoft.Gelu(x) y = Relu(t) }"
    assert [node.op_type for node in load_model(write(tmp_path, text)).graph] == ["Gelu", "Relu"]


def test_functions_of_the_model_are_known_operators(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>'
    text += "g (float[N, 3] x) => (float[N, 3] y) { y = acme.twice(x) }"
    text += '<domain: "acme", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }'
    assert len(load_model(write(tmp_path, text)).functions) == 1


def test_unsorted_nodes_are_sorted(tmp_path: Path) -> None:
    text = HEADER + "g (float[N] x) => (float[N] y) { y = Exp(t) u = Abs(x) t = Add(u, x) }"
    assert [node.op_type for node in load_model(write(tmp_path, text)).graph] == ["Abs", "Add", "Exp"]


def test_quantized_and_training_mode_models_load(tmp_path: Path) -> None:
    text = (
        HEADER + "g (float[N, 4] x) => (float[N, 4] y) <float s = {0.1}, uint8 z = {128}, float[4] c = {1, 1, 1, 1}> "
    )
    text += "{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) "
    text += "y, m, v = BatchNormalization<training_mode = 1>(d, c, c, c, c) }"
    assert len(load_model(write(tmp_path, text)).graph) == 3


def test_wrongly_declared_shapes_are_inferred_anew(tmp_path: Path) -> None:
    text = HEADER + "g (float[1, 3] x) => (float[1, 5] y) <float[1, 7] t> { t = Relu(x) y = Exp(t) }"
    model = load_model(write(tmp_path, text))
    assert [str(node.outputs[0].shape) for node in model.graph] == ["[1,3]", "[1,3]"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refuse(tmp_path / "none.onnx").message


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    assert "is a directory" in refuse(tmp_path).message


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert "is empty" in refuse(tmp_path / "m.onnx").message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + b"\0" * 100, "PyTorch checkpoint"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 100, "TensorFlow Lite"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"hello, this is a text file\n", "not an ONNX file"),
        (b"{}", "not an ONNX file"),
        (b"\0" * 64, "not an ONNX file"),
        (np.random.default_rng(0).bytes(4096), "not an ONNX file"),
        (b"\x08\x08", "not an ONNX file"),
    ],
)
def test_other_formats_are_told_apart(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert words in refuse(path).message


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_called_so(tmp_path: Path, share: float) -> None:
    proto = parse(GOOD)
    proto.producer_name = "test"
    proto.graph.doc_string = "d" * 1000
    content = proto.SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in refuse(path).message


def test_every_cut_of_a_model_ends_in_a_model_error(tmp_path: Path) -> None:
    content = parse(GOOD).SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        refuse(path)


def test_changed_bytes_never_end_in_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    content = parse(GOOD).SerializeToString()
    path = tmp_path / "model.onnx"
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        changed[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            load_model(path)
        except ModelError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g () => (float y) <float x = {1}> { y = Relu(x) }", ["no inputs"]),
        ("g (float x) => () { y = Relu(x) }", ["no outputs"]),
        ("g (float x) => (float y) { [last] y = Relu(t) }", ["'last'", "'t'", "nothing produces"]),
        ("g (float x) => (float z) { y = Relu(x) }", ["'z'", "nothing produces the output"]),
        ("g (float x) => (float y) { y = Relu(x) y = Exp(x) }", ["'y'", "twice"]),
        ("g (float x, float x) => (float y) { y = Relu(x) }", ["'x'", "twice"]),
        ("g (float x) => (float y) { [a] t = Add(x, u) [b] u = Relu(t) y = Exp(x) }", ["cycle", "'a'", "'b'"]),
        ("g (float x) => (float y) { [a] t = Add(x, t) y = Exp(x) }", ["cycle of 1", "'a'"]),
        ("g (float x) => (float y) { [odd] y = Rely(x) }", ["'odd'", "Rely"]),
        ("g (float x) => (float y) { [new] y = Gelu(x) }", ["'new'", "does not exist in ai.onnx opset 17"]),
        ("g (float[1, 1, 2, 2] x, float[4] s) => (float y) { [up] y = Upsample(x, s) }", ["'up'", "withdrawn"]),
        ("g (float x) => (float y) { [own] y = acme.Foo(x) }", ["'own'", "acme", "does not import"]),
        ("g (float x) => (float y) { [bad] y = Relu<slope = 1>(x) }", ["'bad'", "slope"]),
        ("g (float x) => (float y) { [bad] y = Relu(x, x) }", ["'bad'", "input size 2"]),
        (
            "g (float[1, 3] x) => (float y) <float[2, 1] w = {1, 1}> { [bad] y = MatMul(x, w) }",
            ["'bad'", "Incompatible"],
        ),
        ("g (float x) => (int64 y) { [bad] y = Relu(x) }", ["'bad'", "elem type"]),
        (
            BRANCHES.replace("BODY", "{ a = Relu(q) }"),
            ["'cond'", "'q'", "nothing produces"],
        ),
        (
            BRANCHES.replace("BODY", "{ [inner] a = Foo(x) }"),
            ["'inner'", "Foo"],
        ),
    ],
)
def test_a_broken_graph_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refuse(write(tmp_path, HEADER + text)).message
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message


def test_a_near_miss_of_an_operator_is_suggested(tmp_path: Path) -> None:
    assert "'Relu'" in refuse(write(tmp_path, HEADER + "g (float x) => (float y) { y = Rely(x) }")).hint


def test_a_custom_domain_is_named(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "acme": 1]> g (float x) => (float y) { [own] y = acme.Foo(x) }'
    message = refuse(write(tmp_path, text)).message
    assert "'own'" in message
    assert "custom domain 'acme'" in message


def test_a_node_without_a_name_is_told_by_its_output(tmp_path: Path) -> None:
    message = refuse(write(tmp_path, HEADER + "g (float x) => (float y) { y = Foo(x) }")).message
    assert "the Foo node that computes 'y'" in message


def newer_ir(proto: onnx.ModelProto) -> None:
    proto.ir_version = 99


def newer_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 99


def no_opset(proto: onnx.ModelProto) -> None:
    del proto.opset_import[:]


def twice_stored(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(proto.graph.initializer[0])


def sparse(proto: onnx.ModelProto) -> None:
    values = proto.graph.initializer[0]
    del proto.graph.initializer[:]
    proto.graph.sparse_initializer.add().values.CopyFrom(values)


def few_values(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = 30


def few_bytes(proto: onnx.ModelProto) -> None:
    weight = proto.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight), "w"))
    weight.raw_data = weight.raw_data[:-1]


def odd_type(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].data_type = 77


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (newer_ir, "IR version 99"),
        (newer_opset, "opset 99"),
        (no_opset, "no opset"),
        (twice_stored, "'w'"),
        (sparse, "'w' is"),
        (few_values, "'w' holds 6 elements"),
        (few_bytes, "'w' holds 23 bytes"),
        (odd_type, "'w' has element type 77"),
    ],
)
def test_a_broken_model_is_named(tmp_path: Path, change: Callable[[onnx.ModelProto], None], words: str) -> None:
    proto = parse(GOOD)
    change(proto)
    assert words in refuse(write(tmp_path, proto)).message
