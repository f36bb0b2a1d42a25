"""A process that times how artifacts generate: prompts and steps, interleaved; or what one of them takes of memory.

Run as ``python -m assay.studies.generation_worker PARENT JOB.json REPLY.json MARK``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack

import msgspec
import numpy as np

from assay.core.errors import AssayError, BackendError
from assay.core.session import Session
from assay.core.tensor import Feeds
from assay.measure.generation import time_calls
from assay.measure.memory import read_peak_bytes
from assay.studies.answering import answer_marked_job
from assay.studies.held import hold
from assay.studies.marking import Marker
from assay.studies.timing_worker import Entry, open_entry

PROMPT, STEP, FILLING = "taking prompts", "generating tokens", "filling its cache"


class Point(msgspec.Struct, frozen=True):
    """One context and batch.

    Attributes:
        prompt: file of the arrays of a call with whole prompts.
        step: file of those of one step, empty where the model has no cache.
    """

    context: int
    batch: int
    prompt: str
    step: str = ""


class GenerationJob(msgspec.Struct, tag="times", frozen=True):
    """Time all artifacts at all points, in interleaved rounds.

    Attributes:
        budget_s: of all rounds.
    """

    entries: tuple[Entry, ...]
    points: tuple[Point, ...]
    budget_s: float


class PeakJob(msgspec.Struct, tag="peak", frozen=True):
    """Run one artifact at all points, those with fewer tokens first, and look at the memory after each."""

    entry: Entry
    points: tuple[Point, ...]


class Times(msgspec.Struct, frozen=True):
    """Nanoseconds of calls of one artifact at one point, one a round."""

    prompt: tuple[int, ...]
    step: tuple[int, ...] = ()


class GenerationReply(msgspec.Struct, frozen=True):
    """What the worker has to say.

    Attributes:
        times: trial id -> times at each point, in the order of the job.
        peaks: highest resident set after each point, in bytes.
        error: message and hint where it failed, else empty.
        failed: a runtime did, and not the measuring itself.
    """

    times: Mapping[str, tuple[Times, ...]] = {}
    peaks: tuple[int, ...] = ()
    error: str = ""
    failed: bool = False


def read_feeds(path: str) -> Feeds:
    """The arrays of a call."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def time_generation(job: GenerationJob, marker: Marker) -> GenerationReply:
    """Open all artifacts, and time them point by point."""
    found: dict[str, list[Times]] = {entry.name: [] for entry in job.entries}
    share_s = job.budget_s / (2 * len(job.points))
    with ExitStack() as stack:
        sessions = {entry.name: stack.enter_context(open_entry(entry, marker)) for entry in job.entries}
        for point in job.points:
            prompts = time_feeds(sessions, point.prompt, share_s, marker, PROMPT)
            steps = time_feeds(sessions, point.step, share_s, marker, STEP) if point.step else {}
            for name, own in found.items():
                own.append(Times(prompts[name], steps.get(name, ())))
    return GenerationReply({name: tuple(own) for name, own in found.items()})


def time_feeds(
    sessions: Mapping[str, Session], path: str, budget_s: float, marker: Marker, stage: str
) -> Mapping[str, tuple[int, ...]]:
    """Times of one call of every session; what the calls hold is let go afterwards."""
    feeds = read_feeds(path)
    calls = {name: hold(session, feeds) for name, session in sessions.items()}
    times = time_calls(calls, budget_s=budget_s, on_visit=lambda name: marker.mark(stage, name))
    return {name: tuple(own.tolist()) for name, own in times.items()}


def find_peaks(job: PeakJob, marker: Marker) -> GenerationReply:
    """Run each point once in this fresh process."""
    peaks: list[int] = []
    with open_entry(job.entry, marker) as session:
        for point in job.points:
            for path in filter(None, (point.prompt, point.step)):
                marker.mark(FILLING, job.entry.name)
                hold(session, read_feeds(path))()
            peaks.append(read_peak_bytes())
    return GenerationReply(peaks=tuple(peaks))


def work(job: GenerationJob | PeakJob, marker: Marker) -> GenerationReply:
    """Do a job; what fails becomes the reply."""
    try:
        return time_generation(job, marker) if isinstance(job, GenerationJob) else find_peaks(job, marker)
    except AssayError as error:
        return GenerationReply(error=str(error), failed=isinstance(error, BackendError))


if __name__ == "__main__":
    raise SystemExit(answer_marked_job(sys.argv[1:], msgspec.json.Decoder(GenerationJob | PeakJob).decode, work))
