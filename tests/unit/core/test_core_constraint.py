"""A constraint on a percentile may have a confidence of its own."""

from __future__ import annotations

import pytest

from assay.core.errors import RequestError
from assay.core.estimate import Estimate
from assay.core.requirements import Bounded, Constraint, Requirements, Tolerance
from assay.core.trial import Latency, Percentile


def test_a_confidence_is_read() -> None:
    read = Constraint.parse(" p99 <= 10ms at 99% ")
    assert read == Constraint(Bounded.P99, 10.0, "p99 <= 10ms at 99%", 0.99)
    assert Constraint.parse("p90 < 1s").confidence is None
    assert Constraint.parse("p50 <= 2ms at 99.9 %").confidence == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("p99 <= 10ms at 100%", "no confidence"),
        ("p99 <= 10ms at 40%", "no confidence"),
        ("p99 <= 10ms at 0.99", "no confidence"),
        ("p99 <= 10ms at ", "form|no confidence"),
        ("size <= 5MB at 99%", "confidence of its own"),
        ("throughput >= 5/s at 99%", "confidence of its own"),
        ("p99 at 99%", "form"),
    ],
)
def test_what_is_no_confidence_is_refused(text: str, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        Constraint.parse(text)


def test_p90_takes_part_in_contradictions() -> None:
    constraints = tuple(Constraint.parse(text) for text in ("p90 <= 10ms", "p95 <= 9ms"))
    with pytest.raises(RequestError, match="contradict"):
        Requirements(Tolerance.parse("top1: 1pp"), constraints=constraints)


def test_a_latency_gives_what_was_asked_and_nothing_else() -> None:
    def at(confidence: float, value: float) -> Estimate:
        return Estimate(value, None, None, confidence, 500, "ms")

    latency = Latency(at(0.95, 1), at(0.95, 2), at(0.95, 3), 1, 500, (Percentile(0.99, at(0.99, 4)),))
    assert latency.at(0.99) == at(0.95, 3)
    assert latency.at(0.99, 0.99) == at(0.99, 4)
    assert latency.at(0.9, 0.95) is None
    assert latency.at(0.5, 0.9) is None
