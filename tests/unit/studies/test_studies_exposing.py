from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from assay.backends.openvino.vendor import read_capabilities
from assay.backends.table import load_backend
from assay.calibrate.observe import observe
from assay.core.errors import RunFailed, UnsupportedPlan
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess
from assay.data.subset import first
from assay.graph.expose import observable_tensors
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.signature import describe_signature
from assay.studies.exposing import fit_batch, open_exposed

FASHION = Path(__file__).parents[3] / "examples" / "fashion"
ITEMS = 32
needs_bf16 = pytest.mark.skipif("BF16" not in read_capabilities("cpu"), reason="this CPU has no BF16 units")


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return prepare(load_model(FASHION / "residual.onnx"))


@needs_bf16
def test_halved_activations_have_the_tensors_names_and_nearly_their_statistics(model: ir.Model, tmp_path: Path) -> None:
    preprocess = Preprocess(scale=255, mean=(0.2860,), std=(0.3530,))
    data = open_dataset(DataSource(str(FASHION / "calibration.npz"), preprocess), describe_signature(model))
    items, tensors, backend = first(data, ITEMS), observable_tensors(model), load_backend("openvino")
    with open_exposed(model, tensors, backend, tmp_path) as session:
        full, wide = observe(session, items, tensors, 8), fit_batch(session, items)
        own = session.signature.outputs[0].name
        names = {spec.name for spec in session.signature.outputs}
    with open_exposed(model, tensors, backend, tmp_path, halved=True) as session:
        types = {spec.name: spec.dtype for spec in session.signature.outputs}
        feeds = next(items.batches(4)).feeds
        outputs, streamed = session.run(feeds), next(session.stream([feeds]))
        halved, narrow = observe(session, items, tensors, 8), fit_batch(session, items)
        assert session.executed(feeds).nodes
    assert set(types) == names
    assert types.pop(own) == "float32"
    assert set(types.values()) == {"bfloat16"}
    assert outputs.keys() == streamed.keys() == names
    assert {name for name, array in outputs.items() if array.dtype == ml_dtypes.bfloat16} == set(types)
    assert narrow >= wide
    for name, one in halved.tensors.items():
        other = full.tensors[name]
        assert one.count == other.count
        np.testing.assert_allclose(one.total_squares, other.total_squares, rtol=0.02, err_msg=name)
    with pytest.raises(RunFailed):
        session.run(feeds)


@pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
def test_a_runtime_without_bf16_by_a_hint_is_refused(model: ir.Model, runtime: str, tmp_path: Path) -> None:
    opened = open_exposed(model, observable_tensors(model), load_backend(runtime), tmp_path, halved=True)
    with pytest.raises(UnsupportedPlan, match="bf16"), opened:
        pass
