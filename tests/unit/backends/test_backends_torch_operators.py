"""The torch adapter's operators against the cases that ONNX itself comes with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from onnx.backend.test.case import node as onnx_cases  # noqa: E402 - after the skip, for it takes time

from assay.backends.torch.catalogue import STANDARD  # noqa: E402 - needs torch
from assay.backends.torch.execution import Engine  # noqa: E402
from assay.backends.torch.loading import load_model  # noqa: E402
from assay.backends.torch.session import from_array, to_array  # noqa: E402
from assay.backends.torch.settings import Settings  # noqa: E402

EAGER = Settings(compiled=False)
PLAIN = frozenset({1, 2, 3, 5, 6, 7, 9, 10, 11, 16})
"""Element types that are taken: floats of 16 to 64 bits, signed integers, bytes and truth values."""
LEFT_OUT = (
    "training",  # dropout and statistics of a batch: nothing of inference
    "argmax_2d_precomputed",  # places of maxima
    "tf_crop",
    "antialias",
    "empty_set",
    "einsum_scalar",
    "window",
    "blocked",
)
QUICK = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "Slice", "Pad", "TopK", "GatherND", "ScatterND",
    "ScatterElements", "LSTM", "GRU", "RNN", "NonMaxSuppression", "Split", "Squeeze", "Unsqueeze", "ReduceMean", "Gemm",
    "DepthToSpace", "CumSum", "OneHot", "Trilu", "LayerNormalization", "DynamicQuantizeLinear", "MatMulInteger",
    "QLinearConv", "QLinearMatMul", "ConvInteger", "Softmax", "Where", "Expand", "Tile", "Mod", "Clip",
)  # fmt: skip


@cache
def collect_all() -> list[Any]:
    """All of them, which takes ONNX long; it makes its cases once in a process, whatever operator is asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in onnx_cases.collect_testcases(None) if is_taken(case)]


def collect_own(operator: str) -> list[Any]:
    """Those of the module that ONNX names after the operator: it makes its cases where it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module(f"{onnx_cases.__name__}.{operator.lower()}")
    return select(operator, filter(is_taken, onnx_cases._NodeTestCases))  # noqa: SLF001 - no other way to some alone


def select(operator: str, cases: Iterable[Any]) -> list[Any]:
    return [case for case in cases if case.model.graph.node[0].op_type == operator]


def is_taken(case: Any) -> bool:  # noqa: ANN401 - ONNX's own
    values = [*case.model.graph.input, *case.model.graph.output]
    plain = all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in PLAIN for v in values)
    single = len(case.model.graph.node) == 1
    return plain and single and not any(text in case.name for text in LEFT_OUT)


def check_case(case: Any, folder: Path) -> None:  # noqa: ANN401 - as above
    path = folder / "model.onnx"
    onnx.save(case.model, path)
    model, _ = load_model(path, EAGER, "cpu")
    names = [value.name for value in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        engine = Engine(model, EAGER, 1)
        feeds = dict(zip(names, inputs, strict=False))
        tensors = tuple(from_array(np.asarray(feeds[name]), "cpu") for name in model.inputs)
        for _ in range(2):  # followed, then from its torch graph
            for found, wanted in zip(engine.call(tensors), outputs, strict=False):
                array, expected = to_array(found), np.asarray(wanted)
                assert (array.shape, array.dtype) == (expected.shape, expected.dtype), case.name
                loose = 5e-2 if array.dtype.itemsize == 2 else 1e-4
                np.testing.assert_allclose(
                    array.astype(np.float64), expected.astype(np.float64), 3e-3, loose, err_msg=case.name
                )


@pytest.mark.parametrize("operator", QUICK)
def test_operators_do_what_onnx_says(operator: str, tmp_path: Path) -> None:
    cases = collect_own(operator)
    assert cases
    for case in cases:
        check_case(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("operator", sorted(STANDARD))
def test_all_operators_do_what_onnx_says(operator: str, tmp_path: Path) -> None:
    for case in select(operator, collect_all()):
        check_case(case, tmp_path)
