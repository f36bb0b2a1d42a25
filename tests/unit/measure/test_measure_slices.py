from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from measure_samples import ArrayDataset, FunctionSession, write_linear_model
from numpy.typing import NDArray
from onnx import numpy_helper

from assay.backends.table import load_backend
from assay.core.certificate import CertificateStatus, SliceCertificate
from assay.core.errors import DataError, MeasurementError, RequestError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.requirements import SliceRule
from assay.core.session import Metric, Scores
from assay.core.target import Target
from assay.core.tensor import Array
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.data.subset import every
from assay.measure.quality import score_dataset
from assay.measure.statistics.paired import compare
from assay.measure.statistics.slices import (
    certify_slices,
    describe_slices,
    find_dead_classes,
    judge_slices,
)
from assay.measure.tasks.agreement import AGREEMENT
from assay.measure.tasks.classification import TOP1, Classification

ERROR_RATE = Metric("error", higher_is_better=False, labelled=True)
FIVE = SliceRule.parse("class: 5pp")
WORSE, OPEN, CERTIFIED = CertificateStatus.WORSE, CertificateStatus.OPEN, CertificateStatus.CERTIFIED


def make_scores(hits: NDArray[np.float64], classes: Array, name: str = "top1") -> Scores:
    return Scores({name: hits}, (hits > 0.5).astype(np.int64), columns={"class": classes})


def make_pair(counts: dict[int, tuple[int, int, int]], right: float = 0.9) -> tuple[Scores, Scores]:
    """Classes of so many items, of which so many are lost and so many won."""
    before, after, classes = [], [], []
    for value, (n, lost, won) in counts.items():
        hits = np.zeros(n)
        hits[: round(right * n)] = 1
        changed = hits.copy()
        changed[:lost] = 0
        changed[n - won :] = 1
        before.append(hits)
        after.append(changed)
        classes.append(np.full(n, value))
    column = np.concatenate(classes)
    return make_scores(np.concatenate(before), column), make_scores(np.concatenate(after), column)


def by_value(found: tuple[SliceCertificate, ...]) -> dict[str, SliceCertificate]:
    return {part.value: part for part in found}


def test_a_dead_class_is_named_and_the_others_are_certified() -> None:
    reference, variant = make_pair({3: (400, 2, 1), 7: (400, 150, 0), 8: (400, 0, 0)})
    found = certify_slices(TOP1, reference, variant, FIVE, 0.95)
    assert [part.value for part in found] == ["7", "3", "8"]
    assert [part.status for part in found] == [WORSE, CERTIFIED, CERTIFIED]
    dead = found[0]
    assert (dead.n, dead.reference, dead.variant, dead.loss) == (400, 0.9, pytest.approx(0.525), 0.375)
    assert 0.3 < dead.low < 0.375 < dead.high < 0.43
    assert judge_slices(found) is WORSE
    words = describe_slices(found)
    assert words.startswith("loses 37.5 pp in class 7 (at least 3")
    assert words.endswith("tolerated 5 pp)")


def test_bounds_are_those_of_the_comparison_of_the_slice() -> None:
    reference, variant = make_pair({0: (300, 9, 2), 1: (200, 60, 3)})
    found = by_value(certify_slices(TOP1, reference, variant, FIVE, 0.95))
    for value, n in (("0", 300), ("1", 200)):
        rows = np.flatnonzero(reference.columns["class"] == int(value))
        alone = compare(TOP1, reference.select(rows), variant.select(rows), 0.95)
        assert found[value].n == n
        assert found[value].high == pytest.approx(-alone.low)
        assert found[value].low < -alone.high < found[value].loss
        assert found[value].loss == pytest.approx(-alone.difference)


def test_a_slice_that_no_data_could_certify_holds_nothing_up_but_can_be_worse() -> None:
    reference, variant = make_pair({0: (500, 0, 0), 1: (58, 0, 0), 2: (59, 0, 0)})
    found = by_value(certify_slices(TOP1, reference, variant, FIVE, 0.95))
    assert {part.items_needed for part in found.values()} == {59}
    assert (found["1"].status, found["2"].status) == (OPEN, CERTIFIED)
    assert judge_slices(tuple(found.values())) is CERTIFIED
    assert (
        describe_slices(tuple(found.values())) == "2 of 3 slices are certified; 1 too small for that with these items"
    )
    reference, variant = make_pair({0: (500, 0, 0), 1: (30, 27, 0)})
    found = by_value(certify_slices(TOP1, reference, variant, FIVE, 0.95))
    assert found["1"].status is WORSE
    assert found["1"].n < found["1"].items_needed
    assert judge_slices(tuple(found.values())) is WORSE


