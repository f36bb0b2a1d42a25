"""How fast the artifacts of a study generate, and what that takes of memory: at every context and batch asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from assay.core.errors import BackendError, MeasurementError, RunFailed
from assay.core.generation import Generation, GenerationPlan
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.tensor import Feeds
from assay.core.trial import TrialStatus
from assay.measure.generation import estimate_rate, estimate_time_ms
from assay.measure.statistics.ratio import estimate_ratio
from assay.studies.attempt import Attempt
from assay.studies.decoding import Speaker, list_points, measure_cache
from assay.studies.files import SCRATCH, pack_arrays, store_errors
from assay.studies.generation_worker import GenerationJob, GenerationReply, PeakJob, Point, Times
from assay.studies.isolation import Doing, Limits, WatchedProcess
from assay.studies.marking import read_mark
from assay.studies.timing import Timing, group_by_memory
from assay.studies.timing_apart import Culprit, find_culprit, follow_marks, name_entry
from assay.studies.workspace import Workspace

WORKER = "assay.studies.generation_worker"
PHASES = 2
STORED = "generation"


@dataclass(frozen=True, slots=True)
class Stored:
    """What an earlier run measured, and what it was asked."""

    plan: GenerationPlan
    found: Mapping[str, tuple[Generation, ...]]


def measure_generation(space: Workspace, attempts: Sequence[Attempt]) -> Mapping[str, tuple[Generation, ...]]:
    """How the artifacts that run generate, by trial id; nothing where the model is no language model.

    An artifact that cannot do it (a context that the model has no positions for) is told of and left out.

    Raises:
        MeasurementError: the clock is unstable.
        BackendError: the FP32 model cannot do it.
    """
    speaker, plan = space.speaker, space.request.generation
    if speaker is None:
        return {}
    running = [attempt for attempt in attempts if attempt.status is TrialStatus.OK]
    names = {attempt.candidate.id for attempt in running}
    stored = space.store.read(STORED, Stored)
    if stored is not None and stored.plan == plan and names <= stored.found.keys():
        return {name: found for name, found in stored.found.items() if name in names}
    with write_points(space, speaker, plan) as points:
        times = time_running(space, running, points)
        found = {
            attempt.candidate.id: describe(space, attempt, times, points, measure_peaks(space, attempt, points))
            for attempt in running
            if attempt.candidate.id in times
        }
    space.store.write(STORED, Stored(plan, found | dict.fromkeys(names - found.keys(), ())))
    return found


def add_generation(timings: Mapping[str, Timing], found: Mapping[str, tuple[Generation, ...]]) -> Mapping[str, Timing]:
    """Timings with how the artifacts generate."""
    return {name: replace(timing, generation=found.get(name, ())) for name, timing in timings.items()}


@contextmanager
def write_points(space: Workspace, speaker: Speaker, plan: GenerationPlan) -> Iterator[tuple[Point, ...]]:
    """The feeds of every context and batch, in files that go with the block."""
    pairs = list_points(plan.contexts, plan.batches or (space.request.batch,))
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=space.store.measurements) as name:
        yield tuple(write_point(Path(name), speaker, context, batch) for context, batch in pairs)


def write_point(folder: Path, speaker: Speaker, context: int, batch: int) -> Point:
    """The feeds of one context and batch."""

    def write(feeds: Feeds, kind: str) -> str:
        path = folder / f"{kind}-{context}-{batch}.npz"
        with store_errors(path, "write"):
            pack_arrays(path, feeds)
        return str(path)

    step = speaker.make_step(context, batch)
    prompt = write(speaker.make_prompt(context, batch), "prompt")
    return Point(context, batch, prompt, "" if step is None else write(step, "step"))


def time_running(
    space: Workspace, running: Sequence[Attempt], points: tuple[Point, ...]
) -> Mapping[str, tuple[Times, ...]]:
    """Times of all artifacts that can do it.

    Raises:
        BackendError: the FP32 model cannot.
    """
    left = list(running)
    while True:
        reference = next((attempt for attempt in left if is_reference(attempt)), None)
        if reference is None:
            raise RunFailed("the FP32 model does not generate at these contexts", "give generation.contexts")
        groups = tuple(group_by_memory(left, reference))
        found: dict[str, tuple[Times, ...]] = {}
        culprit = None
        for group in groups:
            reply = time_group(space, group, points, len(groups))
            if isinstance(reply, Culprit):
                culprit = reply
                break
            found = {**reply.times, **found}
        if culprit is None:
            return found
        space.progress.say(f"{culprit.name} does not generate: {culprit.reason}")
        left = [attempt for attempt in left if attempt.candidate.id != culprit.name]


def time_group(
    space: Workspace, group: Sequence[Attempt], points: tuple[Point, ...], groups: int
) -> GenerationReply | Culprit:
    """Time artifacts that fit into memory together."""
    entries = tuple(name_entry(space, attempt) for attempt in group)
    job = GenerationJob(entries, points, space.request.generation.seconds / groups)
    space.progress.start(f"timing how {len(group)} artifacts generate", None)
    try:
        return run_worker(space, job, Path(entries[0].built).parent, space.progress.advance)
    finally:
        space.progress.finish()


def measure_peaks(space: Workspace, attempt: Attempt, points: tuple[Point, ...]) -> tuple[int, ...]:
    """Highest resident set of a fresh process after each point.

    Raises:
        RunFailed: the artifact was timed and fails now.
    """
    entry = name_entry(space, attempt)
    reply = run_worker(space, PeakJob(entry, points), Path(entry.built).parent, lambda _steps: None)
    if isinstance(reply, Culprit):
        raise RunFailed(f"{reply.name}: {reply.reason}")
    return reply.peaks


def run_worker(
    space: Workspace, job: GenerationJob | PeakJob, beside: Path, on_step: Callable[[int], None]
) -> GenerationReply | Culprit:
    """Do a job in a fresh process; an artifact that brings it down is named.

    Raises:
        MeasurementError: the clock is unstable.
        BackendError: the process failed before any artifact was opened.
    """
    request = space.request
    count = len(job.entries) if isinstance(job, GenerationJob) else 1
    limits = Limits(request.trial_seconds, None if request.trial_memory is None else request.trial_memory * count)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=beside) as name:
        ask, answer, path = (Path(name, part) for part in ("job.json", "reply.json", "mark"))
        with store_errors(ask, "write"):
            ask.write_bytes(msgspec.json.encode(job))
        doing = Doing("timing", "generating", RunFailed)
        try:
            with WatchedProcess(WORKER, tuple(map(str, (ask, answer, path))), doing, limits) as process:
                follow_marks(process, path, request.trial_seconds, on_step)
                if not answer.exists():
                    raise process.died()
        except BackendError as error:
            return find_culprit(read_mark(path), error.message.removeprefix(f"{doing.runtime}: "), error)
        reply = msgspec.json.decode(answer.read_bytes(), type=GenerationReply)
        if reply.failed:
            return find_culprit(read_mark(path), reply.error, RunFailed(reply.error))
    if reply.error:
        raise MeasurementError(reply.error)
    return reply


def describe(
    space: Workspace,
    attempt: Attempt,
    times: Mapping[str, tuple[Times, ...]],
    points: tuple[Point, ...],
    peaks: tuple[int, ...],
) -> tuple[Generation, ...]:
    """What was measured of one artifact at every point."""
    confidence, speaker = space.request.requirements.confidence, space.speaker
    own = times[attempt.candidate.id]
    plain = times.get(f"{attempt.candidate.runtime}.{Plan(Precision.FP32).name}")
    found: list[Generation] = []
    for place, point in enumerate(points):
        prompt, step = (np.array(part, np.int64) for part in (own[place].prompt, own[place].step))
        gain = None
        if step.size and plain is not None and plain is not own:
            gain = estimate_ratio(np.array(plain[place].step, np.float64), step.astype(np.float64), confidence)
        cache = 0 if speaker is None else measure_cache(speaker.decoder, speaker.make_step(point.context, point.batch))
        found.append(
            Generation(
                context=point.context,
                batch=point.batch,
                first_token=estimate_time_ms(prompt, confidence),
                prefill=estimate_rate(prompt, point.context * point.batch, confidence),
                step=estimate_time_ms(step, confidence) if step.size else None,
                decode=estimate_rate(step, point.batch, confidence) if step.size else None,
                gain=gain,
                cache_bytes=cache,
                peak_memory_bytes=peaks[place],
            )
        )
    return tuple(found)


def is_reference(attempt: Attempt) -> bool:
    """Whether an artifact is the FP32 model."""
    return attempt.candidate.plan == Plan(Precision.FP32)
