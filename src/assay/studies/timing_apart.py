"""Timing in a process of its own, from the study's side: who was running when it died, hung or ate memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.core.errors import BackendError, MeasurementError, RunFailed
from assay.core.tensor import Feeds
from assay.studies.attempt import Attempt
from assay.studies.files import SCRATCH, pack_arrays, store_errors
from assay.studies.isolation import Doing, Limits, WatchedProcess
from assay.studies.marking import Mark, read_mark
from assay.studies.timing_worker import Entry, RateJob, TimingJob, TimingReply
from assay.studies.workspace import Workspace

LOOK_SECONDS = 0.25
"""Between two looks at what is being timed: each takes some microseconds of another core."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """An artifact that brought a measurement down.

    Attributes:
        name: id of its trial.
        reason: what it did.
    """

    name: str
    reason: str


def name_entry(space: Workspace, attempt: Attempt) -> Entry:
    """An attempt's artifact, for the deployment that is measured."""
    runtime = attempt.candidate.runtime
    folder = space.store.artifact(attempt.address).resolve()
    return Entry(attempt.candidate.id, str(folder), space.target(runtime))


def run_timing(
    job: TimingJob | RateJob, calls: Sequence[Feeds], limits: Limits, patience_s: float, on_step: Callable[[int], None]
) -> TimingReply | Culprit:
    """Time in a fresh process; an artifact that brings it down is named.

    Args:
        job: what to time; its feeds are filled in.
        calls: that are sent, in this order; one where all are alike.
        limits: of the process's memory.
        patience_s: how long one artifact may run without a new mark.
        on_step: is told of the steps done since the last time.

    Raises:
        MeasurementError: the clock is unstable, or there are too few calls.
        BackendError: the process failed before any artifact was opened.
    """
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=find_beside(job)) as name:
        ask, answer, path = (Path(name, part) for part in ("job.json", "reply.json", "mark"))
        with store_errors(ask, "write"):
            arrays = Path(name, "feeds.npz")
            named = {f"{index}/{name}": array for index, feeds in enumerate(calls) for name, array in feeds.items()}
            pack_arrays(arrays, named)
            ask.write_bytes(msgspec.json.encode(msgspec.structs.replace(job, feeds=str(arrays))))
        arguments = tuple(map(str, (ask, answer, path)))
        doing = Doing("timing", "being timed", RunFailed)
        try:
            with WatchedProcess("assay.studies.timing_worker", arguments, doing, limits) as process:
                follow_marks(process, path, patience_s, on_step)
                if not answer.exists():
                    raise process.died()
        except BackendError as error:
            return find_culprit(read_mark(path), error.message.removeprefix(f"{doing.runtime}: "), error)
        reply = msgspec.json.decode(answer.read_bytes(), type=TimingReply)
        if reply.failed:
            return find_culprit(read_mark(path), reply.error, RunFailed(reply.error))
        if reply.error:
            raise MeasurementError(reply.error)
        return reply


def find_beside(job: TimingJob | RateJob) -> Path:
    """The folder that the artifacts of a job are in."""
    entry = job.entries[0] if isinstance(job, TimingJob) else job.entry
    return Path(entry.built).parent


def find_culprit(mark: Mark | None, reason: str, error: BackendError) -> Culprit:
    """Culprit the artifact of the last mark.

    Raises:
        BackendError: there is none.
    """
    if mark is None:
        raise error
    return Culprit(mark.name, f"{reason}; it was {mark.stage}")


def follow_marks(process: WatchedProcess, path: Path, patience_s: float, on_step: Callable[[int], None]) -> None:
    """Wait for a process to end, as long as it goes on marking.

    Raises:
        BackendError: it hung, or took too much memory.
    """
    seen, moved = 0, time.monotonic()
    while not process.wait(LOOK_SECONDS):
        mark = read_mark(path)
        if mark is not None and mark.step != seen:
            on_step(mark.step - seen)
            seen, moved = mark.step, time.monotonic()
        elif time.monotonic() - moved > patience_s:
            raise process.hung(patience_s)
