"""Small models for the tests of TVM, and how they are compiled and run there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import numpy_helper, parser

from assay.backends.table import load_backend
from assay.backends.tvm.compilation import Compiled, compile_model
from assay.backends.tvm.engine import Engine
from assay.backends.tvm.machine import Machine, describe_x86, find_machine
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Signature, TensorSpec


def need_tvm() -> None:
    """Skip where TVM is missing, with the reason."""
    availability = load_backend("tvm").probe()
    if not availability.available:
        pytest.skip(f"tvm: {availability.missing}")


def choose_machine(kind: str) -> Machine:
    """The machine ``here``, or a ``plain`` one without integer dot products, which this one can stand for."""
    need_tvm()
    here = find_machine()
    if kind == "here":
        return here
    if here.architecture != "x86_64" or here.lanes < 8:
        pytest.skip("this processor cannot stand for an older one")
    return describe_x86(frozenset({"avx2", "fma"}))


def parse(text: str, opset: int = 21, **weights: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX's text form, its weights given as arrays."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]>\n{text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def open_built(model: onnx.ModelProto, folder: Path, precision: Precision = Precision.FP32, batch: int = 1) -> Session:
    """Build in a folder and open."""
    source, built = folder / "source.onnx", folder / "built"
    onnx.save(model, source)
    built.mkdir()
    target = Target("tvm", batch=batch)
    load_backend("tvm").build(source, built, Plan(precision), target)
    source.unlink()
    return load_backend("tvm").open(built, target)


def evaluate(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first output by ONNX's own evaluator."""
    return np.asarray(onnx.reference.ReferenceEvaluator(model).run(None, dict(feeds))[0])


def compile_and_run(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], machine: Machine
) -> tuple[np.ndarray, Compiled]:
    """The only output ``y``, computed on this processor with the code for a machine, and what was compiled."""
    compiled = compile_model(model, {name: array.shape for name, array in feeds.items()}, machine, 1)
    specs = tuple(TensorSpec(name, array.dtype.name, array.shape) for name, array in feeds.items())
    engine = Engine(
        compiled.executable,
        Signature(specs, (TensorSpec("y", "float32", None),)),
        tuple(array.shape for array in feeds.values()),
    )
    return np.asarray(engine.run(feeds)["y"]), compiled


def quantized_conv(rng: np.random.Generator, kind: str, shape: tuple[int, ...], text: str) -> onnx.ModelProto:
    """Codes in, a convolution of them with a weight per channel, floats out.

    Args:
        rng: for the weight.
        kind: ``uint8`` or ``int8`` activations.
        shape: of the weight.
        text: attributes of the convolution.
    """
    weight = rng.integers(-127, 128, shape).astype(np.int8)
    scale = rng.uniform(0.5, 1.5, shape[0]).astype(np.float32) * np.float32(0.01)
    zero = np.array(7 if kind == "uint8" else -5, kind)
    body = f"""g ({kind}[N, C, H, W] q) => (float[N, M, Y, X] y) {{
        x = DequantizeLinear(q, xs, xz)
        w = DequantizeLinear<axis = 0>(wq, ws, wz)
        y = Conv<{text}>(x, w, b)
    }}"""
    bias = rng.standard_normal(shape[0]).astype(np.float32)
    zeros = np.zeros(shape[0], np.int8)
    return parse(body, xs=np.float32(0.02), xz=zero, wq=weight, ws=scale, wz=zeros, b=bias)


def convert_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with FP16 tensors everywhere."""
    half = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    arrays = {one.name: numpy_helper.to_array(one).astype(np.float16) for one in half.graph.initializer}
    del half.graph.initializer[:]
    half.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return half
