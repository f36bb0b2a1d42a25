"""A process that finds out what the nodes of artifacts take, and the whole of them, timed in turn.

Run as ``python -m assay.studies.profiling_worker PARENT JOB.json REPLY.json``.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from assay.backends.table import load_backend
from assay.core.errors import AssayError, StoreError
from assay.core.mixing import NodeTime
from assay.core.session import Profiled, Session
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.measure.latency import measure_latency
from assay.studies.answering import answer_job

ROUNDS = 3
"""Of profiling every artifact, where time allows."""
SHORT = 0.1
"""Quantile of calls that stands for them."""


class ProfileJob(msgspec.Struct, frozen=True):
    """Profile artifacts of one runtime.

    Attributes:
        built: their folders.
        timed: folders of others that are timed with them, and not profiled.
        feeds: file of the arrays of every call.
        target: to open them for.
        calls: that a node's time is the median of.
        budget_s: of timing all artifacts in turn without profiling, and again of profiling.
    """

    built: tuple[str, ...]
    timed: tuple[str, ...]
    feeds: str
    target: Target
    calls: int
    budget_s: float


class Profile(msgspec.Struct, frozen=True):
    """What an artifact takes.

    Attributes:
        whole_ms: of one of the shorter calls without profiling: what else a machine does only lengthens calls, and
            long ones more often than short ones.
        nodes: that were executed; none where the runtime cannot tell, or was not asked.
    """

    whole_ms: float
    nodes: tuple[NodeTime, ...]


class ProfileReply(msgspec.Struct, frozen=True):
    """What the worker has to say.

    Attributes:
        profiles: of the artifacts of the job, in its order.
        error: message and hint where it failed, else empty.
        stored: the disk failed, and not the runtime.
    """

    profiles: tuple[Profile, ...] = ()
    error: str = ""
    stored: bool = False


def profile_artifacts(job: ProfileJob) -> tuple[Profile, ...]:
    """Time artifacts in turn, then profile them in turn."""
    with np.load(job.feeds, allow_pickle=False) as archive:
        feeds = {name: archive[name] for name in archive.files}
    backend, folders = load_backend(job.target.runtime), (*job.built, *job.timed)
    with ExitStack() as stack:
        sessions = {folder: stack.enter_context(backend.open(Path(folder), job.target)) for folder in folders}
        samples = measure_latency(sessions, feeds, budget_s=job.budget_s, needed=job.calls)
        rounds: list[list[tuple[NodeTime, ...]]] = []
        latest = time.monotonic() + job.budget_s
        while not rounds or (len(rounds) < ROUNDS and time.monotonic() < latest):
            rounds.append([profile_session(sessions[one], feeds, job.calls) for one in job.built])
    nodes = {folder: join_rounds(found) for folder, found in zip(job.built, zip(*rounds, strict=True), strict=True)}
    return tuple(Profile(float(np.quantile(samples[one].calls_ms, SHORT)), nodes.get(one, ())) for one in folders)


def profile_session(session: Session, feeds: Feeds, calls: int) -> tuple[NodeTime, ...]:
    """What the nodes of one artifact take, where the runtime can tell."""
    return session.profile(feeds, calls) if isinstance(session, Profiled) else ()


def join_rounds(rounds: Sequence[tuple[NodeTime, ...]]) -> tuple[NodeTime, ...]:
    """Nodes with the shortest of their times: what else the machine did can only lengthen them."""
    shortest: dict[str, float] = {}
    for node in (node for found in rounds for node in found):
        shortest[node.name] = min(node.milliseconds, shortest.get(node.name, math.inf))
    return tuple(replace(node, milliseconds=shortest[node.name]) for node in rounds[0])


def work(job: ProfileJob) -> ProfileReply:
    """Do a job; what fails becomes the reply."""
    try:
        return ProfileReply(profile_artifacts(job))
    except AssayError as error:
        return ProfileReply(error=str(error), stored=isinstance(error, StoreError))
    except MemoryError:
        return ProfileReply(error="the machine's memory is used up")


if __name__ == "__main__":
    raise SystemExit(answer_job(sys.argv[1:], msgspec.json.Decoder(ProfileJob).decode, work))
