"""Runs of artifacts in processes held to a device's limits: the proof of a memory limit, and the rate of frames."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from assay.core.errors import BackendError, MeasurementError, RequestError, RunFailed
from assay.core.requirements import Bounded, Requirements
from assay.core.trial import HeldRun
from assay.measure.frames import RUN, SHARE, estimate_frame_rate, estimate_power
from assay.measure.meters import find_energy_meter
from assay.measure.statistics.quantile import count_needed
from assay.studies.attempt import Attempt
from assay.studies.files import SCRATCH, pack_arrays, store_errors
from assay.studies.held_worker import HeldJob, HeldReply
from assay.studies.isolation import Doing, Limits, WatchedProcess, run_to_end
from assay.studies.memory_group import make_group, read_group_peak
from assay.studies.request import StudyRequest
from assay.studies.store import address_of
from assay.studies.workspace import Workspace

FRAMES = 100
"""That prove a memory limit alone."""
SECONDS = 10.0
MARGIN = 1.2
"""An artifact that just keeps the floor gets this much more than the time that its lower bound takes."""
POWER_SECONDS = 4.0
"""Windows of power that give bounds take so long."""
OPENING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What artifacts are held to.

    Attributes:
        memory_bytes: None where it is not bounded.
        fps: floor of the rate of frames; None where there is none.
        watts: power is bounded.
    """

    memory_bytes: int | None
    fps: float | None
    watts: bool


def find_holding(requirements: Requirements) -> Holding | None:
    """What the constraints ask a run of frames for; None where they ask for none."""
    limits = {constraint.quantity: constraint.limit for constraint in requirements.constraints}
    memory = int(limits[Bounded.MEMORY]) if Bounded.MEMORY in limits and can_hold() else None
    found = Holding(memory, limits.get(Bounded.FPS), Bounded.WATTS in limits)
    return None if found == Holding(None, None, watts=False) else found


def can_hold() -> bool:
    """Whether this system can hold a process to a limit of memory: Linux alone enforces one on data."""
    return sys.platform == "linux"


def check_device(request: StudyRequest, root: Path = Path("/")) -> None:
    """Refuse what this machine cannot measure of a device, before anything takes time.

    Args:
        request: of the study.
        root: of the file system that ``sys`` stands in.

    Raises:
        RequestError: power or energy is bounded and has no counter here, or frames come in batches.
    """
    for constraint in request.requirements.constraints:
        if constraint.quantity is Bounded.FPS and request.batch != 1:
            message = f"constraint {constraint.text!r} is of single frames, and batch = {request.batch}"
            raise RequestError(message, "give batch = 1, or bound the throughput instead")
        if constraint.quantity in {Bounded.WATTS, Bounded.ENERGY}:
            meter, why = find_energy_meter("cpu", root)
            if meter is None:
                hint = "run the study on the device, or leave the constraint out"
                raise RequestError(f"constraint {constraint.text!r}: {why}", hint)


def hold_attempts(space: Workspace, attempts: Sequence[Attempt]) -> Mapping[str, HeldRun]:
    """A held run of every artifact by trial id, or what an earlier run found; none where nothing asks for them."""
    holding = find_holding(space.request.requirements)
    if holding is None:
        return {}
    key = address_of(holding.memory_bytes, holding.fps, holding.watts)
    found: dict[str, HeldRun] = {}
    space.progress.start("running frames under the limits of the device", len(attempts))
    for attempt in attempts:
        name = f"held-{attempt.candidate.id}-{key}"
        known = space.store.read(name, HeldRun)
        if known is None:
            known = hold_attempt(space, attempt, holding)
            space.store.write(name, known)
        found[attempt.candidate.id] = known
        space.progress.advance()
    space.progress.finish()
    return found


def hold_attempt(space: Workspace, attempt: Attempt, holding: Holding) -> HeldRun:
    """Run one artifact's frames; that it fails under the limit is a finding, and no error."""
    confidence, target = space.request.requirements.confidence, space.target(attempt.candidate.runtime)
    needed = RUN * count_needed(SHARE, confidence)
    seconds = SECONDS if holding.fps is None else max(SECONDS, MARGIN * needed / holding.fps)
    job = HeldJob(
        built=str(space.store.artifact(attempt.address).resolve()),
        feeds="",
        target=target,
        frames=FRAMES if holding.fps is None else 2 * needed,
        seconds=seconds,
        least_seconds=POWER_SECONDS if holding.watts else 0.0,
        floor=holding.fps or 0.0,
        watts=holding.watts,
    )
    limits = Limits(space.request.trial_seconds + OPENING_SECONDS + 2 * seconds, space.request.trial_memory)
    with nullcontext() if holding.memory_bytes is None else make_group(holding.memory_bytes) as group:
        means = describe_means(holding.memory_bytes, group)
        try:
            reply = run_held(job, space, limits, holding.memory_bytes or 0, group)
        except BackendError as error:
            reply = HeldReply(error=error.message)
        peak = None if group is None else read_group_peak(group)
    held = HeldRun(0, target.threads, peak or reply.peak_bytes, holding.memory_bytes, means)
    return describe_run(reply, held, holding, confidence)


def describe_means(memory_bytes: int | None, group: Path | None) -> str:
    """By what a process is held, in words."""
    if memory_bytes is None:
        return ""
    return "a control group" if group is not None else "RLIMIT_DATA"


def run_held(job: HeldJob, space: Workspace, limits: Limits, memory_bytes: int, group: Path | None) -> HeldReply:
    """Run frames in a process that is held before it takes any memory.

    Raises:
        BackendError: the process died, hung, or took too much of the machine's memory.
    """
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=space.store.measurements) as name:
        ask, answer, feeds = (Path(name, part) for part in ("job.json", "reply.json", "feeds.npz"))
        with store_errors(ask, "write"):
            pack_arrays(feeds, space.sample)
            ask.write_bytes(msgspec.json.encode(msgspec.structs.replace(job, feeds=str(feeds))))
        held = (str(job.target.threads), str(memory_bytes), str(group or ""))
        doing = Doing(job.target.runtime, "running frames", RunFailed)
        arguments = (*held, str(ask), str(answer))
        with WatchedProcess("assay.studies.holding_start", arguments, doing, limits) as process:
            return msgspec.json.decode(run_to_end(process, answer, limits.seconds), type=HeldReply)


def describe_run(reply: HeldReply, held: HeldRun, holding: Holding, confidence: float) -> HeldRun:
    """What a reply says."""
    if reply.error:
        return replace(held, failure=reply.error)
    held = replace(held, frames=len(reply.ends_ns) - 1)
    try:
        fps = None if holding.fps is None else estimate_frame_rate(reply.ends_ns, confidence)
    except MeasurementError as error:
        return replace(held, failure=error.message)
    return replace(held, fps=fps, watts=estimate_power(reply.energy, confidence) if holding.watts else None)