def test_where_all_slices_are_too_small_nothing_is_certified() -> None:
    reference, variant = make_pair({0: (30, 0, 0), 1: (30, 0, 0)})
    assert judge_slices(certify_slices(TOP1, reference, variant, FIVE, 0.95)) is OPEN


def test_a_slice_with_enough_items_that_is_not_certified_is_open() -> None:
    reference, variant = make_pair({0: (500, 0, 0), 1: (100, 3, 0), 2: (20, 1, 0)})
    found = certify_slices(TOP1, reference, variant, FIVE, 0.95)
    assert [part.value for part in found] == ["1", "2", "0"]
    assert judge_slices(found) is OPEN
    assert describe_slices(found).startswith("cannot tell of class 1 (loses 3.0 pp, at most ")


def test_lower_is_better() -> None:
    reference, variant = make_pair({0: (400, 2, 1), 7: (400, 150, 0)})
    flipped = [
        Scores({"error": 1 - one.metrics["top1"]}, one.predictions, columns=one.columns) for one in (reference, variant)
    ]
    higher = certify_slices(TOP1, reference, variant, FIVE, 0.95)
    lower = certify_slices(ERROR_RATE, flipped[0], flipped[1], FIVE, 0.95)
    assert [(part.value, part.status) for part in lower] == [("7", WORSE), ("0", CERTIFIED)]
    for one, other in zip(higher, lower, strict=True):
        assert (one.loss, one.low, one.high) == (other.loss, other.low, other.high)
        assert one.reference == pytest.approx(1 - other.reference)
        assert one.variant == pytest.approx(1 - other.variant)


def test_a_relative_margin_is_a_share_of_what_the_slice_surely_has() -> None:
    reference, variant = make_pair({0: (2000, 70, 0), 1: (2000, 5, 0)}, right=0.5)
    found = by_value(certify_slices(TOP1, reference, variant, SliceRule.parse("class: 10%"), 0.95))
    assert found["0"].margin == pytest.approx(0.05)
    assert found["0"].status is CERTIFIED
    # 4.44 pp at most is within 5 pp, but the slice's reference is 0.5 only within its error.
    reference, variant = make_pair({0: (2000, 79, 0), 1: (2000, 200, 0)}, right=0.5)
    found = by_value(certify_slices(TOP1, reference, variant, SliceRule.parse("class: 10%"), 0.95))
    assert 0.046 < found["0"].high < found["0"].margin
    assert found["0"].status is OPEN
    assert found["1"].status is WORSE


def test_a_slice_that_the_reference_gets_all_wrong_holds_nothing_up() -> None:
    reference, variant = make_pair({0: (300, 0, 0), 1: (900, 0, 0)})
    hits = np.where(reference.columns["class"] == 0, 0, reference.metrics["top1"])
    pair = [make_scores(hits, one.columns["class"]) for one in (reference, variant)]
    found = certify_slices(TOP1, pair[0], pair[1], SliceRule.parse("class: 10%"), 0.95)
    assert [(part.value, part.status) for part in found] == [("0", OPEN), ("1", CERTIFIED)]
    assert found[0].margin == 0
    assert judge_slices(found) is CERTIFIED


def test_agreement_needs_no_targets_but_a_column() -> None:
    predictions = np.arange(400) % 4
    column = np.repeat(["day", "night"], 200)
    reference = Scores({}, predictions, columns={"light": column})
    changed = np.where((column == "night") & (np.arange(400) % 3 > 0), 9, predictions)
    found = certify_slices(AGREEMENT, reference, Scores({}, changed), SliceRule.parse("light: 5pp"), 0.95)
    assert [(part.value, part.status, part.items_needed) for part in found] == [
        ("night", WORSE, 59),
        ("day", CERTIFIED, 59),
    ]


