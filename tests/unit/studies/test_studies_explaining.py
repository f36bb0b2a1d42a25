from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graph_samples import fill, write
from onnx import numpy_helper
from quantize_samples import HEADER, U8S8, U8S8_LOOSE

from assay.backends.table import load_backend
from assay.core.explanation import Explanation
from assay.core.plan import Candidate, IntegerDialect, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.requirements import Objective, Requirements, Tolerance
from assay.core.sensitivity import Mend
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.studies.blaming import Case, blame_groups, realise_form
from assay.studies.calibrating import Calibrator, Pool
from assay.studies.explaining import explain_trial
from assay.studies.progress import Silent
from assay.studies.request import StudyRequest
from assay.studies.set_statistics import ObservedModel
from assay.studies.store import StudyStore
from assay.studies.subject import load_subject

TEXT = (
    HEADER
    + """g (float[N, 3, 12, 12] image) => (float[N, 6] logits) {
    [first] a = Conv<kernel_shape = [3, 3]>(image, w1, b1)
    a1 = Relu(a)
    [depthwise] b = Conv<kernel_shape = [3, 3], group = 16>(a1, w2, b2)
    b1r = Relu(b)
    [mixing] c = Conv<kernel_shape = [1, 1]>(b1r, w3, b3)
    c1 = Relu(c)
    [last] d = Conv<kernel_shape = [3, 3]>(c1, w4, b4)
    d1 = Relu(d)
    q = GlobalAveragePool(d1)
    f = Flatten(q)
    [head] logits = Gemm<transB = 1>(f, w5, b5)
}"""
)
SHAPES = {
    "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 1, 3, 3), "b2": (16,), "w3": (16, 16, 1, 1), "b3": (16,),
    "w4": (16, 16, 3, 3), "b4": (16,), "w5": (6, 16), "b5": (6,),
}  # fmt: skip


PLAN = Plan(Precision.INT8, scheme=Scheme(U8S8, Placement.CHAIN, RangeMethod.MIN_MAX))


def rescale(model: onnx.ModelProto, name: str, axis: int, factors: np.ndarray) -> None:
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(weight)
    shape = [-1 if place == axis else 1 for place in range(values.ndim)]
    weight.CopyFrom(numpy_helper.from_array((values * factors.reshape(shape)).astype(np.float32), name))


def write_network(folder: Path, written: str, read: str, factors: np.ndarray) -> Path:
    """A network whose channels behind the layer ``written`` are scaled, and back in front of ``read``."""
    model = ir.to_proto(fill(TEXT, np.random.default_rng(0), **SHAPES))
    for name, axis, scales in ((f"w{written}", 0, factors), (f"b{written}", 0, factors), (f"w{read}", 1, 1 / factors)):
        rescale(model, name, axis, scales)
    return write(folder, model)


def explain(
    folder: Path, model: Path, dialect: IntegerDialect, keep: tuple[str, ...] = (), kept: Precision = Precision.FP32
) -> Explanation:
    rng = np.random.default_rng(4)
    images = rng.standard_normal((64, 3, 12, 12)).astype(np.float32)
    np.savez(folder / "items.npz", image=images, target=rng.integers(0, 6, 64))
    source = DataSource(path=str(folder / "items.npz"))
    request = StudyRequest(
        model=model,
        output=folder / "STUDY",
        task="classification",
        evaluation=source,
        calibration=source,
        requirements=Requirements(Tolerance.parse("top1: 1pp"), Objective.LATENCY),
        calibration_items=48,
    )
    subject = load_subject(model)
    scheme = Scheme(dialect, Placement.CHAIN, RangeMethod.MIN_MAX)
    plan = Plan(Precision.INT8, scheme=scheme, overrides=tuple((name, kept) for name in keep))
    items = open_dataset(source, subject.signature)
    store = StudyStore(folder / "STUDY", "0123456789abcdef")
    return explain_trial(store, Candidate("onnxruntime", plan), request, subject, items, Silent())


def test_an_outlying_channel_is_named_with_the_repair_of_outliers(tmp_path: Path) -> None:
    factors = np.ones(16)
    factors[5] = 400
    found = explain(tmp_path, write_network(tmp_path, "3", "4", factors), U8S8_LOOSE)
    worst = found.blames[0]
    assert worst.sensitivity.group.name == "last"  # it reads the outlying channel as integers
    assert worst.share > 0.5
    assert worst.activations[0].name == "c1"
    assert worst.activations[0].outlying == pytest.approx(1 / 16)
    assert worst.proposals[0].mend is Mend.REPAIR
    assert "'c1'" in worst.proposals[0].reason
    assert worst.proposals[-1].mend is Mend.KEEP
    assert worst.kept is not None
    assert worst.kept.noise < 0.5 * found.sensitivities.together.noise


