"""Profiles artifacts of one runtime, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from assay.core.errors import RunFailed, StoreError
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.studies.files import SCRATCH, pack_arrays, store_errors
from assay.studies.isolation import Doing, Limits, WatchedProcess, run_to_end
from assay.studies.profiling_worker import Profile, ProfileJob, ProfileReply

CALLS = 5
BUDGET_S = 3.0


def profile_artifacts(
    folders: Sequence[Path],
    timed: Sequence[Path],
    feeds: Feeds,
    target: Target,
    limits: Limits,
    *,
    budget_s: float | None = None,
) -> tuple[Profile, ...]:
    """Time artifacts against each other, and what their nodes take.

    Args:
        folders: built for the target's runtime.
        timed: others, of which only the whole is timed; one of both at least.
        feeds: of every call.
        target: to open them for.
        limits: of the process; its memory for one artifact.
        budget_s: of timing all artifacts in turn, and again of profiling; ``BUDGET_S`` where None.

    Returns:
        Profiles of the artifacts, then of the others.

    Raises:
        BackendError: the process crashed, hung, took too much memory or failed.
        StoreError: the disk failed.
    """
    doing = Doing(target.runtime, "profiling", RunFailed)
    if limits.memory_bytes is not None:  # all are open, and one is opened once more to be profiled
        limits = replace(limits, memory_bytes=limits.memory_bytes * (len(folders) + len(timed) + 1))
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=(*folders, *timed)[0].parent) as name:
        path, ask, answer = (Path(name, file) for file in ("feeds.npz", "job.json", "reply.json"))
        built, others = (tuple(str(folder.resolve()) for folder in some) for some in (folders, timed))
        job = ProfileJob(built, others, str(path), target, CALLS, BUDGET_S if budget_s is None else budget_s)
        with store_errors(path, "write"):
            pack_arrays(path, feeds)
            ask.write_bytes(msgspec.json.encode(job))
        with WatchedProcess("assay.studies.profiling_worker", (str(ask), str(answer)), doing, limits) as process:
            reply = msgspec.json.decode(run_to_end(process, answer, limits.seconds), type=ProfileReply)
    if reply.error:
        raise (StoreError if reply.stored else RunFailed)(reply.error)
    return reply.profiles
