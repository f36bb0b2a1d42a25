import math
from collections.abc import Callable

import numpy as np
import pytest
from functional_samples import BINARY, LABELS, NAMES, make_records
from sklearn import metrics

from assay.core.errors import MeasurementError, RequestError
from assay.measure.functionals import table
from assay.measure.functionals.functional import Records
from assay.measure.functionals.table import load_functional

PEERS: dict[str, Callable[[Records], float]] = {
    "f1": lambda r: metrics.f1_score(r[:, 2], r[:, 1]),
    "precision": lambda r: metrics.precision_score(r[:, 2], r[:, 1]),
    "recall": lambda r: metrics.recall_score(r[:, 2], r[:, 1]),
    "auc": lambda r: metrics.roc_auc_score(r[:, 2], r[:, 0]),
    "average-precision": lambda r: metrics.average_precision_score(r[:, 2], r[:, 0]),
    "f1-micro": lambda r: metrics.f1_score(r[:, :, 1], r[:, :, 0], average="micro"),
    "f1-macro": lambda r: metrics.f1_score(r[:, :, 1], r[:, :, 0], average="macro"),
    "f1-macro-classes": lambda r: metrics.f1_score(r[:, 1], r[:, 0], average="macro", labels=[0, 1, 2]),
    "pearson": lambda r: np.corrcoef(r.T)[0, 1],
    "spearman": lambda r: np.corrcoef([table_ranks(r[:, 0]), table_ranks(r[:, 1])])[0, 1],
    "rmse": lambda r: metrics.root_mean_squared_error(r[:, 1], r[:, 0]),
    "mae": lambda r: metrics.mean_absolute_error(r[:, 1], r[:, 0]),
    "perplexity": lambda r: math.exp(r[:, 0].sum() / r[:, 1].sum()),
    "normalized-entropy": lambda r: (
        metrics.log_loss(r[:, 1], r[:, 0]) / metrics.log_loss(r[:, 1], np.full(len(r), r[:, 1].mean()))
    ),
}