def test_a_depthwise_weight_with_one_scale_is_named_with_a_scale_per_channel(tmp_path: Path) -> None:
    factors = np.exp2(np.linspace(-5, 5, 16))
    dialect = IntegerDialect(U8S8.activation, symmetric=False, per_channel=False, chain_operators=U8S8.chain_operators)
    # What comes in is scaled the other way, so that what goes out is even.
    model = ir.to_proto(fill(TEXT, np.random.default_rng(0), **SHAPES))
    rescale(model, "w2", 0, factors)
    for name in ("w1", "b1"):
        rescale(model, name, 0, 1 / factors)
    found = explain(tmp_path, write(tmp_path, model), dialect)
    by_name = {blame.sensitivity.group.name: blame for blame in found.blames}
    assert by_name["depthwise"].weights[0].spread > 4
    assert not by_name["depthwise"].weights[0].per_channel
    assert by_name["depthwise"].rank == 1
    assert Mend.PER_CHANNEL in [proposal.mend for proposal in by_name["depthwise"].proposals]


def test_shares_and_order_agree_with_what_was_measured(tmp_path: Path) -> None:
    found = explain(tmp_path, write_network(tmp_path, "3", "4", np.ones(16)), U8S8)
    assert [blame.rank for blame in found.blames] == [1, 2, 3, 4, 5]
    assert sum(blame.share for blame in found.blames) == pytest.approx(1)
    assert sorted((blame.share for blame in found.blames), reverse=True) == [blame.share for blame in found.blames]
    together = found.sensitivities.together
    assert found.sensitivities.groups[-1].cumulative == together
    assert found.sensitivities.groups[0].cumulative == found.sensitivities.groups[0].alone
    assert found.sensitivities.items == 64
    assert 20 < together.sqnr_db < 60
    assert together.loss is not None
    assert 0 < together.loss < 0.2


def test_the_groups_of_a_chain_are_linked_one_by_one(tmp_path: Path) -> None:
    graph = explain(tmp_path, write_network(tmp_path, "3", "4", np.ones(16)), U8S8).graph
    assert [group.name for group in graph.groups] == ["first", "depthwise", "mixing", "last", "head"]
    assert graph.edges == ((0, 1), (1, 2), (2, 3), (3, 4))


def test_a_kept_node_stays_on_the_graph_and_out_of_the_ranking(tmp_path: Path) -> None:
    model = write_network(tmp_path, "3", "4", np.ones(16))
    found = explain(tmp_path, model, U8S8, ("mixing",))
    assert [group.name for group in found.graph.groups] == ["first", "depthwise", "mixing", "last", "head"]
    assert found.graph.groups[2].quantized == ()
    assert "mixing" not in {blame.sensitivity.group.name for blame in found.blames}
    assert found.graph.edges == ((0, 1), (1, 2), (2, 3), (3, 4))


def test_what_is_kept_in_bf16_is_explained_as_in_fp32(tmp_path: Path) -> None:
    model = write_network(tmp_path, "3", "4", np.ones(16))
    narrow, wide = (explain(tmp_path, model, U8S8, ("mixing",), kept) for kept in (Precision.BF16, Precision.FP32))
    assert narrow.sensitivities.groups == wide.sensitivities.groups
    assert "mixing" not in {blame.sensitivity.group.name for blame in narrow.blames}


def test_a_running_study_explains_what_it_has_measured_without_another_run(tmp_path: Path) -> None:
    model = write_network(tmp_path, "3", "4", np.ones(16))
    whole = explain(tmp_path, model, U8S8)
    subject = load_subject(model)
    source = DataSource(path=str(tmp_path / "items.npz"))
    items = open_dataset(source, subject.signature)
    backend = load_backend("onnxruntime")
    observed = ObservedModel("model", subject.prepared, backend, None)
    store = StudyStore(tmp_path / "STUDY", "0123456789abcdef")
    form = realise_form(PLAN, Calibrator(observed, Pool(items, 48), store, Silent()))
    case = Case("onnxruntime.int8", form, (), (Precision.FP32,))
    found = blame_groups(case, "top1", whole.sensitivities, {}, form.observed.calibration)
    assert found.graph == whole.graph
    assert [(b.rank, b.share) for b in found.blames] == [(b.rank, b.share) for b in whole.blames]
    assert all(blame.kept is None for blame in found.blames)
    assert all(blame.activations for blame in found.blames)
    assert [b.proposals[-1].mend for b in found.blames if b.proposals] == [Mend.KEEP] * sum(
        bool(b.proposals) for b in whole.blames
    )
