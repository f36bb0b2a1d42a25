"""From a candidate to a built artifact and its first opening, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from assay.core.errors import BackendError, BuildFailed, RunFailed, StoreError, UnsupportedPlan
from assay.core.plan import Candidate
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.studies.files import hash_file, new_folder, store_errors
from assay.studies.store import StudyStore, address_of
from assay.studies.worker import BuildJob, Probe, ProbeJob, Reply


@dataclass(frozen=True, slots=True)
class Built:
    """A built artifact: its address in the store and its folder."""

    address: str
    folder: Path


def run_worker(job: BuildJob | ProbeJob, seconds: float) -> Reply:
    """Do a job in a fresh process.

    Raises:
        BackendError: the process crashed, hung past ``seconds`` or ate the machine's memory.
    """
    action = "building" if isinstance(job, BuildJob) else "opening and running"
    failure: type[BackendError] = BuildFailed if isinstance(job, BuildJob) else RunFailed
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        ask, answer = Path(name, "job.json"), Path(name, "reply.json")
        ask.write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "assay.studies.worker", str(ask), str(answer)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)  # noqa: S603 - our own module
        except subprocess.TimeoutExpired as error:
            hint = "raise trial_seconds if the model is only slow"
            raise failure(f"{job.target.runtime}: {action} took more than {seconds:g} s", hint) from error
        if not answer.exists():
            raise failure(
                f"{job.target.runtime}: the process died while {action} ({describe_exit(done.returncode)})",
                (done.stderr or done.stdout).decode(errors="replace").strip()[-400:],
            )
        return msgspec.json.decode(answer.read_bytes(), type=Reply)


def describe_exit(status: int) -> str:
    """An exit status in words; negative ones are signals."""
    if status >= 0:
        return f"exit status {status}"
    signals = {-6: "SIGABRT", -9: "SIGKILL, probably out of memory", -11: "SIGSEGV", -4: "SIGILL", -8: "SIGFPE"}
    return f"signal {signals.get(status, str(-status))}"


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
    store: StudyStore, model: Path, candidate: Candidate, target: Target, versions: Mapping[str, str], seconds: float
) -> Built:
    """Build a realised model, or find that it has been built.

    Args:
        store: where artifacts live.
        model: the realised ONNX file.
        candidate: whose plan the file realises.
        target: runtime and device.
        versions: of the runtime: another version builds anew.
        seconds: limit.

    Raises:
        BackendError: the runtime refused, crashed or hung.
        StoreError: the folder cannot be written.
    """
    with store_errors(model, "read"):
        content = hash_model(model)
    address = address_of(content, candidate.plan, target.runtime, target.device, dict(sorted(versions.items())))
    folder = store.artifact(address)
    if folder.exists():
        return Built(address, folder)
    with new_folder(folder) as temporary:
        job = BuildJob(model=str(model.resolve()), into=str(temporary.resolve()), plan=candidate.plan, target=target)
        raise_reply(run_worker(job, seconds), BuildFailed)
    return Built(address, folder)


def hash_model(model: Path) -> str:
    """Content hash of a model file and what lies beside it under its name (external data)."""
    return "".join(hash_file(path) for path in sorted(model.parent.glob(f"{model.name}*")))


def probe_artifact(built: Built, feeds: Feeds, target: Target, seconds: float) -> Probe:
    """Open an artifact in a fresh process, run it, and hear what it executed.

    Raises:
        BackendError: it crashed, hung or failed.
    """
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        path = Path(name, "feeds.npz")
        with store_errors(path, "write"):
            np.savez(path, allow_pickle=False, **dict(feeds))
        job = ProbeJob(built=str(built.folder.resolve()), feeds=str(path), target=target)
        reply = run_worker(job, seconds)
    raise_reply(reply, RunFailed)
    if reply.probe is None:
        raise RunFailed(f"{target.runtime}: the first run gave no figures")
    return reply.probe
