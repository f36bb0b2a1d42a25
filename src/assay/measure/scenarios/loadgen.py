"""The same scenarios, driven by MLPerf's own load generator (package ``mlcommons-loadgen``, an extra of Assay).

LoadGen draws the arrivals and calls back from threads of its own; one worker here answers the queries in turn. It
writes log files, which go to a temporary folder and are read for its verdict.
"""

from __future__ import annotations

import json
import queue
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from assay.core.errors import AssayError, MeasurementError, RequestError
from assay.core.session import Session
from assay.core.stability import Stability
from assay.core.tensor import Feeds
from assay.measure.interference import Watch, find_interference
from assay.measure.latency import NS_PER_MS, NS_PER_S, naming_failures
from assay.measure.scenarios.outcome import (
    Asked,
    Driver,
    Outcome,
    Scenario,
    Served,
    as_samples,
    conclude_served,
    estimate_rate,
)
from assay.measure.scenarios.server import SPARE
from assay.measure.scenarios.single_stream import LEAST_QUERIES, PATIENCE, warm_up
from assay.measure.throughput import count_items

MODULE = "mlperf_loadgen"
LOG_MARK = ":::MLLOG "
TRIAL_CALLS = 3
FAILED_PAUSE_S = 0.01
NAMES = {Scenario.SINGLE_STREAM: "SingleStream", Scenario.OFFLINE: "Offline", Scenario.SERVER: "Server"}
P90, P99 = 0.9, 0.99


def load_loadgen() -> Any:  # noqa: ANN401 - the vendor's module has no types
    """The load generator's module.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return import_module(MODULE)
    except ImportError as error:
        hint = "install the extra: pip install 'assay-precision[loadgen]', or take --driver own"
        raise RequestError(f"the load generator ({MODULE}) is not installed", hint) from error


def run_loadgen(  # noqa: PLR0913 - all but four are settings
    scenario: Scenario,
    session: Session,
    queries: Sequence[Feeds],
    asked: Asked,
    *,
    seconds: float,
    rate: float | None = None,
    target_ms: float | None = None,
    rng: np.random.Generator,
) -> Outcome:
    """Run a scenario under LoadGen.

    Args:
        scenario: how queries come.
        session: answers one query at a time; offline, as many at once as it takes.
        queries: of equally many items each; LoadGen chooses among them.
        asked: what is to be known; at most ``PATIENCE`` times the seconds are spent on it.
        seconds: least time.
        rate: items per second that arrive on average; of the server alone.
        target_ms: latency that LoadGen judges the server by.
        rng: seeds LoadGen's arrivals and choices.

    Raises:
        MeasurementError: a server without a rate, or LoadGen's logs cannot be read.
        RequestError: LoadGen is not installed.
        RunFailed: the session failed.
    """
    loadgen = load_loadgen()
    if scenario is Scenario.SERVER and not (rate is not None and rate > 0):
        raise MeasurementError("a server needs a rate", "give the items per second that arrive")
    warm_up(session, queries)
    items = count_items(queries[0])
    per_second = None if rate is None else rate / items
    plan = _Plan(scenario, seconds, per_second, target_ms, SPARE * asked.needed, _time_call(session, queries[0]))
    under_test = _UnderTest(loadgen, session, queries, whole=scenario is Scenario.OFFLINE)
    with tempfile.TemporaryDirectory(prefix="assay-loadgen-") as folder:
        watch = Watch()
        under_test.drive(_write_settings(loadgen, plan, rng), len(queries), Path(folder))
        watch.stop()
        facts = read_facts(Path(folder))
    troubles = explain_verdict(facts)
    served = under_test.collect(items, watch, per_second if scenario is Scenario.SERVER else None)
    if scenario is Scenario.OFFLINE:
        return _conclude_offline(served, asked, troubles)
    return conclude_served(scenario, Driver.LOADGEN, served, asked, *troubles)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What LoadGen is told."""

    scenario: Scenario
    seconds: float
    per_second: float | None
    target_ms: float | None
    needed: int
    call_s: float

    @property
    def queries(self) -> int:
        """Queries that are wanted, where patience allows them."""
        pace = self.per_second if self.per_second is not None else 1 / self.call_s
        return max(LEAST_QUERIES, min(self.needed, round(PATIENCE * self.seconds * pace)))


