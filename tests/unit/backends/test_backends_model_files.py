"""Copying a model with what lies beside it, and saying what is wrong with feeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from assay.backends.feeds import describe_spec, explain_mismatch, is_native
from assay.backends.model_files import copy_model, external_locations, read_graph
from assay.core.errors import BuildFailed
from assay.core.tensor import Signature, TensorSpec


def save_external(folder: Path, location: str = "weights/net.data", name: str = "net.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[N,6] x) => (float[N,4] y) { y = MatMul(x, w) }'
    )
    tensor = numpy_helper.from_array(np.arange(24, dtype=np.float32).reshape(6, 4), "w")
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    model.graph.initializer.append(tensor)
    if not location.startswith(("/", "..")):
        (folder / location).parent.mkdir(parents=True, exist_ok=True)
        (folder / location).write_bytes(raw)
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


def test_external_data_keeps_its_place(tmp_path: Path) -> None:
    source, into = save_external(tmp_path / "source"), tmp_path / "built"
    into.mkdir()
    built = copy_model(source, into)
    assert built == into / "model.onnx"
    loaded = onnx.load(built)
    np.testing.assert_array_equal(numpy_helper.to_array(loaded.graph.initializer[0]).ravel(), np.arange(24))


@pytest.mark.parametrize("location", ["../net.data", "/etc/hostname", "a/../../net.data"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "net.data").write_bytes(bytes(96))
    source, into = tmp_path / "source", tmp_path / "built"
    into.mkdir()
    path = save_external(source, "inside.data")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BuildFailed, match="outside the model's folder"):
        copy_model(path, into)


def test_external_data_behind_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    path = save_external(tmp_path / "source", "link.data")
    (tmp_path / "secret").write_bytes(bytes(96))
    (tmp_path / "source" / "link.data").unlink()
    (tmp_path / "source" / "link.data").symlink_to(tmp_path / "secret")
    (tmp_path / "built").mkdir()
    with pytest.raises(BuildFailed, match="outside the model's folder"):
        copy_model(path, tmp_path / "built")


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = save_external(tmp_path / "source")
    (tmp_path / "source" / "weights" / "net.data").unlink()
    (tmp_path / "built").mkdir()
    with pytest.raises(BuildFailed, match=r"weights/net\.data.*missing"):
        copy_model(path, tmp_path / "built")


def test_external_data_does_not_overwrite_the_graph(tmp_path: Path) -> None:
    path = save_external(tmp_path / "source", "model.onnx")
    (tmp_path / "built").mkdir()
    with pytest.raises(BuildFailed, match="as the built graph is"):
        copy_model(path, tmp_path / "built")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = save_external(tmp_path / "source")
    with pytest.raises(BuildFailed, match="nowhere"):
        copy_model(path, tmp_path / "nowhere")


def test_references_inside_branches_and_functions_are_found() -> None:
    def outside(name: str) -> onnx.TensorProto:
        tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=f"{name}.data")
        return tensor

    inner = helper.make_graph([], "inner", [], [], [outside("branch")])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["k"], value=outside("constant")),
    ]
    constant = helper.make_node("Constant", [], ["f"], value=outside("function"))
    function = helper.make_function("custom", "F", [], ["f"], [constant], [helper.make_opsetid("", 21)])
    graph = helper.make_graph(nodes, "g", [], [], [outside("weight")])
    model = helper.make_model(graph, functions=[function])
    expected = {"branch.data", "constant.data", "function.data", "weight.data"}
    assert set(external_locations(model)) == expected


def test_a_file_without_a_graph_is_no_model(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "noise": b"\xff\xfe\x07 no model"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BuildFailed, match=name):
            read_graph(tmp_path / name)


SIGNATURE = Signature(
    (TensorSpec("a", "float32", ("N", 3, None)), TensorSpec("b", "int64", ("N",)), TensorSpec("c", "str", None)), ()
)
GOOD = {"a": np.zeros((2, 3, 9), np.float32), "b": np.zeros(2, np.int64), "c": np.array(["x"])}


def test_feeds_that_fit_need_no_words() -> None:
    assert explain_mismatch(SIGNATURE, GOOD) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"d": GOOD["a"]}, "input 'd' does not exist; the model expects a: float32[N, 3, ?], b: int64[N], c: str[...]"),
        ({"a": None}, "input 'a' is a NoneType, not a NumPy array"),
        ({"a": GOOD["a"].astype(np.float16)}, "input 'a' has the element type float16; expected a: float32[N, 3, ?]"),
        ({"a": GOOD["a"][0]}, "input 'a' has the shape [3, 9]; expected a: float32[N, 3, ?]"),
        ({"a": GOOD["a"][:, :2]}, "input 'a' has the shape [2, 2, 9]; expected a: float32[N, 3, ?]"),
        ({"b": np.zeros(5, np.int64)}, "axis 'N' is 2 in input 'a' and 5 in input 'b'"),
        ({"c": np.zeros(1)}, "input 'c' has the element type float64"),
    ],
)
def test_feeds_that_do_not_fit_are_explained(changes: dict[str, object], words: str) -> None:
    assert explain_mismatch(SIGNATURE, GOOD | changes).startswith(words)


def test_a_missing_input_is_named() -> None:
    feeds = {"a": GOOD["a"], "c": GOOD["c"]}
    assert explain_mismatch(SIGNATURE, feeds).startswith("input 'b' is missing; the model expects")


def test_specifications_read_well() -> None:
    assert describe_spec(TensorSpec("x", "bfloat16", ())) == "x: bfloat16[]"


def test_byte_order_is_seen() -> None:
    assert is_native(GOOD)
    assert not is_native({"a": GOOD["a"].astype(GOOD["a"].dtype.newbyteorder())})
