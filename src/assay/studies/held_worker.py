"""Runs an artifact frame by frame in a process that is held to a device's limits, and tells how that went.

Run by ``assay.studies.holding_start``. It imports one runtime and nothing of the study's other parts: what it takes is
what serving takes, Python included.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from assay.backends.table import load_backend
from assay.core.errors import BackendError
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.measure.frames import RUN
from assay.measure.memory import read_peak_bytes
from assay.measure.meters import EnergyMeter, find_energy_meter
from assay.studies.answering import answer_job

LEAST_FRAMES = 3
NS_PER_S = 1e9
HOPELESS = 2
"""Runs after which an artifact is given up whose frames take this many times too long."""


class HeldJob(msgspec.Struct, frozen=True):
    """Run ``built`` on the arrays of the file ``feeds``, one call after another.

    Attributes:
        frames: at most so many.
        seconds: no frame begins after them, if there were some.
        least_seconds: frames go on until then, however many there were.
        floor: frames a second that are asked for; 0 where they are not.
        watts: read the energy, too.
    """

    built: str
    feeds: str
    target: Target
    frames: int
    seconds: float
    least_seconds: float
    floor: float
    watts: bool


class HeldReply(msgspec.Struct, frozen=True):
    """How it went.

    Attributes:
        ends_ns: when the first frame began, and when each ended.
        energy: pairs of time in ns and joules, between frames.
        peak_bytes: highest resident set of the process.
        error: what the runtime said where it failed, else empty.
    """

    ends_ns: tuple[int, ...] = ()
    energy: tuple[tuple[int, float], ...] = ()
    peak_bytes: int = 0
    error: str = ""


def run_frames(session: Session, feeds: Feeds, job: HeldJob, meter: EnergyMeter | None) -> HeldReply:
    """Frames back to back, after one that warms up."""
    session.run(feeds)
    energy: list[tuple[int, float]] = []
    started = time.perf_counter_ns()
    ends = [started]
    while is_wanted(ends, job):
        if meter is not None and (len(ends) - 1) % RUN == 0:
            energy.append((time.perf_counter_ns(), meter.read_joules()))
        session.run(feeds)
        ends.append(time.perf_counter_ns())
    return HeldReply(tuple(ends), tuple(energy), read_peak_bytes())


def is_wanted(ends: list[int], job: HeldJob) -> bool:
    """Whether one more frame is."""
    frames, spent_s = len(ends) - 1, (ends[-1] - ends[0]) / NS_PER_S
    if frames < LEAST_FRAMES or spent_s < job.least_seconds:
        return True
    if job.floor and frames >= HOPELESS * RUN and frames * HOPELESS < job.floor * spent_s:
        return False
    return frames < job.frames and spent_s < job.seconds


def work(job: HeldJob) -> HeldReply:
    """Do a job; what fails becomes the reply."""
    try:
        with np.load(job.feeds, allow_pickle=False) as archive:
            feeds = {name: archive[name] for name in archive.files}
        meter = find_energy_meter(job.target.device)[0] if job.watts else None
        with load_backend(job.target.runtime).open(Path(job.built), job.target) as session:
            return run_frames(session, feeds, job, meter)
    except BackendError as error:
        return HeldReply(error=error.message)
    except MemoryError:
        return HeldReply(error="there was no memory left")


if __name__ == "__main__":
    raise SystemExit(answer_job(sys.argv[1:], msgspec.json.Decoder(HeldJob).decode, work))