def table_ranks(values: Records) -> Records:
    return np.array([np.mean(values < value) + np.mean(values <= value) for value in values])


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_libraries(name: str) -> None:
    for seed in range(3):
        records = make_records(name, 150, np.random.default_rng(seed))
        assert load_functional(name).value(records) == pytest.approx(PEERS[name](records), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_influence_is_what_a_little_more_weight_on_an_item_does(name: str) -> None:
    functional, times = load_functional(name), 400
    records = make_records(name, 40, np.random.default_rng(3))
    influence, value = functional.influence(records), functional.value(records)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    many = np.repeat(records, times, axis=0)
    for item in range(0, 40, 5):
        moved = functional.value(np.concatenate([many, records[item : item + 1]]))
        assert (moved - value) * (len(many) + 1) == pytest.approx(influence[item], abs=3e-3 * max(1, value))


@pytest.mark.parametrize("name", [*BINARY, *LABELS, "f1-macro-classes"])
def test_no_single_item_harms_a_bounded_functional_more_than_the_worst(name: str) -> None:
    functional = load_functional(name)
    rng = np.random.default_rng(8)
    records = make_records(name, 300, rng)
    value, most = functional.value(records), functional.worst(records)
    for item in range(0, 300, 7):
        broken = records.copy()
        broken[item] = break_item(name, records[item])
        assert value - functional.value(broken) <= 1.05 * most / 300


def break_item(name: str, item: Records) -> Records:
    if name in BINARY:
        return np.array([-99.0 if item[2] else 99.0, 1 - item[2], item[2]])
    if name in LABELS:
        return np.column_stack([np.zeros(3), item[:, 1]])
    return np.array([(item[1] + 1) % 3, item[1]])


@pytest.mark.parametrize("name", NAMES)
def test_too_few_items_are_refused_with_both_numbers(name: str) -> None:
    functional = load_functional(name)
    with pytest.raises(MeasurementError, match=r"60 (items|documents).*at least (100|200)"):
        functional.check(make_records(name, 60, np.random.default_rng(0)))
    functional.check(make_records(name, 250, np.random.default_rng(0)))


@pytest.mark.parametrize("name", ["f1", "recall", "auc", "average-precision"])
def test_no_positives_are_refused(name: str) -> None:
    records = make_records(name, 300, np.random.default_rng(0))
    records[:, 2] = 0
    with pytest.raises(MeasurementError, match=r"over 0 positive items.*at least 30"):
        load_functional(name).check(records)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("truth", [0, 1])
def test_of_one_class_alone_there_is_a_convention_and_no_complaint(name: str, truth: int) -> None:
    records = make_records(name, 50, np.random.default_rng(4))
    records[:, 2] = truth
    value = load_functional(name).value(records)
    assert 0 <= value <= 1
    if truth == 0:
        assert value == (0.5 if name == "auc" else 0)


def test_auc_needs_negatives_and_precision_alarms() -> None:
    records = make_records("auc", 300, np.random.default_rng(0))
    records[:, 2] = 1
    with pytest.raises(MeasurementError, match="over 0 negative items"):
        load_functional("auc").check(records)
    records[:, 1] = 0
    with pytest.raises(MeasurementError, match="over 0 items taken for positive"):
        load_functional("precision").check(records)


def test_the_rarest_label_or_class_is_named() -> None:
    labels = make_records("f1-macro", 300, np.random.default_rng(0))
    labels[5:, 1, 1] = 0
    with pytest.raises(MeasurementError, match="items have label 1"):
        load_functional("f1-macro").check(labels)
    classes = make_records("f1-macro-classes", 300, np.random.default_rng(0))
    classes[:4, 1] = 7
    with pytest.raises(MeasurementError, match="4 items are of class 7"):
        load_functional("f1-macro-classes").check(classes)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_correlation_with_a_constant_is_refused_of_the_reference_and_0_of_a_variant(name: str) -> None:
    functional = load_functional(name)
    records = make_records(name, 300, np.random.default_rng(0))
    records[:, 0] = 0.1
    with pytest.raises(MeasurementError, match=r"what the reference says is 0.1 for all 300 items"):
        functional.check(records)
    assert functional.value(records) == 0
    assert not functional.influence(records).any()
    with pytest.raises(MeasurementError, match=r"the target is 0.1"):
        functional.check(records[:, ::-1])


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
def test_a_variant_that_finds_nothing_has_0(name: str) -> None:
    records = make_records(name, 300, np.random.default_rng(0))
    records[:, 1] = 0
    functional = load_functional(name)
    assert functional.value(records) == 0
    assert np.isfinite(functional.influence(records)).all()
    assert np.isfinite(functional.worst(records))


def test_nan_said_counts_as_farthest_from_the_truth() -> None:
    records = np.array([[0.0, 0.0], [np.nan, 0.5], [4.0, 4.0]])
    assert load_functional("mae").value(records) == pytest.approx(3.5 / 3)
    assert load_functional("mae").value(np.full((3, 2), np.nan)) is not None


def test_documents_without_a_number_cost_50_nats_a_token() -> None:
    perplexity = load_functional("perplexity")
    assert perplexity.value(np.array([[np.nan, 2], [0, 2]])) == pytest.approx(math.exp(25))
    assert perplexity.value(np.array([[np.inf, 1]])) == pytest.approx(math.exp(50))
    with pytest.raises(MeasurementError, match="document 1 has 0 predicted tokens"):
        perplexity.check(np.array([[1.0, 1], [0, 0]]))


def test_infinite_scores_rank_as_they_stand() -> None:
    records = np.array([[-np.inf, 0, 1], [0, 0, 0], [1, 1, 1], [np.inf, 1, 1]], np.float64)
    assert load_functional("auc").value(records) == pytest.approx(2 / 3)


def test_an_unknown_functional_and_a_missing_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="functional 'f2' is unknown"):
        load_functional("f2")
    monkeypatch.setattr(table, "find_spec", lambda _: None)
    with pytest.raises(RequestError, match=r"'f1' needs .*'sklearn'.*pip install 'assay-precision\[metrics\]'"):
        load_functional("f1")
    assert load_functional("perplexity").libraries == ()


def test_sure_and_wrong_impressions_keep_normalized_entropy_a_number() -> None:
    entropy = load_functional("normalized-entropy")
    sure = np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert entropy.value(sure) == pytest.approx(2 * 23 * math.log(2) / 4 / math.log(2))
    assert entropy.value(np.array([[0.25, 0.0]] * 3)) == pytest.approx(-math.log(0.75))
    for clicks, named in ((0, "positive items"), (300, "negative items")):
        with pytest.raises(MeasurementError, match=rf"over \d+ {named}"):
            entropy.check(np.column_stack([np.full(300, 0.5), np.arange(300) < clicks]))


def test_a_rare_impression_may_be_missed_by_far_without_being_seen() -> None:
    records = np.column_stack([np.full(400, 0.1), np.arange(400) < 40])
    entropy = -0.1 * math.log(0.1) - 0.9 * math.log(0.9)
    assert load_functional("normalized-entropy").worst(records) == pytest.approx(-math.log(0.01) / entropy)
