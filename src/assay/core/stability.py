"""Whether a machine held still while it was measured: without that, order statistics bound nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Interference:
    """What else the machine did while something was measured; None where the system does not tell.

    Attributes:
        seconds: wall time that was watched.
        cores: logical cores of the machine.
        others_cores: cores' worth of time that other processes took.
        stolen_share: share of the cores' time that the hypervisor gave to others.
        waited_share: share of the time that this process's threads wanted a core and had none.
        throttled_share: share of the time that a CPU quota kept this process's control group from running.
        switches_per_s: involuntary context switches of this process per second.
    """

    seconds: float
    cores: int
    others_cores: float | None = None
    stolen_share: float | None = None
    waited_share: float | None = None
    throttled_share: float | None = None
    switches_per_s: float | None = None


class SymptomKind(StrEnum):
    """What is wrong with a measurement: with the samples (the first four), or with the machine."""

    WARM_UP = "warm-up"
    DRIFT = "drift"
    DEPENDENCE = "dependence"
    BURSTS = "bursts"
    OTHERS = "others"
    STOLEN = "stolen"
    WAITED = "waited"
    THROTTLED = "throttled"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that shows that a measurement did not hold still.

    Attributes:
        gravity: larger is worse, among those of one kind.
        words: with its numbers.
    """

    kind: SymptomKind
    gravity: float
    words: str


@dataclass(frozen=True, slots=True)
class Stability:
    """What the samples and the machine say of a measurement.

    Attributes:
        n: calls judged.
        effective: independent calls that they are worth, at most ``n``.
        warm_up: how much longer the first calls took than the others, as a share; 0 where that is no finding.
        drift: how much longer the last third took than the first, as a share, as measured.
        autocorrelation: of the ranks of neighbouring calls, as measured.
        bursts: share of the slow calls (beyond p95) that follow a slow one, as measured.
        findings: what was detected; empty on a steady machine.
    """

    n: int
    effective: int
    warm_up: float
    drift: float
    autocorrelation: float
    bursts: float
    findings: tuple[Symptom, ...] = ()
    interference: Interference | None = None

    @property
    def steady(self) -> bool:
        """Nothing was found."""
        return not self.findings
