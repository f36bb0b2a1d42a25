"""Timings answer what constraints ask for, and say what makes them doubtful."""

from __future__ import annotations

import numpy as np

from assay.core.estimate import Estimate
from assay.core.requirements import Constraint, Objective, Requirements, Tolerance
from assay.core.stability import Interference
from assay.measure.latency import describe_calls, plan_calls
from assay.measure.stability import judge_stability
from assay.studies.serving import ServedRate, find_bound
from assay.studies.timing import (
    Timing,
    add_rates,
    count_wanted,
    describe_anew,
    list_asked,
    list_timing_warnings,
)

MS = 1_000_000
NOTHING = Estimate(1.0, 1.0, 1.0, 0.95, 20, "1")


def require(*constraints: str, objective: Objective = Objective.LATENCY) -> Requirements:
    parsed = tuple(Constraint.parse(text) for text in constraints)
    return Requirements(Tolerance.parse("top1: 1pp"), objective, parsed, price_per_hour=1.0)


def make_timing(samples: np.ndarray[tuple[int], np.dtype[np.float64]], seen: Interference | None = None) -> Timing:
    return Timing(
        latency=describe_calls(samples, 1, 0.95),
        throughput=NOTHING,
        speedup=NOTHING,
        cpu_seconds=NOTHING,
        samples_ms=tuple(samples.tolist()),
        stability=judge_stability(samples, seen),
    )


def test_a_bound_at_99_percent_takes_459_calls() -> None:
    assert count_wanted(require()) == 299
    assert count_wanted(require("p99 <= 10ms at 99%")) == 459
    assert count_wanted(require("size <= 1MB", "p50 <= 10ms at 99%")) == 299
    assert list_asked(require("p50 <= 5ms", "p99 <= 10ms at 99%", "size <= 1MB")) == ((0.5, 0.95), (0.99, 0.99))


def test_visits_grow_with_what_is_needed() -> None:
    expected = {"a": 20 * MS, "b": 20 * MS}
    assert plan_calls(expected, 60)["a"] == 4
    assert plan_calls(expected, 60, 100, 459)["a"] == 5
    # 459 calls of two artifacts take 18 s, 22 s with slack: a budget of 23.5 s does for them only with few visits.
    assert 12 <= plan_calls(expected, 23.5, 100, 459)["a"] <= 20
    assert plan_calls(expected, 5, 100, 459)["a"] in range(4, 32)
    assert plan_calls(expected, 1, 100, 459)["a"] == 1


def test_stored_calls_answer_a_new_confidence() -> None:
    timing = make_timing(np.linspace(1, 2, 500))
    assert timing.latency.at(0.99, 0.99) is None
    anew = describe_anew(timing, require("p99 <= 10ms at 99%"), 1).latency.at(0.99, 0.99)
    assert anew is not None
    assert anew.high == 2.0


def test_warnings_say_each_thing_once() -> None:
    rng = np.random.default_rng(0)
    busy = Interference(3.0, 2, others_cores=1.5)
    steady = 10 + 0.1 * rng.standard_normal(400)
    timings = {
        "one": make_timing(steady, busy),
        "two": make_timing(steady * np.linspace(1, 1.1, 400), busy),
        "three": make_timing(steady[:200], busy),
    }
    warnings = list_timing_warnings(timings, require())
    assert len(warnings) == 3
    assert warnings[0].startswith("1 of 3 artifacts were timed in fewer calls than the 299")
    assert warnings[1].startswith("latency is doubtful: other processes took 1.5 of 2 cores")
    assert warnings[2].startswith("two: the last third")
    assert list_timing_warnings({"one": make_timing(steady)}, require()) == ()


def test_findings_of_one_kind_in_many_artifacts_are_one_line_that_names_the_worst() -> None:
    rng = np.random.default_rng(0)
    timings = {
        name: make_timing((10 + 0.1 * rng.standard_normal(400)) * np.linspace(1, 1 + drift, 400))
        for name, drift in (("one", 0.1), ("two", 0.4), ("three", 0.2), ("still", 0.0))
    }
    warnings = list_timing_warnings(timings, require())
    assert len(warnings) == 1
    assert warnings[0].startswith("two: the last third of the calls took 2")
    assert warnings[0].endswith("; 2 other artifacts show the same, none of them worse")
    del timings["three"]
    pair = list_timing_warnings(timings, require())
    assert [warning.partition(":")[0] for warning in pair] == ["one", "two"]


def test_groups_that_were_disturbed_alike_are_one_line() -> None:
    steady = 10 + 0.1 * np.random.default_rng(0).standard_normal(400)
    timings = {
        name: make_timing(steady, Interference(3.0, 2, others_cores=cores, waited_share=0.2))
        for name, cores in (("one", 0.6), ("two", 1.5), ("three", 0.9))
    }
    told = list_timing_warnings(timings, require())
    assert [warning.split(": ")[1][:32] for warning in told] == [
        "other processes took 1.5 of 2 co",
        "its threads waited 20% of the ti",
    ]


def test_a_rate_is_searched_for_cost_under_the_highest_percentile() -> None:
    assert find_bound(require("p99 <= 10ms")) is None
    assert find_bound(require("size <= 1MB", objective=Objective.COST)) is None
    bound = find_bound(require("p50 <= 5ms", "p99 <= 10ms", objective=Objective.COST))
    assert bound is not None
    assert bound.text == "p99 <= 10ms"
    timings = {"one": make_timing(np.linspace(1, 2, 500)), "two": make_timing(np.linspace(1, 2, 500))}
    added = add_rates(timings, {"one": ServedRate(None, "too slow")})
    assert (added["one"].served, added["one"].served_note) == (None, "too slow")
    assert added["two"] == timings["two"]
