from pathlib import Path

import pytest
from quantize_samples import RESIDUAL, RESIDUAL_SHAPES, U8S8, draw, make, solve

from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.target import Target
from assay.graph.quantize import insert_qdq
from assay.graph.save import save_model

TARGET = Target(runtime="onnxruntime")
SCHEME = Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX)


def count_convolutions(folder: Path, backend: OnnxRuntimeBackend, keep: frozenset[str]) -> dict[Precision, int]:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    feeds = draw(model)
    save_model(insert_qdq(model, SCHEME, solve(model, SCHEME, feeds, keep), keep), folder / "model.onnx")
    built = folder / "built"
    built.mkdir()
    backend.build(folder / "model.onnx", built, Plan(Precision.INT8, scheme=SCHEME), TARGET)
    with backend.open(built, TARGET) as session:
        nodes = session.executed(feeds).nodes
    found = [node.precision for node in nodes if "Conv" in node.operator]
    return {precision: found.count(precision) for precision in set(found)}


def test_a_layer_kept_between_integers_runs_in_floats(tmp_path: Path) -> None:
    model = make(RESIDUAL, RESIDUAL_SHAPES)
    depthwise = next(str(node.name) for node in model.graph if node.attributes.get_int("group", 1) == 16)
    found = count_convolutions(tmp_path, OnnxRuntimeBackend(), frozenset({depthwise}))
    assert found == {Precision.INT8: 3, Precision.FP32: 1}


@pytest.mark.parametrize(("integers", "precision"), [(True, Precision.INT8), (False, Precision.FP32)])
def test_pairs_become_integers_only_where_asked(tmp_path: Path, integers: bool, precision: Precision) -> None:  # noqa: FBT001 parametrised
    found = count_convolutions(tmp_path, OnnxRuntimeBackend(integers=integers), frozenset())
    assert found == {precision: 4}
