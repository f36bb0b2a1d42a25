"""From a candidate to a built artifact and its first opening, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.core.errors import BackendError, BuildFailed, RunFailed, StoreError, UnsupportedPlan
from assay.core.plan import Candidate
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.studies.files import SCRATCH, hash_file, new_folder, pack_arrays, store_errors
from assay.studies.isolation import Doing, Limits, WatchedProcess, run_to_end
from assay.studies.store import StudyStore, address_of
from assay.studies.worker import BuildJob, Probe, ProbeJob, Reply


@dataclass(frozen=True, slots=True)
class Built:
    """A built artifact: its address in the store and its folder."""

    address: str
    folder: Path


def run_worker(job: BuildJob | ProbeJob, limits: Limits) -> Reply:
    """Do a job in a fresh process.

    Raises:
        BackendError: the process crashed, hung or took too much memory.
    """
    building = isinstance(job, BuildJob)
    beside = Path(job.into if isinstance(job, BuildJob) else job.built).parent
    action, failure = ("building", BuildFailed) if building else ("opening and running", RunFailed)
    doing = Doing(job.target.runtime, action, failure)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=beside) as name:
        ask, answer = Path(name, "job.json"), Path(name, "reply.json")
        with store_errors(ask, "write"):
            ask.write_bytes(msgspec.json.encode(job))
        with WatchedProcess("assay.studies.worker", (str(ask), str(answer)), doing, limits) as process:
            return msgspec.json.decode(run_to_end(process, answer, limits.seconds), type=Reply)


def raise_reply(reply: Reply, otherwise: type[BackendError]) -> None:
    """Raise what a worker's reply says went wrong, if anything did.

    Raises:
        StoreError: the disk failed under the runtime.
        BackendError: the runtime refused or failed.
    """
    if not reply.error:
        return
    if reply.kind == StoreError.__name__:
        raise StoreError(reply.error)
    raise (UnsupportedPlan if reply.unsupported else otherwise)(reply.error)


def build_artifact(
    store: StudyStore, model: Path, candidate: Candidate, target: Target, versions: Mapping[str, str], limits: Limits
) -> Built:
    """Build a realised model, or find that it has been built.

    Args:
        store: where artifacts live.
        model: the realised ONNX file.
        candidate: whose plan the file realises.
        target: runtime and device.
        versions: of the runtime: another version builds anew.
        limits: of the process that builds it.

    Raises:
        BackendError: the runtime refused, crashed, hung or took too much memory.
        StoreError: the folder cannot be written.
    """
    with store_errors(model, "read"):
        content = hash_model(model)
    parts = (content, candidate.plan, target.runtime, target.device, dict(sorted(versions.items())))
    address = address_of(*parts, *((target.shapes,) if target.shapes else ()))
    folder = store.artifact(address)
    if folder.exists():
        return Built(address, folder)
    with new_folder(folder) as temporary:
        job = BuildJob(model=str(model.resolve()), into=str(temporary.resolve()), plan=candidate.plan, target=target)
        raise_reply(run_worker(job, limits), BuildFailed)
    return Built(address, folder)


def hash_model(model: Path) -> str:
    """Content hash of a model file and what lies beside it under its name (external data)."""
    return "".join(hash_file(path) for path in sorted(model.parent.glob(f"{model.name}*")))


def probe_artifact(built: Built, feeds: Feeds, target: Target, limits: Limits) -> Probe:
    """Open an artifact in a fresh process, run it, and hear what it executed.

    Raises:
        BackendError: it crashed, hung, took too much memory or failed.
    """
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=built.folder.parent) as name:
        path = Path(name, "feeds.npz")
        with store_errors(path, "write"):
            pack_arrays(path, feeds)
        job = ProbeJob(built=str(built.folder.resolve()), feeds=str(path), target=target)
        reply = run_worker(job, limits)
    raise_reply(reply, RunFailed)
    if reply.probe is None:
        raise RunFailed(f"{target.runtime}: the first run gave no figures")
    return reply.probe
