"""``assay load`` inside one process: what it refuses, what it sends, how it concludes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from study_samples import write_model

from assay.core.errors import DataError, ModelError, RequestError
from assay.core.estimate import Estimate
from assay.core.price import Price
from assay.core.requirements import Constraint
from assay.core.stability import Stability, Symptom, SymptomKind
from assay.core.target import Target
from assay.core.tensor import TensorSpec
from assay.decide.finding import Finding, Verdict
from assay.measure.scenarios.outcome import Driver, Outcome, Scenario
from assay.studies.load_target import LoadTarget, draw, find_target, make_queries
from assay.studies.loading import LoadRequest, LoadStatus, conclude, explain_cores, run_load
from assay.studies.progress import Silent

P99 = Constraint.parse("p99 <= 10ms at 99%")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("load") / "small.onnx"
    write_model(path, np.random.default_rng(0))
    return path


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"scenario": Scenario.SERVER}, "needs a rate"),
        ({"rate": 10.0}, "does not fit"),
        ({"scenario": Scenario.SERVER, "rate": 0.0}, "does not fit"),
        ({"scenario": Scenario.OFFLINE, "constraints": (P99,)}, "no latency offline"),
        ({"constraints": (Constraint.parse("size <= 1MB"),)}, "not about load"),
        ({"constraints": (Constraint.parse("fps >= 30"),)}, "not about load"),
        ({"scenario": Scenario.SERVER, "searching": True}, "find-rate needs"),
        ({"searching": True, "constraints": (P99,)}, "find-rate needs"),
        (
            {"scenario": Scenario.SERVER, "searching": True, "constraints": (P99,), "driver": Driver.LOADGEN},
            "find-rate needs",
        ),
        ({"workers": 2}, "several workers"),
        ({"workers": 0}, "out of range"),
        ({"seconds": 0.0}, "out of range"),
        ({"machine": "box"}, "no price file"),
    ],
)
def test_contradictions_are_refused(keys: dict[str, object], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        LoadRequest("m.onnx", **{"scenario": Scenario.SINGLE_STREAM, **keys})  # type: ignore[arg-type] # wrong on purpose


def make_outcome(*findings: str, reasons: tuple[str, ...] = (), overloaded: bool = False) -> Outcome:
    rate = Estimate(100.0, 90.0, 110.0, 0.95, 20, "items/s")
    steady = Stability(100, 100, 0, 0, 0, 0, tuple(Symptom(SymptomKind.DRIFT, 0.1, words) for words in findings))
    return Outcome(
        Scenario.SERVER, Driver.OWN, 100, 1, 1.0, None, rate, 100.0, steady, not (findings or reasons),
        (*reasons, *findings), (), (), overloaded,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "verdicts", "accept", "status"),
    [
        (make_outcome(), (), False, LoadStatus.HOLDS),
        (make_outcome(), (Verdict.MEETS,), False, LoadStatus.HOLDS),
        (make_outcome(), (Verdict.MEETS, Verdict.FAILS), False, LoadStatus.BROKEN),
        (make_outcome(), (Verdict.UNDECIDED,), False, LoadStatus.OPEN),
        (make_outcome("it drifted"), (Verdict.MEETS,), False, LoadStatus.OPEN),
        (make_outcome("it drifted"), (Verdict.FAILS,), False, LoadStatus.OPEN),
        (make_outcome("it drifted"), (Verdict.MEETS,), True, LoadStatus.HOLDS),
        (make_outcome(reasons=("too few",)), (), False, LoadStatus.OPEN),
        (make_outcome(reasons=("fell behind",), overloaded=True), (Verdict.MEETS,), False, LoadStatus.BROKEN),
    ],
)
def test_the_status_follows_from_steadiness_then_constraints(
    outcome: Outcome,
    verdicts: tuple[Verdict, ...],
    accept: bool,  # noqa: FBT001 - a case
    status: LoadStatus,
) -> None:
    request = LoadRequest("m.onnx", Scenario.SERVER, rate=100.0, accept_unsteady=accept)
    assert conclude(request, outcome, None, [Finding(verdict, "") for verdict in verdicts]) is status
    assert status.exit_code in {0, 10, 11}


def test_a_file_is_loaded_and_priced(model: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[[machine]]\nname = "box"\nprice_per_hour = 1\ncurrency = "EUR"\ncores = 96\n', encoding="utf-8")
    request = LoadRequest(
        str(model),
        Scenario.SINGLE_STREAM,
        (Constraint.parse("p50 <= 60s at 75%"), Constraint.parse("throughput >= 0.001/s")),
        seconds=0.3,
        batch=2,
        prices=prices,
        accept_unsteady=True,
    )
    answer = run_load(request, Silent())
    assert answer.outcome.items == 2
    assert answer.outcome.queries >= 10
    assert [finding.verdict for finding in answer.findings] == [Verdict.MEETS, Verdict.MEETS]
    assert answer.status is LoadStatus.HOLDS
    assert answer.cost is not None
    assert answer.cost.value == pytest.approx(1 / 3600 * 1e6 / answer.outcome.rate.value)
    assert any("96 cores" in note for note in answer.notes)
    broken = run_load(replace(request, constraints=(Constraint.parse("p50 <= 0.00001ms"),)), Silent())
    assert (broken.status, broken.cost) == (LoadStatus.BROKEN, None)
    assert any("no cost" in note for note in broken.notes)


def test_a_rate_is_searched_for(model: Path) -> None:
    bound = Constraint.parse("p50 <= 2000ms at 60%")
    request = LoadRequest(str(model), Scenario.SERVER, (bound,), searching=True, seconds=1.0, accept_unsteady=True)
    answer = run_load(request, Silent())
    assert answer.found is not None
    if answer.found.estimate is not None:
        assert answer.status is LoadStatus.HOLDS
        assert answer.throughput == answer.found.estimate
    else:
        assert answer.status is LoadStatus.OPEN
        assert answer.found.reason in answer.findings[0].words


def test_queries_are_items_of_the_data_or_random(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "items.npz"
    images = np.arange(5 * 432, dtype=np.float32).reshape(5, 3, 12, 12)
    np.savez(data, image=images)
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        target = find_target(str(model), None, None, 2, stack)
        session = stack.enter_context(target.open(target.target.mode))
        given = make_queries(target, session.signature, str(data), rng)
        drawn = make_queries(target, session.signature, None, rng)
    assert [query["image"].shape for query in given] == [(2, 3, 12, 12)] * 3
    assert np.array_equal(given[1]["image"], images[2:4])
    assert {query["image"].shape for query in drawn} == {(2, 3, 12, 12)}
    assert not np.array_equal(drawn[0]["image"], drawn[1]["image"])


def test_arrays_are_drawn_by_type_and_open_shapes_refused() -> None:
    rng = np.random.default_rng(0)
    tokens = draw(TensorSpec("ids", "int64", ("n", 7)), 3, rng)
    assert tokens.shape == (3, 7)
    assert set(tokens.ravel().tolist()) <= {0, 1}
    assert draw(TensorSpec("mask", "bool", ("n", 2)), 4, rng).dtype == np.bool_
    assert draw(TensorSpec("x", "float16", (1, 2)), 1, rng).dtype == np.float16
    for spec in (
        TensorSpec("x", "float32", ("n", "length")),
        TensorSpec("x", "float32", None),
        TensorSpec("s", "object", (1,)),
    ):
        with pytest.raises(DataError) as told:
            draw(spec, 1, rng)
        assert "--evaluation" in told.value.hint


def test_names_that_stand_for_nothing_are_refused(tmp_path: Path, model: Path) -> None:
    with ExitStack() as stack:
        with pytest.raises(ModelError, match="does not exist"):
            find_target(str(tmp_path / "none.onnx"), None, None, None, stack)
        with pytest.raises(RequestError, match="does not exist"):
            find_target(str(tmp_path / "none"), None, None, None, stack)
        with pytest.raises(RequestError, match="of no known form"):
            find_target(str(tmp_path), None, None, None, stack)
        fixed = tmp_path / "fixed.onnx"
        graph = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "fixed",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 2])],
        )
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), fixed)
        target = find_target(str(fixed), None, None, 3, stack)
        session = stack.enter_context(target.open(target.target.mode))
        with pytest.raises(RequestError, match="fixes its batch at 4"):
            make_queries(target, session.signature, None, np.random.default_rng(0))
    assert model.is_file()


def test_the_priced_machine_is_compared_with_what_was_used() -> None:
    target = LoadTarget("m", Path(), Target("onnxruntime", threads=2))
    assert explain_cores(Price("box", 1.0, "EUR", cores=4), target, 2) == ()
    assert explain_cores(Price("box", 1.0, "EUR"), target, 1) == ()
    assert "8 cores" in explain_cores(Price("box", 1.0, "EUR", cores=8), target, 1)[0]