def test_scores_between_0_and_1_are_bounded_by_betting() -> None:
    rng = np.random.default_rng(5)
    classes = np.repeat([0, 1], 400)
    before = rng.uniform(0.6, 0.9, 800)
    after = before - np.where(classes == 1, 0.3, 0.0) + rng.uniform(-0.01, 0.01, 800)
    found = certify_slices(TOP1, make_scores(before, classes), make_scores(after, classes), FIVE, 0.95)
    assert [(part.value, part.status) for part in found] == [("1", WORSE), ("0", CERTIFIED)]
    assert found[0].low < 0.3 < found[0].high
    assert found[1].items_needed <= 400
    with pytest.raises(MeasurementError, match=r"outside \[0, 1\]"):
        certify_slices(TOP1, make_scores(before + 1, classes), make_scores(after, classes), FIVE, 0.95)


def test_a_functional_refuses_small_slices_and_says_why() -> None:
    rng = np.random.default_rng(6)
    column = np.repeat(["large", "small"], [4000, 12])
    truth = rng.integers(0, 2, 4012)
    said = np.where(rng.random(4012) < 0.9, truth, 1 - truth)
    record = np.stack([said, said, truth], axis=1).astype(np.float64)
    metric = Metric("f1", higher_is_better=True, labelled=True, functional="f1", record="binary")
    scores = Scores({}, said, {"binary": record}, columns={"source": column})
    found = by_value(certify_slices(metric, scores, scores, SliceRule.parse("source: 5pp"), 0.95))
    assert found["large"].status is CERTIFIED
    assert found["large"].items_needed <= 4000
    assert found["small"].status is OPEN
    assert found["small"].items_needed > 12
    assert found["small"].reason
    assert judge_slices(tuple(found.values())) is CERTIFIED


def test_a_missing_column_is_named_with_those_there_are() -> None:
    reference, variant = make_pair({0: (10, 0, 0)})
    with pytest.raises(RequestError, match="no column 'camera'; their columns are class"):
        certify_slices(TOP1, reference, variant, SliceRule.parse("camera: 5pp"), 0.95)
    with pytest.raises(MeasurementError, match="10 items of the reference cannot be paired with 5"):
        certify_slices(TOP1, reference, variant.select(slice(0, 5)), FIVE, 0.95)


def test_holm_proves_more_than_bonferroni() -> None:
    """Every class but one loses far more than is tolerated: the last step asks for the whole error rate only."""
    counts = dict.fromkeys(range(9), (100, 60, 0))
    alone = None
    for lost in range(5, 40):
        reference, variant = make_pair(counts | {9: (100, lost, 0)})
        found = by_value(certify_slices(TOP1, reference, variant, FIVE, 0.95))["9"]
        if found.status is WORSE:
            alone = found
            break
    assert alone is not None
    assert alone.low < alone.margin
    assert describe_slices((alone,)) == f"loses {alone.loss * 100:.1f} pp in class 9 (proven beyond the tolerated 5 pp)"
    # Among classes that lose nothing, the same loss proves nothing.
    reference, variant = make_pair(dict.fromkeys(range(9), (100, 0, 0)) | {9: (100, round(alone.loss * 100), 0)})
    assert by_value(certify_slices(TOP1, reference, variant, FIVE, 0.95))["9"].status is OPEN


def test_dead_classes_are_found_where_nobody_asks() -> None:
    reference, variant = make_pair({0: (400, 0, 0), 1: (400, 60, 0), 2: (400, 300, 0), 3: (5, 4, 0)})
    found = find_dead_classes(TOP1, reference, variant, 0.95)
    assert [(part.value, part.status, part.margin) for part in found] == [("2", WORSE, 0.1), ("1", WORSE, 0.1)]
    assert judge_slices(found) is WORSE
    assert [part.value for part in find_dead_classes(TOP1, reference, variant, 0.95, margin=0.3)] == ["2"]
    assert find_dead_classes(TOP1, reference, reference, 0.95) == ()
    bare = Scores(reference.metrics, reference.predictions)
    assert find_dead_classes(TOP1, bare, bare, 0.95) == ()