class _UnderTest:
    """LoadGen's system under test: a worker answers what LoadGen's threads put in line."""

    def __init__(self, loadgen: Any, session: Session, queries: Sequence[Feeds], *, whole: bool) -> None:  # noqa: ANN401 - untyped module
        self._loadgen, self._session, self._queries, self._whole = loadgen, session, queries, whole
        self._line: queue.SimpleQueue[tuple[list[tuple[int, int]], int] | None] = queue.SimpleQueue()
        self._record = _Record()

    def drive(self, settings: Any, count: int, folder: Path) -> None:  # noqa: ANN401 - untyped module
        """Run the test; the logs go to the folder."""
        log = self._loadgen.LogSettings()
        log.log_output.outdir = str(folder)
        log.log_output.copy_summary_to_stdout = False
        log.enable_trace = False
        worker = threading.Thread(target=self._work, daemon=True)
        worker.start()
        sut = self._loadgen.ConstructSUT(self._issue, _nothing)
        qsl = self._loadgen.ConstructQSL(count, count, _nothing_of, _nothing_of)
        try:
            self._loadgen.StartTestWithLogSettings(sut, qsl, settings, log, str(folder / "audit.config"))
        finally:
            self._line.put(None)
            worker.join()
            self._loadgen.DestroyQSL(qsl)
            self._loadgen.DestroySUT(sut)
        if self._record.failure is not None:
            raise self._record.failure

    def collect(self, items: int, watch: Watch, offered: float | None) -> Served:
        """The times of all queries, from the first one's arrival."""
        arrived, began, ended = (as_samples(times) for times in zip(*self._record.times, strict=True))
        order = np.argsort(arrived, kind="stable")
        start = arrived.min()
        parts = [times[order] - start for times in (arrived, began, ended)]
        return Served(parts[0], parts[1], parts[2], items, watch.read(), offered)

    def _issue(self, samples: Sequence[Any]) -> None:
        """Called by LoadGen when queries are due."""
        self._line.put(([(sample.id, sample.index) for sample in samples], time.perf_counter_ns()))

    def _work(self) -> None:
        while (due := self._line.get()) is not None:
            samples, arrived = due
            try:
                with naming_failures("the model"):
                    self._answer(samples, arrived)
            except AssayError as error:
                # LoadGen waits for every answer, also for those that will not come.
                self._record.failure = error
                self._complete(samples)

    def _answer(self, samples: Sequence[tuple[int, int]], arrived: int) -> None:
        if self._record.failure is not None:
            if self._line.empty():
                time.sleep(FAILED_PAUSE_S)  # LoadGen goes on until its time is up: answers at once would flood it
            self._complete(samples)
            return
        began = time.perf_counter_ns()
        calls = (self._queries[index] for _, index in samples)
        answers = self._session.stream(calls) if self._whole else map(self._session.run, calls)
        for sample, _ in zip(samples, answers, strict=True):
            ended = time.perf_counter_ns()
            self._complete([sample])
            self._record.times.append((arrived, began, ended))
            if not self._whole:
                began = time.perf_counter_ns()

    def _complete(self, samples: Sequence[tuple[int, int]]) -> None:
        pending = [name for name, _ in samples if name not in self._record.completed]
        self._record.completed.update(pending)
        self._loadgen.QuerySamplesComplete([self._loadgen.QuerySampleResponse(name, 0, 0) for name in pending])


@dataclass
class _Record:
    """What the worker saw.

    Attributes:
        times: arrival, begin and end of every query, in nanoseconds.
        completed: identifiers of the queries that LoadGen was told to be answered.
    """

    times: list[tuple[int, int, int]] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    failure: AssayError | None = None


def _write_settings(loadgen: Any, plan: _Plan, rng: np.random.Generator) -> Any:  # noqa: ANN401 - untyped module
    """LoadGen's settings of a plan (loadgen/test_settings.h)."""
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, NAMES[plan.scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(plan.seconds * 1000)
    settings.min_query_count = plan.queries
    seeds = rng.integers(1, 2**31, 3)
    settings.qsl_rng_seed, settings.sample_index_rng_seed, settings.schedule_rng_seed = (int(seed) for seed in seeds)
    settings.single_stream_expected_latency_ns = max(1, round(plan.call_s * NS_PER_S))
    settings.single_stream_target_latency_percentile = P90
    settings.offline_expected_qps = 1 / plan.call_s
    if plan.per_second is not None:
        settings.server_target_qps = plan.per_second
    if plan.target_ms is not None:
        settings.server_target_latency_ns = round(plan.target_ms * NS_PER_MS)
    settings.server_target_latency_percentile = P99
    return settings


def read_facts(folder: Path) -> Mapping[str, object]:
    """What LoadGen says of its run, by its own names.

    Raises:
        MeasurementError: there is no log of a finished run.
    """
    path = folder / "mlperf_log_detail.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    entries = [json.loads(line.removeprefix(LOG_MARK)) for line in lines if line.startswith(LOG_MARK)]
    facts = {entry["key"]: entry["value"] for entry in entries}
    if "result_validity" not in facts:
        raise MeasurementError("the load generator wrote no result", "take --driver own")
    return facts


def explain_verdict(facts: Mapping[str, object]) -> list[str]:
    """Why LoadGen holds a run invalid; nothing where it does not."""
    if facts["result_validity"] == "VALID":
        return []
    checks = {
        "result_min_duration_met": "the run was too short",
        "result_min_queries_met": "there were too few queries",
        "early_stopping_met": "early stopping needs more queries, or its latency bound is not kept",
        "result_perf_constraints_met": "its latency bound is not kept",
    }
    failed = [words for key, words in checks.items() if facts.get(key) in {False, "false", "False"}]
    return [f"LoadGen calls the run invalid: {'; '.join(failed) or 'it does not say why'}"]


def _conclude_offline(served: Served, asked: Asked, troubles: Sequence[str]) -> Outcome:
    """Offline there is a rate and no latency."""
    seen = served.interference
    machine = () if seen is None else find_interference(seen)
    count = served.arrived.size
    rate = estimate_rate(served, asked.confidence)
    reasons = (*troubles, *(symptom.words for symptom in machine))
    return Outcome(
        scenario=Scenario.OFFLINE,
        driver=Driver.LOADGEN,
        queries=count,
        items=served.items,
        seconds=float(served.finished.max()) / NS_PER_S,
        latency=None,
        rate=rate,
        offered=None,
        stability=Stability(count, count, 0.0, 0.0, 0.0, 0.0, machine, seen),
        valid=not reasons,
        reasons=reasons,
    )


def _time_call(session: Session, query: Feeds) -> float:
    """Seconds of a call, the shortest of some."""
    times: list[float] = []
    for _ in range(TRIAL_CALLS):
        start = time.perf_counter()
        session.run(query)
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


def _nothing() -> None:
    """LoadGen has sent its last query: nothing is held back here."""


def _nothing_of(indices: Sequence[int]) -> None:
    """LoadGen asks for samples to be loaded, or unloaded: all are in memory."""
    del indices
