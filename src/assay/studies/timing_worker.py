"""A process that times artifacts for a study: what crashes or hangs there is known by the mark it left.

Run as ``python -m assay.studies.timing_worker PARENT JOB.json REPLY.json MARK``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from assay.backends.table import load_backend
from assay.core.errors import AssayError, BackendError
from assay.core.estimate import Estimate
from assay.core.requirements import Constraint
from assay.core.session import Session
from assay.core.stability import Interference
from assay.core.target import ServingMode, Target
from assay.core.tensor import Array, Feeds
from assay.measure.energy import measure_energy
from assay.measure.interference import watch_machine
from assay.measure.latency import LatencySamples, measure_latency
from assay.measure.meters import find_energy_meter
from assay.measure.scenarios.find_rate import find_rate
from assay.measure.throughput import stream_load
from assay.measure.traffic import measure_traffic
from assay.studies.answering import answer_marked_job
from assay.studies.held import HeldSession
from assay.studies.marking import Marker

OPENING, TIMING, THROUGHPUT, RATE = "opening", "running in rounds", "measuring throughput", "finding the rate"


class Entry(msgspec.Struct, frozen=True):
    """One artifact: its trial's id, its folder, and what to open it for."""

    name: str
    built: str
    target: Target


class TimingJob(msgspec.Struct, tag="timing", frozen=True):
    """Time artifacts in interleaved rounds, then the throughput of each.

    Attributes:
        feeds: file of the arrays of the calls.
        budget_s: of all rounds.
        needed: calls of each artifact that are wanted.
        throughput_s: of each artifact.
        held: the arrays of the call stay in the runtime, as the cache of a language model does.
    """

    entries: tuple[Entry, ...]
    budget_s: float
    needed: int
    confidence: float
    throughput_s: float
    feeds: str = ""
    held: bool = False


class RateJob(msgspec.Struct, tag="rate", frozen=True):
    """Find the rate at which one artifact keeps a constraint."""

    entry: Entry
    bound: Constraint
    confidence: float
    seconds: float
    seed: int
    feeds: str = ""


class Timed(msgspec.Struct, frozen=True):
    """What timing showed of one artifact.

    Attributes:
        calls_ns: wall time of every timed call, by rounds.
        cpu_ns: CPU time of a call, by rounds.
        energy: joules per item, None where the machine cannot tell; ``energy_note`` says why.
    """

    calls_ns: tuple[tuple[int, ...], ...]
    cpu_ns: tuple[float, ...]
    throughput: Estimate
    energy: Estimate | None
    energy_note: str

    @property
    def samples(self) -> LatencySamples:
        """The times as arrays."""
        return LatencySamples(np.array(self.calls_ns, np.int64), np.array(self.cpu_ns))


class TimingReply(msgspec.Struct, frozen=True):
    """What the worker has to say.

    Attributes:
        timed: trial id -> what timing showed.
        interference: what else the machine did during the rounds.
        order: which of the calls each sample is of, where they differ.
        rate: of a search for a rate; ``rate_note`` says why there is none.
        error: message and hint where a measurement failed, else empty.
        failed: a runtime did, and not the measuring itself.
    """

    timed: Mapping[str, Timed] = {}
    interference: Interference | None = None
    rate: Estimate | None = None
    rate_note: str = ""
    order: tuple[int, ...] = ()
    error: str = ""
    failed: bool = False


def read_calls(path: str) -> tuple[Feeds, ...]:
    """The arrays of every call, in their order."""
    calls: dict[str, dict[str, Array]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for member in archive.files:
            index, _, name = member.partition("/")
            calls.setdefault(index, {})[name] = archive[member]
    return tuple(calls.values())


def open_entry(entry: Entry, marker: Marker, mode: ServingMode = ServingMode.LATENCY) -> Session:
    """Open an artifact; the mark says so before."""
    marker.mark(OPENING, entry.name)
    return load_backend(entry.target.runtime).open(Path(entry.built), replace(entry.target, mode=mode))


def time_entries(job: TimingJob, marker: Marker) -> TimingReply:
    """Time all artifacts of a job against each other, then each one alone."""
    calls = read_calls(job.feeds)
    with ExitStack() as stack:
        sessions = {entry.name: stack.enter_context(open_entry(entry, marker)) for entry in job.entries}
        if job.held:
            sessions = {name: HeldSession(session, calls[0]) for name, session in sessions.items()}
        with watch_machine() as watch:
            samples, order = time_sessions(sessions, calls, job, marker)
    timed: dict[str, Timed] = {}
    for entry in job.entries:
        throughput, energy, note = load_entry(entry, calls, job, marker)
        found = samples[entry.name]
        walls = tuple(tuple(row) for row in found.calls_ns.tolist())
        timed[entry.name] = Timed(walls, tuple(found.cpu_ns.tolist()), throughput, energy, note)
    return TimingReply(timed, watch.read(), order=order)


def time_sessions(
    sessions: Mapping[str, Session], calls: tuple[Feeds, ...], job: TimingJob, marker: Marker
) -> tuple[Mapping[str, LatencySamples], tuple[int, ...]]:
    """Times of all sessions, and which call each is of where calls differ."""
    if len(calls) == 1:
        found = measure_latency(
            sessions,
            calls[0],
            budget_s=job.budget_s,
            needed=job.needed,
            on_visit=lambda name: marker.mark(TIMING, name),
        )
        return found, ()
    traffic = measure_traffic(
        sessions,
        calls,
        budget_s=job.budget_s,
        needed=job.needed,
        on_visit=lambda name: marker.mark(TIMING, name),
    )
    return traffic.samples, tuple(traffic.order.reshape(-1).tolist())


def load_entry(
    entry: Entry, calls: tuple[Feeds, ...], job: TimingJob, marker: Marker
) -> tuple[Estimate, Estimate | None, str]:
    """Throughput in the runtime's throughput mode, and energy per item or why there is none."""
    meter, note = find_energy_meter(entry.target.device)
    with open_entry(entry, marker, ServingMode.THROUGHPUT) as session:
        marker.mark(THROUGHPUT, entry.name)
        # Several calls under way at once need memory of their own each: only one after the other can be held.
        load = HeldSession(session, calls[0]) if job.held and entry.target.threads == 1 else session
        throughput, _ = stream_load(load, calls, seconds=job.throughput_s, confidence=job.confidence)
        if meter is None:
            return throughput, None, note
        energy = measure_energy(
            meter, load, calls[0], seconds=job.throughput_s, confidence=job.confidence, further=calls[1:]
        )
        return throughput, energy, ""


def find_entry_rate(job: RateJob, marker: Marker) -> TimingReply:
    """The rate of one artifact, one call at a time."""
    with open_entry(job.entry, marker) as session:
        marker.mark(RATE, job.entry.name)
        found = find_rate(
            (session,),
            read_calls(job.feeds),
            job.bound,
            confidence=job.confidence,
            seconds=job.seconds,
            rng=np.random.default_rng(job.seed),
        )
    return TimingReply(rate=found.estimate, rate_note=found.reason)


def work(job: TimingJob | RateJob, marker: Marker) -> TimingReply:
    """Do a job; what fails becomes the reply."""
    try:
        return time_entries(job, marker) if isinstance(job, TimingJob) else find_entry_rate(job, marker)
    except AssayError as error:
        return TimingReply(error=str(error), failed=isinstance(error, BackendError))


if __name__ == "__main__":
    raise SystemExit(answer_marked_job(sys.argv[1:], msgspec.json.Decoder(TimingJob | RateJob).decode, work))
