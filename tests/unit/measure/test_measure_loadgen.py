"""Our own driver beside MLPerf's load generator, on one real model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from measure_samples import FunctionSession
from study_samples import write_model

from assay.backends.table import load_backend
from assay.core.errors import MeasurementError, RequestError, RunFailed
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Array, Feeds, Outputs
from assay.measure.scenarios import loadgen
from assay.measure.scenarios.loadgen import explain_verdict, read_facts, run_loadgen
from assay.measure.scenarios.offline import run_offline
from assay.measure.scenarios.outcome import Asked, Driver, Outcome, Scenario
from assay.measure.scenarios.server import run_server
from assay.measure.scenarios.single_stream import run_single_stream

pytest.importorskip("mlperf_loadgen")
ASKED = Asked(0.9, ((0.9, 0.9),))
RATE = 150.0
SECONDS = 0.6


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("loadgen")
    write_model(folder / "model.onnx", np.random.default_rng(0))
    target = Target("onnxruntime")
    backend = load_backend("onnxruntime")
    (folder / "built").mkdir()
    backend.build(folder / "model.onnx", folder / "built", Plan(Precision.FP32), target)
    with backend.open(folder / "built", target) as opened:
        yield opened


@pytest.fixture(scope="module")
def queries() -> tuple[Feeds, ...]:
    rng = np.random.default_rng(1)
    return tuple({"image": rng.standard_normal((1, 3, 12, 12)).astype(np.float32)} for _ in range(8))


def run_both(scenario: Scenario, session: Session, queries: tuple[Feeds, ...]) -> tuple[Outcome, Outcome]:
    rng = np.random.default_rng(2)
    rate = RATE if scenario is Scenario.SERVER else None
    theirs = run_loadgen(scenario, session, queries, ASKED, seconds=SECONDS, rate=rate, target_ms=500, rng=rng)
    if scenario is Scenario.SERVER:
        return run_server((session,), queries, ASKED, rate=RATE, seconds=SECONDS, rng=rng), theirs
    run = run_offline if scenario is Scenario.OFFLINE else run_single_stream
    return run(session, queries, ASKED, seconds=SECONDS), theirs


@pytest.mark.parametrize("scenario", Scenario)
def test_both_drivers_report_the_same_nouns(
    scenario: Scenario, session: Session, queries: tuple[Feeds, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own, theirs = run_both(scenario, session, queries)
    assert (own.driver, theirs.driver) == (Driver.OWN, Driver.LOADGEN)
    for outcome in (own, theirs):
        assert outcome.scenario is scenario
        assert outcome.queries >= ASKED.needed
        assert outcome.rate.value > 0
        assert outcome.items == 1
        if outcome.latency is None:
            assert scenario is Scenario.OFFLINE
            continue
        assert len(outcome.samples_ms) == outcome.queries
        assert 0 < outcome.latency.p50.value <= outcome.latency.p95.value <= outcome.latency.p99.value
        bound = outcome.latency.at(0.9, 0.9)
        assert bound is not None
        assert bound.high is None or bound.high >= bound.value
    if scenario is Scenario.SERVER:
        for outcome in (own, theirs):
            assert outcome.offered == RATE
            assert outcome.overloaded or 0.6 * RATE < outcome.rate.value < 1.6 * RATE
    # Nothing is left behind: LoadGen's logs went elsewhere.
    assert not any(tmp_path.iterdir())


def test_a_failing_session_ends_the_test_and_is_told() -> None:
    def fail_late(x: Array) -> Outputs:
        if threading.current_thread() is not threading.main_thread():
            raise RunFailed("it broke")
        return {"y": x}

    feeds = ({"x": np.zeros((1, 4), np.float32)},)
    broken = FunctionSession(fail_late)
    with pytest.raises(RunFailed, match="it broke"):
        run_loadgen(Scenario.SINGLE_STREAM, broken, feeds, ASKED, seconds=0.3, rng=np.random.default_rng(3))


def test_a_server_needs_a_rate_and_the_module_its_extra(
    session: Session, queries: tuple[Feeds, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeasurementError, match="rate"):
        run_loadgen(Scenario.SERVER, session, queries, ASKED, seconds=1, rng=np.random.default_rng(4))
    monkeypatch.setattr(loadgen, "MODULE", "no_such_load_generator")
    with pytest.raises(RequestError, match="not installed"):
        run_loadgen(Scenario.OFFLINE, session, queries, ASKED, seconds=1, rng=np.random.default_rng(4))


def test_the_verdict_is_read_from_the_log(tmp_path: Path) -> None:
    lines = [
        ':::MLLOG {"key": "result_validity", "value": "INVALID"}',
        "something else",
        ':::MLLOG {"key": "result_min_queries_met", "value": false}',
        ':::MLLOG {"key": "result_min_duration_met", "value": true}',
    ]
    (tmp_path / "mlperf_log_detail.txt").write_text("\n".join(lines), encoding="utf-8")
    assert explain_verdict(read_facts(tmp_path)) == ["LoadGen calls the run invalid: there were too few queries"]
    with pytest.raises(MeasurementError, match="no result"):
        read_facts(tmp_path / "empty")