@pytest.mark.parametrize("varied", [False, True])
def test_a_thousand_classes_take_no_time(*, varied: bool) -> None:
    rng = np.random.default_rng(7)
    sizes = rng.poisson(50, 1000) + 1 if varied else np.full(1000, 50)
    classes = np.repeat(np.arange(1000), sizes)
    before = (rng.random(len(classes)) < 0.8).astype(np.float64)
    after = np.where(rng.random(len(classes)) < 0.03, 1 - before, before)
    after[classes == 700] = 0
    reference, variant = make_scores(before, classes), make_scores(after, classes)
    begin = time.process_time()
    found = certify_slices(TOP1, reference, variant, FIVE, 0.95)
    assert find_dead_classes(TOP1, reference, variant, 0.95)[0].value == "700"
    assert time.process_time() - begin < 4
    assert found[0].value == "700"
    assert len(found) == 1000
    assert sum(part.status is WORSE for part in found) == 1


def test_a_model_that_lost_one_class_is_rejected_although_the_whole_is_certified(tmp_path: Path) -> None:
    """Twenty classes, one of whose weights are gone: 5% of the items."""
    weight = write_linear_model(tmp_path / "float.onnx", classes=20, width=16)
    rng = np.random.default_rng(8)
    targets = np.arange(8000) % 20
    items = (weight.T / np.linalg.norm(weight, axis=0)[:, None])[targets] * 3
    items = (items + 0.5 * rng.standard_normal((8000, 16))).astype(np.float32)
    np.savez(tmp_path / "items.npz", x=items, target=targets, site=np.where(targets == 13, "harbour", "town"))
    broken = weight.copy()
    broken[:, 13] = 0
    model = onnx.load(tmp_path / "float.onnx")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(broken, "w"))
    onnx.save(model, tmp_path / "broken.onnx")
    scored = [score_model(tmp_path / name, tmp_path / "items.npz") for name in ("float.onnx", "broken.onnx")]
    whole = compare(TOP1, scored[0], scored[1], 0.95)
    assert -whole.low < 0.06
    for column, value in (("class", "13"), ("site", "harbour")):
        found = certify_slices(TOP1, scored[0], scored[1], SliceRule.parse(f"{column}: 6pp"), 0.95)
        assert judge_slices(found) is WORSE
        assert [part.value for part in found if part.status is WORSE] == [value]
        assert f"in {column} {value} (at least" in describe_slices(found)
    assert [part.value for part in find_dead_classes(TOP1, scored[0], scored[1], 0.95)] == ["13"]


def score_model(model: Path, items: Path) -> Scores:
    backend, target = load_backend("onnxruntime"), Target("onnxruntime")
    built = model.with_suffix("")
    built.mkdir()
    backend.build(model, built, Plan(Precision.FP32), target)
    with backend.open(built, target) as session:
        dataset = open_dataset(DataSource(str(items), columns=("site",)), session.signature)
        return score_dataset(session, dataset, Classification(), 500, lambda _: None).scores


def test_columns_of_the_data_and_the_classes_are_kept_with_the_scores(tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]
    np.savez(tmp_path / "a.npz", x=x, target=np.array([0, 1, 2, 3, 1]), site=np.array(["a", "b", "a", "c", "b"]))
    session = FunctionSession(lambda values: {"y": values})
    dataset = open_dataset(DataSource(str(tmp_path / "a.npz"), columns=("site",)), session.signature)
    scored = score_dataset(session, every(dataset, [1, 3, 4]), Classification(), 2, lambda _: None).scores
    assert {name: values.tolist() for name, values in scored.columns.items()} == {
        "class": [1, 3, 1],
        "site": ["b", "c", "b"],
    }
    unlabelled = score_dataset(session, ArrayDataset(x, None), Classification(), 2, lambda _: None).scores
    assert unlabelled.columns == {}


def test_a_wrong_target_is_named_by_its_index_in_the_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 4), np.float32), target=np.array([0, 1, 2, 3, 1, 0, 0, 40, 0]))
    session = FunctionSession(lambda values: {"y": values})
    dataset = every(open_dataset(DataSource(str(tmp_path / "a.npz")), session.signature), [0, 5, 7, 8])
    with pytest.raises(DataError, match="item 7"):
        score_dataset(session, dataset, Classification(), 4, lambda _: None)
