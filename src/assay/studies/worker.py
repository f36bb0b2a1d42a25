"""A process of its own for what may crash, hang or eat memory: building an artifact, and opening it the first time.

Run as ``python -m assay.studies.worker PARENT JOB.json REPLY.json``. It imports one runtime and nothing of the
study's other parts, so the memory that it reports is what serving the artifact takes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from assay.backends.table import load_backend
from assay.core.audit import ExecutionAudit
from assay.core.errors import AssayError, UnsupportedPlan
from assay.core.plan import Plan
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.measure.memory import read_current_bytes, read_peak_bytes
from assay.studies.answering import answer_job

QUICK_RUNS = 15
QUICK_SECONDS = 2.0
LEAST_RUNS, LEAST_SECONDS = 3, 0.4


class BuildJob(msgspec.Struct, tag="build", frozen=True):
    """Compile ``model`` into the folder ``into``."""

    model: str
    into: str
    plan: Plan
    target: Target


class ProbeJob(msgspec.Struct, tag="probe", frozen=True):
    """Open ``built``, run the arrays of the file ``feeds``, and audit."""

    built: str
    feeds: str
    target: Target


class Probe(msgspec.Struct, frozen=True):
    """What the first opening of an artifact showed.

    Attributes:
        load_ms: from files to a session that can run.
        first_run_ms: the first call.
        quick_ms: the fastest of a few calls, for choosing what to try next; never reported.
        peak_memory_bytes: highest resident set of the process.
        model_memory_bytes: what of it came with opening and running the artifact.
        audit: what was executed.
    """

    load_ms: float
    first_run_ms: float
    quick_ms: float
    peak_memory_bytes: int
    model_memory_bytes: int
    audit: ExecutionAudit


class Reply(msgspec.Struct, frozen=True):
    """What the worker has to say.

    Attributes:
        error: message and hint where it failed, else empty.
        kind: class name of the error.
        unsupported: the runtime cannot realise the plan.
        probe: for a probe job that went well.
    """

    error: str = ""
    kind: str = ""
    unsupported: bool = False
    probe: Probe | None = None


def time_quickly(session: Session, feeds: Feeds) -> float:
    """Milliseconds of the fastest of some calls: what else the machine does makes calls slower, never faster.

    Short calls are repeated for a while, so that a burst of other work does not cover all of them.
    """
    samples: list[float] = []
    started = time.perf_counter()
    while True:
        begin = time.perf_counter_ns()
        session.run(feeds)
        samples.append((time.perf_counter_ns() - begin) / 1e6)
        spent = time.perf_counter() - started
        enough = len(samples) >= QUICK_RUNS and spent >= LEAST_SECONDS
        if enough or (len(samples) >= LEAST_RUNS and spent >= QUICK_SECONDS):
            return min(samples)


def probe_artifact(job: ProbeJob) -> Probe:
    """Open, run, time and audit one artifact in this fresh process."""
    with np.load(job.feeds, allow_pickle=False) as archive:
        feeds = {name: archive[name] for name in archive.files}
    backend = load_backend(job.target.runtime)
    before = read_current_bytes()
    begin = time.perf_counter_ns()
    session = backend.open(Path(job.built), job.target)
    loaded = time.perf_counter_ns()
    with session:
        session.run(feeds)
        first = time.perf_counter_ns()
        quick_ms = time_quickly(session, feeds)
        peak = read_peak_bytes()
        audit = session.executed(feeds)
    return Probe(
        load_ms=(loaded - begin) / 1e6,
        first_run_ms=(first - loaded) / 1e6,
        quick_ms=quick_ms,
        peak_memory_bytes=peak,
        model_memory_bytes=max(0, peak - before),
        audit=audit,
    )


def work(job: BuildJob | ProbeJob) -> Reply:
    """Do a job; what fails becomes the reply."""
    try:
        if isinstance(job, ProbeJob):
            return Reply(probe=probe_artifact(job))
        backend = load_backend(job.target.runtime)
        backend.build(Path(job.model), Path(job.into), job.plan, job.target)
        return Reply()
    except AssayError as error:
        return Reply(error=str(error), kind=type(error).__name__, unsupported=isinstance(error, UnsupportedPlan))
    except MemoryError:
        return Reply(error="the machine's memory is used up", kind="MemoryError")


if __name__ == "__main__":
    raise SystemExit(answer_job(sys.argv[1:], msgspec.json.Decoder(BuildJob | ProbeJob).decode, work))
