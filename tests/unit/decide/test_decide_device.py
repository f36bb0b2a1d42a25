"""Constraints of a small device: proved memory, a rate of frames, power."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trial_samples import make_evidence

from assay.core.errors import RequestError
from assay.core.estimate import Estimate
from assay.core.requirements import Bounded, Constraint
from assay.core.trial import Evidence, HeldRun
from assay.decide.device import judge_device
from assay.decide.finding import Finding, Verdict

LIMIT = 256 * 2**20


def estimate(low: float | None, value: float, high: float | None, unit: str = "frames/s") -> Estimate:
    return Estimate(value, low, high, 0.95, 40, unit)


def hold(**changes: object) -> Evidence:
    held = HeldRun(frames=300, cores=1, peak_memory_bytes=150 * 2**20, limit_bytes=LIMIT, means="RLIMIT_DATA")
    return replace(make_evidence(10.0, None, memory_bytes=300 * 2**20), held=replace(held, **changes))  # type: ignore[arg-type] # each test names fields


def judge(text: str, evidence: Evidence) -> Finding:
    return judge_device(Constraint.parse(text), evidence)


def test_memory_is_kept_by_the_run_that_was_held_to_it() -> None:
    found = judge("memory <= 256MiB", hold())
    assert found.verdict is Verdict.MEETS
    assert found.words.endswith("(300 frames ran in a process held to it by RLIMIT_DATA)")
    assert "peak memory 157 MB keeps" in found.words


def test_what_cannot_open_under_the_limit_loses_with_that_reason() -> None:
    found = judge("memory <= 256MiB", hold(frames=0, failure="bad allocation"))
    assert found.verdict is Verdict.FAILS
    assert found.words == "'memory <= 256MiB' is missed: bad allocation, in a process held to it by RLIMIT_DATA"
    assert found.excess > 1
    assert judge("fps >= 30", hold(failure="bad allocation")).verdict is Verdict.FAILS


def test_code_and_files_count_beside_the_data_that_was_held() -> None:
    assert judge("memory <= 256MiB", hold(peak_memory_bytes=LIMIT + 1)).verdict is Verdict.FAILS


def test_a_run_under_another_limit_proves_nothing_of_this_one() -> None:
    found = judge("memory <= 200MiB", hold())
    assert found.verdict is Verdict.FAILS
    assert "peak memory 315 MB misses" in found.words
    assert judge("memory <= 400MiB", replace(hold(), held=None)).verdict is Verdict.MEETS


@pytest.mark.parametrize(
    ("fps", "verdict"),
    [
        (estimate(31, 40, 50), Verdict.MEETS),
        (estimate(29, 40, 50), Verdict.UNDECIDED),
        (estimate(None, 40, 50), Verdict.UNDECIDED),
        (estimate(20, 25, 29), Verdict.FAILS),
        (None, Verdict.UNDECIDED),
    ],
)
def test_a_floor_is_held_by_the_lower_bound(fps: Estimate | None, verdict: Verdict) -> None:
    assert judge("fps >= 30", hold(fps=fps)).verdict is verdict


@pytest.mark.parametrize(
    ("watts", "verdict"),
    [
        (estimate(3, 4, 4.9, "W"), Verdict.MEETS),
        (estimate(3, 4, 5.1, "W"), Verdict.UNDECIDED),
        (estimate(3, 4, None, "W"), Verdict.UNDECIDED),
        (estimate(5.2, 6, 7, "W"), Verdict.FAILS),
        (None, Verdict.UNDECIDED),
    ],
)
def test_power_is_held_by_the_upper_bound(watts: Estimate | None, verdict: Verdict) -> None:
    assert judge("watts <= 5", hold(watts=watts)).verdict is verdict
    energy = replace(hold(), energy=watts, energy_note="no counter")
    assert judge("energy <= 5J", energy).verdict is verdict


def test_the_reason_why_energy_is_missing_is_said() -> None:
    assert "no counter" in judge("energy <= 5mJ", replace(hold(), energy=None, energy_note="no counter")).words


def test_a_floor_takes_a_lower_bound_alone() -> None:
    assert Constraint.parse("fps >= 29.97").limit == 29.97
    assert Constraint.parse("watts <= 500mW").limit == 0.5
    with pytest.raises(RequestError, match="fps takes a lower bound"):
        Constraint.parse("fps <= 30")
    with pytest.raises(RequestError, match="unit 'MiB' is unknown"):
        Constraint.parse("fps >= 30 MiB")
    assert not Bounded.FPS.at_most
