"""What else the machine does while something is measured: other processes, the hypervisor, quotas, the scheduler."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from assay.core.stability import Interference, Symptom, SymptomKind
from assay.measure.cgroup import read_throttled_seconds

LEAST_SECONDS = 0.3
"""The system counts time in steps of 10 ms: what is shorter than this cannot be told."""
OTHERS_CORES = 0.3
OTHERS_SHARE = 0.01
STOLEN_SHARE = 0.01
WAITED_SHARE = 0.03
THROTTLED_SHARE = 0.01

Seconds = Callable[[], float]
"""Monotonic time in seconds."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Counters of the system and of this process, in seconds since their start."""

    at: float
    busy: float
    stolen: float | None
    total: float
    own: float
    ran: float | None
    waited: float | None
    throttled: float | None
    switches: int


class Watch:
    """Watches the machine from when it is made; ``read`` says what happened since.

    Args:
        root: of the file system that ``proc`` and ``sys`` stand in.
        clock: wall time.
    """

    def __init__(self, root: Path = Path("/"), clock: Seconds = time.perf_counter) -> None:
        self._root, self._clock = root, clock
        self._first = _read(root, clock)
        self._last: _Reading | None = None

    def stop(self) -> None:
        """Watch no longer."""
        self._last = _read(self._root, self._clock)

    def read(self) -> Interference:
        """What happened from the start to now, or to when the watch was stopped."""
        return compare_readings(self._first, self._last or _read(self._root, self._clock))


@contextmanager
def watch_machine() -> Iterator[Watch]:
    """Watch the machine as long as the block lasts."""
    watch = Watch()
    yield watch
    watch.stop()


def compare_readings(first: _Reading, last: _Reading) -> Interference:
    """The difference of two readings, as shares; nothing is told of less than ``LEAST_SECONDS``."""
    seconds = last.at - first.at
    cores = psutil.cpu_count() or 1
    total = last.total - first.total
    if seconds < LEAST_SECONDS or total <= 0:
        return Interference(seconds, cores)
    own = last.own - first.own
    ran, waited = _since(first.ran, last.ran), _since(first.waited, last.waited)
    stolen, throttled = _since(first.stolen, last.stolen), _since(first.throttled, last.throttled)
    return Interference(
        seconds=seconds,
        cores=cores,
        others_cores=max(0.0, last.busy - first.busy - own) / seconds,
        stolen_share=None if stolen is None else stolen / total,
        waited_share=None if waited is None or ran is None or ran + waited <= 0 else waited / (ran + waited),
        throttled_share=None if throttled is None else throttled / seconds,
        switches_per_s=max(0, last.switches - first.switches) / seconds,
    )


def find_interference(seen: Interference) -> tuple[Symptom, ...]:
    """What of it makes timings doubtful; nothing on a machine that has nothing else to do."""
    kinds = (
        (
            SymptomKind.OTHERS,
            seen.others_cores,
            max(OTHERS_CORES, OTHERS_SHARE * seen.cores),
            f"other processes took {{:.1f}} of {seen.cores} cores while it was timed",
        ),
        (
            SymptomKind.STOLEN,
            seen.stolen_share,
            STOLEN_SHARE,
            "the hypervisor gave {:.0%} of the cores' time to other machines",
        ),
        (SymptomKind.WAITED, seen.waited_share, WAITED_SHARE, "its threads waited {:.0%} of the time for a free core"),
        (SymptomKind.THROTTLED, seen.throttled_share, THROTTLED_SHARE, "a CPU quota held it back {:.0%} of the time"),
    )
    return tuple(
        Symptom(kind, amount, form.format(amount))
        for kind, amount, least, form in kinds
        if amount is not None and amount >= least
    )


def describe_interference(seen: Interference) -> tuple[str, ...]:
    """What of it makes timings doubtful, in words."""
    return tuple(symptom.words for symptom in find_interference(seen))


def _read(root: Path, clock: Seconds) -> _Reading:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    stolen = getattr(times, "steal", None)
    # A guest's time is also counted as its host's user time.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran, waited = _read_schedule(root / "proc/self/task")
    return _Reading(
        at=clock(),
        busy=total - idle - (stolen or 0.0),
        stolen=stolen,
        total=total,
        own=usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime,
        ran=ran,
        waited=waited,
        throttled=read_throttled_seconds(root),
        switches=usage.ru_nivcsw,
    )


def _read_schedule(tasks: Path) -> tuple[float | None, float | None]:
    """Seconds that the threads ran and waited for a core (Linux, Documentation/scheduler/sched-stats.rst)."""
    ran = waited = 0
    try:
        for task in tasks.iterdir():
            words = _words(task / "schedstat")
            ran, waited = ran + int(words[0]), waited + int(words[1])
    except (OSError, ValueError, IndexError):
        return None, None
    return ran / 1e9, waited / 1e9


def _words(path: Path) -> list[str]:
    """Words of a thread's file; that of a thread that has just ended says nothing."""
    try:
        return path.read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return ["0", "0"]


def _since(first: float | None, last: float | None) -> float | None:
    """A difference that does not go backwards where a thread ended; None where a reading is missing."""
    return None if first is None or last is None else max(0.0, last - first)
