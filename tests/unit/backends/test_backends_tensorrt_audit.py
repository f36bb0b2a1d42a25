"""What is read from the engine inspector and the profiler, and the arithmetic that it is joined with."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from tensorrt_samples import builds, parse

from assay.backends.tensorrt.arithmetic import KEPT_ELEMENTS, Product, find_products, write_graph
from assay.backends.tensorrt.audit import Layer, join_layers, read_layers
from assay.backends.tensorrt.buffers import Buffer, count_bytes
from assay.backends.tensorrt.profile import describe_times, make_profiler
from assay.backends.tensorrt.vendor import load_vendor
from assay.core.errors import RunFailed
from assay.core.mixing import NodeTime
from assay.core.precision import Precision

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


def layer(name: str, kernel: str = "", given: str = "Half", metadata: str = "") -> dict[str, object]:
    """As the inspector writes a layer in detail (TensorRT developer guide, "Engine Inspector")."""
    return {
        "Name": name,
        "LayerType": "gemm",
        "Inputs": [{"Name": "x", "Dimensions": [1, 64], "Format/Datatype": given}],
        "Outputs": [{"Name": "y", "Dimensions": [1, 64], "Format/Datatype": given}],
        "TacticName": kernel,
        "Metadata": metadata,
    }


def read(*layers: object, names: tuple[str, ...] = ()) -> tuple[Layer, ...]:
    return read_layers(json.dumps({"Layers": layers, "Bindings": ["x", "y"]}), names)


@pytest.mark.parametrize(
    ("kernel", "precision"),
    [
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32", INT8),
        ("sm80_xmma_gemm_tf32tf32_tf32f32_tf32_nn_n", Precision.TF32),
        ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_nn_n", Precision.BF16),
        ("sm75_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc", FP16),
        ("sm89_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn_n", Precision.FP8),
        ("sm89_xmma_fprop_implicit_gemm_f8f8_f8f32_f16_nhwckrsc", Precision.FP8),
        ("turing_h1688cudnn_256x64_ldg8_relu_exp", FP16),
        ("ampere_scudnn_128x64_relu_f32f32_medium_nn", FP32),
    ],
)
def test_a_kernel_is_believed_before_the_formats(kernel: str, precision: Precision) -> None:
    (found,) = read(layer("one", kernel, given="Float"))
    assert found.precision is precision


@pytest.mark.parametrize(
    ("given", "precision"),
    [
        ("Int8 NC/32HW32", INT8),
        ("Half", FP16),
        ("Row major linear FP16 format", FP16),
        ("BFloat16", Precision.BF16),
        ("FP8", Precision.FP8),
        ("Row major linear FP8 E4M3 format", Precision.FP8),
        ("Float", FP32),
        ("N/A due to dynamic shapes", None),
    ],
)
def test_without_a_kernel_the_input_tells(given: str, precision: Precision | None) -> None:
    (found,) = read(layer("one", given=given))
    assert found.precision is precision


def test_origins_come_from_metadata_and_from_names() -> None:
    first, second, third = read(
        layer("__myl_ConvRelu", metadata="[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]"),
        layer("conv2 + relu2"),
        "conv3",
        names=("conv2", "conv3"),
    )
    assert first.origins == ("conv1", "relu1")
    assert second.origins == ("conv2",)
    assert (third.origins, third.precision) == (("conv3",), None)


@pytest.mark.parametrize("told", ["", "{", '{"Bindings": []}', "[]"])
def test_an_answer_that_cannot_be_read_is_told(told: str) -> None:
    with pytest.raises(RunFailed, match="inspector"):
        read_layers(told)


def test_layers_get_the_arithmetic_of_their_nodes() -> None:
    layers = read(
        layer("a", "gemm_i8i8_i8i32_f32", metadata="[ONNX Layer: conv1][ONNX Layer: conv2]"),
        layer("b", given="N/A", metadata="[ONNX Layer: conv3]"),
        layer("c", metadata="[ONNX Layer: relu]"),
    )
    products = (
        Product("conv1", "Conv", 50, FP16),
        Product("conv2", "Conv", 30, FP16),
        Product("conv3", "Conv", 10, FP16),
        Product("lost", "MatMul", 10, FP32),
    )
    audit = join_layers(layers, products, Precision.TF32)
    assert [(node.name, node.precision, node.macs) for node in audit.nodes] == [
        ("a", INT8, 80),
        ("b", FP16, 10),
        ("c", FP16, 0),
        ("lost", Precision.TF32, 10),
    ]
    assert audit.shares()[INT8] == pytest.approx(0.8)


def test_the_graph_keeps_what_products_are_counted_by(tmp_path: Path) -> None:
    weight = np.ones((256, 32), np.float16)
    model = parse(
        """g (float16[N,L,256] x) => (float16[N,M,4] y) {
            h = MatMul(x, w)
            y = Reshape(h, shape)
        }""",
        w=weight,
        shape=np.array([0, -1, 4]),
    )
    write_graph(model, tmp_path / "graph.onnx")
    assert (tmp_path / "graph.onnx").stat().st_size < weight.nbytes / 10
    for batch, length in ((1, 5), (3, 7)):
        (product,) = find_products(tmp_path / "graph.onnx", {"x": (batch, length, 256)})
        assert product == Product("matmul_0", "MatMul", batch * length * 256 * 32, FP16)


def test_large_constants_beside_the_model_are_not_needed(tmp_path: Path) -> None:
    model = parse("g (float[N,64] x) => (float[N,8] y) { y = MatMul(x, w) }", w=np.ones((64, 8), np.float32))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=KEPT_ELEMENTS)
    write_graph(onnx.load(tmp_path / "m.onnx", load_external_data=False), tmp_path / "graph.onnx")
    (tmp_path / "m.data").unlink()
    assert find_products(tmp_path / "graph.onnx", {"x": (2, 64)})[0].macs == 2 * 64 * 8


@builds
def test_layer_times_are_medians_over_calls() -> None:
    profiler, taken = make_profiler(load_vendor().module)
    profiler.report_layer_time("early", 9.0)
    for first, second in ((1.0, 4.0), (2.0, 5.0), (30.0, 6.0)):
        taken.begin_call()
        profiler.report_layer_time("a", first)
        profiler.report_layer_time("b", second / 2)
        profiler.report_layer_time("b", second / 2)
    found = describe_times(taken, (Layer("a", "conv", "", None, ("conv1",)),))
    assert found == (NodeTime("a", ("conv1",), 2.0), NodeTime("b", (), 5.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.bool_])
def test_pinned_memory_is_seen_as_an_array(dtype: type) -> None:
    kind = np.dtype(dtype)
    memory = (ctypes.c_uint8 * 256)()
    buffer = Buffer()
    buffer.size, buffer.host = 256, ctypes.addressof(memory)
    view = buffer.view((2, 3), kind)
    view[...] = np.arange(6).reshape(2, 3).astype(kind)
    again = np.frombuffer(bytes(memory), kind, 6).reshape(2, 3)
    assert np.array_equal(again, np.arange(6).reshape(2, 3).astype(kind))
    assert count_bytes((2, 3), kind) == 6 * kind.itemsize
    assert buffer.view((0, 4), kind).shape == (0, 4)
    buffer.size, buffer.host = 0, 0
